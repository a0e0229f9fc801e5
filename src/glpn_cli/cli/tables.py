"""What an evaluation came to, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from glpn_cli.evaluation.run import Evaluation, Figure


def evaluation_tables(evaluation: Evaluation, title: str) -> Iterator[Table]:
    """Give the means, and then the differences if there is something to compare with."""
    from glpn_cli.evaluation.run import MEDIAN_LABEL, RAMP_LABEL
    from glpn_cli.metrics import METRICS

    figures = evaluation.figures()
    means = _table(title)
    for column in figures:
        if column.label in (MEDIAN_LABEL, RAMP_LABEL):
            means.add_column(f"{column.label}\nbaseline", justify="right")
        else:
            aligned = "as predicted" if column.align is None else f"{column.align} aligned"
            means.add_column(f"{column.label}\n{aligned}", justify="right")
    for name in METRICS:
        _add(means, name, [figures[column][name] for column in figures], "{:.4f}")
    yield means

    differences = evaluation.differences()
    if not differences:
        return
    compared = _table("differences; better or worse where the interval excludes zero")
    for difference in differences:
        aligned = "" if difference.ours.align is None else f"\n{difference.ours.align} aligned"
        compared.add_column(f"{difference.ours.label}\n- {difference.theirs.label}{aligned}", justify="right")
    for name in METRICS:
        _add(compared, name, [item.figures[name] for item in differences], "{:+.4f}", verdict=_verdict)
    yield compared


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    return table


def _add(
    table: Table,
    name: str,
    figures: Sequence[Figure],
    form: str,
    *,
    verdict: Callable[[str, Figure], str] = lambda _name, _figure: "",
) -> None:
    """Add a row of means, and below it their intervals."""
    table.add_row(name, *(verdict(name, figure) + form.format(figure.mean) for figure in figures))
    if any(figure.interval for figure in figures):
        ranges = (
            "" if figure.interval is None else f"{form} to {form}".format(figure.interval.low, figure.interval.high)
            for figure in figures
        )
        table.add_row("", *ranges, style="dim")


def _verdict(name: str, figure: Figure) -> str:
    """Say better or worse of a difference that is not by chance."""
    from glpn_cli.metrics import METRICS

    if figure.interval is None or not figure.interval.excludes_zero:
        return ""
    return "better " if (figure.mean > 0) == METRICS[name].higher_is_better else "worse "

"""The results of an evaluation as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from glpn_cli.evaluation.run import Evaluation
    from glpn_cli.evaluation.statistics import Estimate


def evaluation_tables(evaluation: Evaluation) -> Iterator[Table]:
    """Yield the table of means, and that of differences if there is something to compare with."""
    from glpn_cli.evaluation.baselines import MEDIAN_LABEL, RAMP_LABEL
    from glpn_cli.metrics import HIGHER_IS_BETTER

    means = evaluation.means()
    table = _table(evaluation.title)
    for column in means:
        if column.label in (MEDIAN_LABEL, RAMP_LABEL):
            table.add_column(f"{column.label}\nbaseline", justify="right")
        else:
            aligned = "as predicted" if column.align is None else f"{column.align} aligned"
            table.add_column(f"{column.label}\n{aligned}", justify="right")
    for name in HIGHER_IS_BETTER:
        _add(table, name, [figures.get(name) for figures in means.values()], "{:.4f}")
    yield table

    differences = evaluation.differences()
    if not differences:
        return
    compared = _table("differences; better or worse where the interval excludes zero")
    for difference in differences:
        aligned = "" if difference.ours.align is None else f"\n{difference.ours.align} aligned"
        compared.add_column(f"{difference.ours.label}\n- {difference.theirs.label}{aligned}", justify="right")
    for name in HIGHER_IS_BETTER:
        _add(compared, name, [item.metrics.get(name) for item in differences], "{:+.4f}", verdict=_verdict)
    yield compared


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    return table


def _add(
    table: Table,
    name: str,
    figures: Sequence[Estimate | None],
    form: str,
    *,
    verdict: Callable[[str, Estimate], str] = lambda _name, _figure: "",
) -> None:
    """Add a row of means, and below it their intervals; no row if no column has the metric."""
    if not any(figures):
        return
    table.add_row(name, *("" if one is None else verdict(name, one) + form.format(one.mean) for one in figures))
    intervals = [None if one is None else one.interval for one in figures]
    if any(intervals):
        ranges = ("" if one is None else f"{form} to {form}".format(one.low, one.high) for one in intervals)
        table.add_row("", *ranges, style="dim")


def _verdict(name: str, figure: Estimate) -> str:
    """Return "better" or "worse" for a difference whose interval excludes zero."""
    from glpn_cli.metrics import HIGHER_IS_BETTER

    if figure.interval is None or not figure.interval.excludes_zero:
        return ""
    return "better " if (figure.mean > 0) == HIGHER_IS_BETTER[name] else "worse "

"""Tables that fit into 80 columns; the results of an evaluation also as CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.box import ASCII, SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glpn_cli.cli.console import Console
    from glpn_cli.evaluation.run import Evaluation
    from glpn_cli.evaluation.scores import Column
    from glpn_cli.evaluation.statistics import Estimate

_WIDTH = 80
_METRIC = "metric"
_LATEX = str.maketrans({character: "\\" + character for character in "&%$#_{}"})


class TableStyle(StrEnum):
    """How the results of an evaluation are written."""

    TEXT = "text"
    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"


@dataclass
class _Results:
    """Metrics of several columns.

    Attributes:
        title: what the table shows.
        headings: for each column, what it is and how it was aligned.
        rows: for each metric, its estimate in every column; None where it was not measured.
        sign: format of the numbers.
        is_difference: whether numbers are differences, better or worse than zero.
    """

    title: str
    headings: list[tuple[str, str]] = field(default_factory=list)
    rows: dict[str, list[Estimate | None]] = field(default_factory=dict)
    sign: str = ""
    is_difference: bool = False


def print_evaluation(console: Console, evaluation: Evaluation, style: TableStyle = TableStyle.TEXT) -> None:
    """Print the table of means, and that of differences if there is something to compare with.

    Raises:
        ReaderGoneError: the reader of standard output has closed it.
    """
    tables = list(_results(evaluation))
    if style is TableStyle.CSV:
        console.data(_to_csv(tables).rstrip("\n"))
        return
    for index, results in enumerate(tables):
        if style is TableStyle.TEXT:
            for table in _to_tables(results, unicode=console.can_print("↑↓─")):
                console.table(table)
        else:
            text = _to_markdown(results) if style is TableStyle.MARKDOWN else _to_latex(results)
            console.data(("\n" if index else "") + text)


def _results(evaluation: Evaluation) -> Iterator[_Results]:
    means = evaluation.means()
    yield _Results(
        evaluation.title,
        [_heading(column) for column in means],
        _rows(list(means.values())),
    )
    differences = evaluation.differences()
    if differences:
        yield _Results(
            "differences; better or worse where the interval excludes zero",
            [(item.ours.label, f"- {item.theirs.label}" + _aligned(item.ours)) for item in differences],
            _rows([item.metrics for item in differences]),
            sign="+",
            is_difference=True,
        )


def _rows(columns: Sequence[dict[str, Estimate]]) -> dict[str, list[Estimate | None]]:
    """Return the metrics that any column has, each with its estimate in every column."""
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name) for column in columns] for name in names}


def _heading(column: Column) -> tuple[str, str]:
    from glpn_cli.evaluation.baselines import MEDIAN_LABEL, RAMP_LABEL

    if column.label in (MEDIAN_LABEL, RAMP_LABEL):
        return column.label, "baseline"
    return column.label, "as predicted" if column.align is None else f"{column.align} aligned"


def _aligned(column: Column) -> str:
    return "" if column.align is None else f" ({column.align} aligned)"


# Text


def _to_tables(results: _Results, *, unicode: bool) -> Iterator[Table]:
    """Yield tables that fit into 80 columns, each with as many columns as there is room for."""
    names = [_with_arrow(name, unicode=unicode) for name in results.rows]
    cells = [_column_cells(results, index) for index in range(len(results.headings))]
    first = max(map(len, names)) + 3
    widths = [max(map(len, [*heading, *column])) + 2 for heading, column in zip(results.headings, cells, strict=True)]
    for part in columns_that_fit(first, widths):
        table = new_table(results.title, unicode=unicode)
        table.add_column("")
        for heading in results.headings[part]:
            table.add_column("\n".join(heading), justify="right")
        for row, name in enumerate(names):
            table.add_row(name, *(column[2 * row] for column in cells[part]))
            if any(column[2 * row + 1] for column in cells[part]):
                table.add_row("", *(column[2 * row + 1] for column in cells[part]), style="dim")
        yield table


def new_table(title: str, *, unicode: bool) -> Table:
    """Return an empty table in the style of all tables, with lines that the terminal can show."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD if unicode else ASCII)


def columns_that_fit(first: int, widths: Sequence[int]) -> Iterator[slice]:
    """Yield which columns to show together, so that a table fits into 80 columns of text.

    Args:
        first: width of the first column, which every table repeats.
        widths: of the other columns.
    """
    start = 0
    while start < len(widths):
        end = start + 1
        while end < len(widths) and first + sum(widths[start : end + 1]) <= _WIDTH:
            end += 1
        yield slice(start, end)
        start = end


def _column_cells(results: _Results, index: int) -> list[str]:
    """Return two cells of a column for each metric: the mean, and its interval or nothing."""
    form = f"{{:{results.sign}.4f}}"
    cells = []
    for name, figures in results.rows.items():
        figure = figures[index]
        if figure is None:
            cells += ["", ""]
            continue
        verdict = _verdict(name, figure) if results.is_difference else ""
        cells.append(f"{verdict} {form.format(figure.mean)}".strip())
        interval = figure.interval
        cells.append("" if interval is None else f"{form} to {form}".format(interval.low, interval.high))
    return cells


def _with_arrow(name: str, *, unicode: bool = True) -> str:
    """Return a metric with the direction that is better."""
    from glpn_cli.metrics import HIGHER_IS_BETTER

    up, down = "↑↓" if unicode else "^v"
    return f"{name} {up if HIGHER_IS_BETTER[name] else down}" if name in HIGHER_IS_BETTER else name


def _verdict(name: str, figure: Estimate) -> str:
    """Return "better" or "worse" for a difference whose interval excludes zero."""
    from glpn_cli.metrics import HIGHER_IS_BETTER

    if figure.interval is None or not figure.interval.excludes_zero:
        return ""
    return "better" if (figure.mean > 0) == HIGHER_IS_BETTER[name] else "worse"


# Other programs


def _to_csv(tables: Sequence[_Results]) -> str:
    """Return one row for each metric of each column, with all digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["table", "prediction", "detail", _METRIC, "mean", "low", "high"])
    for results in tables:
        kind = "difference" if results.is_difference else "mean"
        for index, heading in enumerate(results.headings):
            for name, figures in results.rows.items():
                figure = figures[index]
                if figure is not None:
                    ends = ("", "") if figure.interval is None else (figure.interval.low, figure.interval.high)
                    writer.writerow([kind, *heading, name, figure.mean, *ends])
    return stream.getvalue()


def _to_markdown(results: _Results) -> str:
    headings = [" ".join(heading).replace("|", "\\|") for heading in results.headings]
    lines = [f"{results.title}\n", f"| {' | '.join([_METRIC, *headings])} |", "|---" + "|---:" * len(headings) + "|"]
    lines += [f"| {' | '.join([_with_arrow(name), *cells])} |" for name, cells in _single_cells(results)]
    return "\n".join(lines)


def _to_latex(results: _Results) -> str:
    """Return a tabular environment for the package booktabs."""
    headings = [" ".join(heading).translate(_LATEX) for heading in results.headings]
    arrows = {"↑": "$\\uparrow$", "↓": "$\\downarrow$"}
    lines = [
        f"% {results.title}",
        f"\\begin{{tabular}}{{l{'r' * len(headings)}}}",
        "\\toprule",
        " & ".join([_METRIC, *headings]) + " \\\\",
        "\\midrule",
    ]
    for name, cells in _single_cells(results):
        metric, _, arrow = _with_arrow(name).partition(" ")
        label = f"{metric.translate(_LATEX)} {arrows.get(arrow, '')}".strip()
        texts = [label, *(cell.translate(_LATEX) for cell in cells)]
        lines.append(" & ".join(texts) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _single_cells(results: _Results) -> Iterator[tuple[str, list[str]]]:
    """Yield each metric with one cell for each column: the mean, and its interval in brackets."""
    columns = [_column_cells(results, index) for index in range(len(results.headings))]
    for row, name in enumerate(results.rows):
        pairs = [(column[2 * row], column[2 * row + 1]) for column in columns]
        yield name, [mean + (f" ({interval})" if interval else "") for mean, interval in pairs]

"""`glpn bench`: speed on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from glpn_cli.benchmark.settings import BenchSettings
from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, format_size
from glpn_cli.cli.options import LOGGING, Option
from glpn_cli.cli.progress import DownloadProgress
from glpn_cli.cli.tables import columns_that_fit, new_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from glpn_cli.benchmark.stages import Measurement

_MIB = 2**20
_IDLE_CORES = 0.1
"""Other programs that use more, on average, make the medians unreliable."""


@command(
    options={"json": Option("Print a JSON object for each size, precision and device on standard output.", LOGGING)},
    examples=(
        "glpn bench",
        "glpn bench --size 480x640 --precision float32 --precision bfloat16",
        "glpn bench --engine openvino --against openvino",
        "glpn bench --against transformers --rounds 9",
    ),
)
def bench(console: Console, *, settings: BenchSettings, json: bool) -> None:
    """Measure how fast depth is predicted on this machine.

    Milliseconds are medians of several rounds on a synthetic photo, beside the fastest and the slowest round of all
    stages together. Other runtimes take turns with glpn. A note says if other programs kept the machine busy.
    """
    cases = [
        (size, precision, device)
        for device in dict.fromkeys(settings.devices)
        for size in settings.image_sizes
        for precision in dict.fromkeys(settings.precisions)
    ]
    from glpn_cli.benchmark.rivals import check_installed
    from glpn_cli.benchmark.stages import load_weights_or_random, measure
    from glpn_cli.device import choose_runtime
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.settings import PredictionSettings

    runtimes = {case[1:]: choose_runtime(case[2], case[1], settings.threads) for case in cases}
    subject = load_weights_or_random(settings.weights, offline=settings.offline, progress=DownloadProgress(console))
    rivals = list(dict.fromkeys(settings.against))
    for rival in rivals:  # fail before the first of many cases
        check_installed(rival)
    measured: list[Measurement] = []
    try:
        for (height_px, width_px), precision, device in cases:
            runtime = runtimes[precision, device]
            console.info(f"measuring {height_px}x{width_px}, {precision}, {runtime.device}")
            result = measure(
                Predictor(subject, runtime, PredictionSettings(engine=settings.engine)),
                subject.network,
                height_px=height_px,
                width_px=width_px,
                rounds=settings.rounds,
                rivals=rivals,
                log=console.note,
            )
            for stage, took in result.stages.items():
                console.detail(f"  {stage}: {1000 * took.fastest_s:.1f} to {1000 * took.slowest_s:.1f} ms")
            if json:
                console.record(asdict(result) | {"images_per_second": result.images_per_second})
            _note_other_load(console, result)
            measured.append(result)
    finally:  # what was measured before an error or an interrupt is shown
        if measured and not json:
            for table in to_tables(measured, unicode=console.can_print("─")):
                console.table(table)


def _note_other_load(console: Console, case: Measurement) -> None:
    """Say that the machine was not idle, and how the fastest rounds compare."""
    if case.other_cores is None or case.other_cores <= _IDLE_CORES:
        return
    ratios = "".join(f"; {item.rival} took {item.fastest_ratio:.2f} times as long" for item in case.comparisons)
    console.note(
        f"the machine was not idle: other programs used {case.other_cores:.1f} cores. The fastest round is more "
        f"reliable than the median{ratios and ' (networks, fastest rounds' + ratios + ')'}"
    )


def to_tables(measured: list[Measurement], *, unicode: bool) -> Iterator[Table]:
    """Yield tables of the stages, and one of other runtimes if there are any; all fit into 80 columns."""
    yield from _stage_tables(measured, unicode=unicode)
    if any(case.comparisons for case in measured):
        yield _rivals_table(measured, unicode=unicode)


def _stage_tables(measured: list[Measurement], *, unicode: bool) -> Iterator[Table]:
    """Yield tables with a row for each stage and a column for each case."""
    names = ["input", *measured[0].stages, "total", "fastest", "slowest", "images/s", "peak MiB"]
    headings = [_heading(case) for case in measured]
    cells = [_cells(case) for case in measured]
    widths = [max(map(len, [*heading, *column])) + 2 for heading, column in zip(headings, cells, strict=True)]
    for part in columns_that_fit(max(map(len, names)) + 3, widths):
        table = new_table("milliseconds, median of the rounds", unicode=unicode)
        table.add_column("")
        for heading in headings[part]:
            table.add_column("\n".join(heading), justify="right")
        for row, name in enumerate(names):
            table.add_row(name, *(column[row] for column in cells[part]))
        yield table


def _heading(case: Measurement) -> tuple[str, ...]:
    threads = f", {case.threads} thread{'' if case.threads == 1 else 's'}" if case.device == "cpu" else ""
    return f"{case.height_px}x{case.width_px}", str(case.precision), case.device + threads


def _cells(case: Measurement) -> list[str]:
    """Return the values of a case, in the order of the rows."""
    seconds = [timing.median_s for timing in case.stages.values()]
    seconds += [case.whole.median_s, case.whole.fastest_s, case.whole.slowest_s]
    return [
        format_size(case.network_size),
        *(f"{1000 * value:.1f}" for value in seconds),
        f"{case.images_per_second:.2f}",
        "" if case.peak_bytes is None else f"{case.peak_bytes / _MIB:.0f}",
    ]


def _rivals_table(measured: list[Measurement], *, unicode: bool) -> Table:
    """Return how other runtimes compare; narrow terminals wrap its texts at words."""
    rivals = new_table("the network alone, in alternation", unicode=unicode)
    rivals.pad_edge = False  # the widest texts just fit then
    name_width = max(len(comparison.rival) + 1 for case in measured for comparison in case.comparisons)
    for heading in ("size", "ours", "against", "its ms", "ratio", "largest\nerror", "mean rel.\nerror"):
        rivals.add_column(heading, justify="right", min_width=name_width if heading == "against" else None)
    for case in measured:
        for comparison in case.comparisons:
            rivals.add_row(
                f"{case.height_px}x{case.width_px}",
                f"{case.precision}, {case.device}",
                f"{comparison.rival}: {comparison.precision}, {comparison.device}",
                f"{1000 * comparison.timing.median_s:.1f}",
                f"{comparison.ratio:.2f}",
                f"{comparison.max_error:.1e}",
                f"{comparison.mean_relative_error:.1e}",
            )
    return rivals

"""`glpn bench`: speed on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from glpn_cli.benchmark.settings import BenchSettings
from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, format_size
from glpn_cli.cli.options import LOGGING, Option
from glpn_cli.cli.progress import DownloadProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.benchmark.stages import Measurement

_MIB = 2**20
_IDLE_CORES = 0.1
"""Other programs that use more, on average, make the medians unreliable."""


@command(
    options={"json": Option("Print a JSON object for each size, precision and device on standard output.", LOGGING)},
    examples=(
        "glpn bench",
        "glpn bench --size 480x640 --precision float32 --precision bfloat16",
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
                Predictor(subject, runtime),
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
            if result.other_cores is not None and result.other_cores > _IDLE_CORES:
                console.note(
                    f"the machine was not idle: other programs used {result.other_cores:.1f} cores; "
                    "trust the fastest round more than the median"
                )
            measured.append(result)
    finally:  # what was measured before an error or an interrupt is shown
        if measured and not json:
            for table in _tables(measured):
                console.table(table)


def _tables(measured: list[Measurement]) -> Iterator[Table]:
    """Yield the table of stages, and that of other runtimes if there are any."""
    stages = Table(title="milliseconds, median of the rounds", title_justify="left")
    headings = (
        "size",
        "input",
        "precision",
        "device",
        *measured[0].stages,
        "total",
        "fastest",
        "slowest",
        "per second",
        "MiB",
    )
    for heading in headings:
        stages.add_column(heading, justify="right")
    for case in measured:
        stages.add_row(
            f"{case.height_px}x{case.width_px}",
            format_size(case.network_size),
            case.precision,
            case.device if case.device != "cpu" else f"cpu, {case.threads} threads",
            *(f"{1000 * timing.median_s:.1f}" for timing in case.stages.values()),
            f"{1000 * case.whole.median_s:.1f}",
            f"{1000 * case.whole.fastest_s:.1f}",
            f"{1000 * case.whole.slowest_s:.1f}",
            f"{case.images_per_second:.2f}",
            "" if case.peak_bytes is None else f"{case.peak_bytes / _MIB:.0f}",
        )
    yield stages
    if not any(case.comparisons for case in measured):
        return
    rivals = Table(title="the network alone, in alternation", title_justify="left")
    headings = ("size", "ours", "against", "its ms", "ratio", "of fastest", "largest error", "mean relative error")
    for heading in headings:
        rivals.add_column(heading, justify="right")
    for case in measured:
        for comparison in case.comparisons:
            rivals.add_row(
                f"{case.height_px}x{case.width_px}",
                f"{case.precision}, {case.device}",
                f"{comparison.rival}: {comparison.precision}, {comparison.device}",
                f"{1000 * comparison.timing.median_s:.1f}",
                f"{comparison.ratio:.2f}",
                f"{comparison.fastest_ratio:.2f}",
                f"{comparison.max_error:.1e}",
                f"{comparison.mean_relative_error:.1e}",
            )
    yield rivals

"""`glpn bench`: how fast depth is on this machine."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from glpn_cli.cli.download_progress import DownloadProgress
from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.options.bench import (
    Against,
    BenchDevices,
    BenchPrecisions,
    BenchWeights,
    ImageSizes,
    JsonCases,
    Rounds,
)
from glpn_cli.cli.options.network import (
    Offline,
    Threads,
)
from glpn_cli.cli.options.talk import TalkOptions
from glpn_cli.errors import UsageError
from glpn_cli.settings import MAX_IMAGE_PIXELS, BenchSettings, Precision, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.benchmark.stages import Measurement


_DEFAULTS = BenchSettings()
_MIB = 2**20
_LONGEST_JPEG_PX = 65_500


@with_option_groups
def bench(
    *,
    sizes: ImageSizes = None,
    precisions: BenchPrecisions = None,
    against: Against = None,
    rounds: Rounds = _DEFAULTS.rounds,
    weights: BenchWeights = _DEFAULTS.weights,
    offline: Offline = False,
    devices: BenchDevices = None,
    threads: Threads = None,
    json_lines: JsonCases = False,
    talk: TalkOptions,
) -> None:
    """Measure how fast depth is on this machine.

    Milliseconds are medians of several rounds on a made-up photo; rivals take turns with us.
    """
    console = talk.console()
    with console.errors_reported():
        cases = [
            (_parse_size(size), precision, device)
            for device in dict.fromkeys(devices or [_DEFAULTS.device])
            for size in sizes or _DEFAULTS.sizes
            for precision in precisions or [Precision.FLOAT32]
        ]
        from glpn_cli.benchmark.rivals import check_installed
        from glpn_cli.benchmark.stages import load_subject, measure
        from glpn_cli.device import choose_runtime
        from glpn_cli.inference.predictor import Predictor

        runtimes = {case[1:]: choose_runtime(case[2], case[1], threads) for case in cases}
        subject = load_subject(weights, offline=offline, watcher=DownloadProgress(console))
        measured: list[Measurement] = []
        wanted = list(dict.fromkeys(against or []))
        for rival in wanted:  # known now, and not after the first of many cases
            check_installed(rival)
        try:
            for (height_px, width_px), precision, device in cases:
                runtime = runtimes[precision, device]
                console.say(f"measuring {height_px}x{width_px}, {precision}, {runtime.device}")
                result = measure(
                    Predictor(subject, runtime),
                    subject.network,
                    height_px=height_px,
                    width_px=width_px,
                    rounds=rounds,
                    rivals=wanted,
                    tell=console.note,
                )
                for stage, took in result.stages.items():
                    console.detail(f"  {stage}: {1000 * took.fastest_s:.1f} to {1000 * took.slowest_s:.1f} ms")
                if json_lines:
                    console.data(json.dumps(asdict(result) | {"images_per_second": result.images_per_second}))
                measured.append(result)
        finally:  # what was measured before an error or an interrupt is worth the same
            if measured and not json_lines:
                for table in _tables(measured):
                    console.table(table)


def _parse_size(text: str) -> tuple[int, int]:
    """Read the size of a photo, which is a JPEG and one that predict takes."""
    size = parse_size(text)
    if max(size) > _LONGEST_JPEG_PX or math.prod(size) > MAX_IMAGE_PIXELS:
        raise UsageError(f"--size {text} is larger than a photo can be")
    return size


def _tables(measured: list[Measurement]) -> Iterator[Table]:
    """Give the stages, and then who is faster by how much."""
    stages = Table(title="milliseconds, median of the rounds", title_justify="left")
    for heading in (
        "size",
        "seen as",
        "precision",
        "device",
        *measured[0].stages,
        "whole",
        "spread",
        "per second",
        "MiB",
    ):
        stages.add_column(heading, justify="right")
    for case in measured:
        stages.add_row(
            f"{case.height_px}x{case.width_px}",
            "{}x{}".format(*case.network_size),
            case.precision,
            case.device if case.device != "cpu" else f"cpu, {case.threads} threads",
            *(f"{1000 * timing.median_s:.1f}" for timing in case.stages.values()),
            f"{1000 * case.whole.median_s:.1f}",
            f"{1000 * case.whole.fastest_s:.1f} to {1000 * case.whole.slowest_s:.1f}",
            f"{case.images_per_second:.2f}",
            "" if case.peak_bytes is None else f"{case.peak_bytes / _MIB:.0f}",
        )
    yield stages
    if not any(case.comparisons for case in measured):
        return
    rivals = Table(title="the network alone, in turns", title_justify="left")
    for heading in ("size", "ours", "against", "its ms", "ratio", "largest error", "mean relative error"):
        rivals.add_column(heading, justify="right")
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
    yield rivals

"""Measure whole processes of glpn while another process keeps one core busy, relative to an idle machine.

Runs with and without the other process alternate; the result is the ratio of the medians.

    python benchmarks/busy.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import processes
import results

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = {"one image": 1, "30 images": 30}
PRECISIONS = ("float32", "bfloat16")


@contextmanager
def busy_core(*, is_busy: bool) -> Iterator[None]:
    """Keep one core busy, if asked to."""
    if not is_busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure_case(folder: Path, weights: Path, count: int, rounds: int) -> dict[str, Any]:
    """Measure one number of images in all precisions."""
    photos = folder / f"photos-{count}"
    processes.write_photos(photos, count, 480, 640)
    options = ["--weights", str(weights), "--input-size", "native", "--offline", "--device", "cpu", "--quiet"]
    source = ["predict", str(next(photos.iterdir()))] if count == 1 else ["batch", str(photos)]
    seconds: dict[str, dict[bool, list[float]]] = {name: {False: [], True: []} for name in PRECISIONS}
    load_before = results.load_now()
    for round_number in range(rounds):
        for precision in PRECISIONS:
            for is_busy in (False, True):
                out = folder / f"out-{count}-{round_number}-{precision}-{is_busy}"
                with busy_core(is_busy=is_busy):
                    command = [*processes.GLPN, *source, "-o", f"{out}/", "--precision", precision, *options]
                    seconds[precision][is_busy].append(processes.run(command).seconds)
    rows = {
        precision: {
            "idle_s": statistics.median(times[False]),
            "busy_s": statistics.median(times[True]),
            "fastest_busy_s": min(times[True]),
            "slowest_busy_s": max(times[True]),
            "ratio": statistics.median(times[True]) / statistics.median(times[False]),
        }
        for precision, times in seconds.items()
    }
    return {"load_before": load_before, "load_after": results.load_now(), "rounds": rounds, "precisions": rows}


def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    results.add_options(parser, "busy")
    arguments = parser.parse_args()
    out = results.results_file("busy", quick=arguments.quick, out=arguments.out)
    report = results.load(out) or {"cases": {}}
    machine = results.describe_machine(results.torch_threads())
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "weights"
        processes.write_weights(weights, "tiny" if arguments.quick else "published")
        for case, count in CASES.items():
            count_now, rounds = (min(count, 3), 1) if arguments.quick else (count, arguments.rounds)
            measured = measure_case(Path(name), weights, count_now, rounds)
            report["cases"][case] = {"machine": machine, **measured}
            results.save(out, report)
            for precision, row in measured["precisions"].items():
                print(f"{case:10s} {precision:9s} {row['idle_s']:.2f} s idle, {row['busy_s']:.2f} s busy", flush=True)


if __name__ == "__main__":
    main()

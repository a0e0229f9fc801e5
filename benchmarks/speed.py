"""Measure the speed of the network, here, in OpenVINO and in torch.compile, relative to transformers eager float32.

All implementations run in one process with the same weights, images and threads. They alternate for several rounds; in
each turn the second of two passes is timed. The result is the ratio of the medians. Use an idle machine: one other busy
process makes two-threaded runs many times slower. The output includes the load average.

    python benchmarks/speed.py
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from typing import TYPE_CHECKING, Any

import networks
import results
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

CASES = {
    "480x640": (1, 480, 640),
    "480x640, 4": (4, 480, 640),
    "352x1216": (1, 352, 1216),
    "1056x1920": (1, 1056, 1920),
}
QUICK = "64x96"


def measure(runners: dict[str, Callable[[Tensor], Tensor]], images: Tensor, rounds: int) -> dict[str, list[float]]:
    """Return the time of every round for every runner, in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run(images)  # the first pass allocates memory and selects algorithms
    for _ in range(rounds):
        for name, run in runners.items():
            run(images)  # untimed: brings the weights back into the caches
            start = time.perf_counter()
            run(images)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def errors(found: Tensor, expected: Tensor, max_depth: float) -> dict[str, float]:
    """Return the largest difference as a fraction of the depth range, and the mean relative difference."""
    difference = (found - expected).abs()
    return {
        "max_of_range": (difference.max() / max_depth).item(),
        "mean_relative": (difference / expected).mean().item(),
    }


def measure_case(pair: Any, initial: Any, name: str, rounds: int) -> dict[str, Any]:
    """Measure one input size in every implementation that is installed."""
    batch, height, width = CASES.get(name, (1, 64, 96))
    images = networks.random_images(batch, height, width)
    runners = {runner: _build(runner, pair, height, width) for runner in networks.list_runners()}
    load_before = results.load_now()
    seconds = measure(runners, images, rounds)
    load_after = results.load_now()
    base = statistics.median(seconds["transformers float32"])
    expected = runners["transformers float32"](images)
    expected_initial = networks.build_transformers(initial.theirs)(images)
    rows = {}
    for runner, times in seconds.items():
        median = statistics.median(times)
        row = {
            "median_s": median,
            "fastest_s": min(times),
            "slowest_s": max(times),
            "ratio": base / median,
            "ratio_of_fastest": min(seconds["transformers float32"]) / min(times),
            "error": errors(runners[runner](images), expected, pair.ours.config.max_depth),
        }
        if runner.startswith("glpn"):
            row["error_initial"] = errors(
                _build(runner, initial, height, width)(images), expected_initial, pair.ours.config.max_depth
            )
        rows[runner] = row
        print(
            f"{name:12s} {runner:32s} {1000 * median:8.0f} ms ({1000 * min(times):.0f} to {1000 * max(times):.0f}) "
            f"{row['ratio']:5.2f}x, fastest {row['ratio_of_fastest']:5.2f}x, "
            f"mean relative error {row['error']['mean_relative']:.1e}",
            flush=True,
        )
    print(f"{name:12s} load {load_before:.1f} before, {load_after:.1f} after", flush=True)
    return {"runners": rows, "load_before": load_before, "load_after": load_after, "rounds": rounds}


def _build(runner: str, pair: Any, height: int, width: int) -> Callable[[Tensor], Tensor]:
    implementation, _, precision = runner.rpartition(" ")
    if implementation == "glpn":
        return networks.build_engine(pair, precision)
    if implementation == "glpn openvino":
        return networks.build_openvino_engine(pair, precision)
    return networks.build_reference(runner, pair.theirs, height, width)


@torch.no_grad()
def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=7, help="at most 3 of the largest size; default: %(default)s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    results.add_options(parser, "speed")
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(arguments.threads)
    architecture = "tiny" if quick else "published"
    pair, initial = networks.build_pair("parity", architecture), networks.build_pair("initial", architecture)
    out = results.results_file("speed", quick=quick, out=arguments.out)
    report = results.load(out) or {"cases": {}}
    for name in [QUICK] if quick else arguments.cases:
        rounds = 2 if quick else arguments.rounds if "1056" not in name else min(arguments.rounds, 3)
        measured = measure_case(pair, initial, name, rounds)
        report["cases"][name] = {"machine": results.describe_machine(arguments.threads), **measured}
        results.save(out, report)
        torch.compiler.reset()
        gc.collect()


if __name__ == "__main__":
    main()

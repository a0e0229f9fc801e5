"""Measure how many times faster than transformers eager float32 the network runs: here, and in OpenVINO.

All run in one process with the same weights, pictures and threads, in turn, for some rounds; of two passes in each
turn the second is measured, and what counts is the ratio of the medians. Run it on an idle machine: a second process
on a core makes two-threaded runs many times slower, and the lines that this prints show the load.

    python benchmarks/speed.py
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from importlib.util import find_spec
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
PRECISIONS = ("float32", "bfloat16")


def measure(runners: dict[str, Callable[[Tensor], Tensor]], pictures: Tensor, rounds: int) -> dict[str, list[float]]:
    """Give the seconds of every round of every runner."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run(pictures)  # the first pass allocates and decides
    for _ in range(rounds):
        for name, run in runners.items():
            run(pictures)  # so that nobody pays for what the one before has left in the caches
            start = time.perf_counter()
            run(pictures)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def errors(found: Tensor, wanted: Tensor, max_depth: float) -> dict[str, float]:
    """Compare with the reference: the largest difference as a share of the range, and the mean relative one."""
    difference = (found - wanted).abs()
    return {"max_of_range": (difference.max() / max_depth).item(), "mean_relative": (difference / wanted).mean().item()}


def measure_case(pair: Any, initial: Any, name: str, rounds: int, threads: int, *, openvino: bool) -> dict[str, Any]:
    """Measure one size in every implementation."""
    batch, height, width = CASES.get(name, (1, 64, 96))
    pictures = networks.draw_pictures(batch, height, width)
    runners = {"transformers float32": networks.build_transformers(pair)}
    for precision in PRECISIONS:
        runners[f"glpn {precision}"] = networks.build_engine(pair, precision)
        if openvino:
            runners[f"openvino {precision}"] = networks.build_openvino(pair, precision, height, width, threads)
    load_before = results.load_now()
    seconds = measure(runners, pictures, rounds)
    load_after = results.load_now()
    base = statistics.median(seconds["transformers float32"])
    wanted = runners["transformers float32"](pictures)
    wanted_initial = networks.build_transformers(initial)(pictures)
    rows = {}
    for runner, taken in seconds.items():
        median = statistics.median(taken)
        row = {
            "median_s": median,
            "fastest_s": min(taken),
            "slowest_s": max(taken),
            "ratio": base / median,
            "ratio_of_fastest": min(seconds["transformers float32"]) / min(taken),
            "error": errors(runners[runner](pictures), wanted, pair.ours.config.max_depth),
        }
        if runner.startswith("glpn"):
            engine = networks.build_engine(initial, runner.split()[1])
            row["error_initial"] = errors(engine(pictures), wanted_initial, pair.ours.config.max_depth)
        rows[runner] = row
        print(
            f"{name:12s} {runner:22s} {1000 * median:8.0f} ms ({1000 * min(taken):.0f} to {1000 * max(taken):.0f}) "
            f"{row['ratio']:5.2f}x, fastest {row['ratio_of_fastest']:5.2f}x, "
            f"mean relative error {row['error']['mean_relative']:.1e}",
            flush=True,
        )
    print(f"{name:12s} load {load_before:.1f} before, {load_after:.1f} after", flush=True)
    return {"runners": rows, "load_before": load_before, "load_after": load_after, "rounds": rounds}


@torch.no_grad()
def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    results.add_options(parser, "speed")
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(arguments.threads)
    architecture = "tiny" if quick else "published"
    pair, initial = networks.build_pair("parity", architecture), networks.build_pair("initial", architecture)
    out = results.place("speed", quick=quick, out=arguments.out)
    report = results.load(out) or {"cases": {}}
    for name in [QUICK] if quick else arguments.cases:
        rounds = 2 if quick else max(5, arguments.rounds if "1056" not in name else 5)
        measured = measure_case(
            pair, initial, name, rounds, arguments.threads, openvino=find_spec("openvino") is not None
        )
        report["cases"][name] = {"machine": results.describe_machine(arguments.threads), **measured}
        results.save(out, report)
        gc.collect()


if __name__ == "__main__":
    main()

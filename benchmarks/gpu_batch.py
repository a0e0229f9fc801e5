"""Measure `glpn batch` of JPEGs on a GPU: images per second, and the share of the time in which the card is busy.

nvidia-smi samples the card. The busy share counts from the first sample in which the card is busy, so it excludes the
start of the process and the loading of the weights.

    python benchmarks/gpu_batch.py
    python benchmarks/gpu_batch.py --device cpu --quick
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import processes
import results

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = 1000
PRECISIONS = ("float32", "bfloat16")
SAMPLE = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "--loop-ms=200"]


def busy_share(percentages: list[float]) -> float | None:
    """Return the mean of the samples from the first to the last in which the card is busy; None without any."""
    after_start = list(dropwhile(lambda value: value == 0, percentages))
    between = list(dropwhile(lambda value: value == 0, reversed(after_start)))
    return statistics.mean(between) / 100 if between else None


@contextmanager
def sampled(*, is_cuda: bool) -> Iterator[list[float]]:
    """Sample the card during the block; the list is filled when the block ends."""
    percentages: list[float] = []
    if not is_cuda:
        yield percentages
        return
    process = subprocess.Popen(SAMPLE, stdout=subprocess.PIPE, text=True)
    try:
        yield percentages
    finally:
        process.terminate()
        output, _ = process.communicate()
        percentages += [float(line) for line in output.split() if line.strip().isdigit()]


def main() -> None:
    """Measure both precisions and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    results.add_options(parser, "gpu_batch")
    arguments = parser.parse_args()
    is_cuda = arguments.device.startswith("cuda")
    if is_cuda:
        import torch

        if not torch.cuda.is_available():
            print("no CUDA device: nothing was measured (to try the script: --device cpu --quick)")
            return
    count, rounds = (4, 1) if arguments.quick else (IMAGES, arguments.rounds)
    out = results.results_file("gpu_batch", quick=arguments.quick, out=arguments.out)
    rows: dict[str, Any] = {}
    load_before = results.load_now()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes.write_weights(folder / "weights", "tiny" if arguments.quick else "published")
        processes.write_photos(folder / "photos", count, 480, 640)
        for precision in PRECISIONS:
            seconds, shares = [], []
            for number in range(rounds):
                options = ["--weights", str(folder / "weights"), "--input-size", "native", "--precision", precision]
                options += ["-o", str(folder / f"out-{precision}-{number}"), "--device", arguments.device, "--quiet"]
                with sampled(is_cuda=is_cuda) as percentages:
                    seconds.append(processes.run([*processes.GLPN, "batch", str(folder / "photos"), *options]).seconds)
                shares.append(busy_share(percentages))
            found = [share for share in shares if share is not None]
            rows[precision] = {
                "median_s": statistics.median(seconds),
                "fastest_s": min(seconds),
                "slowest_s": max(seconds),
                "images_per_s": count / statistics.median(seconds),
                "busy_share": statistics.median(found) if found else None,
            }
            print(precision, rows[precision], flush=True)
    machine = results.describe_machine(results.torch_threads())
    if is_cuda:
        import gpu

        machine["card"] = gpu.Card(arguments.device).describe()
    case = {"machine": machine, "rounds": rounds, "load_before": load_before, "load_after": results.load_now()}
    results.save(out, {"cases": {f"{count} images": case | {"precisions": rows}}})


if __name__ == "__main__":
    main()

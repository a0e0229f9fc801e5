"""Measure the network on a GPU: the engine against transformers, eager and compiled, in both precisions.

All implementations alternate in one process with the same weights and with images that are already on the GPU; in each
turn the second of two passes is timed, including synchronization. TF32 is off. The operations per second of every
implementation are those of the reference divided by the time; the peak is that of large matrix products on that GPU.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --config tiny --quick
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import time
from typing import TYPE_CHECKING, Any

import networks
import results
import torch
from torch.utils.flop_counter import FlopCounterMode

from glpn_cli.device import exact_float32

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    import parity

    Forward = Callable[[Tensor], Tensor]

BATCHES = (1, 8, 32)
PRECISIONS = ("float32", "bfloat16")
KINDS = ("transformers", "transformers compiled", "glpn")
WARM_UPS = 4  # the engine records its CUDA graph in the second pass, torch.compile in the third


class Card:
    """The device, and what differs between a GPU and a CPU."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.is_cuda = self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until all queued work is done."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the time of one call in seconds, including synchronization."""
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - start

    def start_peak_memory(self) -> Callable[[], int | None]:
        """Return a function that returns the peak memory since now, in bytes above the current use; None on a CPU."""
        if not self.is_cuda:
            return lambda: None
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        return lambda: torch.cuda.max_memory_allocated(self.device) - before

    def describe(self) -> dict[str, Any]:
        """Return name and versions."""
        if not self.is_cuda:
            return {"name": "the CPU"}
        found = torch.cuda.get_device_properties(self.device)
        return {
            "name": found.name,
            "memory_bytes": found.total_memory,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }


def gemm_peak(card: Card, precision: str, sizes: tuple[int, ...]) -> float:
    """Return the highest operations per second of products of square matrices."""
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=card.device, dtype=getattr(torch, precision)) for _ in range(2))
        out = torch.mm(a, b)
        for _ in range(10):
            best = max(best, 2 * size**3 / card.seconds(lambda: torch.mm(a, b, out=out)))  # noqa: B023 - called immediately
    return best


def count_operations(pair: parity.Pair, height: int, width: int) -> int:
    """Count the operations of the reference for one image, without running it."""
    theirs = copy.deepcopy(pair.theirs).to("meta")
    with FlopCounterMode(display=False) as counter:
        theirs(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops()


def build(pair: parity.Pair, kind: str, precision: str, card: Card, compile_mode: str) -> Forward:
    """Return a function from float32 images to float32 depth, both on the device."""
    if kind == "glpn":
        return networks.build_engine(pair, precision, str(card.device))
    dtype = getattr(torch, precision)
    theirs = copy.deepcopy(pair.theirs).to(card.device, dtype).eval()

    def depth(pixel_values: Tensor) -> Tensor:
        return theirs(pixel_values).predicted_depth

    if kind == "transformers":
        run: Any = depth
    else:
        run = torch.compile(depth, dynamic=False, mode=compile_mode if card.is_cuda else "default")
    # Copied, because the next pass may overwrite the output of a CUDA graph.
    return lambda images: run(images.to(dtype)).to(torch.float32, copy=True)


def uses_graph(engine: Any) -> bool:
    """Return whether the engine replays a CUDA graph. If recording fails, it silently runs without one."""
    return bool(engine.graphs and engine.graphs.shapes and engine.graphs.recorded_shapes == engine.graphs.shapes)


def compare(found: Tensor, expected: Tensor, max_depth: float) -> dict[str, float]:
    """Return the largest difference as a fraction of the depth range, and the mean relative difference."""
    difference = (found - expected).abs()
    return {
        "max_of_range": (difference.max() / max_depth).item(),
        "mean_relative": (difference / expected).mean().item(),
    }


def measure_batch(pair: parity.Pair, card: Card, images: Tensor, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all runners with one batch. A runner that fails has an error message instead of numbers."""
    torch.compiler.reset()
    rows: dict[str, dict[str, Any]] = {}
    runners: dict[str, Forward] = {}
    expected: Tensor | None = None
    for precision in PRECISIONS:
        for kind in KINDS:
            name = f"{kind} {precision}"
            rows[name] = row = {"kind": kind, "precision": precision}
            peak = card.start_peak_memory()
            try:
                run = build(pair, kind, precision, card, options.compile_mode)
                for _ in range(WARM_UPS):
                    found = run(images)
                card.wait()
            except Exception as error:  # noqa: BLE001 - a compiler may raise anything; measure the others
                row["failed"] = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
                print(f"batch {len(images)}: {name} failed: {row['failed']}", flush=True)
                continue
            row["peak_bytes"] = peak()
            if kind == "glpn" and card.is_cuda:
                row["graph"] = uses_graph(run)
            expected = found if expected is None else expected
            row["error"] = compare(found, expected, pair.ours.config.max_depth)
            runners[name] = run
            del found
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(options.rounds):
        for name, run in runners.items():
            run(images)  # untimed: brings the weights back into the caches
            seconds[name].append(card.seconds(lambda: run(images)))  # noqa: B023 - called immediately
    for name, times in seconds.items():
        rows[name] |= {"median_s": statistics.median(times), "fastest_s": min(times), "slowest_s": max(times)}
    return rows


def add_ratios(rows: dict[str, dict[str, Any]], batch: int, operations: int, peaks: dict[str, float]) -> None:
    """Add the values derived from each time."""
    for name, row in rows.items():
        if "median_s" not in row:
            continue
        for kind in ("transformers", "transformers compiled"):
            base = rows[f"{kind} {row['precision']}"].get("median_s")
            row[f"ratio to {kind}"] = base / row["median_s"] if base else None
        row["images_per_s"] = batch / row["median_s"]
        row["operations_per_s"] = batch * operations / row["median_s"]
        row["share_of_peak"] = row["operations_per_s"] / peaks[row["precision"]]
        print(
            f"batch {batch:2d} {name:30s} {1000 * row['median_s']:8.2f} ms {row['images_per_s']:8.1f} images/s "
            f"{row['operations_per_s'] / 1e12:6.2f} TFLOP/s ({100 * row['share_of_peak']:.0f} % of peak), "
            f"mean relative error {row['error']['mean_relative']:.1e}",
            flush=True,
        )


@torch.no_grad()
def main() -> None:
    """Measure all batches and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="default: cuda, if available")
    parser.add_argument("--config", choices=("published", "default", "tiny"), help="default: published")
    parser.add_argument("--batches", nargs="+", type=int, metavar="N", help="default: 1 8 32")
    parser.add_argument("--rounds", type=int, help="default: 20")
    parser.add_argument("--compile-mode", default="reduce-overhead", help="mode of torch.compile; default: %(default)s")
    results.add_options(parser, "gpu")
    options = parser.parse_args()
    if options.device is None and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured (to try the script: --device cpu --config tiny --quick)")
        return
    quick = options.quick
    card = Card(options.device or "cuda")
    height, width = (64, 96) if quick else (480, 640)
    batches = options.batches or ((1, 2) if quick else BATCHES)
    options.rounds = options.rounds or (2 if quick else 20)
    config = options.config or ("tiny" if quick else "published")
    out = results.results_file("gpu", quick=quick, out=options.out)
    report = results.load(out)
    pair = networks.build_pair("parity", config)
    machine = results.describe_machine(torch.get_num_threads()) | {"card": card.describe()}
    with exact_float32():
        sizes = (4096, 8192) if card.is_cuda else (512,)
        peaks = {precision: gemm_peak(card, precision, sizes) for precision in PRECISIONS}
        operations = count_operations(pair, height, width)
        for batch in batches:
            load_before = results.load_now()
            images = networks.random_images(batch, height, width).to(card.device)
            rows = measure_batch(pair, card, images, options)
            add_ratios(rows, batch, operations, peaks)
            loads = {"load_before": load_before, "load_after": results.load_now(), "rounds": options.rounds}
            report.setdefault("cases", {})[f"batch {batch}"] = {
                "machine": machine,
                "config": config,
                "size": f"{height}x{width}",
                "operations_per_image": operations,
                "gemm_peaks": peaks,
                "compile_mode": options.compile_mode,
                "runners": rows,
                **loads,
            }
            results.save(out, report)


if __name__ == "__main__":
    main()

"""Measure the network on a GPU: the engine against transformers, eager and compiled, in both precisions.

All take turns in one process with the same weights and pictures, which lie on the card already; of two passes in each
turn the second is measured, to its end. TF32 stays off. What a pass achieves is the multiplications and additions of
the reference divided by the time, whoever computes; its share is of what large products reach on the same card.

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
WARM_UPS = 4  # a graph is recorded at the second pass, and compilers record theirs at the third


class Card:
    """The device, and what differs between a card and a CPU."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.is_cuda = self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until everything asked for is computed."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Time one call, to its end."""
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - start

    def begin_to_watch(self) -> Callable[[], int | None]:
        """Give a function that says how many bytes were in use at most since now, beyond those in use now."""
        if not self.is_cuda:
            return lambda: None
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        return lambda: torch.cuda.max_memory_allocated(self.device) - before

    def describe(self) -> dict[str, Any]:
        """Say which it is."""
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
    """Give the most operations per second that products of square matrices reach here."""
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=card.device, dtype=getattr(torch, precision)) for _ in range(2))
        out = torch.mm(a, b)
        for _ in range(10):
            best = max(best, 2 * size**3 / card.seconds(lambda: torch.mm(a, b, out=out)))  # noqa: B023 - called here
    return best


def count_operations(pair: parity.Pair, height: int, width: int) -> int:
    """Count the multiplications and additions of one picture in the reference, without computing them."""
    theirs = copy.deepcopy(pair.theirs).to("meta")
    with FlopCounterMode(display=False) as counter:
        theirs(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops()


def build(pair: parity.Pair, kind: str, precision: str, card: Card, compile_mode: str) -> Forward:
    """Give one runner, a function from float32 pictures on the device to float32 depth there."""
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
    return lambda pictures: run(pictures.to(dtype)).to(torch.float32, copy=True)  # the next pass may write over it


def was_recorded(engine: Any) -> bool:
    """Say whether the engine replays a graph; where it cannot record one, it runs as it is and says nothing."""
    passes = engine._forward_or_graph._passes.values()  # noqa: SLF001 - only measurements ask
    return bool(passes) and all(found is not None and found[0] != engine._forward for found in passes)  # noqa: SLF001


def compare(found: Tensor, wanted: Tensor, max_depth: float) -> dict[str, float]:
    """Give the largest difference as a share of the range, and the mean relative one."""
    difference = (found - wanted).abs()
    return {"max_of_range": (difference.max() / max_depth).item(), "mean_relative": (difference / wanted).mean().item()}


def measure_batch(pair: parity.Pair, card: Card, pictures: Tensor, options: argparse.Namespace) -> dict[str, Any]:
    """Measure everybody with one batch; who fails has the reason instead of numbers."""
    torch.compiler.reset()
    rows: dict[str, dict[str, Any]] = {}
    runners: dict[str, Forward] = {}
    wanted: Tensor | None = None
    for precision in PRECISIONS:
        for kind in KINDS:
            name = f"{kind} {precision}"
            rows[name] = row = {"kind": kind, "precision": precision}
            peak = card.begin_to_watch()
            try:
                run = build(pair, kind, precision, card, options.compile_mode)
                for _ in range(WARM_UPS):
                    found = run(pictures)
                card.wait()
            except Exception as error:  # noqa: BLE001 - a compiler may raise anything, and the others go on
                row["failed"] = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
                print(f"batch {len(pictures)}: {name} failed: {row['failed']}", flush=True)
                continue
            row["peak_bytes"] = peak()
            if kind == "glpn" and card.is_cuda:
                row["graph"] = was_recorded(run)
            wanted = found if wanted is None else wanted
            row["error"] = compare(found, wanted, pair.ours.config.max_depth)
            runners[name] = run
            del found
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(options.rounds):
        for name, run in runners.items():
            run(pictures)  # so that nobody pays for what the one before has left in the caches
            seconds[name].append(card.seconds(lambda: run(pictures)))  # noqa: B023 - called here
    for name, taken in seconds.items():
        rows[name] |= {"median_s": statistics.median(taken), "fastest_s": min(taken), "slowest_s": max(taken)}
    return rows


def add_ratios(rows: dict[str, dict[str, Any]], batch: int, operations: int, peaks: dict[str, float]) -> None:
    """Put beside each time what follows from it."""
    for name, row in rows.items():
        if "median_s" not in row:
            continue
        for kind in ("transformers", "transformers compiled"):
            base = rows[f"{kind} {row['precision']}"].get("median_s")
            row[f"ratio to {kind}"] = base / row["median_s"] if base else None
        row["pictures_per_s"] = batch / row["median_s"]
        row["operations_per_s"] = batch * operations / row["median_s"]
        row["share_of_peak"] = row["operations_per_s"] / peaks[row["precision"]]
        print(
            f"batch {batch:2d} {name:30s} {1000 * row['median_s']:8.2f} ms {row['pictures_per_s']:8.1f} pictures/s "
            f"{row['operations_per_s'] / 1e12:6.2f} TFLOP/s ({100 * row['share_of_peak']:.0f} % of the peak), "
            f"mean relative error {row['error']['mean_relative']:.1e}",
            flush=True,
        )


@torch.no_grad()
def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="default: cuda, where there is one")
    parser.add_argument("--config", choices=("published", "default", "tiny"), help="default: published")
    parser.add_argument("--batches", nargs="+", type=int, metavar="N", help="default: 1 8 32")
    parser.add_argument("--rounds", type=int, help="default: 20")
    parser.add_argument("--compile-mode", default="reduce-overhead", help="of torch.compile; default: %(default)s")
    results.add_options(parser, "gpu")
    options = parser.parse_args()
    if options.device is None and not torch.cuda.is_available():
        print("no CUDA device here: nothing is measured (--device cpu --config tiny --quick tries the script)")
        return
    quick = options.quick
    card = Card(options.device or "cuda")
    height, width = (64, 96) if quick else (480, 640)
    batches = options.batches or ((1, 2) if quick else BATCHES)
    options.rounds = options.rounds or (2 if quick else 20)
    config = options.config or ("tiny" if quick else "published")
    out = results.place("gpu", quick=quick, out=options.out)
    report = results.load(out)
    pair = networks.build_pair("parity", config)
    machine = results.describe_machine(torch.get_num_threads()) | {"card": card.describe()}
    with exact_float32():
        sizes = (4096, 8192) if card.is_cuda else (512,)
        peaks = {precision: gemm_peak(card, precision, sizes) for precision in PRECISIONS}
        operations = count_operations(pair, height, width)
        for batch in batches:
            load_before = results.load_now()
            pictures = networks.draw_pictures(batch, height, width).to(card.device)
            rows = measure_batch(pair, card, pictures, options)
            add_ratios(rows, batch, operations, peaks)
            loads = {"load_before": load_before, "load_after": results.load_now(), "rounds": options.rounds}
            report.setdefault("cases", {})[f"batch {batch}"] = {
                "machine": machine,
                "config": config,
                "size": f"{height}x{width}",
                "operations_of_a_picture": operations,
                "gemm_peaks": peaks,
                "compile_mode": options.compile_mode,
                "runners": rows,
                **loads,
            }
            results.save(out, report)


if __name__ == "__main__":
    main()

"""Measure the peak memory of a process that loads weights from a file and predicts one image, for several sizes.

Each measurement needs a new process, because the peak of a process never decreases.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import networks
import results
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SIZES = {"1056x1920": (1056, 1920), "2144x3840": (2144, 3840)}
WITH_REFERENCE = ("1056x1920", "64x96")
"""Sizes at which the reference fits into memory: at 2144x3840 the scores of its first layer alone take 16.5 GB."""

QUICK = "64x96"


def peak_bytes() -> int:
    """Return the peak resident memory of this process, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def build_runner(runner: str, weights: str, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """Load weights from a folder and return a function that predicts depth."""
    implementation, _, precision = runner.rpartition(" ")
    if implementation.startswith("glpn"):
        from glpn_cli.device import choose_runtime
        from glpn_cli.inference.engine.engine import Engine
        from glpn_cli.inference.openvino.engine import OpenvinoEngine
        from glpn_cli.model.glpn import GLPNForDepthEstimation

        runtime, network = choose_runtime("cpu", precision), GLPNForDepthEstimation.from_pretrained(weights)
        if implementation == "glpn":
            return Engine(network, runtime, consume=True)
        stored = Path(weights) / "openvino"
        return OpenvinoEngine(network, runtime, weights_digest=lambda: "benchmark", folder=stored)

    from transformers import GLPNForDepthEstimation as Reference

    return networks.build_reference(runner, Reference.from_pretrained(weights).eval(), height, width)


def measure_here(runner: str, weights: str, height: int, width: int) -> dict[str, float]:
    """Load weights and predict in this process."""
    predict = build_runner(runner, weights, height, width)
    after_building = peak_bytes()
    with torch.no_grad():
        predict(networks.random_images(1, height, width))
    return {"after_building_bytes": after_building, "peak_bytes": peak_bytes()}


def main() -> None:
    """Measure every size and implementation and write the results; with --one, measure one and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES), metavar="SIZE")
    parser.add_argument("--one", nargs=4, metavar=("RUNNER", "WEIGHTS", "HEIGHT", "WIDTH"), help=argparse.SUPPRESS)
    results.add_options(parser, "memory")
    arguments = parser.parse_args()
    if arguments.one:
        runner, weights, height, width = arguments.one
        print(json.dumps(measure_here(runner, weights, int(height), int(width))))
        return
    quick = arguments.quick
    out = results.results_file("memory", quick=quick, out=arguments.out)
    report = results.load(out)
    architecture = "tiny" if quick else "published"
    with tempfile.TemporaryDirectory() as folder:
        write = f"import networks; networks.build_pair('initial', {architecture!r}).ours.save_pretrained({folder!r})"
        subprocess.run([sys.executable, "-c", write], check=True, cwd=Path(__file__).parent)
        machine = results.describe_machine(results.torch_threads())
        for name in [QUICK] if quick else arguments.sizes:
            case = {"machine": machine, "load_before": results.load_now(), "rounds": 1, "runners": {}}
            for runner in networks.list_runners(with_reference=name in WITH_REFERENCE):
                if runner.startswith("glpn openvino"):  # stores the converted network, as the first run of a user does
                    measure(runner, folder, (64, 96))
                case["runners"][runner] = measured = measure(runner, folder, SIZES.get(name, (64, 96)))
                print(f"{name} {runner}: {measured['peak_bytes'] / 1e9:.2f} GB", flush=True)
            report.setdefault("cases", {})[name] = case | {"load_after": results.load_now()}
            results.save(out, report)


def measure(runner: str, weights: str, size: tuple[int, int]) -> dict[str, float]:
    """Measure in a new process."""
    command = [sys.executable, __file__, "--one", runner, weights, *map(str, size)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()

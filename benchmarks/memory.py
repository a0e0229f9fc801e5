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
import time
from pathlib import Path

import results

SIZES = {"1056x1920": (1056, 1920), "2144x3840": (2144, 3840), "2976x4000": (2976, 4000)}
QUICK = "64x96"
PRECISIONS = ("float32", "bfloat16")


def peak_bytes() -> int:
    """Return the peak resident memory of this process, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure_here(weights: str, height: int, width: int, precision: str) -> dict[str, float]:
    """Load weights and predict in this process."""
    import networks

    from glpn_cli.device import choose_runtime
    from glpn_cli.inference.engine.engine import Engine
    from glpn_cli.model.glpn import GLPNForDepthEstimation

    after_import = peak_bytes()
    runtime = choose_runtime("cpu", precision)
    engine = Engine(GLPNForDepthEstimation.from_pretrained(weights), runtime, consume=True)
    after_building = peak_bytes()
    images = networks.random_images(1, height, width)
    start = time.perf_counter()
    engine(images)
    return {
        "after_import_bytes": after_import,
        "after_building_bytes": after_building,
        "peak_bytes": peak_bytes(),
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    """Measure every size and precision and write the results; with --one, measure one and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES), metavar="SIZE")
    parser.add_argument("--one", nargs=4, metavar=("WEIGHTS", "HEIGHT", "WIDTH", "PRECISION"), help=argparse.SUPPRESS)
    results.add_options(parser, "memory")
    arguments = parser.parse_args()
    if arguments.one:
        weights, height, width, precision = arguments.one
        print(json.dumps(measure_here(weights, int(height), int(width), precision)))
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
            case = {"machine": machine, "load_before": results.load_now(), "rounds": 1, "precisions": {}}
            for precision in PRECISIONS:
                one = [folder, *map(str, SIZES.get(name, (64, 96))), precision]
                run = subprocess.run(
                    [sys.executable, __file__, "--one", *one], check=True, capture_output=True, text=True
                )
                measured = json.loads(run.stdout)
                case["precisions"][precision] = measured
                print(f"{name} {precision}: {measured['peak_bytes'] / 1e9:.2f} GB", flush=True)
            report.setdefault("cases", {})[name] = case | {"load_after": results.load_now()}
            results.save(out, report)


if __name__ == "__main__":
    main()

"""Measure the memory of `glpn batch` over many images from outside, and plot it.

benchmarks/steady_memory.py --small 10000 --out build/soak/memory-small.json
benchmarks/steady_memory.py --plot docs/images/steady-memory.svg build/soak/memory-small.json ...
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HUGE_SIZE = (6000, 8000)
_DISTINCT_IMAGES = 40
_MAX_SAMPLES = 200
_KIB_PER_MIB = 1024


def make_small(folder: Path, count: int) -> None:
    """Write small images of forty sizes; the rest are hard links to them."""
    rng = np.random.default_rng(5)
    for index in range(count):
        path = folder / str(index // 500) / f"{index}.{'jpg' if index % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if index < _DISTINCT_IMAGES:
            height, width = (int(side) for side in rng.integers(48, 161, 2))
            Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        else:
            os.link(folder / "0" / f"{index % _DISTINCT_IMAGES}{path.suffix}", path)


def make_huge(folder: Path, count: int) -> None:
    """Write one image of 48 megapixels, and hard links to it."""
    folder.mkdir(parents=True)
    rows, columns = np.ogrid[0 : HUGE_SIZE[0], 0 : HUGE_SIZE[1]]
    rgb = np.stack(np.broadcast_arrays(rows % 251, columns % 241, (rows + columns) % 256), axis=-1)
    Image.fromarray(rgb.astype(np.uint8)).save(folder / "0.jpg", quality=85)
    for index in range(1, count):
        os.link(folder / "0.jpg", folder / f"{index}.jpg")


def measure(folder: Path) -> dict[str, Any]:
    """Run a batch over in/ and sample its resident memory and the number of finished images twice a second."""
    command = [sys.executable, "-m", "glpn_cli", "batch", "in", "-o", "out", "-w", "tiny", "-q"]
    start_s = time.monotonic()
    process = subprocess.Popen(command, cwd=folder)
    manifest = folder / "out" / "glpn-batch.jsonl"
    samples: list[tuple[float, int, float]] = []
    while process.poll() is None:
        time.sleep(0.5)
        resident = _resident_mib(process.pid)
        if resident and manifest.exists():
            samples.append((round(time.monotonic() - start_s, 1), _count_lines(manifest), round(resident, 1)))
    if process.returncode:
        raise SystemExit(process.returncode)
    step = max(1, len(samples) // _MAX_SAMPLES)
    return {
        "images": _count_lines(manifest),
        "elapsed_s": round(time.monotonic() - start_s, 1),
        "peak_mib": max(sample[2] for sample in samples),
        "samples": samples[::step],
    }


def _resident_mib(pid: int) -> float:
    output = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return int(output) / _KIB_PER_MIB if output.strip() else 0.0


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def plot(target: Path, sources: list[Path]) -> None:
    """Plot result files of this script or of `make soak`, one panel for each."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "glpn"  # same results, same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(sources), figsize=(9, 3.2), layout="constrained", squeeze=False)
    for axis, source in zip(axes[0], sources, strict=True):
        run = json.loads(source.read_text(encoding="utf-8"))
        _, done, resident = zip(*run["samples"], strict=True)
        axis.plot(done, resident, color="#2266aa", linewidth=1.2)
        axis.set_title(f"{run['images']:,} {run['kind']}", fontsize=10)
        axis.set_xlabel("images done")
        axis.set_ylabel("resident memory, MiB")
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(target, metadata={"Date": None})


def main() -> None:
    """Measure, or plot results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=0, metavar="N", help="N images of 48 to 160 px")
    parser.add_argument("--huge", type=int, default=0, metavar="N", help="N images of 48 megapixels")
    parser.add_argument("--out", type=Path, metavar="JSON")
    parser.add_argument("--plot", type=Path, metavar="IMAGE", help="write a plot of the results")
    parser.add_argument("sources", type=Path, nargs="*", metavar="JSON", help="results to plot")
    arguments = parser.parse_args()
    if arguments.plot:
        plot(arguments.plot, arguments.sources)
        return
    count = arguments.small or arguments.huge
    with tempfile.TemporaryDirectory() as folder:
        (make_small if arguments.small else make_huge)(Path(folder, "in"), count)
        run = measure(Path(folder))
    run["kind"] = "images of 48 to 160 px" if arguments.small else "images of 48 megapixels"
    text = json.dumps(run) + "\n"
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()

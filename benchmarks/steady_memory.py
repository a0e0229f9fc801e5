"""Memory of `glpn batch` over many pictures, watched from outside, and a plot of it.

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
_DISTINCT = 40
_SAMPLES_KEPT = 200
_MIB = 1024


def make_small(folder: Path, count: int) -> None:
    """Make small pictures of forty sizes, the rest by another name for the same file."""
    chance = np.random.default_rng(5)
    for index in range(count):
        path = folder / str(index // 500) / f"{index}.{'jpg' if index % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if index < _DISTINCT:
            height, width = (int(side) for side in chance.integers(48, 161, 2))
            Image.fromarray(chance.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        else:
            os.link(folder / "0" / f"{index % _DISTINCT}{path.suffix}", path)


def make_huge(folder: Path, count: int) -> None:
    """Make one picture of 48 megapixels and give it many names."""
    folder.mkdir(parents=True)
    rows, columns = np.ogrid[0 : HUGE_SIZE[0], 0 : HUGE_SIZE[1]]
    rgb = np.stack(np.broadcast_arrays(rows % 251, columns % 241, (rows + columns) % 256), axis=-1)
    Image.fromarray(rgb.astype(np.uint8)).save(folder / "0.jpg", quality=85)
    for index in range(1, count):
        os.link(folder / "0.jpg", folder / f"{index}.jpg")


def watch(folder: Path) -> dict[str, Any]:
    """Run a batch over in/ and give its resident memory with the number of pictures done, about twice a second."""
    command = [sys.executable, "-m", "glpn_cli", "batch", "in", "--out", "out", "-w", "tiny", "-q"]
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
    step = max(1, len(samples) // _SAMPLES_KEPT)
    return {
        "pictures": _count_lines(manifest),
        "elapsed_s": round(time.monotonic() - start_s, 1),
        "peak_mib": max(sample[2] for sample in samples),
        "samples": samples[::step],
    }


def _resident_mib(pid: int) -> float:
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return int(told) / _MIB if told.strip() else 0.0


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def plot(target: Path, sources: list[Path]) -> None:
    """Draw what was measured, from files of this script or of `make soak`, one picture for each."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "glpn"  # the same measurements make the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(sources), figsize=(9, 3.2), layout="constrained", squeeze=False)
    for axis, source in zip(axes[0], sources, strict=True):
        run = json.loads(source.read_text(encoding="utf-8"))
        _, done, resident = zip(*run["samples"], strict=True)
        axis.plot(done, resident, color="#2266aa", linewidth=1.2)
        axis.set_title(f"{run['pictures']:,} {run['kind']}", fontsize=10)
        axis.set_xlabel("pictures done")
        axis.set_ylabel("resident memory, MiB")
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(target, metadata={"Date": None})


def main() -> None:
    """Measure, or plot what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=0, metavar="N", help="N pictures of 48 to 160 px")
    parser.add_argument("--huge", type=int, default=0, metavar="N", help="N pictures of 48 megapixels")
    parser.add_argument("--out", type=Path, metavar="JSON")
    parser.add_argument("--plot", type=Path, metavar="PICTURE")
    parser.add_argument("sources", type=Path, nargs="*", metavar="JSON", help="what to plot")
    arguments = parser.parse_args()
    if arguments.plot:
        plot(arguments.plot, arguments.sources)
        return
    count = arguments.small or arguments.huge
    with tempfile.TemporaryDirectory() as folder:
        (make_small if arguments.small else make_huge)(Path(folder, "in"), count)
        run = watch(Path(folder))
    run["kind"] = "pictures of 48 to 160 px" if arguments.small else "pictures of 48 megapixels"
    text = json.dumps(run) + "\n"
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()

"""Measure how time and memory of whole processes grow: over the pixels of a picture, and over those in a folder.

Memory is the most that the process had in use at once, as the system counts it. `predict` runs the published
architecture with random weights at the picture's own size, `batch` the bundled tiny.

    python benchmarks/growth.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import processes
import results

SIZES = ((480, 640), (768, 1024), (1056, 1408), (1504, 2016), (2112, 2816), (2976, 4000))
FOLDERS = (10, 30, 100, 300, 1000)
PRECISIONS = ("float32", "bfloat16")
CASES = ("pixels", "folder")


def measure(word: str, photos: Path, options: list[str], times: int) -> dict[str, float]:
    """Run one command so many times: the middle of the seconds, and the highest of the peaks."""
    finished = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as out:
            where = ["--out" if word == "batch" else "--output", f"{out}/"]
            command = [*processes.GLPN, word, str(photos), *where, "--device", "cpu", "--offline", "--quiet", *options]
            finished.append(processes.run(command))
            written = len(list(Path(out).rglob("*.depth.png")))
        wanted = len(list(photos.iterdir()))
        if written != wanted:
            raise SystemExit(f"{word}: {written} pictures were written, not {wanted}")
    return {
        "seconds": statistics.median(one.seconds for one in finished),
        "peak_bytes": max(one.peak_bytes for one in finished),
    }


def measure_pixels(folder: Path, times: int, *, quick: bool) -> dict[str, Any]:
    """Measure one picture in many sizes."""
    processes.write_weights(folder / "weights", "tiny" if quick else "published")
    rows: dict[str, list[dict[str, Any]]] = {}
    for height, width in ((64, 96), (128, 160)) if quick else SIZES:
        photos = folder / f"{height}x{width}"
        processes.write_photos_aside(photos, 1, height, width)
        for precision in PRECISIONS:
            options = ["--weights", str(folder / "weights"), "--input-size", "native", "--precision", precision]
            row = {"height": height, "width": width, **measure("predict", photos, options, times)}
            rows.setdefault(precision, []).append(row)
            print(f"{height}x{width} {precision}: {row['seconds']:.1f} s, {row['peak_bytes'] / 1e9:.2f} GB", flush=True)
    return {"precisions": rows}


def measure_folder(folder: Path, times: int, *, quick: bool) -> dict[str, Any]:
    """Measure folders of many sizes."""
    rows = []
    for count in (2, 4) if quick else FOLDERS:
        photos = folder / f"photos-{count}"
        processes.write_photos_aside(photos, count, 480, 640)
        row = {"pictures": count, **measure("batch", photos, ["--weights", "tiny"], times)}
        rows.append(row)
        print(f"{count} pictures: {row['seconds']:.1f} s, {row['peak_bytes'] / 1e9:.2f} GB", flush=True)
    return {"folders": rows}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; default: %(default)s")
    results.add_options(parser, "growth")
    arguments = parser.parse_args()
    out = results.place("growth", quick=arguments.quick, out=arguments.out)
    report = results.load(out)
    machine = results.describe_machine(results.torch_threads())
    for case in arguments.cases:
        load_before = results.load_now()
        with tempfile.TemporaryDirectory() as folder:
            run = {"pixels": measure_pixels, "folder": measure_folder}[case]
            measured = run(Path(folder), arguments.repeat, quick=arguments.quick)
        loads = {"load_before": load_before, "load_after": results.load_now(), "rounds": arguments.repeat}
        report.setdefault("cases", {})[case] = {"machine": machine, **measured, **loads}
        results.save(out, report)


if __name__ == "__main__":
    main()

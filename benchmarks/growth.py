"""Measure time and memory of whole processes over the size of an image, and over the number of images in a folder.

Memory is the peak resident memory of the process. `predict` uses the published architecture with random weights at
native resolution, `batch` uses the bundled `tiny`.

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


def measure(command: str, photos: Path, options: list[str], repeat: int) -> dict[str, float]:
    """Run a command `repeat` times; return the median time and the highest peak memory."""
    finished = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as out:
            arguments = ["-o", f"{out}/", "--device", "cpu", "--offline", "--quiet", *options]
            finished.append(processes.run([*processes.GLPN, command, str(photos), *arguments]))
            written = len(list(Path(out).rglob("*.depth.png")))
        expected = len(list(photos.iterdir()))
        if written != expected:
            raise SystemExit(f"{command}: wrote {written} images instead of {expected}")
    return {
        "seconds": statistics.median(one.seconds for one in finished),
        "peak_bytes": max(one.peak_bytes for one in finished),
    }


def measure_pixels(folder: Path, repeat: int, *, quick: bool) -> dict[str, Any]:
    """Measure one image in several sizes."""
    processes.write_weights(folder / "weights", "tiny" if quick else "published")
    rows: dict[str, list[dict[str, Any]]] = {}
    for height, width in ((64, 96), (128, 160)) if quick else SIZES:
        photos = folder / f"{height}x{width}"
        processes.write_photos_in_subprocess(photos, 1, height, width)
        for precision in PRECISIONS:
            options = ["--weights", str(folder / "weights"), "--input-size", "native", "--precision", precision]
            row = {"height": height, "width": width, **measure("predict", photos, options, repeat)}
            rows.setdefault(precision, []).append(row)
            print(f"{height}x{width} {precision}: {row['seconds']:.1f} s, {row['peak_bytes'] / 1e9:.2f} GB", flush=True)
    return {"precisions": rows}


def measure_folder(folder: Path, repeat: int, *, quick: bool) -> dict[str, Any]:
    """Measure folders with different numbers of images."""
    rows = []
    for count in (2, 4) if quick else FOLDERS:
        photos = folder / f"photos-{count}"
        processes.write_photos_in_subprocess(photos, count, 480, 640)
        row = {"images": count, **measure("batch", photos, ["--weights", "tiny"], repeat)}
        rows.append(row)
        print(f"{count} images: {row['seconds']:.1f} s, {row['peak_bytes'] / 1e9:.2f} GB", flush=True)
    return {"folders": rows}


def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--repeat", type=int, default=1, help="runs per measurement; default: %(default)s")
    results.add_options(parser, "growth")
    arguments = parser.parse_args()
    out = results.results_file("growth", quick=arguments.quick, out=arguments.out)
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

"""Measure whole processes: glpn against a script that uses transformers' pipeline.

They alternate for several rounds; the result is the ratio of the medians. Both read the same JPEGs and the same weights
(the published architecture, random), run on the CPU with their default number of threads, and write 8-bit PNGs in the
same scale, which are compared.

    python benchmarks/whole.py
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import processes
import results
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = {"one image": 1, "100 images": 100, "tiny": 1}
PRECISIONS = ("float32", "bfloat16")
PIPELINE = "transformers pipeline"
IMPORT = "import torch"

SCRIPT = """\
import sys
from pathlib import Path

from transformers import pipeline

weights, photos, out = sys.argv[1:]
estimate = pipeline("depth-estimation", model=weights, device="cpu")
for photo in sorted(Path(photos).glob("*.jpg")):
    estimate(str(photo))["depth"].save(Path(out) / f"{photo.stem}.png")
"""


class Workspace:
    """A folder with the inputs of all processes; every run gets a new output folder."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.folder, self.weights = folder, folder / "weights"
        processes.write_weights(self.weights, architecture)
        self.script = folder / "pipeline.py"
        self.script.write_text(SCRIPT, encoding="utf-8")
        self.runs = 0

    def photos(self, count: int) -> Path:
        """Return a folder of `count` photos; write it if needed."""
        folder = self.folder / f"photos-{count}"
        if not folder.exists():
            processes.write_photos(folder, count, 480, 640)
        return folder

    def commands(self, case: str, count: int) -> dict[str, Callable[[Path], list[str]]]:
        """Return the commands to compare, by name, as functions of the output folder."""
        photos = self.photos(count)
        if case == "tiny":
            return {
                IMPORT: lambda _: [sys.executable, "-c", "import torch"],
                "glpn predict": lambda out: self.glpn("predict", photos, out, "tiny"),
            }
        subcommand = "predict" if count == 1 else "batch"
        commands: dict[str, Callable[[Path], list[str]]] = {
            PIPELINE: lambda out: [sys.executable, str(self.script), str(self.weights), str(photos), str(out)]
        }
        engines = ("torch", "openvino") if subcommand == "batch" and find_spec("openvino") else ("torch",)
        for precision, engine in itertools.product(PRECISIONS, engines):
            more = ("--input-size", "native", "--normalize", "minmax", "--precision", precision, "--engine", engine)
            name = f"glpn {subcommand} {precision}" + (f", {engine}" if len(engines) > 1 else "")
            commands[name] = lambda out, more=more: self.glpn(subcommand, photos, out, str(self.weights), *more)
        return commands

    def glpn(self, subcommand: str, photos: Path, out: Path, weights: str, *more: str) -> list[str]:
        """Return a command line of glpn."""
        source = next(photos.iterdir()) if subcommand == "predict" else photos
        options = ["-o", f"{out}/", "--weights", weights, "--offline", "--device", "cpu", "--quiet"]
        return [*processes.GLPN, subcommand, str(source), *options, *more]

    def new_folder(self) -> Path:
        """Create an empty output folder."""
        self.runs += 1
        folder = self.folder / f"out-{self.runs}"
        folder.mkdir()
        return folder


def read_images(folder: Path) -> list[np.ndarray]:
    """Read all images that a run has written, sorted by name, as int16."""
    return [np.asarray(Image.open(file)).astype(np.int16) for file in sorted(folder.rglob("*.png"))]


def compare(found: list[np.ndarray], expected: list[np.ndarray]) -> dict[str, float]:
    """Return the largest and the mean difference, in gray levels of 255."""
    differences = [np.abs(a - b) for a, b in zip(found, expected, strict=True)]
    return {
        "most_levels": int(max(each.max() for each in differences)),
        "mean_levels": float(np.mean([each.mean() for each in differences])),
    }


def measure_case(workspace: Workspace, case: str, count: int, rounds: int) -> dict[str, Any]:
    """Run all commands alternately."""
    commands = workspace.commands(case, count)
    if count == 1:  # warm up the disk cache
        for command in commands.values():
            processes.run(command(workspace.new_folder()))
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    last: dict[str, Path] = {}
    load_before = results.load_now()
    for _ in range(rounds):
        for name, command in commands.items():
            last[name] = workspace.new_folder()
            seconds[name].append(processes.run(command(last[name])).seconds)
    load_after = results.load_now()
    first, *others = commands
    base = statistics.median(seconds[first])
    rows: dict[str, Any] = {}
    for name, times in seconds.items():
        row = {"median_s": statistics.median(times), "fastest_s": min(times), "slowest_s": max(times), "all_s": times}
        images = read_images(last[name])
        if len(images) != (0 if name == IMPORT else count):
            raise SystemExit(f"{case}, {name}: wrote {len(images)} images instead of {count}")
        if case == "tiny":
            row["longer_s"] = row["median_s"] - base
        else:
            row["ratio"] = base / row["median_s"]
        if case != "tiny" and name in others:
            row["error"] = compare(images, read_images(last[first]))
        rows[name] = row
        result = f"{row['longer_s']:+.2f} s" if case == "tiny" else f"{row['ratio']:.2f}x"
        print(
            f"{case:12s} {name:24s} {row['median_s']:7.2f} s ({min(times):.2f} to {max(times):.2f}) {result}",
            flush=True,
        )
    print(f"{case:12s} load {load_before:.1f} before, {load_after:.1f} after", flush=True)
    return {"runners": rows, "load_before": load_before, "load_after": load_after, "rounds": rounds, "images": count}


def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5, help="rounds with one image; default: %(default)s")
    parser.add_argument("--rounds-of-100", type=int, default=5, help="rounds with 100 images; default: %(default)s")
    results.add_options(parser, "whole")
    arguments = parser.parse_args()
    quick = arguments.quick
    out = results.results_file("whole", quick=quick, out=arguments.out)
    report = results.load(out)
    machine = results.describe_machine(results.torch_threads())
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), "tiny" if quick else "published")
        for case in arguments.cases:
            count = CASES[case] if not quick else min(CASES[case], 3)
            rounds = 1 if quick else arguments.rounds if count == 1 else arguments.rounds_of_100
            report.setdefault("cases", {})[case] = {"machine": machine, **measure_case(workspace, case, count, rounds)}
            results.save(out, report)


if __name__ == "__main__":
    main()

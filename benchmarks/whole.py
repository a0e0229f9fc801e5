"""Measure whole processes, from the shell's point of view: glpn against a script with transformers' pipeline.

They take turns for some rounds, and what counts is the ratio of the medians. Both read the same JPEGs and the same
folder of weights, the published architecture with random ones, on the CPU, and write 8-bit PNGs of the same grey
values, which are compared. Nobody is told how many threads to take.

    python benchmarks/whole.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import processes
import results
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = {"one picture": 1, "100 pictures": 100, "tiny": 1}
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


class Stage:
    """A folder with all that the processes need; each run gets a new folder for what it writes."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.folder, self.weights = folder, folder / "weights"
        processes.write_weights(self.weights, architecture)
        self.script = folder / "pipeline.py"
        self.script.write_text(SCRIPT, encoding="utf-8")
        self.runs = 0

    def photos(self, count: int) -> Path:
        """Give a folder of so many pictures."""
        folder = self.folder / f"photos-{count}"
        if not folder.exists():
            processes.write_photos(folder, count, 480, 640)
        return folder

    def contestants(self, case: str, count: int) -> dict[str, Callable[[Path], list[str]]]:
        """Give the commands that are compared, as functions of the folder that they write to."""
        photos = self.photos(count)
        if case == "tiny":
            return {
                IMPORT: lambda _: [sys.executable, "-c", "import torch"],
                "glpn predict": lambda out: self.glpn("predict", photos, out, "tiny"),
            }
        word = "predict" if count == 1 else "batch"
        commands: dict[str, Callable[[Path], list[str]]] = {
            PIPELINE: lambda out: [sys.executable, str(self.script), str(self.weights), str(photos), str(out)]
        }
        for precision in PRECISIONS:
            more = ("--input-size", "native", "--normalize", "minmax", "--precision", precision)
            commands[f"glpn {word} {precision}"] = lambda out, more=more: self.glpn(
                word, photos, out, str(self.weights), *more
            )
        return commands

    def glpn(self, word: str, photos: Path, out: Path, weights: str, *more: str) -> list[str]:
        """Give the command of one run."""
        what = next(photos.iterdir()) if word == "predict" else photos
        options = ["--out" if word == "batch" else "--output", f"{out}/", "--weights", weights, "--offline"]
        return [*processes.GLPN, word, str(what), *options, "--device", "cpu", "--quiet", *more]

    def new_folder(self) -> Path:
        """Give a folder that nobody has written to."""
        self.runs += 1
        folder = self.folder / f"out-{self.runs}"
        folder.mkdir()
        return folder


def read_greys(folder: Path) -> list[np.ndarray]:
    """Read every picture that a run has written, in the order of their names."""
    return [np.asarray(Image.open(file)).astype(np.int16) for file in sorted(folder.rglob("*.png"))]


def compare(found: list[np.ndarray], wanted: list[np.ndarray]) -> dict[str, float]:
    """Say by how many of the 255 grey levels the pictures differ, at most and on average."""
    differences = [np.abs(a - b) for a, b in zip(found, wanted, strict=True)]
    return {
        "most_levels": int(max(each.max() for each in differences)),
        "mean_levels": float(np.mean([each.mean() for each in differences])),
    }


def measure_case(stage: Stage, case: str, count: int, rounds: int) -> dict[str, Any]:
    """Run everybody in turn."""
    contestants = stage.contestants(case, count)
    if count == 1:  # what the system reads from the disk for the first time is not what is measured
        for command in contestants.values():
            processes.run(command(stage.new_folder()))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    last: dict[str, Path] = {}
    load_before = results.load_now()
    for _ in range(rounds):
        for name, command in contestants.items():
            last[name] = stage.new_folder()
            seconds[name].append(processes.run(command(last[name])).seconds)
    load_after = results.load_now()
    first, *others = contestants
    base = statistics.median(seconds[first])
    rows: dict[str, Any] = {}
    for name, taken in seconds.items():
        row = {"median_s": statistics.median(taken), "fastest_s": min(taken), "slowest_s": max(taken), "all_s": taken}
        greys = read_greys(last[name])
        if len(greys) != (0 if name == IMPORT else count):
            raise SystemExit(f"{case}, {name}: {len(greys)} pictures were written, not {count}")
        if case == "tiny":
            row["longer_s"] = row["median_s"] - base
        else:
            row["ratio"] = base / row["median_s"]
        if case != "tiny" and name in others:
            row["error"] = compare(greys, read_greys(last[first]))
        rows[name] = row
        told = f"{row['longer_s']:+.2f} s" if case == "tiny" else f"{row['ratio']:.2f}x"
        print(
            f"{case:12s} {name:24s} {row['median_s']:7.2f} s ({min(taken):.2f} to {max(taken):.2f}) {told}", flush=True
        )
    print(f"{case:12s} load {load_before:.1f} before, {load_after:.1f} after", flush=True)
    return {"runners": rows, "load_before": load_before, "load_after": load_after, "rounds": rounds, "pictures": count}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5, help="of one picture; default: %(default)s")
    parser.add_argument("--rounds-of-100", type=int, default=5, help="of 100 pictures; default: %(default)s")
    results.add_options(parser, "whole")
    arguments = parser.parse_args()
    quick = arguments.quick
    out = results.place("whole", quick=quick, out=arguments.out)
    report = results.load(out)
    machine = results.describe_machine(results.torch_threads())
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), "tiny" if quick else "published")
        for case in arguments.cases:
            count = CASES[case] if not quick else min(CASES[case], 3)
            rounds = 1 if quick else arguments.rounds if count == 1 else arguments.rounds_of_100
            report.setdefault("cases", {})[case] = {"machine": machine, **measure_case(stage, case, count, rounds)}
            results.save(out, report)


if __name__ == "__main__":
    main()

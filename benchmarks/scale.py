"""Measure what several processes cost and gain, and what a run over a million images needs.

`driver`: the process that the user starts, on a folder of names that do not exist, with workers that only answer; also
resumed, with a manifest in which everything is done. `tiny` and `published`: whole runs on two cores with one thread
for each network: without workers, with one, and with two. They alternate for several rounds. Reading and writing have
threads of their own, so one worker can use more than one core; one that must not is measured, too.

    python benchmarks/scale.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import processes
import results

CASES = ("driver", "tiny", "published")
DRIVERS = ("new", "one folder", "resumed")
PLAIN, ONE, ONE_CORE, TWO = "without workers", "1 worker", "1 worker on 1 core", "2 workers"
RUNS = {PLAIN: ("cpu", "0"), ONE: ("cpu", "1"), ONE_CORE: ("cpu", "1 core"), TWO: ("cpu,cpu", "2")}
IMAGES = {"tiny": 1000, "published": 40}
HERE = Path(__file__).parent


def run_child(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of this folder in a new process, and return the JSON that it prints."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def measure_driver(images: int) -> dict[str, Any]:
    """Measure runs with stand-ins for the images and the workers."""
    rows = {}
    with tempfile.TemporaryDirectory() as out:
        for name in DRIVERS:
            rows[name] = run_child("scale_driver.py", name, str(images), out)
            row = rows[name]
            print(
                f"driver, {name}: planned in {row['plan_s']:.1f} s (CPU {row['plan_cpu_s']:.1f} s), "
                f"{1000 * row['cpu_s'] / images:.3f} ms of CPU per image, {row['peak_bytes'] / 1e6:.0f} MB",
                flush=True,
            )
    return {"images": images, "runs": rows}


def measure_workers(weights: str, images: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Run with different numbers of workers alternately."""
    photos = folder / f"photos-{images}"
    if not photos.exists():
        processes.write_photos(photos, images, 480, 640)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in RUNS}
    for number in range(rounds):
        for name, (device, workers) in RUNS.items():
            out = folder / f"out-{number}-{workers}"
            row = run_child("scale_run.py", str(photos), str(out), weights, device, workers)
            if row["done"] != images:
                raise SystemExit(f"{name}: {row['done']} of {images} done")
            rows[name].append(row)
            print(
                f"{images} images, {name:18s}: {row['wall_s']:.2f} s, of it {row['start_s']:.2f} s before the first "
                f"image; CPU {row['driver_cpu_s']:.2f} + {row['workers_cpu_s']:.2f} s",
                flush=True,
            )
    found: dict[str, Any] = {
        name: {key: min(row[key] for row in measured) for key in measured[0]} | {"all": measured}
        for name, measured in rows.items()
    }
    plain, one, one_core, two = (found[name] for name in RUNS)
    cpu_s = {name: row["driver_cpu_s"] + row["workers_cpu_s"] for name, row in found.items()}
    per_image = {name: row["run_s"] / (images - 1) for name, row in found.items()}
    found["ratios"] = {
        "CPU of 1 worker to none": cpu_s[ONE] / cpu_s[PLAIN],
        "seconds that 1 worker takes longer than none": one["wall_s"] - plain["wall_s"],
        "speed of 2 workers to 1": one["wall_s"] / two["wall_s"],
        "speed of 2 workers to 1, without start": per_image[ONE] / per_image[TWO],
        "speed of 2 workers to 1 on 1 core": one_core["wall_s"] / two["wall_s"],
        "speed of 2 workers to 1 on 1 core, without start": per_image[ONE_CORE] / per_image[TWO],
        "cores that 1 worker uses": cpu_s[ONE] / one["wall_s"],
        "CPU of the driver per image, ms": 1000 * two["driver_run_cpu_s"] / images,
    }
    for name, value in found["ratios"].items():
        print(f"{images} images: {name}: {value:.3f}", flush=True)
    return {"images": images, "rounds": rounds, "runs": found}


def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--repeat", type=int, default=5, help="rounds; default: %(default)s")
    parser.add_argument("--images", type=int, default=1_000_000, help="of the driver; default: %(default)s")
    results.add_options(parser, "scale")
    arguments = parser.parse_args()
    out = results.results_file("scale", quick=arguments.quick, out=arguments.out)
    report = results.load(out)
    machine = results.describe_machine(1)
    for case in arguments.cases:
        load_before = results.load_now()
        rounds = 1 if arguments.quick or case == "driver" else arguments.repeat
        if case == "driver":
            measured = measure_driver(2000 if arguments.quick else arguments.images)
        else:
            with tempfile.TemporaryDirectory() as folder:
                weights = "tiny"
                if case == "published" and not arguments.quick:
                    weights = str(Path(folder) / "weights")
                    processes.write_weights(Path(weights), "published")
                measured = measure_workers(weights, 4 if arguments.quick else IMAGES[case], rounds, Path(folder))
        measured |= {
            "machine": machine,
            "load_before": load_before,
            "load_after": results.load_now(),
            "rounds": rounds,
        }
        report.setdefault("cases", {})[case] = measured
        results.save(out, report)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()

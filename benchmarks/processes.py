"""Run whole processes, measure their time and memory, and write their input files.

Imports only light modules: on Linux, the peak memory of a process starts at the peak of its parent.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = ("astronaut.png", "coffee.png", "rocket.jpg")
GLPN = (sys.executable, "-m", "glpn_cli")

_WRITE_WEIGHTS = """
import sys
import networks
from transformers import AutoImageProcessor
from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil

folder, architecture = sys.argv[1:]
networks.build_pair("parity", architecture).theirs.save_pretrained(folder)
GLPNImageProcessorPil().save_pretrained(folder)
AutoImageProcessor.from_pretrained(folder)
"""


class Finished(NamedTuple):
    """Time and memory of a process that succeeded."""

    seconds: float
    peak_bytes: int


def run(command: list[str]) -> Finished:
    """Run a command offline. Its output is shown only if it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    environment.pop("GLPN_WEIGHTS", None)
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"exit code {process.returncode}: {' '.join(command[:6])} ...\n{output.read()}")
    return Finished(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def write_weights(folder: Path, architecture: str) -> None:
    """Write random weights and their configuration files, as saved by transformers."""
    command = [sys.executable, "-c", _WRITE_WEIGHTS, str(folder), architecture]
    subprocess.run(command, check=True, cwd=Path(__file__).parent, capture_output=True)


def write_photos(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """Write distinct JPEGs of one size: random crops of the photos in examples/, some of them mirrored."""
    folder.mkdir(parents=True)
    rng = random.Random(0)  # noqa: S311 - not for cryptography
    photos = [Image.open(ROOT / "examples" / name).convert("RGB") for name in EXAMPLES]
    files = []
    for number in range(count):
        photo = photos[number % len(photos)]
        fraction = rng.uniform(0.7, 1.0)
        wide, high = fraction * photo.width, fraction * photo.height
        left, top = rng.uniform(0, photo.width - wide), rng.uniform(0, photo.height - high)
        crop = photo.resize((width, height), Image.Resampling.BICUBIC, (left, top, left + wide, top + high))
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        files.append(folder / f"{number:04d}.jpg")
        crop.save(files[-1], quality=90)
    return files


def write_photos_in_subprocess(folder: Path, count: int, height: int, width: int) -> None:
    """Write photos in a new process, so that their memory does not count for this one and its children."""
    code = "import pathlib, sys, processes; processes.write_photos(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))"
    command = [sys.executable, "-c", code, str(folder), *map(str, (count, height, width))]
    subprocess.run(command, check=True, cwd=Path(__file__).parent)

"""Whole processes: what they are given, how long they take, and how much memory. Imports nothing heavy.

That matters: on Linux the peak of a process begins at that of the one which started it.
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
    """A process that ended well."""

    seconds: float
    peak_bytes: int


def run(command: list[str]) -> Finished:
    """Run a program to its end, offline; what it says is shown only if it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    environment.pop("GLPN_WEIGHTS", None)
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"exit code {process.returncode}: {' '.join(command[:6])} ...\n{said.read()}")
    return Finished(seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def write_weights(folder: Path, architecture: str) -> None:
    """Write random weights and the two files beside them, as transformers saves a network and its processor."""
    command = [sys.executable, "-c", _WRITE_WEIGHTS, str(folder), architecture]
    subprocess.run(command, check=True, cwd=Path(__file__).parent, capture_output=True)


def write_photos(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """Write JPEGs of one size, no two alike: pieces of the photos in examples/, some of them turned round."""
    folder.mkdir(parents=True)
    chance = random.Random(0)  # noqa: S311 - no secret
    photos = [Image.open(ROOT / "examples" / name).convert("RGB") for name in EXAMPLES]
    files = []
    for number in range(count):
        photo = photos[number % len(photos)]
        share = chance.uniform(0.7, 1.0)
        wide, high = share * photo.width, share * photo.height
        left, top = chance.uniform(0, photo.width - wide), chance.uniform(0, photo.height - high)
        piece = photo.resize((width, height), Image.Resampling.BICUBIC, (left, top, left + wide, top + high))
        if chance.random() < 0.5:
            piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        files.append(folder / f"{number:04d}.jpg")
        piece.save(files[-1], quality=90)
    return files


def write_photos_aside(folder: Path, count: int, height: int, width: int) -> None:
    """Write them in a process of its own, whose memory is gone afterwards."""
    code = "import pathlib, sys, processes; processes.write_photos(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))"
    command = [sys.executable, "-c", code, str(folder), *map(str, (count, height, width))]
    subprocess.run(command, check=True, cwd=Path(__file__).parent)

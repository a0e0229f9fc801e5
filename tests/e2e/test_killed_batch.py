"""A batch that is killed at any moment, again and again, loses nothing, repeats nothing and leaves nothing half."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from e2e.watched_glpn import PHASES, SIZE, read_notes

if TYPE_CHECKING:
    from collections.abc import Callable

HEIGHT, WIDTH = 48, 64
WATCHED = Path(__file__).with_name("watched_glpn.py")
OPTIONS = ("batch", "in", "--out", "out", "-f", "png", "-f", "npy", "-w", "tiny")
ANYWHERE = "anywhere"
SHORT = ("rename", "record")
"""Phases too short to be hit by waiting: the process kills itself right before or right after the system call."""


def start(folder: Path, aim: str = "", arguments: tuple[str, ...] = OPTIONS) -> subprocess.Popen[bytes]:
    (folder / "notes").write_bytes(bytes(SIZE))
    command = [sys.executable, str(WATCHED), "notes", aim, *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def measure(folder: Path) -> dict[str, float]:
    """Run a few images undisturbed and give how long each phase takes, in seconds."""
    process = start(folder, arguments=("batch", "few", "--out", "few-out", *OPTIONS[4:]))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr.decode()
    return {phase: total_s / count for phase, (_, count, total_s) in read_notes(folder / "notes").items()}


def kill_once(folder: Path, target: str, duration_s: dict[str, float], chance: random.Random) -> list[str]:
    """Start the batch, kill it at a random moment of a phase, and give the phases in which it died."""
    aim, wait_s = "", 60.0
    if target == ANYWHERE:
        wait_s = chance.uniform(0, 1.5 * duration_s["load"])
    elif target == "load":
        wait_s = chance.uniform(0, duration_s["load"])
    elif target in SHORT:
        aim = f"{target}:{chance.randint(1, 12)}:{chance.choice(['before', 'after'])}"
    else:
        aim = f"{target}:{chance.randint(1, 6)}:{chance.uniform(0, duration_s[target])}"
    process = start(folder, aim)
    try:
        process.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
    _, stderr = process.communicate()
    assert process.returncode == -9, stderr.decode()
    notes = read_notes(folder / "notes")
    # A kill in the first hundredth of a second meets a Python that has not begun to take notes.
    return [phase for phase in PHASES if notes[phase][0] > 0] or ["load" if not notes["load"][1] else "between"]


class Ledger:
    """What was there after each kill."""

    def __init__(self, folder: Path) -> None:
        self._out = folder / "out"
        self._seen: dict[str, tuple[int, int]] = {}

    @property
    def finished(self) -> set[str]:
        """The images both of whose outputs have been seen."""
        return {name.removesuffix(".depth.npy") for name in self._seen if name.endswith(".npy")}

    def check(self) -> None:
        """Hold every output to be whole, and none of a finished image to have been lost or written again."""
        there = {
            path.relative_to(self._out).as_posix(): path for path in self._out.rglob("*.depth.*") if path.is_file()
        }
        lost = self._seen.keys() - there.keys()
        assert not lost
        for name, path in there.items():
            status = path.stat()
            mark = (status.st_ino, status.st_mtime_ns)
            if name not in self._seen:
                _check_whole(path)
            # An image whose first output got its name and whose second did not is done again, and is no repetition.
            stem = name.rsplit(".depth.", 1)[0]
            if {f"{stem}.depth.png", f"{stem}.depth.npy"} <= there.keys():
                assert self._seen.setdefault(name, mark) == mark, f"{name} was done twice"

    def check_manifest(self) -> None:
        """Hold every whole line to be true."""
        path = self._out / "glpn-batch.jsonl"
        if not path.exists():
            return
        records = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        # "unfinished" promises nothing: a kill came between the names of its outputs. A line with "done" may follow.
        done = [record for record in records if record["status"] == "done"]
        assert len({record["source"] for record in done}) == len(done)
        for record in done:
            assert all((self._out / output).is_file() for output in record["outputs"].values())


def _check_whole(path: Path) -> None:
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
            assert image.size == (WIDTH, HEIGHT)
    else:
        assert np.load(path).shape == (HEIGHT, WIDTH)


def kill_and_resume(folder: Path, targets: list[str], count: int, seed: int) -> dict[str, Any]:
    """Kill a batch once for each target, hold what is left to be right each time, let it finish, and give figures."""
    chance = random.Random(seed)
    duration_s = measure(folder)
    ledger = Ledger(folder)
    died_in: Counter[str] = Counter()
    aimed: Counter[str] = Counter(targets)
    fruitful_runs = 0
    start_s = time.perf_counter()
    for target in targets:
        before = len(ledger.finished)
        died_in.update(kill_once(folder, target, duration_s, chance))
        ledger.check()
        ledger.check_manifest()
        fruitful_runs += len(ledger.finished) > before
    done_before_the_end = len(ledger.finished)
    process = start(folder)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr.decode()
    ledger.check()
    assert len(ledger.finished) == count
    assert f"{count - done_before_the_end} of {count - done_before_the_end} done".encode() in stderr
    hidden = {path.name for path in (folder / "out").rglob(".*")}
    assert hidden == {".glpn-batch.lock"}
    records = [json.loads(line) for line in (folder / "out" / "glpn-batch.jsonl").read_text().splitlines()]
    assert len(records) == count == len({record["source"] for record in records})
    assert {record["status"] for record in records} == {"done"}
    verify = [sys.executable, "-m", "glpn_cli", "batch", "--verify", "--out", "out"]
    verified = subprocess.run(verify, cwd=folder, capture_output=True, check=False)
    assert verified.returncode == 0, verified.stderr.decode()
    assert verified.stdout == b""
    assert f"{2 * count} intact".encode() in verified.stderr
    return {
        "kills": len(targets),
        "images": count,
        "aimed_at": dict(aimed),
        "died_in": dict(died_in),
        "runs_that_finished_images": fruitful_runs,
        "finished_before_the_last_run": done_before_the_end,
        "duration_ms": {phase: round(1000 * seconds, 3) for phase, seconds in duration_s.items()},
        "elapsed_s": round(time.perf_counter() - start_s, 1),
    }


def images(make_image: Callable[..., Path], count: int) -> None:
    for index in range(count):
        make_image(f"in/{index % 7}/{index:04}.png", HEIGHT, WIDTH)
    for index in range(4):
        make_image(f"few/{index}.png", HEIGHT, WIDTH)


pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def test_ten_kills_spread_over_all_phases_lose_and_repeat_nothing(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    images(make_image, 60)
    targets = ["load", "rename", "write", "compute", "rename", "record", ANYWHERE, "write", "rename", "read"]
    figures = kill_and_resume(tmp_path, targets, 60, seed=10)
    assert figures["died_in"].keys() >= {"load", "compute", "write", "rename"}


@pytest.mark.soak
def test_two_hundred_kills_lose_and_repeat_nothing(
    tmp_path: Path, make_image: Callable[..., Path], report_figures: Callable[[str, dict[str, Any]], None]
) -> None:
    images(make_image, 1200)
    targets = [*(("load", "compute", "write", "rename") * 30), *(("record", "read") * 15), *((ANYWHERE,) * 50)]
    random.Random(200).shuffle(targets)
    figures = kill_and_resume(tmp_path, targets, 1200, seed=200)
    report_figures("kills", figures)
    for phase in ("load", "compute", "write", "rename"):
        assert figures["died_in"][phase] >= 25

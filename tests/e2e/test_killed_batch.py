"""A batch that is killed at any moment, again and again, loses no output, repeats none, and leaves none incomplete."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from e2e.watched_glpn import PHASES, read_notes, start_watched
from waiting import HANG_S

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

HEIGHT, WIDTH = 48, 64
OPTIONS = ("batch", "in", "--out", "out", "-f", "png", "-f", "npy", "-w", "tiny")
ANYWHERE = "anywhere"
SHORT = ("rename", "record")
"""Phases that are too short to be hit after a delay: the process kills itself right before or right after the call."""
MAX_RECORDS = 12
"""Lines of journal and manifest after which a process that is killed anywhere is killed at the latest."""


def measure_phases(python: list[str], folder: Path) -> dict[str, float]:
    """Run a few images undisturbed, and return the mean duration of each phase in seconds."""
    process = start_watched(python, folder, "", ("batch", "few", "--out", "few-out", *OPTIONS[4:]))
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, stderr.decode()
    return {phase: total_s / count for phase, (_, count, total_s) in read_notes(folder / "notes").items()}


def kill_once(
    python: list[str], folder: Path, target: str, duration_s: dict[str, float], chance: random.Random
) -> list[str]:
    """Start the batch, kill it at a random moment, and return the phases in which it died.

    A process that is to die in a phase kills itself, and cannot leave the phase alive, however busy the machine is.
    """
    aim = ""
    if target in SHORT:
        aim = f"{target}:{chance.randint(1, 12)}:{chance.choice(['before', 'after'])}"
    elif target == "load":
        aim = f"load:1:{chance.uniform(0, duration_s['load'])}"
    elif target != ANYWHERE:
        aim = f"{target}:{chance.randint(1, 6)}:{chance.uniform(0, duration_s[target])}"
    process = start_watched(python, folder, aim, OPTIONS)
    if target == ANYWHERE:
        kill_at_s = time.monotonic() + chance.uniform(0, 1.5 * duration_s["load"])
        while time.monotonic() < kill_at_s and read_notes(folder / "notes")["record"][1] < MAX_RECORDS:
            time.sleep(0.001)
        process.kill()
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == -9, stderr.decode()
    notes = read_notes(folder / "notes")
    # Python takes a hundredth of a second to start, in which it has not written notes yet.
    return [phase for phase in PHASES if notes[phase][0] > 0] or ["load" if not notes["load"][1] else "between"]


class Ledger:
    """The outputs that existed after each kill."""

    def __init__(self, folder: Path) -> None:
        self._out = folder / "out"
        self._seen: dict[str, tuple[int, int]] = {}

    @property
    def finished(self) -> set[str]:
        """The images that had both outputs after a kill."""
        return {name.removesuffix(".depth.npy") for name in self._seen if name.endswith(".npy")}

    def check(self) -> None:
        """Check that every output is complete, and that none of a finished image was lost or written again."""
        found = {
            path.relative_to(self._out).as_posix(): path for path in self._out.rglob("*.depth.*") if path.is_file()
        }
        assert not self._seen.keys() - found.keys()
        for name, path in found.items():
            status = path.stat()
            mark = (status.st_ino, status.st_mtime_ns)
            if name not in self._seen:
                _check_complete(path)
            # An image with only one of two outputs was interrupted between them; it is not repeated, but completed.
            stem = name.rsplit(".depth.", 1)[0]
            if {f"{stem}.depth.png", f"{stem}.depth.npy"} <= found.keys():
                assert self._seen.setdefault(name, mark) == mark, f"{name} was written twice"

    def check_manifest(self) -> None:
        """Check that every complete line of the manifest is true."""
        path = self._out / "glpn-batch.jsonl"
        if not path.exists():
            return
        records = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        # "unfinished" promises nothing: the process died between two outputs. A line with "done" may follow.
        done = [record for record in records if record["status"] == "done"]
        assert len({record["source"] for record in done}) == len(done)
        for record in done:
            assert all((self._out / output).is_file() for output in record["outputs"].values())


def _check_complete(path: Path) -> None:
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
            assert image.size == (WIDTH, HEIGHT)
    else:
        assert np.load(path).shape == (HEIGHT, WIDTH)


def kill_and_resume(
    python: list[str], folder: Path, glpn: Glpn, targets: list[str], count: int, seed: int
) -> dict[str, Any]:
    """Kill a batch once for each target, check what is left, let the batch finish, and return measurements."""
    chance = random.Random(seed)
    duration_s = measure_phases(python, folder)
    ledger = Ledger(folder)
    died_in: Counter[str] = Counter()
    aimed: Counter[str] = Counter(targets)
    productive_runs = 0
    start_s = time.perf_counter()
    for target in targets:
        before = len(ledger.finished)
        died_in.update(kill_once(python, folder, target, duration_s, chance))
        ledger.check()
        ledger.check_manifest()
        productive_runs += len(ledger.finished) > before
    done_before = len(ledger.finished)
    process = start_watched(python, folder, "", (*OPTIONS, "--json"))
    stdout, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, stderr.decode()
    ledger.check()
    assert len(ledger.finished) == count
    statuses = Counter(json.loads(line)["status"] for line in stdout.splitlines())
    assert statuses == Counter({"done": count - done_before, "up to date": done_before})
    hidden = {path.name for path in (folder / "out").rglob(".*")}
    assert hidden == {".glpn-batch.lock"}
    records = [json.loads(line) for line in (folder / "out" / "glpn-batch.jsonl").read_text().splitlines()]
    assert len(records) == count == len({record["source"] for record in records})
    assert {record["status"] for record in records} == {"done"}
    verified = glpn("batch", "--verify", "--json", "--out", "out")
    assert verified.returncode == 0, verified.stderr.decode()
    assert [json.loads(line)["status"] for line in verified.stdout.splitlines()] == ["intact"] * (2 * count)
    return {
        "kills": len(targets),
        "images": count,
        "aimed_at": dict(aimed),
        "died_in": dict(died_in),
        "runs_that_finished_images": productive_runs,
        "finished_before_last_run": done_before,
        "duration_ms": {phase: round(1000 * seconds, 3) for phase, seconds in duration_s.items()},
        "elapsed_s": round(time.perf_counter() - start_s, 1),
    }


def make_images(make_image: Callable[..., Path], count: int) -> None:
    for index in range(count):
        make_image(f"in/{index % 7}/{index:04}.png", HEIGHT, WIDTH)
    for index in range(4):
        make_image(f"few/{index}.png", HEIGHT, WIDTH)


pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def test_a_kill_in_every_phase(
    tmp_path: Path, glpn: Glpn, make_image: Callable[..., Path], warm_python: list[str]
) -> None:
    make_images(make_image, 60)
    targets = ["load", "rename", "write", "compute", "record", ANYWHERE, "read"]
    figures = kill_and_resume(warm_python, tmp_path, glpn, targets, 60, seed=10)
    assert figures["died_in"].keys() >= {"load", "compute", "write", "rename"}


@pytest.mark.soak
def test_two_hundred_kills(
    tmp_path: Path,
    glpn: Glpn,
    make_image: Callable[..., Path],
    report_figures: Callable[[str, dict[str, Any]], None],
) -> None:
    make_images(make_image, 1200)
    targets = [*(("load", "compute", "write", "rename") * 30), *(("record", "read") * 15), *((ANYWHERE,) * 50)]
    random.Random(200).shuffle(targets)
    figures = kill_and_resume([sys.executable], tmp_path, glpn, targets, 1200, seed=200)
    report_figures("kills", figures)
    for phase in ("load", "compute", "write", "rename"):
        assert figures["died_in"][phase] >= 25

"""Disturbances while a batch runs, by the system or other programs: a clear error, no damage, and it can be resumed."""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from glpn_cli import files
from glpn_cli.inference import lines as lines_module
from glpn_cli.inference import manifest as manifest_module
from glpn_cli.inference.predictor import Predictor
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

COUNT = 8
BATCH = ("batch", "in", "--out", "out", "-f", "npy", "-f", "png", "-w", "tiny", "--workers", "1")


@pytest.fixture(autouse=True)
def _images(make_image: Callable[..., Path]) -> None:
    for index in range(COUNT):
        make_image(f"in/{index}.png", 60, 80)


@contextmanager
def at_write(monkeypatch: pytest.MonkeyPatch, number: int, event: Callable[[Path], None]) -> Iterator[None]:
    """Call `event` right before the output of a number is written, with the path of its temporary file."""
    write_new = files.write_new
    count = 0

    def write(path: Path, data: bytes = b"", *, durable: bool = True) -> None:
        nonlocal count
        count += files.is_partial_name(path.name)
        if count == number and files.is_partial_name(path.name):
            event(path)
        write_new(path, data, durable=durable)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_new", write)
        yield


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and modification time of all outputs, by name: they change if an output is written again."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.depth.*")
        if path.is_file() and path.name[0] != "."
    }


def check_undamaged(folder: Path) -> None:
    """Check that outputs are complete and no temporary files are left."""
    for path in folder.rglob("*.depth.npy"):
        assert np.load(path).shape == (60, 80)
    assert not list(folder.rglob(".*.part"))


def newly_done(run: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Return the names of the images that a batch with --json has processed."""
    records = [json.loads(line) for line in run.stdout.splitlines()]
    return [Path(record["source"]).name for record in records if record["status"] == "done"]


def check_resumes(glpn: Glpn, folder: Path, before: dict[str, tuple[int, int]]) -> None:
    """Run the same command again: it completes the batch, and does not write finished images again."""
    run = glpn(*BATCH)
    assert run.returncode == 0, run.stderr
    after = marks(folder)
    assert len(after) == 2 * COUNT
    check_undamaged(folder)  # also temporary files that could not be removed before
    finished = {name for name in before if {Path(name).stem + ".npy", Path(name).stem + ".png"} <= before.keys()}
    assert all(after[name] == before[name] for name in finished)
    verified = glpn("batch", "--verify", "--json", "--out", "out")
    assert verified.returncode == 0, verified.stdout
    assert [json.loads(line)["status"] for line in verified.stdout.splitlines()] == ["intact"] * (2 * COUNT)


def test_disk_is_full_after_some_images(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with at_write(monkeypatch, 8, fill):
        run = glpn(*BATCH)
    assert run.returncode == 6
    assert b"No space left on device" in run.stderr
    assert re.search(rb"\b\d of 8\b", run.stderr), "how far it came"
    assert b"Traceback" not in run.stderr
    before = marks(tmp_path / "out")
    assert 0 < len(before) < 2 * COUNT
    check_undamaged(tmp_path / "out")
    check_resumes(glpn, tmp_path / "out", before)


@pytest.mark.parametrize("room", [0, 40])
def test_disk_is_full_when_a_manifest_line_is_written(
    glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    lines = 0

    class Filling(FileIO):
        """A file on a disk that is full from the sixth line on."""

        def write(self, data: Any) -> int:
            nonlocal lines
            lines += 1
            return super().write(data[:room] if lines >= 6 else data)

    with monkeypatch.context() as patch:
        patch.setattr(lines_module, "FileIO", Filling)
        run = glpn(*BATCH)
    assert run.returncode == 6
    assert b"No space left on device" in run.stderr
    before = marks(tmp_path / "out")
    check_undamaged(tmp_path / "out")
    check_resumes(glpn, tmp_path / "out", before)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount disks")
def test_real_disk_is_full(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(tmp_path / "out")]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not possible on this machine")
    try:
        run = glpn(*BATCH)
        assert run.returncode == 6
        assert b"No space left on device" in run.stderr
        before = marks(tmp_path / "out")
        assert 0 < len(before) < 2 * COUNT
        check_undamaged(tmp_path / "out")
        subprocess.run(["mount", "-o", "remount,size=10m", str(tmp_path / "out")], check=True)
        check_resumes(glpn, tmp_path / "out", before)
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)


def test_output_folder_is_removed(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_write(monkeypatch, 6, lambda _: shutil.rmtree(tmp_path / "out")):
        run = glpn(*BATCH)
    assert run.returncode == 6
    assert b"out: " in run.stderr
    assert b"Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()  # whoever removed it does not want it to reappear
    check_resumes(glpn, tmp_path / "out", {})


def test_output_folder_is_moved(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_write(monkeypatch, 6, lambda _: os.rename(tmp_path / "out", tmp_path / "moved")):
        assert glpn(*BATCH).returncode == 6
    before = marks(tmp_path / "moved")
    os.rename(tmp_path / "moved", tmp_path / "out")
    check_resumes(glpn, tmp_path / "out", before)


def test_another_batch_replaces_the_output_folder(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(_: Path) -> None:
        shutil.rmtree(tmp_path / "out")
        with manifest_module.Manifest(tmp_path / "out") as other:
            other.begin()

    with at_write(monkeypatch, 6, replace):
        assert glpn(*BATCH).returncode == 6
    assert (tmp_path / "out" / "glpn-batch.jsonl").read_bytes() == b""
    assert not list((tmp_path / "out").rglob(".*.part"))


def test_images_are_removed(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, prepared = Predictor.prepare, itertools.count(1)

    def prepare_or_move(*arguments: Any, **keywords: Any) -> Any:
        if next(prepared) == 4:
            os.rename(tmp_path / "in", tmp_path / "away")
        return prepare(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "prepare", prepare_or_move)
        run = glpn(*BATCH)
    assert run.returncode == 7
    assert b"7.png: " in run.stderr
    before = marks(tmp_path / "out")
    assert len(before) == 2 * 3
    assert glpn(*BATCH).returncode == 2  # "in" does not exist, and the manifest forgets nothing
    os.rename(tmp_path / "away", tmp_path / "in")
    check_resumes(glpn, tmp_path / "out", before)


def test_image_that_changes_meanwhile_is_processed_again(
    glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_image: Callable[..., Path]
) -> None:
    with at_write(monkeypatch, 1, lambda _: make_image("in/0.png", 60, 80, compress_level=0) and None):
        assert glpn(*BATCH).returncode == 0
    assert newly_done(glpn(*BATCH, "--json")) == ["0.png"]


def test_clocks_and_dates_do_not_matter(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: (-1) ** next(jumps) * 10**18)
    for index, date in enumerate((0, 1, 2**31, 2**32, 4 * 10**9)):
        os.utime(tmp_path / "in" / f"{index}.png", (date, date))
    assert glpn(*BATCH).returncode == 0
    for index, path in enumerate(sorted((tmp_path / "out").rglob("*"))):
        os.utime(path, (index * 10**8, index * 10**8))
    before = marks(tmp_path / "out")
    again = glpn(*BATCH, "--json")
    assert (again.returncode, newly_done(again)) == (0, [])
    assert marks(tmp_path / "out") == before
    records = (tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines()
    assert all(0 <= json.loads(line)["seconds"] < 10**6 for line in records)


def obey_permissions() -> None:
    """Drop the privilege of root to ignore file permissions: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="capabilities exist on Linux only")
def test_output_folder_becomes_read_only(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    out = tmp_path / "out"
    for index in range(COUNT, 200):  # so that it is not finished before
        make_image(f"in/{index}.png", 60, 80)
    process = subprocess.Popen(
        [sys.executable, "-m", "glpn_cli", *BATCH],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        preexec_fn=obey_permissions,  # noqa: PLW1509 - the test has no threads
    )
    wait_until(lambda: list(out.glob("*.depth.npy")), process)
    out.chmod(0o555)
    _, stderr = process.communicate(timeout=HANG_S)
    out.chmod(0o755)
    assert process.returncode == 6, stderr
    assert stderr.count(b"Permission denied") == 1  # not once for every image
    assert re.search(rb"\b\d+ of 200\b", stderr), "how far it came"
    before = marks(out)
    assert 0 < len(before) < 400
    for path in (tmp_path / "in").glob("*.png"):  # the rest would take long
        if int(path.stem) >= COUNT and f"{path.stem}.depth.npy" not in before:
            path.unlink()
    run = glpn(*BATCH)
    assert run.returncode == 0, run.stderr
    check_undamaged(out)
    assert glpn("batch", "--verify", "--out", "out").returncode == 0
    assert all(marks(out)[name] == mark for name, mark in before.items() if name.endswith(".npy"))

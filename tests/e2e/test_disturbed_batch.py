"""What the system and other people do to a batch while it runs: a clear error, nothing damaged, and it goes on."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from glpn_cli import files as writer
from glpn_cli.image import reading
from glpn_cli.inference import manifest as manifest_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

COUNT = 8
BATCH = ("batch", "in", "--out", "out", "-f", "npy", "-f", "png", "-w", "tiny", "--workers", "1")


@pytest.fixture(autouse=True)
def images(make_image: Callable[..., Path]) -> None:
    for index in range(COUNT):
        make_image(f"in/{index}.png", 60, 80)


@contextmanager
def at_write(monkeypatch: pytest.MonkeyPatch, number: int, event: Callable[[Path], None]) -> Iterator[None]:
    """Let something happen right before the file of a number is written."""
    write_to_disk = writer._write_to_disk
    written = 0

    def write(path: Path, data: bytes) -> None:
        nonlocal written
        written += 1
        if written == number:
            event(path)
        write_to_disk(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_write_to_disk", write)
        yield


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.depth.*")
        if path.is_file() and path.name[0] != "."
    }


def check_undamaged(folder: Path) -> None:
    """Hold what is there to be whole, and no hidden part to have been left."""
    for path in folder.rglob("*.depth.npy"):
        assert np.load(path).shape == (60, 80)
    assert not list(folder.rglob(".*.part"))


def check_goes_on(glpn: Glpn, folder: Path, kept: dict[str, tuple[int, int]]) -> None:
    """Run the same command again: it finishes, and what was finished before is not touched."""
    run = glpn(*BATCH)
    assert run.returncode == 0, run.stderr
    after = marks(folder)
    assert len(after) == 2 * COUNT
    check_undamaged(folder)  # a part that could not be removed before is gone now
    both = {name for name in kept if {Path(name).stem + ".npy", Path(name).stem + ".png"} <= kept.keys()}
    assert all(after[name] == kept[name] for name in both)
    verified = glpn("batch", "--verify", "--out", "out")
    assert verified.returncode == 0, verified.stdout
    assert f"{2 * COUNT} intact, in".encode() in verified.stderr


def test_a_disk_that_is_full_after_some_images(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with at_write(monkeypatch, 8, fill):
        run = glpn(*BATCH)
    assert run.returncode == 6
    assert b"No space left on device" in run.stderr
    assert b"the same command goes on" in run.stderr
    assert b"Traceback" not in run.stderr
    kept = marks(tmp_path / "out")
    assert 0 < len(kept) < 2 * COUNT
    check_undamaged(tmp_path / "out")
    check_goes_on(glpn, tmp_path / "out", kept)


@pytest.mark.parametrize("room", [0, 40])
def test_a_disk_that_is_full_when_a_line_is_written(
    glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    write_all = manifest_module._write_all
    lines = 0

    class Full:
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def write(self, data: bytes) -> int:
            return int(self._stream.write(data[:room]))

    def write(stream: Any, data: bytes, **keywords: Any) -> None:
        nonlocal lines
        lines += 1
        write_all(Full(stream) if lines >= 6 else stream, data, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(manifest_module, "_write_all", write)
        run = glpn(*BATCH)
    assert run.returncode == 6
    assert b"No space left on device" in run.stderr
    kept = marks(tmp_path / "out")
    check_undamaged(tmp_path / "out")
    check_goes_on(glpn, tmp_path / "out", kept)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts disks")
def test_a_real_disk_that_is_full(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(tmp_path / "out")]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disks are mounted here")
    try:
        run = glpn(*BATCH)
        assert run.returncode == 6
        assert b"No space left on device" in run.stderr
        kept = marks(tmp_path / "out")
        assert 0 < len(kept) < 2 * COUNT
        check_undamaged(tmp_path / "out")
        subprocess.run(["mount", "-o", "remount,size=10m", str(tmp_path / "out")], check=True)
        check_goes_on(glpn, tmp_path / "out", kept)
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)


def test_the_output_folder_is_removed(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_write(monkeypatch, 6, lambda _: shutil.rmtree(tmp_path / "out")):
        run = glpn(*BATCH)
    assert run.returncode == 6
    assert b"was removed while the batch ran" in run.stderr
    assert b"Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()  # it is not made again behind the back of whoever removed it
    check_goes_on(glpn, tmp_path / "out", {})


def test_the_output_folder_is_moved_away(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_write(monkeypatch, 6, lambda _: os.rename(tmp_path / "out", tmp_path / "moved")):
        assert glpn(*BATCH).returncode == 6
    kept = marks(tmp_path / "moved")
    os.rename(tmp_path / "moved", tmp_path / "out")
    check_goes_on(glpn, tmp_path / "out", kept)


def test_another_batch_takes_the_place_of_a_removed_folder(
    glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(_: Path) -> None:
        shutil.rmtree(tmp_path / "out")
        with manifest_module.Manifest(tmp_path / "out") as other:
            other.begin()

    with at_write(monkeypatch, 6, replace):
        assert glpn(*BATCH).returncode == 6
    assert (tmp_path / "out" / "glpn-batch.jsonl").read_bytes() == b""
    assert not list((tmp_path / "out").rglob(".*.part"))


def test_the_images_are_removed(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_file = reading._open_file
    opened = 0

    def open_or_lose(path: str) -> Any:
        nonlocal opened
        opened += 1
        if opened == 4:
            os.rename(tmp_path / "in", tmp_path / "away")
        return open_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_open_file", open_or_lose)
        run = glpn(*BATCH)
    assert run.returncode == 7
    assert b"7.png: no such file" in run.stderr
    kept = marks(tmp_path / "out")
    assert len(kept) == 2 * 3
    assert glpn(*BATCH).returncode == 2  # "in: is no folder", and nothing is forgotten
    os.rename(tmp_path / "away", tmp_path / "in")
    check_goes_on(glpn, tmp_path / "out", kept)


def test_a_image_that_changes_while_it_is_read_is_done_again(
    glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_image: Callable[..., Path]
) -> None:
    with at_write(monkeypatch, 1, lambda _: make_image("in/0.png", 60, 80, compress_level=0) and None):
        assert glpn(*BATCH).returncode == 0
    assert b"1 of 1 done" in glpn(*BATCH).stderr


def test_clocks_and_dates_are_no_matter(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: (-1) ** next(jumps) * 10**18)
    for index, date in enumerate((0, 1, 2**31, 2**32, 4 * 10**9)):
        os.utime(tmp_path / "in" / f"{index}.png", (date, date))
    assert glpn(*BATCH).returncode == 0
    for index, path in enumerate(sorted((tmp_path / "out").rglob("*"))):
        os.utime(path, (index * 10**8, index * 10**8))
    before = marks(tmp_path / "out")
    assert b"all 8 done before" in glpn(*BATCH).stderr
    assert marks(tmp_path / "out") == before
    records = (tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines()
    assert all(0 <= json.loads(line)["seconds"] < 60 for line in records)


def obey_permissions() -> None:
    """Give up, as root, the right to write where permissions do not allow it: CAP_DAC_OVERRIDE and its sibling."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="root obeys permissions only on Linux")
def test_the_output_folder_becomes_read_only(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    out = tmp_path / "out"
    for index in range(COUNT, 200):  # so that there is time to do it
        make_image(f"in/{index}.png", 60, 80)
    process = subprocess.Popen(
        [sys.executable, "-m", "glpn_cli", *BATCH],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        preexec_fn=obey_permissions,  # noqa: PLW1509 - the test has no threads
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("*.depth.npy")) and time.monotonic() < deadline:
        time.sleep(0.002)
    out.chmod(0o555)
    _, stderr = process.communicate(timeout=60)
    out.chmod(0o755)
    assert process.returncode == 6, stderr
    assert b"Permission denied" in stderr
    assert stderr.count(b"Permission denied") == 1  # and not once for every image
    assert b"the same command goes on" in stderr
    kept = marks(out)
    assert 0 < len(kept) < 400
    for path in (tmp_path / "in").glob("*.png"):  # what is left would take long, and a few will do
        if int(path.stem) >= COUNT and f"{path.stem}.depth.npy" not in kept:
            path.unlink()
    run = glpn(*BATCH)
    assert run.returncode == 0, run.stderr
    check_undamaged(out)
    assert glpn("batch", "--verify", "--out", "out").returncode == 0
    assert all(marks(out)[name] == mark for name, mark in kept.items() if name.endswith(".npy"))

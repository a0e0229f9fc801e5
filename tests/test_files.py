"""Atomic writing of files."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from glpn_cli import files
from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_file_created_by_others_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    write_new = files.write_new

    def write_slowly(path: Path, data: bytes, **options: bool) -> None:
        write_new(path, data, **options)
        target.write_bytes(b"theirs")

    monkeypatch.setattr(files, "write_new", write_slowly)
    with pytest.raises(OutputExistsError):
        write_whole(target, b"ours", overwrite=False)
    assert target.read_bytes() == b"theirs"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool) -> None:
    target = tmp_path / "x"
    if overwrite:
        target.write_bytes(b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_space)
    with pytest.raises(OutputError, match=r"x: .*No space left"):
        write_whole(target, b"new", overwrite=overwrite)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([b"old"] if overwrite else [])


def test_writes_are_atomic_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(files.os, "link", refuse)
    write_whole(tmp_path / "x", b"first", overwrite=False)
    assert (tmp_path / "x").read_bytes() == b"first"
    with pytest.raises(OutputExistsError):
        write_whole(tmp_path / "x", b"second", overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere.*No such file"):
        write_whole(tmp_path / "nowhere" / "x", b"", overwrite=False)


def test_existing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_whole(tmp_path, b"", overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_new_files_have_default_permissions(tmp_path: Path) -> None:
    write_whole(tmp_path / "ours", b"", overwrite=False)
    (tmp_path / "theirs").touch()
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "theirs").stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="named pipes")
def test_pipe_receives_the_bytes_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"through", overwrite=True)
    reader.join(timeout=10)
    assert received == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)

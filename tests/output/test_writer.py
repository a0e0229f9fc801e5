from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from glpn_cli import files as writer
from glpn_cli.errors import OutputError, OutputExistsError, UsageError
from glpn_cli.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.depth import DepthMap


def test_saving_to_an_unknown_suffix_writes_nothing(tmp_path: Path, depth_map: DepthMap) -> None:
    with pytest.raises(UsageError):
        depth_map.save(tmp_path / "x.jpg")
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_only_when_that_is_allowed(tmp_path: Path, depth_map: DepthMap) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match=r"x\.npy"):
        depth_map.save(path)
    assert path.read_bytes() == b"precious"
    depth_map.save(path, overwrite=True)
    assert path.read_bytes() != b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.npy"]


def test_a_file_that_appears_while_we_write_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    write_to_disk = writer._write_to_disk

    def write_slowly(path: Path, data: bytes) -> None:
        write_to_disk(path, data)
        target.write_bytes(b"theirs")

    monkeypatch.setattr(writer, "_write_to_disk", write_slowly)
    with pytest.raises(OutputExistsError):
        write_whole(target, b"ours", overwrite=False)
    assert target.read_bytes() == b"theirs"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> None:
    target = tmp_path / "x"
    if overwrite:
        target.write_bytes(b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.os, "fsync", no_space)
    with pytest.raises(OutputError, match="No space left"):
        write_whole(target, b"new", overwrite=overwrite)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([b"old"] if overwrite else [])


def test_without_hard_links_a_file_is_still_whole_and_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(writer.os, "link", refuse)
    write_whole(tmp_path / "x", b"first", overwrite=False)
    assert (tmp_path / "x").read_bytes() == b"first"
    with pytest.raises(OutputExistsError):
        write_whole(tmp_path / "x", b"second", overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        write_whole(tmp_path / "nowhere" / "x", b"", overwrite=False)


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_whole(tmp_path, b"", overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_new_file_has_the_permissions_that_any_program_gives(tmp_path: Path) -> None:
    write_whole(tmp_path / "ours", b"", overwrite=False)
    (tmp_path / "theirs").touch()
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "theirs").stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="named pipes")
def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"through", overwrite=True)
    reader.join(timeout=10)
    assert received == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)

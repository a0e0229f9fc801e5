from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from glpn_cli import files
from glpn_cli.errors import ConfigError, DepthFileError, GLPNError, OutputError, OutputExistsError, WeightsError
from glpn_cli.files import (
    FileDigest,
    dump_json,
    file_sha256,
    is_disk_wide,
    is_partial_name,
    is_path,
    load_json,
    locked,
    make_folder,
    modernize,
    os_reason,
    parse_json,
    partial_path,
    read_bounded,
    read_json,
    refuse_outside,
    refuses_files,
    replacing,
    sync_folder,
    write_new,
    write_together,
    write_whole,
)
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX only")
BUSY = OutputError("busy")


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail(number: int) -> Callable[..., Any]:
    def raise_error(*arguments: object, **keywords: object) -> None:
        raise OSError(number, os.strerror(number))

    return raise_error


class _Os:
    """The module `os` with some names changed, for `files` alone."""

    def __init__(self, **changes: Any) -> None:
        self.__dict__.update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@pytest.fixture(params=["hard links", "no hard links", "windows"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give files their names in each of the three ways."""
    if request.param == "no hard links":
        monkeypatch.setattr(files, "os", _Os(link=fail(errno.EPERM)))
    elif request.param == "windows":
        rename = Path.rename

        def rename_without_replacing(path: Path, target: Path) -> Path:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", rename_without_replacing)
        monkeypatch.setattr(files, "os", _Os(name="nt", link=fail(errno.ENOSYS)))
    return str(request.param)


# Writing together


@pytest.mark.usefixtures("file_system")
def test_files_are_written_together(tmp_path: Path) -> None:
    write_together([(tmp_path / "a", b"1"), (tmp_path / "b", b"22")], overwrite=False)
    assert contents(tmp_path) == {"a": b"1", "b": b"22"}


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize("name", ["a", "b"])
def test_an_existing_file_is_not_replaced_without_permission(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(OutputExistsError) as caught:
        write_together([(tmp_path / "a", b"1"), (tmp_path / "b", b"2")], overwrite=False)
    assert str(tmp_path / name) in str(caught.value)
    assert contents(tmp_path) == {name: b"precious"}


@pytest.mark.usefixtures("file_system")
def test_existing_files_are_replaced_with_permission(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    write_together([(tmp_path / "a", b"1"), (tmp_path / "b", b"2")], overwrite=True)
    assert contents(tmp_path) == {"a": b"1", "b": b"2"}


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def write_slowly(path: Path, data: bytes, *, durable: bool) -> None:
        write_new(path, data, durable=durable)
        (tmp_path / name).write_bytes(b"theirs")

    monkeypatch.setattr(files, "write_new", write_slowly)
    with pytest.raises(OutputExistsError):
        write_together([(tmp_path / "b", b"1"), (tmp_path / "a", b"2")], overwrite=False)
    assert contents(tmp_path) == {name: b"theirs"}  # none of ours, although one had its name already


@pytest.mark.usefixtures("file_system")
def test_permission_to_replace_is_per_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    targets = [(tmp_path / "a", b"1"), (tmp_path / "b", b"2")]
    write_together(targets, overwrite=[True, False])
    assert contents(tmp_path) == {"a": b"1", "b": b"2"}
    with pytest.raises(OutputExistsError, match=r"b: "):
        write_together([(target, b"new") for target, _ in targets], overwrite=[True, False])
    assert contents(tmp_path) == {"a": b"1", "b": b"2"}
    (tmp_path / "b").unlink()

    def write_slowly(path: Path, data: bytes, *, durable: bool) -> None:
        write_new(path, data, durable=durable)
        (tmp_path / "b").write_bytes(b"theirs")

    monkeypatch.setattr(files, "write_new", write_slowly)
    with pytest.raises(OutputExistsError, match=r"b: "):
        write_together(targets[::-1], overwrite=[False, True])
    assert contents(tmp_path) == {"a": b"1", "b": b"theirs"}


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failing_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool) -> None:
    old = {"a": b"old"} if overwrite else {}
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(files.os, "fsync", fail(errno.ENOSPC), raising=False)
    with pytest.raises(OutputError) as caught:
        write_together([(tmp_path / "a", b"1"), (tmp_path / "b", b"2")], overwrite=overwrite)
    assert is_disk_wide(caught.value)
    assert str(tmp_path / "a") in str(caught.value)
    assert contents(tmp_path) == old


@pytest.mark.usefixtures("file_system")
def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, data: bytes, *, durable: bool) -> None:
        write_new(path, data[:1], durable=durable)
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_new", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_together([(tmp_path / "a", b"12"), (tmp_path / "b", b"2")], overwrite=False)
    assert contents(tmp_path) == {}


def test_a_name_that_cannot_be_given_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "os", _Os(link=fail(errno.EPERM), replace=fail(errno.EIO)))
    with pytest.raises(OutputError):
        write_together([(tmp_path / "a", b"1")], overwrite=False)
    assert contents(tmp_path) == {}


def test_a_link_error_other_than_unsupported_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "os", _Os(link=fail(errno.ENOSPC)))
    with pytest.raises(OutputError) as caught:
        write_together([(tmp_path / "a", b"1")], overwrite=False)
    assert is_disk_wide(caught.value)
    assert contents(tmp_path) == {}


def test_the_name_appears_with_all_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the target exists, it is complete: its bytes are on the disk before it has its name."""
    target = tmp_path / "a"
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def watch_fsync(descriptor: int) -> None:
        assert not target.exists()
        assert os.fstat(descriptor).st_size == 2**20
        steps.append("flushed")
        fsync(descriptor)

    def watch_link(partial: Path, name: Path) -> None:
        assert Path(partial).stat().st_size == 2**20
        steps.append("named")
        link(partial, name)

    monkeypatch.setattr(files, "os", _Os(fsync=watch_fsync, link=watch_link))
    write_together([(target, bytes(2**20))], overwrite=False)
    assert steps == ["flushed", "named"]
    assert contents(tmp_path) == {"a": bytes(2**20)}


def test_bytes_are_not_flushed_if_not_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "os", _Os(fsync=fail(errno.EIO)))
    write_together([(tmp_path / "a", b"1")], overwrite=False, durable=False)
    assert contents(tmp_path) == {"a": b"1"}


def test_given_temporary_files_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partials = [partial_path(tmp_path / "a"), partial_path(tmp_path / "b")]
    used: list[Path] = []

    def watch(path: Path, data: bytes, *, durable: bool) -> None:
        used.append(path)
        write_new(path, data, durable=durable)

    monkeypatch.setattr(files, "write_new", watch)
    write_together([(tmp_path / "a", b"1"), (tmp_path / "b", b"2")], overwrite=False, partials=partials)
    assert used == partials
    assert contents(tmp_path) == {"a": b"1", "b": b"2"}


@POSIX
def test_a_dangling_link_is_not_replaced_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("gone")
    with pytest.raises(OutputExistsError):
        write_together([(tmp_path / "a", b"1")], overwrite=False)
    assert os.readlink(tmp_path / "a") == "gone"
    assert os.listdir(tmp_path) == ["a"]


@POSIX
def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "a").symlink_to("precious")
    write_together([(tmp_path / "a", b"1")], overwrite=True)
    assert not (tmp_path / "a").is_symlink()
    assert contents(tmp_path) == {"precious": b"precious", "a": b"1"}


def test_a_missing_folder_and_a_folder_as_target_are_output_errors(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_together([(tmp_path / "nowhere" / "x", b"")], overwrite=False)
    with pytest.raises(OutputError, match=tmp_path.name):
        write_together([(tmp_path, b"")], overwrite=True)
    assert contents(tmp_path) == {}


@POSIX
def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_together([(tmp_path / "ours", b"")], overwrite=False)
    (tmp_path / "theirs").touch()
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "theirs").stat().st_mode)


# Writing one file


@pytest.mark.usefixtures("file_system")
def test_one_file_is_whole_and_replaced_only_with_permission(tmp_path: Path) -> None:
    write_whole(tmp_path / "x", b"first", overwrite=False)
    with pytest.raises(OutputExistsError, match="x"):
        write_whole(tmp_path / "x", b"second", overwrite=False)
    assert contents(tmp_path) == {"x": b"first"}
    write_whole(tmp_path / "x", b"third", overwrite=True)
    assert contents(tmp_path) == {"x": b"third"}


@POSIX
def test_a_link_to_one_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x").write_bytes(b"old")
    (tmp_path / "link").symlink_to("deep/x")
    with pytest.raises(OutputExistsError):
        write_whole(tmp_path / "link", b"new", overwrite=False)
    write_whole(tmp_path / "link", b"new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "deep") == {"x": b"new"}


@POSIX
def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"through", overwrite=True)
    reader.join(HANG_S)
    assert received == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_full_device_is_an_output_error() -> None:
    with pytest.raises(OutputError) as caught:
        write_whole(Path("/dev/full"), b"x", overwrite=True)
    assert is_disk_wide(caught.value)


def test_a_new_file_is_never_an_existing_one(tmp_path: Path) -> None:
    write_new(tmp_path / "x", b"1")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "x", b"2")
    assert contents(tmp_path) == {"x": b"1"}


# Replacing


def test_replacing_is_atomic(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"old")
    with replacing(target) as partial:
        assert is_partial_name(partial.name)
        assert partial.parent == tmp_path
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert contents(tmp_path) == {"x": b"new"}


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_while_replacing_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(error), replacing(tmp_path / "x") as partial:
        partial.write_bytes(b"half")
        raise error
    assert contents(tmp_path) == {"x": b"old"}


@pytest.mark.parametrize("durable", [False, True])
def test_replacing_flushes_first_if_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(descriptor: int) -> None:
        steps.append("flush")
        fsync(descriptor)

    def watch_replace(partial: Path, target: Path) -> None:
        steps.append("replace")
        replace(partial, target)

    monkeypatch.setattr(files, "os", _Os(fsync=watch_fsync, replace=watch_replace))
    with replacing(tmp_path / "x", durable=durable) as partial:
        partial.write_bytes(b"new")
    assert steps == (["flush", "replace"] if durable else ["replace"])


def test_replacing_with_a_given_temporary_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "x", partial=tmp_path / ".mine") as partial:
        assert partial == tmp_path / ".mine"
        partial.write_bytes(b"new")
    assert contents(tmp_path) == {"x": b"new"}


# Names and folders


def test_temporary_names_are_recognized(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    first, second = partial_path(target), partial_path(target)
    assert first != second
    assert first.parent == tmp_path
    assert is_partial_name(first.name)
    first.touch()  # short enough for any file system
    for name in ("x", ".glpn-1.part", f"a{first.name}", f"{first.name}x", ".glpn-batch.part"):
        assert not is_partial_name(name)


def test_folders_are_created_with_their_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        make_folder(tmp_path / "file" / "b")


@POSIX
def test_links_that_lead_outside_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "in").symlink_to(".")
    for folder in (root, root / "a" / "b", root / "in" / "x"):
        refuse_outside(folder, root)
    for folder in (root / "out", root / "out" / "deep", root / ".."):
        with pytest.raises(OutputError, match="root"):
            refuse_outside(folder, root)


def test_a_folder_that_refuses_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not refuses_files(tmp_path)
    monkeypatch.setattr(files, "os", _Os(access=lambda *_: False))
    assert refuses_files(tmp_path)


@POSIX
def test_a_folder_is_flushed_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_folder(tmp_path)
    monkeypatch.setattr(files, "os", _Os(fsync=fail(errno.EINVAL)))
    sync_folder(tmp_path)
    monkeypatch.setattr(files, "os", _Os(fsync=fail(errno.EIO)))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_folder(tmp_path)
    monkeypatch.setattr(files, "os", _Os(name="nt", open=fail(errno.EACCES)))
    sync_folder(tmp_path)


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.EIO, True), (errno.ENAMETOOLONG, False)]
)
def test_errors_of_the_whole_disk(number: int, *, expected: bool) -> None:
    error = OutputError("x")
    error.__cause__ = OSError(number, "")
    assert is_disk_wide(error) is expected
    assert not is_disk_wide(OSError(number, ""))
    assert not is_disk_wide(OutputError("x"))


def test_the_reason_of_an_error() -> None:
    assert os_reason(OSError(errno.ENOSPC, "No space left on device", "/x")) == "No space left on device"
    assert os_reason(OSError("plain")) == "plain"
    assert os_reason(ValueError("other")) == "other"


# Reading


class RecordingStream(io.BytesIO):
    """Records the largest number of bytes requested at once."""

    largest_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.largest_read = max(self.largest_read, size)
        return super().read(size)


@pytest.mark.parametrize("length", [0, 1, 2**20, 3 * 2**20 + 5])
def test_a_stream_within_the_limit_is_read_in_chunks(length: int) -> None:
    stream = RecordingStream(bytes(length))
    assert read_bounded(stream, 2**40) == bytes(length)
    assert stream.largest_read <= 2**20


def test_reading_stops_one_byte_after_the_limit() -> None:
    assert read_bounded(io.BytesIO(bytes(10)), 10) == bytes(10)
    endless = io.BytesIO(bytes(2**23))
    assert read_bounded(endless, 10) is None
    assert endless.tell() == 11


@pytest.mark.parametrize("kind", [str, Path])
def test_a_json_object_is_read(tmp_path: Path, kind: type) -> None:
    (tmp_path / "x.json").write_bytes('{"ä": [1, 2]}'.encode())
    assert read_json(kind(tmp_path / "x.json"), ConfigError) == {"ä": [1, 2]}


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"7", b"null", b"\xff", b'{"a": 1} x', b"[" * 100_000])
@pytest.mark.parametrize("error", [ConfigError, DepthFileError])
def test_other_content_raises_the_given_error(tmp_path: Path, data: bytes, error: type[GLPNError]) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(error) as caught:
        read_json(tmp_path / "x.json", error)
    assert type(caught.value) is error
    assert str(tmp_path / "x.json") in str(caught.value)


def test_a_json_file_of_any_length_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as stream:
        stream.truncate(2**33)
    with pytest.raises(ConfigError, match=r"x\.json"):
        read_json(tmp_path / "x.json", ConfigError)


@pytest.mark.parametrize("opening", ["[", '{"a": '])
@pytest.mark.parametrize("nesting", [65, 400, 900, 100_000])
def test_deep_nesting_is_not_json(opening: str, nesting: int) -> None:
    closing = "]" if opening == "[" else "}"
    for text in (opening * nesting + "1" + closing * nesting, f'[7, {{"x": {opening * nesting}1{closing * nesting}}}]'):
        with pytest.raises(ValueError, match="nested"):
            load_json(text)
    assert load_json(opening * 60 + "1" + closing * 60)


@pytest.mark.parametrize("text", ["7", '"a"', "null", "[]", "{}", '{"a": [1, {"b": NaN}]}'])
def test_usual_json_is_loaded(text: str) -> None:
    assert repr(load_json(text)) == repr(json.loads(text))


def test_json_has_no_nan() -> None:
    values = {"a": [1.5, math.nan, (math.inf,)], "b": {"c": -math.inf}, "d": 10**400, "e": "NaN"}
    expected = {"a": [1.5, None, [None]], "b": {"c": None}, "d": 10**400, "e": "NaN"}
    assert json.loads(dump_json(values)) == expected
    assert "Infinity" not in dump_json(values)
    assert dump_json([1, "a"]) == '[1, "a"]'


@pytest.mark.skipif(os.name == "nt", reason="paths on Windows are not bytes")
def test_some_texts_are_no_paths() -> None:
    assert is_path("a/b\n\udcff.png")  # a name with a byte that is no UTF-8
    assert not is_path("a\0.png")
    assert not is_path("a\ud800.png")


def test_a_file_that_cannot_be_read_raises_the_given_error(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_json(path, ConfigError)
        assert str(path) in str(caught.value)


def test_parsed_text_is_named_in_errors() -> None:
    assert parse_json('{"a": null}', "header", WeightsError) == {"a": None}
    with pytest.raises(WeightsError, match="header"):
        parse_json("[]", "header", WeightsError)


def test_british_names_of_version_0_1_are_replaced() -> None:
    old = {
        "metres_per_unit": 8,
        "nested": [{"scale": "metres", "unit": "metre"}],
        "colormap": "grey",
        "camera": "of each picture",
        "source": "metres.jpg",
        "text": "metres",
    }
    new = {
        "meters_per_unit": 8,
        "nested": [{"scale": "meters", "unit": "meter"}],
        "colormap": "gray",
        "camera": "of each image",
        "source": "metres.jpg",
        "text": "metres",
    }
    assert modernize(old) == new
    assert modernize(new) == new
    assert modernize(None) is None


# Digests


@pytest.mark.parametrize("content", [b"", b"glpn", b"weights" * 300_000])
def test_digests(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert file_sha256(file) == expected
    digest = FileDigest(file)
    assert digest.hexdigest() == digest.hexdigest() == expected


def test_each_digest_is_of_the_file_when_it_was_started(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"before")
    first = FileDigest(file)
    assert first.hexdigest() == hashlib.sha256(b"before").hexdigest()
    file.write_bytes(b"after")
    assert first.hexdigest() == hashlib.sha256(b"before").hexdigest()
    assert FileDigest(file).hexdigest() == hashlib.sha256(b"after").hexdigest()


def test_a_digest_of_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    digest = FileDigest(tmp_path / "gone.safetensors")
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"gone\.safetensors"):
            digest.hexdigest()
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "gone.safetensors")


# Locks

HOLD = """
import sys
from pathlib import Path
from glpn_cli.errors import OutputError
from glpn_cli.files import locked
with locked(Path(sys.argv[1]), OutputError("busy")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("holder")
def test_a_lock_of_another_process_is_busy(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, locked(tmp_path / "lock", BUSY):
        pytest.fail("entered")
    assert caught.value is BUSY


def test_a_killed_process_releases_its_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock", BUSY):
        pass


def test_waiting_for_a_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    waits: list[bool] = []

    def on_wait() -> None:
        waits.append(holder.poll() is None)
        holder.kill()

    with locked(tmp_path / "lock", BUSY, on_wait=on_wait):
        assert waits == [True]


def test_a_lock_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", BUSY):
        with pytest.raises(OutputError), locked(tmp_path / "lock", BUSY):
            pass
        raise ZeroDivisionError
    with locked(tmp_path / "lock", BUSY):
        pass


def test_a_lock_that_cannot_be_created_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file" / "lock", BUSY):
        pass

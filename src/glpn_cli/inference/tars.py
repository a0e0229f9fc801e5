"""Tar shards as WebDataset has them: reading images from one, writing their depth into another, and its record file.

A tar may have been written by anyone, and may be larger than memory. One image of it is read at a time, and nothing is
ever unpacked.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from glpn_cli._version import __version__
from glpn_cli.errors import GLPNError, ImageError, OutputError
from glpn_cli.files import file_sha256, load_json, os_reason
from glpn_cli.image.folder import LeftOut, PathFilter, is_image_name
from glpn_cli.inference.record import Record
from glpn_cli.inference.store import TAR_SUFFIX, CheckedStream
from glpn_cli.output.naming import has_output_ending
from glpn_cli.settings import MAX_STREAM_BYTES, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from glpn_cli.inference.store import Location
    from glpn_cli.output.formats import DepthFormat

RECORD_SUFFIX = ".glpn.jsonl"
HEAD_BYTES = 2**15
"""The first line of a record file is shorter, and so is the mark of a tar that this program has written."""

_BLOCK_BYTES = tarfile.BLOCKSIZE
_END = bytes(_BLOCK_BYTES)
MAX_NAME_BYTES = 2**16
"""Of what a tar says of one member: the longest path has 4 KiB, and a stranger's tar may claim gigabytes."""

_COMMENT = "depth by glpn-cli"
_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}  # names are bytes, which stay the same


# Reading


@dataclass(frozen=True, slots=True)
class TarImage:
    """An image in a tar.

    Attributes:
        name: of the member.
        offset: of its first header, bytes.
        data: its content; empty if there is a failure.
        failure: why it cannot be used; without the names of the tar and the member.
    """

    name: str
    offset: int
    data: bytes = b""
    failure: ImageError | None = None


@dataclass(slots=True)
class TarScan:
    """Reads the images of one tar, in its order.

    Attributes:
        passed_over: number of members that are no images, such as labels.
        position: of what was read last, bytes.
    """

    source: Location
    search: SearchSettings = field(default_factory=SearchSettings)
    left_out: LeftOut = field(default_factory=LeftOut)
    passed_over: int = 0
    position: int = 0
    _names: set[str] = field(default_factory=set)

    def images(self, stream: CheckedStream) -> Iterator[TarImage]:
        """Yield all images.

        Raises:
            TruncatedTarError: the tar ends too early or is damaged, after at least one member.
            ImageError: it is not a tar, or cannot be read.
        """
        wanted = PathFilter.of(self.search.include, self.search.exclude)
        for member in _members(stream):
            self.position = member.offset
            if self._is_image(member, wanted):
                yield self._image(member, stream)
            elif not member.isdir():
                self.passed_over += 1

    def images_at(self, stream: CheckedStream, offsets: Sequence[int]) -> Iterator[TarImage]:
        """Yield the images whose headers are at these places.

        Raises:
            ImageError, TruncatedTarError: as from `images`.
        """
        for offset in offsets:
            self.position = offset
            member = next(_members(stream, offset), None)
            if member is None:
                raise TruncatedTarError
            yield self._image(member, stream, is_known=True)

    def _is_image(self, member: tarfile.TarInfo, wanted: PathFilter) -> bool:
        name = member.name.removeprefix("./")
        is_hidden = any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
        if member.isdir() or not wanted.wants(name) or (is_hidden and not self.search.hidden):
            return False
        self.left_out.add(os.path.splitext(name)[1].lower())
        return is_image_name(name) and not has_output_ending(name)

    def _image(self, member: tarfile.TarInfo, stream: CheckedStream, *, is_known: bool = False) -> TarImage:
        image = TarImage(member.name.replace("\0", "\ufffd"), member.offset)
        is_again = member.name in self._names and not is_known
        self._names.add(member.name)
        problem = _problem(member) or ("the tar has another member of this name before it" if is_again else "")
        if problem:
            return replace(image, failure=ImageError(problem))
        stream.seek(member.offset_data)
        data = stream.read_large(member.size)
        if len(data) < member.size:
            raise TruncatedTarError
        return replace(image, data=data)


class TruncatedTarError(Exception):
    """A tar ends too early or is damaged, after what was read."""


def _problem(member: tarfile.TarInfo) -> str:
    """Return why a member cannot be used; empty if it can."""
    if member.name.startswith("/") or ".." in member.name.split("/") or "\0" in member.name:
        return "its name leads out of the folder that the tar is unpacked in"
    if member.issym() or member.islnk():
        return "is a link in the tar, not an image"
    if not member.isreg() or member.issparse():
        return "is a special file in the tar, not an image"
    return f"more than {MAX_STREAM_BYTES} bytes" if member.size > MAX_STREAM_BYTES else ""


def _members(stream: CheckedStream, start: int = 0) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar from one of them on. `tarfile` itself takes a damaged header for the end.

    Raises:
        TruncatedTarError: the tar ends too early or is damaged.
        ImageError: it is not a tar, or cannot be read.
    """
    offset = start
    try:
        tar = tarfile.TarFile(fileobj=io.BytesIO(2 * _END), **_TEXT)
        tar.fileobj = cast("Any", stream)
        while True:
            stream.seek(offset)
            block = stream.read(_BLOCK_BYTES)
            if block == _END:
                return
            stream.seek(offset)
            tar.offset = offset
            member = tarfile.TarInfo.fromtarfile(tar)
            if not (member.size >= 0 and tar.offset > offset):
                raise TruncatedTarError  # noqa: TRY301 - as for any other damage
            offset = tar.offset
            yield member
    except (GLPNError, TruncatedTarError):
        raise
    except Exception as error:  # tarfile raises anything, also RecursionError
        if offset == 0:
            raise _not_a_tar(stream) from error
        raise TruncatedTarError from error


def _not_a_tar(stream: CheckedStream) -> ImageError:
    stream.seek(0)
    head = stream.read(8)
    is_compressed = head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd"))
    what = "an empty file" if not head else "a compressed file, not a tar" if is_compressed else "not a tar"
    return ImageError(f"{stream.location}: {what}", hint="decompress it first" if is_compressed else None)


class MemberNames:
    """Names of depth in a tar: KEY.depth.png for KEY.jpg, so that both belong to the same sample.

    The second image with one key and format of name, such as KEY.png after KEY.jpg, gets its whole name:
    KEY.png.depth.png.
    """

    def __init__(self) -> None:
        """Know no name yet."""
        self._taken: set[str] = set()

    def outputs(self, name: str, rows: Sequence[DepthFormat]) -> tuple[str, ...]:
        """Return the name of each output of an image."""
        stem = os.path.splitext(name)[0]
        stem = name if stem in self._taken else stem
        while stem in self._taken:
            stem += "_"
        self._taken.add(stem)
        return tuple(stem + row.ending for row in rows)


# The record file


@dataclass(frozen=True, slots=True)
class TarRecord:
    """The first line of a record file; one line for each image follows.

    Attributes:
        source: the tar with the images.
        source_mark: its size and version when it was read.
        output: name of the tar with the depth.
        size: of that, bytes.
        sha256: of that.
        done: number of images with depth.
        failed: number of images without, and 1 for a truncated tar.
        passed_over: number of members that are no images.
        settings: everything that determines the content of the outputs.
        version: of this program.
    """

    source: str
    source_mark: str
    output: str
    size: int
    sha256: str
    done: int
    failed: int
    passed_over: int
    settings: dict[str, Any]
    version: str = __version__

    @classmethod
    def parse(cls, head: bytes) -> Self | None:
        """Return the record in the first bytes of a file; None if it is not one of ours."""
        try:
            line, end, _ = head.partition(b"\n")
            values = load_json(line)["glpn_tar"]
            record = cls(**{name: values[name] for name in _FIELDS if name in values})
            numbers = (record.size, record.done, record.failed, record.passed_over)
            texts = (record.source, record.source_mark, record.output, record.sha256)
            is_valid = all(isinstance(number, int) and number >= 0 for number in numbers)
            is_valid = is_valid and all(isinstance(text, str) for text in texts) and isinstance(record.settings, dict)
        except (ValueError, TypeError, KeyError):
            return None
        return record if end and is_valid and "/" not in record.output else None


_FIELDS = [item.name for item in fields(TarRecord)]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a record file.

    Attributes:
        record: of the image; its source is the name of the member.
        offset: of the member in the tar with the images; -1 for the end of a truncated tar.
    """

    record: Record
    offset: int

    def to_bytes(self) -> bytes:
        """Return the line, without what is empty."""
        values = asdict(self.record) | {"settings": {}, "relative_source": "", "source_mark": ""}
        shown = {name: value for name, value in values.items() if value not in ("", None, {}, 0)}
        return (json.dumps(shown | {"offset": self.offset}) + "\n").encode()


def read_lines(data: bytes) -> list[Line]:
    """Return the lines of a record file after the first; those that are not ours are skipped."""
    lines = []
    for text in data.splitlines()[1:]:
        try:
            values = load_json(text)
            record = Record.from_dict(values)
            offset = values.get("offset")
        except (ValueError, AttributeError):
            continue
        if record is not None and isinstance(offset, int) and offset >= -1:
            lines.append(Line(record, offset))
    return lines


def record_name(tar_name: str) -> str:
    """Return the name of the record file of a tar."""
    return tar_name.removesuffix(TAR_SUFFIX) + RECORD_SUFFIX


# Writing


def is_ours(head: bytes) -> bool:
    """Return whether a tar was written by this program, by its first bytes."""
    return f"comment={_COMMENT}\n".encode() in head[: 4 * _BLOCK_BYTES]


class TarWriter:
    """Writes the outputs of one tar and its record file into a folder. Equal outputs give equal tars."""

    def __init__(self, folder: Path) -> None:
        """Create both files in a folder that is ours.

        Raises:
            OutputError: the file system refuses.
        """
        self.tar, self.record = folder / "depth.tar", folder / "record"
        self.lines: list[Line] = []
        with _spooling(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._stream = self.tar.open("xb")
            self._tar = tarfile.TarFile(
                fileobj=self._stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": _COMMENT}, **_TEXT
            )

    def add(self, line: Line, files: Iterable[bytes]) -> None:
        """Add the outputs of an image.

        Raises:
            OutputError: the file system refuses.
        """
        self.lines.append(line)
        with _spooling(self.tar):
            for name, data in zip(line.record.outputs.values(), files, strict=line.record.is_done):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                self._tar.addfile(member, io.BytesIO(data))
                _forget(self._tar)

    def close_tar(self) -> None:
        """Complete the tar.

        Raises:
            OutputError: the file system refuses.
        """
        with _spooling(self.tar):
            self._tar.close()
            self._stream.close()

    def finish(self, record: TarRecord) -> None:
        """Complete both files.

        Args:
            record: its numbers and what describes the output are filled in here.

        Raises:
            OutputError: the file system refuses.
        """
        done = sum(line.record.is_done for line in self.lines)
        self.close_tar()
        with _spooling(self.tar):
            size, digest = self.tar.stat().st_size, file_sha256(self.tar)
            record = replace(record, size=size, sha256=digest, done=done, failed=len(self.lines) - done)
            with self.record.open("xb") as stream:
                stream.write((json.dumps({"glpn_tar": asdict(record)}) + "\n").encode())
                stream.writelines(line.to_bytes() for line in self.lines)

    def close(self) -> None:
        """Remove both files."""
        self._stream.close()
        shutil.rmtree(self.tar.parent, ignore_errors=True)


class _spooling:  # noqa: N801 - used like a function
    """Turns errors of the file system into an `OutputError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(f"{self._path}: cannot be written: {os_reason(error)}") from error


def merge(
    writer: TarWriter,
    old: Iterable[tuple[Line, CheckedStream | BinaryIO]],
    new: Iterable[tuple[Line, CheckedStream | BinaryIO]],
) -> None:
    """Write the lines of two tars into one, in the order of the images.

    Args:
        writer: empty.
        old: lines in their order, with the open tar that has their outputs; failures that were retried are left out.
        new: those that replace the failures, in the same form.

    Raises:
        ImageError, TruncatedTarError: a tar is not as its lines say.
        OutputError: the file system refuses.
    """
    readers: dict[int, Iterator[tuple[str, Any]]] = {}
    for line, stream in sorted([*old, *new], key=lambda pair: (pair[0].offset < 0, pair[0].offset)):
        reader = readers.setdefault(id(stream), _contents(stream))
        files = []
        for name in line.record.outputs.values():
            found, content = next(reader, ("", None))
            if content is None or found != name:
                raise TruncatedTarError
            files.append(content.read())
        writer.add(line, files)


def _contents(stream: CheckedStream | BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield name and open content of each member of a tar that this program has written.

    Raises:
        TruncatedTarError: it did not write this one.
    """
    try:
        with tarfile.TarFile(fileobj=cast("Any", stream), **_TEXT) as tar:
            while (member := tar.next()) is not None:
                _forget(tar)
                content = tar.extractfile(member)
                if content is None:
                    raise TruncatedTarError
                yield member.name, content
    except GLPNError:  # some are a ValueError
        raise
    except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        raise TruncatedTarError from error


def _forget(tar: tarfile.TarFile) -> None:
    """Free the headers of members: an open tar remembers all."""
    tar.members.clear()  # type: ignore[attr-defined]  # as old as the module, but not in its documentation


def hash_members(stream: CheckedStream) -> Iterator[tuple[str, str]]:
    """Yield name and SHA-256 of each member of a tar that this program has written.

    Raises:
        TruncatedTarError: it did not write this one, or the tar is damaged.
    """
    for name, content in _contents(stream):
        try:
            yield name, hashlib.file_digest(content, "sha256").hexdigest()
        except tarfile.TarError as error:
            raise TruncatedTarError from error

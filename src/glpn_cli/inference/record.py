"""What became of an image, as a manifest records it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Self

from glpn_cli.files import file_sha256, is_path
from glpn_cli.image.fetching import Address

if TYPE_CHECKING:
    from glpn_cli.image.discovery import Source

DONE, FAILED, OUTDATED, UNFINISHED = "done", "failed", "outdated", "unfinished"
_STATUSES = frozenset({DONE, FAILED, OUTDATED, UNFINISHED})
_LARGEST = 1e15  # of seconds and exit codes in a line


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the manifest.

    Attributes:
        source: absolute path of the image, or its URL.
        status: "done", "failed", "outdated" (done, and about to be redone), or "unfinished" (some of several outputs
            appeared before a run was killed, or all did and a later run failed to replace them).
        outputs: path of each output relative to the manifest's folder, by format.
        error: message of a failed image.
        hint: what to do about it.
        exit_code: the exit code that it would be for a single image.
        seconds: spent on the image.
        source_mark: size and modification time of the source, to notice a changed image.
        sha256: of each output, by format.
        settings: what determines the content of the outputs; records of one run share it, so do not change it.
        relative_source: path of the image from the manifest's folder, so that both can be moved; empty for a URL.
        source_sha256: of the image, to recognize it in a copy, whose date is new; empty if it is unknown.
    """

    source: str
    status: str
    outputs: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0
    seconds: float = 0.0
    source_mark: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    relative_source: str = ""
    source_sha256: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the image needs nothing more."""
        return self.status == DONE

    def matches(self, name: str, path: Path) -> bool:
        """Return whether a file is still the output that was written for a format."""
        try:
            return self.sha256.get(name) == file_sha256(path)
        except OSError:
            return False

    @classmethod
    def from_dict(cls, values: dict[str, Any], settings: dict[str, Any] | None = None) -> Self | None:
        """Build a record from a line, ignoring unknown fields of newer versions; None if the line is not ours.

        Args:
            values: the fields of the line, without `settings`.
            settings: shared by the records of a file; None for none.
        """
        known = {name: value for name, value in values.items() if name in _FIELD_NAMES}
        try:
            record = cls(**known, settings=settings or {})
        except TypeError:
            return None
        if not (record._has_valid_types() and record.status in _STATUSES and is_path(record.source)):
            return None
        if not (is_path(record.relative_source) and all(map(is_below, record.outputs.values()))):
            return None
        return record

    def _has_valid_types(self) -> bool:
        if not (isinstance(self.outputs, dict) and isinstance(self.sha256, dict)):
            return False
        texts = (
            *(self.source, self.status, self.source_mark, self.relative_source, self.source_sha256),
            *(self.error or "", self.hint or "", *self.outputs.values(), *self.sha256.values()),
        )
        return all(map(_is_text, texts)) and _is_amount(self.seconds) and _is_amount(self.exit_code)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < _LARGEST


RECORD_FIELDS = [item.name for item in fields(Record)]
_FIELD_NAMES = frozenset(RECORD_FIELDS)


def is_below(path: str) -> bool:
    """Return whether a text from a file is a relative path that stays inside its folder."""
    if not is_path(path):
        return False
    if path[:1].isalnum() and not any(part in path for part in ("..", ":", "\\")):
        return True  # as nearly all are, and `PurePath` takes ten times as long
    pure = PurePath(path)
    return not pure.anchor and ".." not in pure.parts and bool(pure.parts)


def file_mark(source: Source) -> str:
    """Return size and modification time of an image, to notice a changed one; empty for a missing file or a URL."""
    if isinstance(source, Address):
        return ""
    try:
        status = os.stat(source)
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def is_same_image(record: Record, source: Source) -> bool:
    """Return whether the image of a record is unchanged: by its size and date, else by its content.

    Only the date is new in a copy of a folder.
    """
    mark = file_mark(source)
    if record.source_mark == mark:
        return True
    size, _, _ = mark.partition("-")
    if isinstance(source, Address) or not record.source_sha256 or record.source_mark.partition("-")[0] != size:
        return False
    try:
        return file_sha256(source) == record.source_sha256
    except OSError:
        return False


def relative_source(source: str, folder: Path) -> str:
    """Return the path of an image from the manifest's folder; empty for a URL, and for another drive of Windows."""
    if not os.path.isabs(source):
        return ""
    try:
        return Path(os.path.relpath(source, os.path.realpath(folder))).as_posix()
    except ValueError:
        return ""

"""The table of depth file formats. A new format is one module and one row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from glpn_cli.errors import UsageError
from glpn_cli.settings import Scale

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings

__all__ = [
    "DEFAULT_FORMAT",
    "FORMATS",
    "Codec",
    "DepthFormat",
    "Published",
    "ReadsBack",
    "check_settings",
    "format_of_name",
]


class Codec(Protocol):
    """What a format's module offers."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Turn depth into the bytes of a whole file."""

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Turn the bytes of a file, called `name` in messages, back into depth, or raise DepthFileError.

        Not asked for formats that never read back.
        """

    def read_facts(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Give what a file of ours says of itself, as `facts.state_facts` stated it; None if it says nothing.

        Reads no more than it needs, and never raises: a file that is damaged says nothing.
        """


class ReadsBack(StrEnum):
    """What `glpn_cli.read` gives for a file of a format."""

    METRES = "metres and provenance"
    VALUES = "metres, without provenance"
    APPROXIMATE = "approximate metres and provenance"
    NEVER = "an error"


class Published(StrEnum):
    """What `--scale published` means for a format."""

    WRITTEN = "the published numbers are written"
    IGNORED = "metres, whatever the scale"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DepthFormat:
    """One row of the table.

    Attributes:
        name: what `--format` calls it.
        ending: what its default file names end in, after the picture's name.
        suffix: the suffix by which a file name asks for it. Of several formats with one suffix, the first is meant.
        magic: how every file of the format begins. Formats that share it say in their facts which they are.
        module: where its codec is; loaded when it is needed.
        holds: what is in the file, for help and documentation.
        reads_back: what reading it gives.
        unreadable_because: for a format that never reads back, why: the end of "is a NAME file: ...".
        published: what the published scale means for it.
        needs_picture: whether its files may show the picture too, so that the predictor has to keep it.
        ending_is_proof: whether no picture of anybody else is called like this.
    """

    name: str
    ending: str
    suffix: str
    magic: bytes
    module: str
    holds: str
    reads_back: ReadsBack
    unreadable_because: str = ""
    published: Published = Published.REFUSED
    needs_picture: bool = False
    ending_is_proof: bool = True

    def load_codec(self) -> Codec:
        """Import the module that encodes and decodes this format."""
        return cast("Codec", import_module(self.module))

    def may_be_called(self, name: str) -> bool:
        """Tell whether a file name has this format's suffix, and not the ending of another format."""
        return PurePath(name).suffix.lower() == self.suffix and _row_of_ending(name) in (None, self)


_PNG = b"\x89PNG\r\n\x1a\n"

FORMATS: dict[str, DepthFormat] = {
    row.name: row
    for row in (
        DepthFormat(
            "png",
            ".depth.png",
            ".png",
            _PNG,
            "glpn_cli.output.png8",
            "8-bit grey picture to look at, near is dark",
            ReadsBack.APPROXIMATE,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "npy",
            ".depth.npy",
            ".npy",
            b"\x93NUMPY",
            "glpn_cli.output.npy",
            "float32 metres for numpy",
            ReadsBack.VALUES,
            published=Published.WRITTEN,
        ),
    )
}

DEFAULT_FORMAT = "png"


def format_of_name(name: str) -> DepthFormat:
    """Find the format that a file name asks for: by its ending, such as ".depth16.png", else by its suffix.

    Raises:
        UsageError: there is none.
    """
    row = _row_of_ending(name)
    if row is not None:
        return row
    suffix = PurePath(name).suffix.lower()
    for row in FORMATS.values():
        if row.suffix == suffix:
            return row
    suffixes = dict.fromkeys(row.suffix for row in FORMATS.values())
    raise UsageError(f"no depth format has the suffix {suffix!r}", hint="use " + " or ".join(suffixes))


def check_settings(rows: Iterable[DepthFormat], settings: OutputSettings) -> None:
    """See whether settings make sense for the formats that are going to be written.

    Raises:
        UsageError: they do not.
    """
    refusing = [row.name for row in rows if row.published is Published.REFUSED]
    if settings.scale is Scale.PUBLISHED and refusing:
        raise UsageError(f"--scale published: {refusing[0]} holds metres by definition", hint="leave --scale out")


def _row_of_ending(name: str) -> DepthFormat | None:
    lowered = name.lower()
    return max(
        (row for row in FORMATS.values() if lowered.endswith(row.ending)),
        key=lambda row: len(row.ending),
        default=None,
    )

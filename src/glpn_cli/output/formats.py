"""The table of depth file formats. A new format is one module and one row."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings

__all__ = ["DEFAULT_FORMAT", "FORMATS", "Codec", "DepthFormat", "format_of_suffix"]


class Codec(Protocol):
    """What a format's module offers."""

    MAGIC: bytes
    """How every file of the format begins."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Turn depth into the bytes of a whole file."""

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Turn the bytes of a file, called `name` in messages, back into depth, or raise DepthFileError."""


@dataclass(frozen=True, slots=True)
class DepthFormat:
    """One row of the table.

    Attributes:
        name: what `--format` calls it.
        ending: what its default file names end in, after the picture's name.
        suffix: the suffix by which a file name asks for it.
        module: where its codec is; loaded when it is needed.
        holds: what is in the file, for help and documentation.
    """

    name: str
    ending: str
    suffix: str
    module: str
    holds: str

    def load_codec(self) -> Codec:
        """Import the module that encodes and decodes this format."""
        return cast("Codec", import_module(self.module))


FORMATS: dict[str, DepthFormat] = {
    row.name: row
    for row in (
        DepthFormat("png", ".depth.png", ".png", "glpn_cli.output.png8", "8-bit grey picture to look at, near is dark"),
        DepthFormat("npy", ".depth.npy", ".npy", "glpn_cli.output.npy", "float32 metres for numpy"),
    )
}

DEFAULT_FORMAT = "png"


def format_of_suffix(suffix: str) -> DepthFormat:
    """Find the format that a file suffix such as ".npy" asks for.

    Raises:
        UsageError: there is none.
    """
    for row in FORMATS.values():
        if row.suffix == suffix.lower():
            return row
    raise UsageError(
        f"no depth format has the suffix {suffix!r}", hint="use " + " or ".join(row.suffix for row in FORMATS.values())
    )

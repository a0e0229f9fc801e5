"""The table of depth file formats. A new format is one module and one row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from glpn_cli.errors import MissingPackageError, UsageError
from glpn_cli.files import write_whole
from glpn_cli.settings import OutputSettings, Scale

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from glpn_cli.depth import DepthMap


class Codec(Protocol):
    """What a format's module offers."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Turn depth into the bytes of a whole file."""

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Turn the bytes of a file, called `name` in messages, back into depth, or raise DepthFileError.

        Formats that never read back have no such thing.
        """

    def read_facts(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Give what a file of ours says of itself, as `facts.state_facts` stated it; None if it says nothing.

        Reads no more than it needs, and never raises: a file that is damaged says nothing.
        """


class ReadsBack(StrEnum):
    """What `glpn_cli.read` gives for a file of a format."""

    METERS = "meters and provenance"
    VALUES = "meters, without provenance"
    APPROXIMATE = "approximate meters and provenance"
    NEVER = "an error"


class Published(StrEnum):
    """What `--scale published` means for a format."""

    WRITTEN = "the published numbers are written"
    IGNORED = "meters, whatever the scale"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DepthFormat:
    """One row of the table.

    Attributes:
        name: what `--format` calls it.
        ending: what its default file names end in, after the image's name. Its last part is the suffix by which a
            file name asks for the format; of several formats with one suffix, the first is meant.
        magic: how the files of the format begin. Formats that share it say in their facts which they are.
        module: where its codec is; loaded when it is needed.
        holds: what is in the file, for help and documentation.
        reads_back: what reading it gives.
        unreadable_because: for a format that never reads back, why: the end of "is a NAME file: ...".
        published: what the published scale means for it.
        needs_image: whether its files may show the image too, so that the predictor has to keep it.
        needs_camera: whether what is in its files depends on the camera that took the image.
        needs_uncertainty: whether its files hold by how much answers of the network differ.
        ending_is_proof: whether no image of anybody else is called like this.
        package: what it needs from PyPI beside what is always installed; glpn-cli has an extra with the format's name.
    """

    name: str
    ending: str
    magic: tuple[bytes, ...]
    module: str
    holds: str
    reads_back: ReadsBack
    unreadable_because: str = ""
    published: Published = Published.REFUSED
    needs_image: bool = False
    needs_camera: bool = False
    needs_uncertainty: bool = False
    ending_is_proof: bool = True
    package: str = ""

    @property
    def suffix(self) -> str:
        """What the names of its files end in, with the dot."""
        return "." + self.ending.rpartition(".")[2]

    def load_codec(self) -> Codec:
        """Import the module that encodes and decodes this format."""
        return cast("Codec", import_module(self.module))

    def may_be_called(self, name: str) -> bool:
        """Tell whether a file name has this format's suffix, and not the ending of another format."""
        return PurePath(name).suffix.lower() == self.suffix and _row_of_ending(name) in (None, self)


_LEFT_OUT = "it no longer knows which pixels its points were, nor those that were left out"
_PNG = b"\x89PNG\r\n\x1a\n"
# Little-endian, as we write it, and big-endian, as Java programs do; and both with 64-bit offsets.
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ROOM = "glpn_cli.output."

FORMATS: dict[str, DepthFormat] = {
    row.name: row
    for row in (
        DepthFormat(
            "png",
            ".depth.png",
            magic=(_PNG,),
            module=_ROOM + "png8",
            holds="8-bit gray, to look at",
            reads_back=ReadsBack.APPROXIMATE,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "color",
            ".color.png",
            magic=(_PNG,),
            module=_ROOM + "color",
            holds="colors, to look at",
            reads_back=ReadsBack.NEVER,
            unreadable_because="colors are for looking at, and no numbers",
            published=Published.IGNORED,
            needs_image=True,
            ending_is_proof=False,  # data sets call photos like this
        ),
        DepthFormat(
            "png16",
            ".depth16.png",
            magic=(_PNG,),
            module=_ROOM + "png16",
            holds="16-bit meters (times 1000 or 256)",
            reads_back=ReadsBack.METERS,
        ),
        DepthFormat(
            "npy",
            ".depth.npy",
            magic=(b"\x93NUMPY",),
            module=_ROOM + "npy",
            holds="float32 meters",
            reads_back=ReadsBack.VALUES,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "npz",
            ".depth.npz",
            magic=(b"PK\x03\x04",),
            module=_ROOM + "npz",
            holds="float32 meters and what is known of them",
            reads_back=ReadsBack.METERS,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "tiff",
            ".depth.tiff",
            magic=_TIFF,
            module=_ROOM + "tiff",
            holds="float32 meters",
            reads_back=ReadsBack.METERS,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "exr",
            ".depth.exr",
            magic=(b"v/1\x01",),
            module=_ROOM + "exr",
            holds="float32 meters in channel Z",
            reads_back=ReadsBack.METERS,
            published=Published.WRITTEN,
            package="OpenEXR",
        ),
        DepthFormat(
            "pfm",
            ".depth.pfm",
            magic=(b"Pf",),
            module=_ROOM + "pfm",
            holds="float32 meters",
            reads_back=ReadsBack.VALUES,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "uncertainty",
            ".uncertainty.tiff",
            magic=_TIFF,
            module=_ROOM + "uncertainty",
            holds="by how much --tta flip disagrees, float32 meters",
            reads_back=ReadsBack.NEVER,
            unreadable_because="it holds how uncertain depth is, and no depth",
            needs_uncertainty=True,
        ),
        DepthFormat(
            "ply",
            ".ply",
            magic=(b"ply",),
            module=_ROOM + "ply",
            holds="colored points in space, meters",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_LEFT_OUT,
            needs_image=True,
            needs_camera=True,
        ),
        DepthFormat(
            "glb",
            ".glb",
            magic=(b"glTF",),
            module=_ROOM + "glb",
            holds="textured surface in space, meters",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_LEFT_OUT,
            needs_image=True,
            needs_camera=True,
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
    """See whether formats can be written, and settings make sense for them.

    Raises:
        UsageError: they do not.
        MissingPackageError: a format needs a package that is not installed.
    """
    rows = list(rows)
    refusing = [row.name for row in rows if row.published is Published.REFUSED]
    if settings.scale is Scale.PUBLISHED and refusing:
        raise UsageError(f"--scale published: {refusing[0]} holds meters by definition", hint="leave --scale out")
    for row in rows:
        if row.package and find_spec(row.package) is None:
            raise MissingPackageError(
                f"the format {row.name} needs the package {row.package}",
                hint=f"pip install {row.package}, or glpn-cli[{row.name}]",
            )


def save_depth(
    depth: DepthMap, path: str | PathLike[str], *, overwrite: bool = False, settings: OutputSettings | None = None
) -> None:
    """Write depth in the format that the file name asks for; see `DepthMap.save`."""
    target = Path(path)
    row = format_of_name(target.name)
    settings = settings or OutputSettings()
    check_settings([row], settings)
    write_whole(target, row.load_codec().encode(depth, settings), overwrite=overwrite)


def _row_of_ending(name: str) -> DepthFormat | None:
    lowered = name.lower()
    return next((row for row in FORMATS.values() if lowered.endswith(row.ending)), None)

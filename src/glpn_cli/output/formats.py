"""The table of depth file formats. A new format is one codec and one row."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from glpn_cli.convert import closest_hint, refuse_unknown_keywords
from glpn_cli.errors import MissingPackageError, UsageError
from glpn_cli.files import write_whole
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from PIL import Image

    from glpn_cli.depth import DepthMap


class Codec(Protocol):
    """Encodes and decodes the files of one format. It has no state."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return the bytes of a file.

        Raises:
            GLPNError: the depth map cannot be written in this format.
        """

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth map in the bytes of a file. Formats that cannot be read back do not have this method.

        Args:
            data: the bytes of the file.
            name: of the file, for messages.

        Raises:
            DepthFileError: the file is damaged or does not contain depth.
        """

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata of a file, see `metadata.build_metadata`; None if there is none, or if it is damaged.

        Reads no more than necessary.
        """

    # A codec may also have `explain(metadata: dict[str, Any]) -> str`: what the values of a file mean, in one line.


class ReadsBack(StrEnum):
    """What `glpn_cli.read` returns for a format."""

    METERS = "meters and provenance"
    VALUES = "meters, without provenance"
    APPROXIMATE = "approximate meters and provenance"
    NEVER = "an error"


class Published(StrEnum):
    """The effect of the published scale on a format."""

    WRITTEN = "network units are written"
    IGNORED = "meters, whatever the scale"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DepthFormat:
    """One row of the table.

    Attributes:
        name: the name of the format on the command line and in metadata.
        ending: the end of default file names, after the name of the image. Images from other sources do not have it.
            Its last part is the suffix, which selects the format, too; if several formats share a suffix, it selects
            the first.
        magic: the first bytes of a file, several alternatives. Formats that share them differ in their metadata.
        codec: "module:class", imported on first use, so that help needs neither numpy nor Pillow.
        holds: the contents of a file, for help and documentation.
        reads_back: what reading returns.
        unreadable_because: why the format cannot be read back: the end of "is a NAME file: ...".
        published: the effect of the published scale.
        settings: fields of `OutputSettings` that affect this format and not all others.
        needs_image: whether files may contain the image, so that the predictor must keep it.
        needs_camera: whether the contents depend on the camera.
        needs_uncertainty: whether files contain the uncertainty.
        old_endings: those of earlier versions; they select the format, too. Images from other sources may have them.
        implied_by: fields of `OutputSettings` that select the format if no format is named.
        is_explained: whether commands print what the codec explains of each file.
        package: the package on PyPI that the format needs besides the required ones; its import name is the same.
    """

    name: str
    ending: str
    magic: tuple[bytes, ...]
    codec: str
    holds: str
    reads_back: ReadsBack
    unreadable_because: str = ""
    published: Published = Published.REFUSED
    settings: tuple[str, ...] = ()
    needs_image: bool = False
    needs_camera: bool = False
    needs_uncertainty: bool = False
    old_endings: tuple[str, ...] = ()
    implied_by: tuple[str, ...] = ()
    is_explained: bool = False
    package: str = ""

    @property
    def suffix(self) -> str:
        """The suffix of file names, with the dot."""
        return "." + self.ending.rpartition(".")[2]

    def load_codec(self) -> Codec:
        """Import and return the codec."""
        module, _, name = self.codec.partition(":")
        return cast("Codec", getattr(import_module(module), name)())

    def explain(self, metadata: dict[str, Any]) -> str:
        """Return what the values of a file mean, in one line; empty if the format says it all.

        Args:
            metadata: of a file that can be read back.
        """
        explain: Callable[[dict[str, Any]], str] | None = getattr(self.load_codec(), "explain", None)
        return "" if explain is None else explain(metadata)

    def may_be_called(self, name: str) -> bool:
        """Return whether a file name has the suffix of this format and not the ending of another format."""
        return PurePath(canonical_name(name)).suffix == self.suffix and _find_by_ending(name) in (None, self)


_POINTS_LEFT_OUT = "its points cannot be assigned to pixels, and some were left out"
_OF_POINTS = ("edge_filter", "valid_range", "max_points")
_OF_NORMALS = ("edge_filter", "valid_range", "normal_map")
_NORMALS_ONLY = "it contains the directions of surfaces, not depth"
_CAMERA_ONLY = "it contains the camera, not depth"
_PNG = b"\x89PNG\r\n\x1a\n"
# Little-endian, as glpn writes it, and big-endian, as Java programs do; then both with 64-bit offsets.
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

FORMATS: dict[str, DepthFormat] = {
    row.name: row
    for row in (
        DepthFormat(
            "png",
            ".depth.png",
            magic=(_PNG,),
            codec="glpn_cli.output.png:PNG",
            holds="8-bit gray, for viewing",
            reads_back=ReadsBack.APPROXIMATE,
            published=Published.WRITTEN,
            settings=("normalize", "range", "near", "curve"),
        ),
        DepthFormat(
            "color",
            ".depth-color.png",
            magic=(_PNG,),
            codec="glpn_cli.output.png:ColorPNG",
            holds="colors, for viewing",
            reads_back=ReadsBack.NEVER,
            unreadable_because="colors cannot be converted back to depth",
            published=Published.IGNORED,
            settings=("range", "near", "curve", "colormap", "legend", "side_by_side"),
            needs_image=True,
            old_endings=(".color.png",),
            implied_by=("colormap", "legend", "side_by_side"),
        ),
        DepthFormat(
            "disparity16",
            ".disparity16.png",
            magic=(_PNG,),
            codec="glpn_cli.output.png:Disparity16",
            holds="16-bit inverse depth, near white",
            reads_back=ReadsBack.APPROXIMATE,
            published=Published.IGNORED,
            settings=("range",),
            is_explained=True,
        ),
        DepthFormat(
            "png16",
            ".depth16.png",
            magic=(_PNG,),
            codec="glpn_cli.output.png:PNG16",
            holds="16-bit millimeters",
            reads_back=ReadsBack.METERS,
            settings=("png16_scale",),
        ),
        DepthFormat(
            "npy",
            ".depth.npy",
            magic=(b"\x93NUMPY",),
            codec="glpn_cli.output.arrays:NPY",
            holds="float32 meters",
            reads_back=ReadsBack.VALUES,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "npz",
            ".depth.npz",
            magic=(b"PK\x03\x04",),
            codec="glpn_cli.output.arrays:NPZ",
            holds="float32 meters and metadata",
            reads_back=ReadsBack.METERS,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "tiff",
            ".depth.tiff",
            magic=_TIFF,
            codec="glpn_cli.output.tiff:TIFF",
            holds="float32 meters",
            reads_back=ReadsBack.METERS,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "exr",
            ".depth.exr",
            magic=(b"v/1\x01",),
            codec="glpn_cli.output.exr:EXR",
            holds="float32 meters in channels Y and Z",
            reads_back=ReadsBack.METERS,
            published=Published.WRITTEN,
            package="OpenEXR",
        ),
        DepthFormat(
            "pfm",
            ".depth.pfm",
            magic=(b"Pf",),
            codec="glpn_cli.output.arrays:PFM",
            holds="float32 meters",
            reads_back=ReadsBack.VALUES,
            published=Published.WRITTEN,
        ),
        DepthFormat(
            "uncertainty",
            ".uncertainty.tiff",
            magic=_TIFF,
            codec="glpn_cli.output.tiff:UncertaintyTIFF",
            holds="difference to the mirrored photo, float32 meters",
            reads_back=ReadsBack.NEVER,
            unreadable_because="it contains the uncertainty of depth, not depth",
            needs_uncertainty=True,
        ),
        DepthFormat(
            "ply",
            ".ply",
            magic=(b"ply",),
            codec="glpn_cli.output.mesh:PLY",
            holds="colored point cloud, meters",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_POINTS_LEFT_OUT,
            settings=(*_OF_POINTS, "axes"),
            needs_image=True,
            needs_camera=True,
        ),
        DepthFormat(
            "glb",
            ".glb",
            magic=(b"glTF",),
            codec="glpn_cli.output.mesh:GLB",
            holds="textured mesh, meters",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_POINTS_LEFT_OUT,
            settings=_OF_POINTS,
            needs_image=True,
            needs_camera=True,
        ),
        DepthFormat(
            "normals",
            ".normals.png",
            magic=(_PNG,),
            codec="glpn_cli.output.normals:NormalsPNG",
            holds="surface normals, 8-bit RGB",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_NORMALS_ONLY,
            settings=_OF_NORMALS,
            needs_camera=True,
        ),
        DepthFormat(
            "normals16",
            ".normals16.png",
            magic=(_PNG,),
            codec="glpn_cli.output.normals:Normals16PNG",
            holds="surface normals, 16-bit RGB",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_NORMALS_ONLY,
            settings=_OF_NORMALS,
            needs_camera=True,
        ),
        DepthFormat(
            "normals-exr",
            ".normals.exr",
            magic=(b"v/1\x01",),
            codec="glpn_cli.output.exr:NormalsEXR",
            holds="surface normals, float32 in [-1, 1]",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_NORMALS_ONLY,
            settings=_OF_NORMALS,
            needs_camera=True,
            package="OpenEXR",
        ),
        DepthFormat(
            "camera",
            ".camera.json",
            magic=(b'{\n  "glpn": ',),
            codec="glpn_cli.output.calibration:CameraJSON",
            holds="intrinsics as JSON, also for Open3D",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_CAMERA_ONLY,
            needs_camera=True,
        ),
        DepthFormat(
            "camera-info",
            ".camera_info.yaml",
            magic=(b"# glpn ",),
            codec="glpn_cli.output.calibration:CameraInfoYAML",
            holds="intrinsics as YAML for ROS",
            reads_back=ReadsBack.NEVER,
            unreadable_because=_CAMERA_ONLY,
            needs_camera=True,
        ),
    )
}

DEFAULT_FORMAT = "png"


def find_formats(names: str | Sequence[str], *, setting: str = "formats") -> list[DepthFormat]:
    """Return the rows of `FORMATS` with these names, each once.

    Args:
        names: in any case; one text may have several names, separated by commas.
        setting: the name of the argument, for errors.

    Raises:
        UsageError: there is no such format.
    """
    texts = [names] if isinstance(names, str) else names
    rows: dict[str, DepthFormat] = {}
    for name in (part for text in texts for part in _split(text)):
        if name not in FORMATS:
            raise UsageError(
                f"{name!r} is not one of {', '.join(FORMATS)}", hint=closest_hint(name, FORMATS), setting=setting
            )
        rows[name] = FORMATS[name]
    return list(rows.values())


def default_formats(settings: OutputSettings) -> list[DepthFormat]:
    """Return the formats that are written if none is named: those that a setting implies, else the default."""
    changed = settings.changed()
    implied = [row for row in FORMATS.values() if any(name in changed for name in row.implied_by)]
    return implied or [FORMATS[DEFAULT_FORMAT]]


def _split(text: str) -> list[str]:
    """Return the names in a text; a comma at the end, as completion leaves it, names nothing."""
    names = [part.strip().lower() for part in text.split(",")]
    return [name for name in names if name] or [""]


def format_of_name(name: str) -> DepthFormat:
    """Return the format that a file name selects: by its ending, such as ".depth16.png", else by its suffix.

    Raises:
        UsageError: no format has this suffix.
    """
    row = _find_by_ending(name)
    if row is not None:
        return row
    suffix = PurePath(canonical_name(name)).suffix
    for row in FORMATS.values():
        if row.suffix == suffix:
            return row
    suffixes = dict.fromkeys(row.suffix for row in FORMATS.values())
    raise UsageError(f"no depth format has the suffix {suffix!r}", hint="use " + " or ".join(suffixes))


def check_settings(rows: Iterable[DepthFormat], settings: OutputSettings) -> None:
    """Check that formats can be written with these settings, before anything is computed.

    Raises:
        UsageError: a format does not support the settings.
        MissingPackageError: a format needs a package that is not installed.
    """
    rows = list(rows)
    refusing = [row.name for row in rows if row.published is Published.REFUSED]
    if settings.scale is Scale.PUBLISHED and refusing:
        raise UsageError(f"{refusing[0]} files are always in meters", hint="omit `scale`", setting="scale")
    for row in rows:
        if row.package and find_spec(row.package) is None:
            raise MissingPackageError(
                f"{row.name} files need the package {row.package}", hint=f"pip install {row.package}"
            )


def spans_range(formats: Iterable[DepthFormat], output: OutputSettings) -> bool:
    """Return whether any image that is written spans a range of depth.

    A format with `normalize` spans one only if a range or a curve is set.
    """
    asked = output.normalize is None and (output.range is not None or output.curve is not None)
    return any("range" in row.settings and (asked or "normalize" not in row.settings) for row in formats)


def unwritten_users(setting: str, rows: Iterable[DepthFormat]) -> list[str]:
    """Return the names of the formats that a setting affects, if none of them is in `rows`; else an empty list."""
    users = {row.name for row in FORMATS.values() if setting in row.settings}
    return [] if users & {row.name for row in rows} else sorted(users)


# For the methods of `DepthMap`


def save_depth(
    depth: DepthMap,
    path: str | PathLike[str],
    *,
    format: str | None,  # noqa: A002 - as Pillow calls it
    overwrite: bool,
    settings: OutputSettings | None,
    keywords: Mapping[str, Any],
) -> None:
    """Write a depth map to a file; see `DepthMap.save`."""
    target = Path(path)
    row = format_of_name(target.name) if format is None else _find_format(format)
    if format is not None and target.suffix and not row.may_be_called(target.name):
        raise UsageError(
            f"a file called {target.name} is not {row.name}", hint=f"use the suffix {row.suffix}", setting="format"
        )
    data = _encode(depth, row, _apply("save", keywords, row, settings))
    write_whole(target, data, overwrite=overwrite)


def encode_depth(depth: DepthMap, format: str, keywords: Mapping[str, Any]) -> bytes:  # noqa: A002 - as Pillow calls it
    """Return the bytes of a file; see `DepthMap.encode`."""
    row = _find_format(format)
    return _encode(depth, row, _apply("encode", keywords, row))


def draw_depth(depth: DepthMap, keywords: Mapping[str, Any]) -> Image.Image:
    """Return the image of a color file; see `DepthMap.image`."""
    from PIL import Image

    from glpn_cli.output.png import draw_color

    return Image.fromarray(draw_color(depth, _apply("image", keywords, FORMATS["color"])))


def points_settings(keywords: Mapping[str, Any]) -> OutputSettings:
    """Return the settings of points; see `DepthMap.points`."""
    return _apply("points", keywords, FORMATS["ply"])


def _apply(
    function: str, keywords: Mapping[str, Any], row: DepthFormat, settings: OutputSettings | None = None
) -> OutputSettings:
    """Return settings with the keyword arguments of a function, which must affect the format.

    Raises:
        TypeError: there is no such setting.
        UsageError: a value is invalid, or has no effect.
    """
    refuse_unknown_keywords(function, keywords, [item.name for item in fields(OutputSettings)])
    applied = replace(settings or OutputSettings(), **keywords)
    for name in applied.changed().keys() & keywords.keys():
        users = unwritten_users(name, [row])
        if users:
            raise UsageError(f"only affects {' and '.join(users)}, not {row.name}", setting=name)
    return applied


def _encode(depth: DepthMap, row: DepthFormat, settings: OutputSettings) -> bytes:
    check_settings([row], settings)
    return row.load_codec().encode(depth, settings)


def _find_format(name: str) -> DepthFormat:
    rows = find_formats(name, setting="format")
    if len(rows) != 1:
        raise UsageError(f"must be one format, not {name!r}", setting="format")
    return rows[0]


def _find_by_ending(name: str) -> DepthFormat | None:
    lowered = canonical_name(name)
    return next((row for row in FORMATS.values() if lowered.endswith((row.ending, *row.old_endings))), None)


def canonical_name(name: str) -> str:
    """Return a file name in lower case, with .tif as .tiff."""
    lowered = name.lower()
    return lowered + "f" if lowered.endswith(".tif") else lowered

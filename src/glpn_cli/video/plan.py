"""What becomes of a video: the output, its settings, and every check that needs no frame."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import OutputError, OutputExistsError, UsageError
from glpn_cli.image.fetching import is_address
from glpn_cli.inference.plan import check_formats
from glpn_cli.output.formats import FORMATS, default_formats, find_formats
from glpn_cli.video.reading import require_av
from glpn_cli.video.segments import WorkFolder
from glpn_cli.video.writing import ENCODINGS, METERS, require_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings, PredictionSettings
    from glpn_cli.video.settings import VideoSettings
    from glpn_cli.video.writing import Encoding

INDEX_NAME = "frames.jsonl"
"""The file of an output folder with a line for each frame: its time and its files."""


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """What becomes of a video.

    Attributes:
        source: the video.
        target: the file or folder of the output.
        encoding: of a file; None for a folder of frames.
        rows: the formats of frames; for a file the format with the same settings.
        video, output, prediction: the settings.
        overwrite: existing outputs may be replaced.
    """

    source: Path
    target: Path
    encoding: Encoding | None
    rows: tuple[DepthFormat, ...]
    video: VideoSettings
    output: OutputSettings
    prediction: PredictionSettings
    overwrite: bool = False

    @property
    def work_folder(self) -> WorkFolder:
        """The folder of what is finished."""
        return WorkFolder(self.target, self.target if self.encoding is None else self.target.parent)


def plan_video(
    source: str,
    *,
    output: str | None = None,
    formats: Sequence[str] = (),
    overwrite: bool = False,
    video: VideoSettings,
    appearance: OutputSettings,
    prediction: PredictionSettings,
) -> VideoPlan:
    """Return what becomes of a video; checks everything that needs no frame.

    Args:
        source: the video.
        output: a file with the suffix .mp4 (colors) or .mkv (meters), or a folder; None is NAME.depth.mp4 beside it.
        formats: names of formats, of the frames in a folder.
        overwrite: whether outputs may be replaced.
        video: which frames are used, and how.
        appearance: numbers and colors of the output.
        prediction: how a frame becomes depth.

    Raises:
        UsageError: the arguments contradict each other, or a setting has no effect.
        MissingPackageError: PyAV, or the package of a format, is not installed.
        OutputExistsError: the output exists.
    """
    require_av()
    if source in ("", "-") or is_address(source):
        what = "empty" if not source else "standard input" if source == "-" else "a URL"
        raise UsageError(f"the video must be a file, not {what}", hint=None if source else EMPTY_HINT)
    if output == "":
        raise UsageError("must not be empty", hint=EMPTY_HINT, setting="output")
    if output == "-":
        raise UsageError(
            "a video cannot be written to standard output: its parts are joined at the end",
            hint="name a file, or ./- for a folder of this name",
            setting="output",
        )
    path = Path(source)
    target = path.with_name(f"{path.stem}.depth.mp4") if output is None else Path(output)
    encoding = None if _is_folder(output) else ENCODINGS.get(target.suffix.lower())
    if encoding is None and (output is None or target.suffix) and not _is_folder(output):
        raise UsageError(
            f"{target.suffix!r} is not a video format: use .mp4 for colors, .mkv for meters, or a folder",
            hint=f"name a folder: `output={target.with_suffix('')}/`",
            setting="output",
        )
    rows = find_formats(formats)
    if encoding is not None and rows:
        raise UsageError(
            f"`formats` is about files of single frames, and {target} is a video",
            hint=f"name a folder: `output={target.with_suffix('')}/`",
        )
    if encoding is None:
        rows = rows or default_formats(appearance)
        check_formats(rows, appearance, prediction)
    else:
        rows = [FORMATS["png16" if encoding is METERS else "color"]]
        _check_effect(rows[0], appearance, target)
        require_encoder(encoding)
    _refuse_existing(path, target, encoding, overwrite=overwrite)
    keep_rgb = appearance.side_by_side or any(row.needs_image and row.name != "color" for row in rows)
    prediction = replace(prediction, keep_rgb=keep_rgb)
    return VideoPlan(path, target, encoding, tuple(rows), video, appearance, prediction, overwrite)


def _is_folder(output: str | None) -> bool:
    if output is None:
        return False
    return output.endswith(("/", os.sep)) or os.path.isdir(output) or not Path(output).suffix


def _check_effect(row: DepthFormat, appearance: OutputSettings, target: Path) -> None:
    """Check that every changed setting affects a video.

    Raises:
        UsageError: one does not.
    """
    of_others = {name for other in FORMATS.values() for name in other.settings} - set(row.settings) | {"scale"}
    for name in appearance.changed():
        if name in of_others:
            raise UsageError(f"does not affect {target.suffix} files", setting=name)


def _refuse_existing(source: Path, target: Path, encoding: Encoding | None, *, overwrite: bool) -> None:
    """Check that the output may be written.

    Raises:
        UsageError: it is the video itself.
        OutputExistsError: it exists.
        OutputError: its folder does not exist.
    """
    if os.path.realpath(source) == os.path.realpath(target):
        raise UsageError(f"{target} is the video itself", hint="choose another `output`", setting="output")
    if encoding is not None and not os.path.isdir(target.parent):
        raise OutputError(f"{target}: its folder does not exist", hint="create it first")
    if os.path.isdir(target) and encoding is not None:
        raise OutputError(f"{target}: is a folder")
    existing = target / INDEX_NAME if encoding is None else target
    if os.path.lexists(existing) and not overwrite:
        raise OutputExistsError(f"{existing}: already exists", hint="set `overwrite` to replace it")

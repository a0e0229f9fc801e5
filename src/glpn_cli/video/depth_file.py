"""Reading videos that glpn wrote: their metadata, and the meters of every frame."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError, ImageError
from glpn_cli.image.sniffing import HEAD_BYTES, VIDEO, recognize
from glpn_cli.output.metadata import (
    check_metadata,
    metadata_checked,
    parse_metadata,
    read_camera,
    read_number,
    read_provenance,
)
from glpn_cli.video.prediction import VideoFrame
from glpn_cli.video.reading import PACKAGE_HINT, VideoReader, find_video_stream, opened
from glpn_cli.video.writing import METERS, TAG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from av.container import InputContainer

    from glpn_cli.depth import Camera, Provenance

METERS_FORMAT = "video-meters"


@dataclass(frozen=True, slots=True)
class VideoDescription:
    """The facts of a video.

    Attributes:
        size: (height, width) in pixels, as stored.
        duration_s: of the longest stream; None if unknown.
        codec: FFmpeg's name of the codec of the images.
        sound: that of each sound stream.
        metadata: what glpn stored; None for other videos.
        note: what the video is, if it is not depth.
    """

    size: tuple[int, int] | None = None
    duration_s: float | None = None
    codec: str = ""
    sound: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    note: str = ""


class DepthVideo:
    """A video of meters, as `glpn video -o NAME.mkv` writes it. Iterating reads its frames, one at a time.

    Attributes:
        path: of the file.
        metadata: what the file states, such as `frames`, `cuts` and `depth_m`.
        shape: (height, width) of a frame.
        provenance: where the depth comes from.
        camera: the camera, known or assumed; None if there is no information.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Read the metadata.

        Raises:
            DepthFileError: the file cannot be read, or is not a video of meters.
            MissingPackageError: PyAV is not installed.
        """
        self.path = os.fspath(path)
        metadata = read_video_metadata(self.path)
        if metadata is None or metadata.get("format") != METERS_FORMAT:
            raise DepthFileError(
                f"{self.path}: is not a video of meters", hint="`glpn video VIDEO -o NAME.mkv` writes one"
            )
        self.metadata: dict[str, Any] = metadata
        with metadata_checked(self.path):
            check_metadata(metadata)
            self._values_per_meter = np.float32(read_number(metadata, "values_per_meter", positive=True))
            self.provenance: Provenance = read_provenance(metadata)
            self.camera: Camera | None = read_camera(metadata)
        with _opened_depth(self.path) as container:
            context = find_video_stream(container, self.path).codec_context
            if context.pix_fmt != METERS.pixels:
                raise DepthFileError(f"{self.path}: was encoded again and has lost its meters")
            self.shape = (context.height, context.width)

    def __repr__(self) -> str:
        height, width = self.shape
        return f"DepthVideo {width}x{height}, {self.metadata.get('frames', '?')} frames"

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield every frame in the order of time; unknown depth is 0.

        Raises:
            DepthFileError: a frame is damaged.
        """
        reader = VideoReader(self.path)
        for frame in reader.frames():
            if frame.decoded is None:
                raise DepthFileError(f"{self.path}: frame {frame.index} is damaged")
            meters = frame.decoded.to_ndarray().astype(np.float32) / self._values_per_meter
            depth = DepthMap(meters, self.provenance, camera=self.camera)
            yield VideoFrame(frame.index, reader.seconds(frame.pts), depth, pts=frame.pts)
        if reader.early_end:
            raise DepthFileError(f"{self.path}: {reader.early_end}")


def read_video(path: str | PathLike[str]) -> DepthVideo:
    """Return a video of meters, which yields its frames: `index`, `time_s` and `depth` of each.

    Args:
        path: a file that `glpn video -o NAME.mkv` wrote.

    Raises:
        DepthFileError: the file is missing, damaged, or not such a video.
        MissingPackageError: PyAV is not installed.
    """
    return DepthVideo(path)


def read_video_metadata(path: str | PathLike[str]) -> dict[str, Any] | None:
    """Return the metadata of a video that glpn wrote; None for other videos.

    Raises:
        DepthFileError: the file cannot be read as a video.
        MissingPackageError: PyAV is not installed.
    """
    with _opened_depth(os.fspath(path)) as container:
        tags = {name.upper(): text for name, text in container.metadata.items()}
    return parse_metadata(tags.get(TAG))


def is_video(path: str | PathLike[str]) -> bool:
    """Return whether a file starts like a video. What cannot be read does not."""
    try:
        with open(path, "rb") as stream:
            content = recognize(stream.read(HEAD_BYTES))
    except (OSError, ValueError):
        return False
    return content is not None and content.what == VIDEO.what


def describe_video(path: str | PathLike[str]) -> VideoDescription:
    """Return the facts of any video.

    Raises:
        DepthFileError: the file cannot be read as a video, or its metadata are invalid.
    """
    name = os.fspath(path)
    if find_spec("av") is None:
        return VideoDescription(note=f"a video; reading it requires av: {PACKAGE_HINT}")
    metadata = read_video_metadata(name)
    if metadata is not None:
        with metadata_checked(name):
            check_metadata(metadata)
    with _opened_depth(name) as container:
        context = find_video_stream(container, name).codec_context
        duration = container.duration
        return VideoDescription(
            size=(context.height, context.width),
            duration_s=None if duration is None else duration / 1e6,
            codec=context.name,
            sound=tuple(str(stream.codec_context.name) for stream in container.streams.audio),
            metadata=metadata,
            note="" if metadata is not None else "a video, not depth",
        )


@contextmanager
def _opened_depth(name: str) -> Iterator[InputContainer]:
    """Open a video for a block; what is no video is a `DepthFileError` here."""
    try:
        with opened(name) as container:
            yield container
    except ImageError as error:
        raise DepthFileError(error.message, hint=error.hint) from error

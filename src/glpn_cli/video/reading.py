"""Reading videos: every frame with its time, upright, as 8-bit RGB. What is damaged is counted, not fatal."""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.errors import ImageError, MissingPackageError
from glpn_cli.settings import MAX_IMAGE_PIXELS
from glpn_cli.video.dynamic_range import HDR_CURVES, to_sdr
from glpn_cli.video.settings import VideoSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

PACKAGE_HINT = "pip install 'av>=18,<20'"

_DEFAULTS = VideoSettings()
_RESTARTING_CLOCKS = frozenset({"mpegts", "mpeg", "rtsp"})
"""Containers whose times start anywhere, as those of a broadcast do. All others start at 0."""

_UNSPECIFIED_MATRIX = 2  # of H.273
_HD_HEIGHT_PX = 720  # from here on, players take an unspecified color matrix for that of BT.709
_SEEK_MARGIN_S = 2.0
_SAMPLE_REACH_FRAMES = 60
_END_TOLERANCE_FRAMES = 3
_UNKNOWN_RATE = Fraction(30)


def require_av() -> None:
    """Check that videos can be read and written.

    Raises:
        MissingPackageError: PyAV is not installed.
    """
    if find_spec("av") is None:
        raise MissingPackageError("video requires the package av, which is not installed", hint=PACKAGE_HINT)


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    """A frame of a video.

    Attributes:
        index: its number, from 0; with a start, the first frame that is used is 0.
        pts: its time in ticks of the video's time base, after the start.
        decoded: the decoded frame; None if it is damaged.
    """

    index: int
    pts: int
    decoded: VideoFrame | None


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[InputContainer]:
    """Open a video for a block, without access to other files or the network.

    Raises:
        ImageError: the file cannot be read, or is not a video.
        MissingPackageError: PyAV is not installed.
    """
    require_av()
    import av

    name = os.fspath(path)
    try:
        # A playlist can name addresses; "file:" because a name may contain a colon.
        container = av.open(f"file:{name}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    with container:
        yield container


def _unreadable(name: str, error: Exception) -> ImageError:
    if not os.path.lexists(name):
        return ImageError(f"{name}: no such file")
    if os.path.isdir(name):
        return ImageError(f"{name}: is a folder", hint="name one video")
    reason = _reason(error)
    return ImageError(
        f"{name}: cannot be read as a video: {reason}",
        hint="the file is damaged, incomplete, or not a video",
    )


def _reason(error: Exception) -> str:
    """Return what FFmpeg says about an error, without number and path."""
    return str(getattr(error, "strerror", None) or error)


class VideoReader:
    """Reads the frames of a video in order, from its first to its last.

    Attributes:
        name: the path, for messages.
        time_base: seconds of a tick.
        rate: average frames per second.
        sound: codec of each sound stream.
        offset: ticks that were subtracted from every time.
        duration_s: of the frames that are used, about; None if unknown.
        hdr: the transfer curve of a high dynamic range video, such as "PQ"; else "". Known after the first frame.
        early_end: why the video ends too early, after the last frame; empty if it does not.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        settings: VideoSettings = _DEFAULTS,
        *,
        max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        """Read the facts of a video.

        Raises:
            ImageError: it cannot be read, or has no frames.
            MissingPackageError: PyAV is not installed.
        """
        self.name = os.fspath(path)
        self._settings = settings
        with opened(path) as container:
            stream = find_video_stream(container, self.name)
            context = stream.codec_context
            if context.width * context.height > max_pixels:
                raise ImageError(
                    f"{self.name}: {context.width}x{context.height} is more than {max_pixels} pixels",
                    hint="set `max_pixels`",
                )
            self.time_base = Fraction(stream.time_base or Fraction(1, 1000))
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or _UNKNOWN_RATE)
            self.sound = tuple(str(one.codec_context.name) for one in container.streams.audio)
            self.offset = round((_origin_s(container) + (settings.start_s or 0)) / self.time_base)
            self.duration_s = self._duration_s(container)
        self.hdr = ""
        self.early_end = ""
        self._size: tuple[int, int] | None = None
        self._last_pts: int | None = None
        self._index = 0

    @property
    def frame_estimate(self) -> int | None:
        """About the number of frames; None if it is unknown."""
        return None if self.duration_s is None else max(1, round(self.duration_s * self.rate))

    def seconds(self, pts: int) -> float:
        """Return a time in ticks as seconds."""
        return float(pts * self.time_base)

    def frames(self) -> Iterator[SourceFrame]:
        """Yield every frame in the order of time. A damaged one has no image.

        Raises:
            ImageError: no frame can be decoded.
        """
        self._last_pts, self._index, self.early_end = None, 0, ""
        any_decoded = False
        with opened(self.name) as container:
            stream = find_video_stream(container, self.name)
            self._seek_start(container, stream)
            for frame in self._decoded(container, stream):
                any_decoded = any_decoded or frame.decoded is not None
                yield frame
        if not any_decoded:
            raise ImageError(f"{self.name}: no frame could be decoded", hint=self._empty_hint())

    def rgb(self, decoded: VideoFrame) -> NDArray[np.uint8]:
        """Return the image of a frame: (H, W, 3) uint8, sRGB, in [0, 255], upright. All frames have one size."""
        if self._size is None:
            self._size = decoded.width, decoded.height
        width, height = self._size
        matrix = None
        if decoded.colorspace == _UNSPECIFIED_MATRIX and height >= _HD_HEIGHT_PX:
            matrix = "ITU709"
        curve = HDR_CURVES.get(decoded.color_trc, "")
        if curve:
            self.hdr = curve
            matrix = "BT2020"
        image: Any = decoded.reformat(
            width, height, "rgb48le" if curve else "rgb24", src_colorspace=matrix, threads=1
        ).to_ndarray()
        rgb = to_sdr(image, curve) if curve else image
        return np.ascontiguousarray(np.rot90(rgb, round(decoded.rotation / 90) % 4))

    # Frames

    def _decoded(self, container: InputContainer, stream: Any) -> Iterator[SourceFrame]:
        """Yield decoded frames, and those that are lost in their places."""
        lost: deque[int] = deque()
        end_s = 0.0
        for packet in self._packets(container):
            if packet is not None and packet.stream is not stream:
                end_s = max(end_s, _packet_end_s(packet))
                continue
            for decoded in _decode(stream, packet, lost):
                while lost and decoded.pts is not None and lost[0] < decoded.pts:
                    yield from self._placed(lost.popleft(), None)
                # The decoder has concealed errors in a corrupt frame, whose depth would be wrong.
                yield from self._placed(decoded.pts, None if decoded.is_corrupt else decoded)
        for pts in lost:
            yield from self._placed(pts, None)
        if not self.early_end:
            self.early_end = self._missing_end(container, stream, end_s)

    def _packets(self, container: InputContainer) -> Iterator[Any]:
        """Yield the packets of images and sound, and None at the end. A damaged container ends early."""
        import av

        packets = container.demux([one for one in container.streams if one.type in ("video", "audio")])
        try:
            for packet in packets:
                if packet.size:
                    yield packet
        except av.FFmpegError as error:
            self.early_end = _reason(error)
        yield None

    def _placed(self, pts: int | None, decoded: VideoFrame | None) -> Iterator[SourceFrame]:
        """Yield a frame with its time if it is between start and end; times always increase."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        if pts is None:
            pts = 0 if self._last_pts is None else self._last_pts + step
        else:
            pts -= self.offset
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
        self._last_pts = pts
        start_s, end_s = self._settings.start_s, self._settings.end_s
        if start_s is not None and pts < 0:
            return
        if end_s is not None and self.seconds(pts) >= end_s - (start_s or 0):
            return
        yield SourceFrame(self._index, pts, decoded)
        self._index += 1

    def _seek_start(self, container: InputContainer, stream: Any) -> None:
        """Skip what is long before the start, if the container can."""
        import av

        start_s = self._settings.start_s or 0
        if start_s > _SEEK_MARGIN_S:
            target = self.offset - round(_SEEK_MARGIN_S / self.time_base)
            try:
                container.seek(target, stream=stream, backward=True)
            except av.FFmpegError:  # not seekable: everything is decoded
                return

    def _missing_end(self, container: InputContainer, stream: Any, end_s: float) -> str:
        """Return that frames are missing, if all streams end well before the end that the file states."""
        if self._settings.end_s is not None or self._last_pts is None:
            return ""
        step_s = float(1 / self.rate)
        last_s = self.seconds(self._last_pts + self.offset) + step_s
        file_s = (container.duration or 0) / 1e6
        stated_s, found_s = file_s + (container.start_time or 0) / 1e6, max(last_s, end_s)
        if stream.duration and float(stream.duration * self.time_base) < file_s - step_s:
            # The images have a duration of their own; otherwise FFmpeg fills in that of the file, with its sound.
            stated_s = float((stream.duration + (stream.start_time or 0)) * self.time_base)
            found_s = last_s
        if stated_s - found_s <= _END_TOLERANCE_FRAMES * step_s + 0.05:
            return ""
        return f"ends after {found_s:.1f} of {stated_s:.1f} s"

    def _duration_s(self, container: InputContainer) -> float | None:
        if not container.duration:
            return None
        end_s = container.duration / 1e6
        if self._settings.end_s is not None:
            end_s = min(end_s, self._settings.end_s)
        return max(0.0, end_s - (self._settings.start_s or 0))

    def _empty_hint(self) -> str | None:
        if self._settings.start_s is None and self._settings.end_s is None:
            return None
        return "there may be no frame between `start_s` and `end_s`"


def find_video_stream(container: InputContainer, name: str) -> Any:
    """Return the first stream of moving images.

    Raises:
        ImageError: there is none.
    """
    import av

    form = container.format.name
    if form == "image2" or form.endswith("_pipe"):
        raise ImageError(f"{name}: is an image, not a video", hint="glpn predict IMAGE")
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover:
            if stream.codec_context is None:
                raise ImageError(f"{name}: its codec is unknown", hint="convert it to H.264 first")
            # With more, it depends on time which frame an error is about.
            stream.codec_context.thread_count = 1
            return stream
    raise ImageError(f"{name}: contains no video")


def sample_images(reader: VideoReader, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield about so many images, evenly spread over a video, (H, W, 3) uint8.

    Each is at most some frames after a place where decoding can start, so that even a long video takes no time.
    """
    import av

    any_found = False
    with opened(reader.name) as container:
        stream = find_video_stream(container, reader.name)
        for place in range(count if reader.duration_s else 0):
            target = reader.offset + round((place + 0.5) / count * (reader.duration_s or 0) / reader.time_base)
            try:
                container.seek(target, stream=stream, backward=True)
            except av.FFmpegError:
                continue
            decoded = _image_near(container, stream, target)
            if decoded is not None:
                any_found = True
                yield reader.rgb(decoded)
    if not any_found:  # not seekable
        yield from islice((reader.rgb(frame.decoded) for frame in reader.frames() if frame.decoded), count)


def _image_near(container: InputContainer, stream: Any, target: int) -> VideoFrame | None:
    """Return the frame at a time, or one before it if decoding starts long before."""
    import av

    found: VideoFrame | None = None
    packets = container.demux(stream)
    for _ in range(_SAMPLE_REACH_FRAMES):
        try:
            packet = next(packets, None)
            frames = [] if packet is None else packet.decode()
        except av.FFmpegError:
            continue
        for decoded in frames:
            found = found if decoded.is_corrupt else decoded
            if decoded.pts is not None and decoded.pts >= target:
                return found
        if packet is None:
            break
    return found


def _decode(stream: Any, packet: Any | None, lost: deque[int]) -> list[Any]:
    """Return the frames that a packet completes; at the end, None, those that are left.

    The time of a frame that cannot be decoded is added to `lost`.
    """
    import av

    try:
        return list(stream.codec_context.decode(packet))
    except av.EOFError:
        return []
    except av.FFmpegError:
        if packet is not None and packet.pts is not None:
            lost.append(packet.pts)
        return []


def _origin_s(container: InputContainer) -> Fraction:
    """Return the time that a video starts at, seconds; 0 for containers whose times start at 0."""
    if container.format.name in _RESTARTING_CLOCKS and container.start_time:
        return Fraction(container.start_time, 1_000_000)
    return Fraction(0)


def _packet_end_s(packet: Any) -> float:
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)

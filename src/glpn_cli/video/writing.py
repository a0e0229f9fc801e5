"""Writing videos: depth to frames, frames to segments, and segments with sound to one file, without encoding again."""

from __future__ import annotations

import heapq
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.errors import GLPNError, MissingPackageError, OutputError, UsageError
from glpn_cli.files import os_reason
from glpn_cli.output.color import color_curve, resolve_range
from glpn_cli.output.metadata import KEYWORD
from glpn_cli.output.png import build_legend, draw_color, to_16_bits
from glpn_cli.video.reading import find_video_stream, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings
    from glpn_cli.video.reading import VideoReader

TAG = KEYWORD.upper()
"""The tag of a file with the metadata as JSON. Matroska writes tags in capitals."""

_BT709 = 1  # the number of matrix, primaries and transfer curve in H.273
_LIMITED_RANGE = 1
_ENCODER_THREADS = 2  # fixed, because the encoder's output depends on it
_SECONDS_BETWEEN_KEYFRAMES = 2


@dataclass(frozen=True, slots=True)
class Encoding:
    """How frames are compressed.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pixels: format of the pixels in the file.
        container: FFmpeg's name of the container.
        options: of the encoder. No frame refers to a later one, so that packets have the order of the frames.
        container_options: of the finished file.
        holds: the contents, for people.
    """

    codec: str
    pixels: str
    container: str
    options: Mapping[str, str]
    holds: str
    container_options: Mapping[str, str] = field(default_factory=dict)


_COLOR = Encoding(
    "libx264",
    "yuv420p",
    "mp4",
    # libx264's mbtree reads memory that was never written: the same frames would give other packets after a resume.
    {"preset": "superfast", "crf": "18", "bf": "0", "mbtree": "0"},
    "colors, for viewing",
    {"movflags": "+faststart+use_metadata_tags"},
)
METERS = Encoding(
    "ffv1",
    "gray16le",
    "matroska",
    {"level": "3", "g": "1", "slices": "4", "slicecrc": "1"},
    "16-bit depth, lossless",
    # Sound may begin before 0, as AAC does; otherwise every time would be shifted by that.
    {"avoid_negative_ts": "disabled"},
)
ENCODINGS = {".mp4": _COLOR, ".m4v": _COLOR, ".mov": replace(_COLOR, container="mov"), ".mkv": METERS}
"""By the suffix of the output."""


def available_encoders() -> list[str]:
    """Return the encoders of `ENCODINGS` that the installed FFmpeg has.

    Raises:
        ImportError: PyAV is not installed, or broken.
    """
    import av

    names = dict.fromkeys(encoding.codec for encoding in ENCODINGS.values())
    return [name for name in names if name in av.codecs_available]


def require_encoder(encoding: Encoding) -> None:
    """Check that the installed FFmpeg has an encoder.

    Raises:
        MissingPackageError: it does not.
    """
    if encoding.codec not in available_encoders():
        raise MissingPackageError(
            f"the installed av has no encoder {encoding.codec}", hint="install the wheel of av from PyPI"
        )


# Frames


class ColorPainter:
    """Draws depth in colors; all frames have the same legend."""

    def __init__(self, output: OutputSettings) -> None:
        """Take the settings; the range must be that of the file."""
        self._output = output
        self._without_legend = replace(output, legend=False)
        self._canvas: NDArray[np.uint8] | None = None

    def paint(self, depth: DepthMap) -> NDArray[np.uint8]:
        """Return (h, w, 3) uint8, sRGB; both sides are even, as players need it."""
        image = draw_color(depth, self._without_legend)
        if self._output.legend:
            image = self._with_legend(image, depth)
        height, width = image.shape[:2]
        if height % 2 == width % 2 == 0:
            return image
        return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")

    def _with_legend(self, image: NDArray[np.uint8], depth: DepthMap) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        if self._canvas is None:
            from glpn_cli.output.legend import draw_legend

            low_m, high_m = resolve_range(depth, self._output, color_curve(self._output))
            legend = build_legend(depth, self._output, low_m, high_m)
            # Of the range of all frames, so both ends may be exceeded somewhere.
            self._canvas = draw_legend(image, replace(legend, is_nearer=True, is_farther=True, unknown=None)).copy()
        left = (self._canvas.shape[1] - width) // 2
        self._canvas[:height, left : left + width] = image
        return self._canvas


class MeterPainter:
    """Stores depth as 16-bit steps."""

    def __init__(self, output: OutputSettings) -> None:
        """Take the settings, of which `png16_scale` counts."""
        self._values_per_meter = output.png16_scale

    def paint(self, depth: DepthMap) -> NDArray[np.uint16]:
        """Return (H, W) uint16; 0 is unknown."""
        return to_16_bits(depth, self._values_per_meter)


# Segments


class SegmentEncoder:
    """Encodes the frames of one segment into a file of its own. Their times are written when segments are joined."""

    def __init__(self, path: Path, encoding: Encoding, rate: Fraction) -> None:
        """Create the file with the first frame.

        Args:
            path: of the segment; replaced.
            encoding: how frames are compressed.
            rate: average frames per second of the video, which the encoder bases its effort on.
        """
        self.path = path
        self._encoding = encoding
        self._rate = max(Fraction(1), min(Fraction(1000), rate)).limit_denominator(1001)
        self._count = 0
        self._container: Any = None
        self._stream: Any = None

    def add(self, image: NDArray[Any]) -> None:
        """Encode a frame, (H, W) uint16 or (H, W, 3) uint8.

        Raises:
            OutputError: the file cannot be written.
        """
        import av

        with encoder_errors_named(self.path):
            if self._container is None:
                self._open(*image.shape[:2])
            if image.ndim == 2:
                frame = av.VideoFrame.from_ndarray(image, format="gray16le")
            else:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                    format=self._encoding.pixels, dst_colorspace="ITU709", dst_color_range="MPEG", threads=1
                )
            frame.pts, frame.time_base = self._count, 1 / self._rate
            self._count += 1
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds and close the file.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._container is not None:
            with encoder_errors_named(self.path):
                self._container.mux(self._stream.encode())
                self._container.close()
            self._container = None

    def abandon(self) -> None:
        """Close the file without completing it."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self, height: int, width: int) -> None:
        import av

        options = dict(self._encoding.options)
        options.setdefault("g", str(max(1, round(_SECONDS_BETWEEN_KEYFRAMES * self._rate))))
        self._container = av.open(f"file:{self.path}", "w", format="matroska")
        self._stream = self._container.add_stream(self._encoding.codec, rate=self._rate, options=options)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = self._encoding.pixels
        context = self._stream.codec_context
        context.thread_count = _ENCODER_THREADS
        if self._encoding.pixels == METERS.pixels:
            return
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE


@contextmanager
def encoder_errors_named(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg that come from writing into an OutputError."""
    import av

    try:
        yield
    except GLPNError:
        raise
    except (av.FFmpegError, OSError) as error:
        reason = str(getattr(error, "strerror", None) or os_reason(error))
        failure = OutputError(f"{path}: cannot be written: {reason}")
        raise failure from error


# The finished file


@dataclass(frozen=True, slots=True)
class Part:
    """A finished segment.

    Attributes:
        path: of its file.
        pts: the time of each frame, in ticks of the video's time base.
    """

    path: Path
    pts: Sequence[int]


def refuse_sound(reader: VideoReader, encoding: Encoding) -> None:
    """Check that the container of the output can hold the sound, before anything is computed.

    Raises:
        UsageError: it cannot.
    """
    import av

    with opened(reader.name) as container:
        for stream in container.streams.audio:
            try:
                with av.open(_Void(), "w", format=encoding.container) as trial:
                    trial.add_stream_from_template(stream)
                    trial.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                codec = stream.codec_context.name
                raise UsageError(
                    f"{encoding.container} files cannot contain the sound of {reader.name} ({codec})",
                    hint="write an output .mov, or set `no_sound`",
                ) from error


class _Void:
    """A file that forgets what is written."""

    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, position: int, whence: int = 0) -> int:
        del whence
        return position

    def tell(self) -> int:
        return 0


def join(
    target: Path,
    parts: Sequence[Part],
    encoding: Encoding,
    reader: VideoReader,
    *,
    sound: bool,
    end_s: float | None,
    metadata: str,
) -> int:
    """Write the packets of all segments, and those of the sound, into one file.

    Args:
        target: the file; replaced.
        parts: the segments, in order; at least one frame.
        encoding: of the segments.
        reader: the video that they were made from: its time base, and the source of the sound.
        sound: whether to copy it.
        end_s: the end of the part that is used, seconds after the start; None for all.
        metadata: JSON text for the tag.

    Returns:
        The number of sound packets that were copied.

    Raises:
        OutputError: the file cannot be written.
    """
    import av

    copied = 0
    with encoder_errors_named(target), ExitStack() as stack:
        options = dict(encoding.container_options)
        out = stack.enter_context(av.open(f"file:{target}", "w", format=encoding.container, options=options))
        out.metadata[TAG] = metadata
        first = stack.enter_context(opened(parts[0].path))
        video = out.add_stream_from_template(find_video_stream(first, str(parts[0].path)))
        video.time_base = reader.time_base
        packets: list[Iterator[tuple[float, int, Any]]] = [_video_packets(parts, video, reader)]
        if sound and reader.sound:
            source = stack.enter_context(opened(reader.name))
            tracks = {one.index: out.add_stream_from_template(one) for one in source.streams.audio}
            packets.append(_sound_packets(source, tracks, reader, end_s))
        # By time, so that the muxer need not hold one stream until the other comes.
        for _, order, packet in heapq.merge(*packets, key=lambda row: row[:2]):
            out.mux_one(packet)
            copied += order
    return copied


def _video_packets(parts: Sequence[Part], stream: Any, reader: VideoReader) -> Iterator[tuple[float, int, Any]]:
    """Yield time in seconds, 0, and packet, of every frame with its own time."""
    step = max(1, round(1 / (reader.rate * reader.time_base)))
    for place, part in enumerate(parts):
        following = parts[place + 1].pts[:1] if place + 1 < len(parts) else []
        ends = [*part.pts[1:], *(following or [part.pts[-1] + step])]
        with opened(part.path) as container:
            packets = (packet for packet in container.demux(video=0) if packet.size)
            for packet, pts, end in zip(packets, part.pts, ends, strict=True):
                packet.pts = packet.dts = pts
                packet.duration = end - pts
                packet.time_base = reader.time_base
                packet.stream = stream
                yield reader.seconds(pts), 0, packet


def _sound_packets(
    source: Any, tracks: Mapping[int, Any], reader: VideoReader, end_s: float | None
) -> Iterator[tuple[float, int, Any]]:
    """Yield time in seconds, 1, and packet, of the sound; what cannot be read is left out."""
    import av

    offset_s = reader.offset * reader.time_base
    packets = source.demux(source.streams.audio)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:  # the file ends early, which the reader of the frames reports
            return
        if packet is None:
            return
        if not packet.size or packet.pts is None:
            continue
        shift = round(offset_s / packet.time_base)
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        time_s = float(packet.pts * packet.time_base)
        is_before = bool(shift) and time_s + float(packet.duration * packet.time_base) <= 0
        if is_before or (end_s is not None and time_s >= end_s):
            continue
        packet.stream = tracks[packet.stream.index]
        yield time_s, 1, packet

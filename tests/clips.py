"""Small clips, made with PyAV."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TICKS = 90_000


def scene(index: int, height: int = 48, width: int = 64, *, step_px: int = 1, seed: int = 0) -> np.ndarray:
    """Return (height, width, 3) uint8: smooth texture that moves to the left by some pixels per frame."""
    left = 8 + index * step_px
    return np.ascontiguousarray(_texture(height, width + 210, seed)[:, left : left + width])


@cache
def _texture(height: int, width: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def write_clip(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    rate: Fraction | int = 30,
    sound_s: float = 0.0,
    sound: str = "aac",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rotation: int = 0,
    transfer: int = 0,
    **options: str,
) -> Path:
    """Write a clip; `times` are in ticks of 1/90000 s."""
    height, width = images[0].shape[:2]
    with av.open(f"file:{path}", "w") as out:
        video = out.add_stream(codec, rate=rate, options={"preset": "ultrafast", "crf": "10", **options})
        video.width, video.height, video.pix_fmt = width, height, pixels
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        if rotation:
            video.set_display_rotation(rotation)
        if transfer:
            video.codec_context.color_trc, video.codec_context.color_primaries = transfer, 9
            video.codec_context.colorspace = 9
        audio = out.add_stream(sound, rate=44_100, layout="mono") if sound_s else None
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb48le" if image.dtype == np.uint16 else "rgb24")
            if transfer:
                frame = frame.reformat(format=pixels, dst_colorspace="BT2020")
            frame.pts = times[index] if times else round(index * TICKS / rate)
            frame.time_base = Fraction(1, TICKS)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio is not None:
            encode_sound(out, audio, sound_s)
    return path


def encode_sound(out: Any, stream: Any, seconds: float) -> None:
    wave = np.sin(np.arange(1024, dtype=np.float32) / 20)[None] * np.float32(0.3)
    for index in range(round(seconds * 44_100 / 1024)):
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, index * 1024, Fraction(1, 44_100)
        if stream.codec_context.format.name != "fltp":
            frame = av.AudioResampler(format=stream.codec_context.format.name).resample(frame)[0]
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


def sound_packets(path: Path) -> list[bytes]:
    """Return the sound of a file, packet by packet."""
    with av.open(f"file:{path}") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def frame_times(path: Path) -> list[float]:
    """Return the time of each frame, seconds."""
    with av.open(f"file:{path}") as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def damage_frames(path: Path, numbers: Sequence[int]) -> None:
    """Overwrite frames of a clip, in the order of its packets."""
    with av.open(f"file:{path}") as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        start, size = places[number]
        data[start : start + size] = bytes(size)
    path.write_bytes(data)

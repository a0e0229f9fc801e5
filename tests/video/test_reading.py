from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from clips import TICKS, damage_frames, encode_sound, frame_times, scene, write_clip
from glpn_cli.errors import ImageError, MissingPackageError, UsageError
from glpn_cli.video import reading
from glpn_cli.video.reading import VideoReader, sample_images
from glpn_cli.video.settings import VideoSettings

if TYPE_CHECKING:
    from pathlib import Path

IRREGULAR = [0, 3003, 6006, 12_000, 12_100, 20_000, 23_003, 31_000]


def images_of(reader: VideoReader) -> list[np.ndarray]:
    return [reader.rgb(frame.decoded) for frame in reader.frames() if frame.decoded is not None]


@pytest.mark.parametrize(
    ("suffix", "b_frames"),
    [(".mp4", "0"), (".mp4", "2"), (".mkv", "0"), (".mkv", "2"), (".mov", "2"), (".ts", "2")],
)
def test_every_frame_and_its_time_are_read(tmp_path: Path, suffix: str, b_frames: str) -> None:
    times = IRREGULAR
    images = [scene(index) for index in range(8)]
    rate = Fraction(30_000, 1001)
    path = write_clip(tmp_path / f"clip{suffix}", images, times=times, rate=rate, bf=b_frames)
    reader = VideoReader(path)
    frames = list(reader.frames())
    found = [reader.seconds(frame.pts) for frame in frames]
    tick_s = 0.001 if suffix == ".mkv" else float(reader.time_base)
    start_s = found[0] if suffix == ".ts" else 0  # whose clock starts anywhere
    assert np.allclose(found, np.array(times) / TICKS + start_s, atol=tick_s)
    assert all(frame.decoded is not None for frame in frames)
    assert reader.early_end == ""


def test_images_are_those_of_the_file(tmp_path: Path) -> None:
    images = [scene(index) for index in range(3)]
    path = write_clip(tmp_path / "clip.mkv", images, codec="ffv1", pixels="bgr0")
    for read, written in zip(images_of(VideoReader(path)), images, strict=True):
        assert np.array_equal(read, written)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotated_videos_are_upright(tmp_path: Path, rotation: int) -> None:
    image = scene(0)
    image[:10, :20] = 255
    path = write_clip(tmp_path / "clip.mp4", [image] * 2, rotation=rotation)
    expected = np.rot90(image, rotation // 90 % 4)
    read = images_of(VideoReader(path))[0]
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 12


@pytest.mark.parametrize(("codec", "pixels"), [("libx265", "yuv420p10le"), ("ffv1", "yuv422p10le"), ("ffv1", "gray")])
def test_other_pixel_formats_are_read(tmp_path: Path, codec: str, pixels: str) -> None:
    image = np.repeat(scene(0)[..., :1], 3, axis=2)
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_clip(tmp_path / "clip.mkv", [image] * 2, codec=codec, pixels=pixels, **options)
    assert np.abs(images_of(VideoReader(path))[0].astype(int) - image).mean() < 6


def test_odd_sizes_are_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [scene(0)[:47, :63]] * 2, codec="ffv1", pixels="yuv444p")
    assert images_of(VideoReader(path))[1].shape == (47, 63, 3)


@pytest.mark.parametrize(("transfer", "code", "name"), [(16, 0.581, "PQ"), (18, 0.75, "HLG")])
def test_high_dynamic_range_is_converted(tmp_path: Path, transfer: int, code: float, name: str) -> None:
    # A white page has 203 nits: 58 % of PQ, 75 % of HLG (ITU-R BT.2408); a tenth of its light is far darker.
    white = np.full((32, 32, 3), round(65_535 * code), np.uint16)
    black = np.zeros_like(white)
    path = write_clip(tmp_path / "clip.mkv", [white, black], codec="ffv1", pixels="yuv420p10le", transfer=transfer)
    reader = VideoReader(path)
    bright, dark = images_of(reader)
    assert reader.hdr == name
    assert 215 <= bright.mean() <= 250
    assert bright.std() < 2
    assert dark.max() <= 2


def test_start_and_end_select_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [scene(index) for index in range(90)], g="10", bf="2")
    reader = VideoReader(path, VideoSettings(start_s=2.2, end_s=2.5))
    frames = list(reader.frames())
    assert [frame.index for frame in frames] == list(range(9))
    assert np.allclose([reader.seconds(frame.pts) for frame in frames], np.arange(9) / 30, atol=1e-4)
    whole = images_of(VideoReader(path))
    assert all(np.array_equal(one, two) for one, two in zip(images_of(reader), whole[66:75], strict=True))


@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_broken_frames_are_counted_in_their_places(tmp_path: Path, b_frames: str) -> None:
    path = write_clip(tmp_path / "clip.mp4", [scene(index) for index in range(20)], bf=b_frames, g="5")
    whole = frame_times(path)
    damage_frames(path, [7, 13])
    reader = VideoReader(path)
    frames = list(reader.frames())
    assert sum(frame.decoded is None for frame in frames) == 2
    assert np.allclose([reader.seconds(frame.pts) for frame in frames], whole)
    if b_frames == "0":
        assert [frame.index for frame in frames if frame.decoded is None] == [7, 13]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_truncated_videos_end_early(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", [scene(index) for index in range(60)], movflags="", bf="0")
    if suffix == ".mp4":  # the index comes first, as in files for the web
        clip = _with_index_first(clip)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    reader = VideoReader(clip)
    frames = [frame for frame in reader.frames() if frame.decoded is not None]
    assert 5 < len(frames) < 55
    assert reader.early_end


def _with_index_first(path: Path) -> Path:
    import av

    target = path.with_name("first.mp4")
    with av.open(str(path)) as source, av.open(str(target), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux_one(packet)
    return target


def test_sound_longer_than_the_images_is_no_early_end(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [scene(index) for index in range(5)], sound_s=1.0)
    reader = VideoReader(path)
    assert len(list(reader.frames())) == 5
    assert reader.early_end == ""


def test_what_is_no_video_is_refused(tmp_path: Path, photo: Path) -> None:
    text = tmp_path / "a:b.mp4"
    text.write_text("no video")
    sound = tmp_path / "sound.m4a"
    _write_sound(sound)
    for path in (text, photo, sound, tmp_path, tmp_path / "missing.mp4"):
        with pytest.raises(ImageError, match=path.name.split(".", maxsplit=1)[0]):
            VideoReader(path)


def _write_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as out:
        encode_sound(out, out.add_stream("aac", rate=44_100, layout="mono"), 0.2)


def test_playlists_fetch_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/clip.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(ImageError):
        list(VideoReader(playlist).frames())


def test_videos_with_too_many_pixels_are_refused(clip: Path) -> None:
    with pytest.raises(ImageError, match="pixels"):
        VideoReader(clip, max_pixels=1000)


def test_missing_package_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError) as error:
        VideoReader(clip)
    assert "pip install" in str(error.value.hint)


def test_samples_are_spread(tmp_path: Path) -> None:
    images = [np.full((32, 32, 3), 4 * index, np.uint8) for index in range(60)]
    path = write_clip(tmp_path / "clip.mp4", images)
    levels = [image.mean() for image in sample_images(VideoReader(path), 6)]
    assert np.allclose(levels, [4 * (10 * place + 5) for place in range(6)], atol=6)


@pytest.mark.parametrize("values", [{"start_s": -1}, {"start_s": 3, "end_s": 2}, {"end_s": 0}, {"steady": "maybe"}])
def test_invalid_settings(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"start_s|end_s|steady"):
        VideoSettings(**values)

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

import glpn_cli
from clips import TICKS, damage_frames, frame_times, scene, sound_packets, write_clip
from glpn_cli import files
from glpn_cli.errors import (
    DepthFileError,
    ImageError,
    MissingPackageError,
    OutputError,
    OutputExistsError,
    UsageError,
)
from glpn_cli.files import locked
from glpn_cli.output.png import to_16_bits
from glpn_cli.settings import OutputSettings, PredictionSettings
from glpn_cli.video import segments
from glpn_cli.video.depth_file import DepthVideo
from glpn_cli.video.plan import INDEX_NAME, VideoPlan, plan_video
from glpn_cli.video.prediction import predict_video
from glpn_cli.video.reading import VideoReader
from glpn_cli.video.run import VideoResult, VideoRun
from glpn_cli.video.settings import VideoSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.video.prediction import VideoFrame

    Load = Callable[..., Predictor]


def make_plan(source: Path, output: str, *, formats: tuple[str, ...] = (), **settings: Any) -> VideoPlan:
    video = {name: settings.pop(name) for name in ("steady", "start_s", "end_s", "no_sound") if name in settings}
    overwrite = settings.pop("overwrite", False)
    return plan_video(
        str(source),
        output=f"{source.parent}/{output}",
        formats=formats,
        overwrite=overwrite,
        video=VideoSettings(**video),
        appearance=OutputSettings(**settings),
        prediction=PredictionSettings(),
    )


def execute(plan: VideoPlan, load: Load, **options: Any) -> VideoResult:
    return VideoRun(plan).execute(load(keep_rgb=plan.prediction.keep_rgb), **options)


def meters_of(path: Path) -> list[np.ndarray]:
    return [frame.depth.meters for frame in glpn_cli.read_video(path)]


# One frame after the other


def test_without_steadying_depth_is_that_of_predict(clip: Path, small_predictor: Load) -> None:
    predictor = small_predictor()
    reader = VideoReader(clip)
    images = [reader.rgb(frame.decoded) for frame in reader.frames() if frame.decoded is not None]
    frames = list(predict_video(clip, predictor, steady="off"))
    assert len(frames) == len(images) == 14
    for frame, image in zip(frames, images, strict=True):
        assert np.array_equal(frame.depth.meters, predictor.predict(image).meters)


def test_steadied_frames_have_index_time_and_image(clip: Path, small_predictor: Load) -> None:
    frames = list(predict_video(clip, small_predictor(keep_rgb=True)))
    assert [frame.index for frame in frames] == list(range(14))
    assert np.allclose([frame.time_s for frame in frames], np.arange(14) / 30, atol=1e-4)
    reader = VideoReader(clip)
    for frame, source in zip(frames, reader.frames(), strict=True):
        assert source.decoded is not None
        assert np.array_equal(frame.depth.rgb, reader.rgb(source.decoded))
    raw = [frame.depth.meters for frame in predict_video(clip, small_predictor(), steady="off")]

    def flicker(depths: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(np.log(one / two)).mean() for one, two in pairwise(depths)]))

    assert flicker([frame.depth.meters for frame in frames]) < 0.8 * flicker(raw)


def test_closing_ends_the_reading_thread(clip: Path, small_predictor: Load) -> None:
    import threading

    frames = predict_video(clip, small_predictor(), steady="off")
    next(frames)
    frames.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "glpn-video"]


@pytest.mark.parametrize("steady", ["on", "off"])
@pytest.mark.parametrize("broken", [[4, 5], [0]])
def test_broken_frames_repeat_the_depth_before(
    tmp_path: Path, small_predictor: Load, steady: str, broken: list[int]
) -> None:
    path = write_clip(tmp_path / "clip.mp4", [scene(index) for index in range(14)], bf="0", g="1")
    damage_frames(path, broken)
    frames = list(predict_video(path, small_predictor(), steady=steady))
    assert [frame.index for frame in frames] == list(range(14))
    assert [frame.index for frame in frames if frame.is_broken] == broken
    source = frames[3] if broken[0] else frames[1]
    assert all(frames[index].depth is source.depth for index in broken)


def test_video_without_one_good_frame_is_an_error(tmp_path: Path, small_predictor: Load) -> None:
    path = write_clip(tmp_path / "clip.mp4", [scene(index) for index in range(3)], bf="0", g="1")
    damage_frames(path, [0, 1, 2])
    with pytest.raises(ImageError, match="frame"):
        list(predict_video(path, small_predictor()))


# Files


def test_video_of_meters_is_read_back_exactly(tmp_path: Path, small_predictor: Load) -> None:
    times = [0, 3003, 6006, 12_000, 12_100, 20_000]
    path = write_clip(
        tmp_path / "clip.mp4", [scene(index)[:48, :63] for index in range(6)], times=times, pixels="yuv444p", sound_s=1
    )
    result = execute(make_plan(path, "depth.mkv", steady="off"), small_predictor)
    assert (result.frames, result.broken, result.problem) == (6, 0, "")
    expected = [frame.depth for frame in predict_video(path, small_predictor(), steady="off")]
    video = glpn_cli.read_video(tmp_path / "depth.mkv")
    assert video.shape == (48, 63)
    assert video.provenance.weights == "tiny"
    assert video.camera is not None
    frames = list(video)
    for frame, depth in zip(frames, expected, strict=True):
        steps = to_16_bits(depth, 1000)
        assert np.array_equal(frame.depth.meters, steps.astype(np.float32) / np.float32(1000))
        assert np.abs(frame.depth.meters - depth.meters).max() <= 0.000501
    assert np.allclose([frame.time_s for frame in frames], np.array(times) / TICKS, atol=0.0005)
    assert sound_packets(tmp_path / "depth.mkv") == sound_packets(path)
    low_m, high_m = video.metadata["depth_m"]
    assert low_m == pytest.approx(min(float(depth.meters.min()) for depth in expected))
    assert high_m == pytest.approx(max(float(depth.meters.max()) for depth in expected))


def test_other_scale_is_read_back(clip: Path, small_predictor: Load) -> None:
    execute(make_plan(clip, "depth.mkv", png16_scale=256), small_predictor)
    execute(make_plan(clip, "fine.mkv"), small_predictor)
    for coarse, fine in zip(meters_of(clip.parent / "depth.mkv"), meters_of(clip.parent / "fine.mkv"), strict=True):
        assert 0 < np.abs(coarse - fine).max() <= 0.5 / 256 + 0.0006


@pytest.mark.parametrize("rate", [Fraction(24_000, 1001), 30])
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_video_of_colors_keeps_times_and_sound(
    tmp_path: Path, small_predictor: Load, rate: Fraction, b_frames: str
) -> None:
    images = [scene(index)[:46, :62] for index in range(8)]
    path = write_clip(tmp_path / "clip.mp4", images, rate=rate, bf=b_frames, sound_s=0.7)
    result = execute(make_plan(path, "depth.mp4", steady="off"), small_predictor)
    out = tmp_path / "depth.mp4"
    assert frame_times(out) == pytest.approx(frame_times(path), abs=1 / TICKS)
    assert sound_packets(out) == sound_packets(path)
    assert result.range_m is not None
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (62, 46)


def test_odd_sizes_legend_and_photo(tmp_path: Path, small_predictor: Load) -> None:
    path = write_clip(tmp_path / "clip.mkv", [scene(index)[:47, :63] for index in range(4)], pixels="yuv444p")
    settings = {"side_by_side": True, "legend": True, "range": "1:5", "colormap": "magma"}
    result = execute(make_plan(path, "depth.mp4", **settings), small_predictor)
    assert result.range_m == (1.0, 5.0)
    with av.open(str(tmp_path / "depth.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert shown[0].shape[0] > 48
    assert shown[0].shape[0] % 2 == shown[0].shape[1] % 2 == 0
    assert np.abs(shown[0][50:].astype(int) - shown[3][50:]).mean() < 2  # one legend for all
    left = (shown[0].shape[1] - 126) // 2
    photo = VideoReader(path)
    first = next(iter(photo.frames()))
    assert first.decoded is not None
    rgb = photo.rgb(first.decoded)
    assert np.abs(shown[0][2:45, left + 2 : left + 60].astype(int) - rgb[2:45, 2:60]).mean() < 12


def test_folder_has_files_and_times(clip: Path, small_predictor: Load) -> None:
    plan = make_plan(clip, "frames/", formats=("npz", "png"), steady="off")
    execute(plan, small_predictor)
    folder = clip.parent / "frames"
    lines = [json.loads(line) for line in (folder / INDEX_NAME).read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(14))
    assert np.allclose([line["time_s"] for line in lines], frame_times(clip))
    expected = list(predict_video(clip, small_predictor(), steady="off"))
    for line, frame in zip(lines, expected, strict=True):
        assert np.array_equal(glpn_cli.read(folder / line["outputs"]["npz"]).meters, frame.depth.meters)
        assert (folder / line["outputs"]["png"]).exists()
    assert len(list(folder.iterdir())) == 2 * 14 + 1


def test_gray_images_of_a_folder_share_a_range(clip: Path, small_predictor: Load) -> None:
    execute(make_plan(clip, "frames/", steady="off"), small_predictor)
    described = [glpn_cli.read(path) for path in sorted((clip.parent / "frames").glob("*.png"))]
    assert len(described) == 14
    from glpn_cli.output.reading import describe_file

    ranges = {
        (facts["low"], facts["high"])
        for path in (clip.parent / "frames").glob("*.png")
        if (facts := describe_file(path).metadata) is not None
    }
    assert len(ranges) == 1


def test_part_of_a_video_with_its_sound(tmp_path: Path, small_predictor: Load) -> None:
    path = write_clip(tmp_path / "clip.mp4", [scene(index) for index in range(40)], sound_s=1.4, bf="0")
    execute(make_plan(path, "depth.mp4", start_s=0.5, end_s=1.0, steady="off"), small_predictor)
    times = frame_times(tmp_path / "depth.mp4")
    assert np.allclose(times, np.arange(15) / 30, atol=1e-3)
    kept = sound_packets(tmp_path / "depth.mp4")
    assert 0 < len(kept) < len(sound_packets(path))
    assert b"".join(kept) in b"".join(sound_packets(path))


def test_no_sound_leaves_it_out(clip: Path, small_predictor: Load) -> None:
    execute(make_plan(clip, "depth.mp4", no_sound=True, steady="off"), small_predictor)
    with av.open(str(clip.parent / "depth.mp4")) as container:
        assert not container.streams.audio


def test_sound_that_the_container_cannot_hold_is_refused_first(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [scene(0)] * 2, sound_s=0.2, sound="tta")
    with pytest.raises(UsageError, match="tta") as error:
        VideoRun(make_plan(path, "depth.mp4"))
    assert "no_sound" in str(error.value.hint)
    VideoRun(make_plan(path, "depth.mkv"))
    VideoRun(make_plan(path, "depth.mp4", no_sound=True))


def test_early_end_and_broken_frames_are_reported(tmp_path: Path, small_predictor: Load) -> None:
    path = write_clip(tmp_path / "clip.mkv", [scene(index) for index in range(40)], bf="0")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = execute(make_plan(path, "depth.mkv", steady="off"), small_predictor)
    assert result.early_end in result.problem
    assert 2 < result.frames < 40
    assert len(meters_of(tmp_path / "depth.mkv")) == result.frames


# Interrupted runs


def test_a_killed_run_leaves_unfinished_files_in_the_work_folder_only(
    clip: Path, small_predictor: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = []
    write_new = files.write_new

    def watched(path: Path, data: bytes, *, durable: bool = True) -> None:
        unfinished.append(path)
        write_new(path, data, durable=durable)

    monkeypatch.setattr(files, "write_new", watched)
    plan = make_plan(clip, "frames/", formats=("npz", "png"))
    execute(plan, small_predictor)
    assert len(unfinished) > 12  # two of each frame, and the index
    assert {path.parent for path in unfinished} == {plan.work_folder.path}
    assert not [path for path in (clip.parent / "frames").iterdir() if path.name.startswith(".")]


class _StoppedError(Exception):
    pass


def stop_at(number: int) -> Callable[[VideoFrame], None]:
    def observe(frame: VideoFrame) -> None:
        if frame.index == number:
            raise _StoppedError

    return observe


@pytest.fixture
def long_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 frames with a cut and a broken frame, in segments of 8 frames."""
    monkeypatch.setattr(segments, "_SMALLEST_FRAMES", 8)
    monkeypatch.setattr(segments, "_MOST_FRAMES", 8)
    images = [scene(index, 32, 32, seed=index // 20) for index in range(40)]
    path = write_clip(tmp_path / "clip.mp4", images, bf="0", g="1", sound_s=0.5)
    damage_frames(path, [13])
    return path


@pytest.mark.parametrize("output", ["depth.mkv", "depth.mp4"])
def test_resumed_run_equals_an_uninterrupted_one(long_clip: Path, small_predictor: Load, output: str) -> None:
    whole = execute(make_plan(long_clip, f"whole-{output}"), small_predictor)
    plan = make_plan(long_clip, output)
    for number in (10, 17, 29):
        with pytest.raises(_StoppedError):
            execute(plan, small_predictor, on_frame=stop_at(number))
        assert not plan.target.exists()
    result = execute(plan, small_predictor)
    assert result.resumed >= 24
    assert (result.frames, result.broken, result.cuts) == (whole.frames, whole.broken, whole.cuts) == (40, 1, 1)
    resumed, uninterrupted = (_decoded(long_clip.parent / name) for name in (output, f"whole-{output}"))
    assert len(resumed) == 40
    assert all(np.array_equal(one, two) for one, two in zip(resumed, uninterrupted, strict=True))
    assert frame_times(plan.target) == frame_times(long_clip.parent / f"whole-{output}")
    assert sorted(path.name for path in long_clip.parent.iterdir()) == ["clip.mp4", output, f"whole-{output}"]


@pytest.mark.parametrize("steady", ["on", "off"])
@pytest.mark.parametrize(
    ("broken", "stop", "resumed"), [([16, 17], 20, 16), ([14, 15, 16], 20, 16), (list(range(10)), 9, 8)]
)
def test_broken_frames_after_a_resume_repeat_the_depth_before(
    long_clip: Path, small_predictor: Load, steady: str, broken: list[int], stop: int, resumed: int
) -> None:
    damage_frames(long_clip, broken)
    execute(make_plan(long_clip, "whole.mkv", steady=steady), small_predictor)
    plan = make_plan(long_clip, "depth.mkv", steady=steady)
    with pytest.raises(_StoppedError):
        execute(plan, small_predictor, on_frame=stop_at(stop))
    assert execute(plan, small_predictor).resumed == resumed
    continued, whole = meters_of(long_clip.parent / "depth.mkv"), meters_of(long_clip.parent / "whole.mkv")
    assert all(np.array_equal(one, two) for one, two in zip(continued, whole, strict=True))


def _decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def test_resumed_folder_equals_an_uninterrupted_one(long_clip: Path, small_predictor: Load) -> None:
    for name, stops in (("whole/", []), ("frames/", [20])):
        plan = make_plan(long_clip, name, formats=("npy",))
        for number in stops:
            with pytest.raises(_StoppedError):
                execute(plan, small_predictor, on_frame=stop_at(number))
        execute(plan, small_predictor)
    whole, frames = (
        {path.name: path.read_bytes() for path in (long_clip.parent / name).iterdir()} for name in ("whole", "frames")
    )
    assert whole == frames


@pytest.mark.parametrize("damage", ["segment", "state", "run"])
def test_damaged_segments_are_computed_again(long_clip: Path, small_predictor: Load, damage: str) -> None:
    plan = make_plan(long_clip, "depth.mkv", steady="off")
    with pytest.raises(_StoppedError):
        execute(plan, small_predictor, on_frame=stop_at(20))
    work = plan.work_folder.path
    name = {"segment": "00001.mkv", "state": max(path.name for path in work.glob("*.npz")), "run": "run.json"}
    file = work / name[damage]
    file.write_bytes(file.read_bytes()[:-7] + b"damaged")
    result = execute(plan, small_predictor)
    assert (result.resumed, result.frames) == (0, 40)


def test_other_settings_start_over(long_clip: Path, small_predictor: Load) -> None:
    with pytest.raises(_StoppedError):
        execute(make_plan(long_clip, "depth.mkv", steady="off"), small_predictor, on_frame=stop_at(20))
    result = execute(make_plan(long_clip, "depth.mkv", steady="off", end_s=0.5), small_predictor)
    assert (result.resumed, result.frames) == (0, 15)


def test_two_processes_do_not_write_one_output(clip: Path, small_predictor: Load) -> None:
    plan = make_plan(clip, "depth.mkv")
    work = plan.work_folder
    work.path.mkdir()
    with locked(work.path / "lock", OutputError("busy")), pytest.raises(OutputError, match=r"depth\.mkv"):
        execute(plan, small_predictor)


def test_existing_outputs_stay(clip: Path, small_predictor: Load) -> None:
    target = clip.parent / "depth.mkv"
    target.write_text("precious")
    with pytest.raises(OutputExistsError, match=r"depth\.mkv"):
        make_plan(clip, "depth.mkv")
    plan = make_plan(clip, "other.mkv", steady="off")
    other = clip.parent / "other.mkv"
    with pytest.raises(OutputExistsError):  # it appeared meanwhile
        execute(plan, small_predictor, on_frame=lambda _: other.write_text("precious"))
    assert target.read_text() == other.read_text() == "precious"
    execute(make_plan(clip, "depth.mkv", steady="off", overwrite=True), small_predictor)
    assert len(meters_of(target)) == 14


def test_nothing_is_left_of_a_run_without_a_segment(clip: Path, small_predictor: Load) -> None:
    with pytest.raises(_StoppedError):
        execute(make_plan(clip, "depth.mkv", steady="off"), small_predictor, on_frame=stop_at(3))
    assert [path.name for path in clip.parent.iterdir()] == ["clip.mp4"]


# Arguments


def test_missing_folder_of_the_output_is_an_error(clip: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        make_plan(clip, "missing/depth.mp4")
    assert not (clip.parent / "missing").exists()


@pytest.mark.parametrize(
    ("output", "settings", "named"),
    [
        ("depth.avi", {}, "output"),
        ("depth.mkv", {"legend": True}, "legend"),
        ("depth.mp4", {"png16_scale": 256}, "png16_scale"),
        ("depth.mkv", {"scale": "published"}, "scale"),
        ("depth.mp4", {"formats": ("npz",)}, "formats"),
        ("frames/", {"legend": True, "formats": ("npz",)}, "legend"),
        ("clip.mp4", {}, "output"),
    ],
)
def test_contradictions_are_refused(clip: Path, output: str, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        make_plan(clip, output, **settings)


@pytest.mark.parametrize("source", ["", "-", "https://example.com/clip.mp4"])
def test_only_files_are_videos(source: str) -> None:
    with pytest.raises(UsageError):
        plan_video(
            source,
            video=VideoSettings(),
            appearance=OutputSettings(),
            prediction=PredictionSettings(),
        )


def test_missing_package_is_reported_first(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.video.reading.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError):
        make_plan(clip, "depth.mp4")


def test_other_videos_are_no_videos_of_meters(clip: Path, photo: Path, small_predictor: Load) -> None:
    execute(make_plan(clip, "depth.mp4", steady="off"), small_predictor)
    for path in (clip, photo, clip.parent / "depth.mp4", clip.parent / "missing.mkv"):
        with pytest.raises(DepthFileError, match=path.name):
            DepthVideo(path)


def test_video_that_was_encoded_again_is_refused(clip: Path, small_predictor: Load) -> None:
    execute(make_plan(clip, "depth.mkv", steady="off"), small_predictor)
    with av.open(str(clip.parent / "depth.mkv")) as source:
        tags = dict(source.metadata)
    again = write_clip(clip.parent / "again.mkv", [scene(0)] * 2)
    with av.open(str(again)) as source, av.open(str(clip.parent / "tagged.mkv"), "w") as out:
        out.metadata.update(tags)
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux_one(packet)
    with pytest.raises(DepthFileError, match="meters"):
        DepthVideo(clip.parent / "tagged.mkv")


def test_run_video_does_it_from_python(clip: Path, monkeypatch: pytest.MonkeyPatch, shared_engine: Load) -> None:
    monkeypatch.setattr("glpn_cli.inference.load.load_predictor", shared_engine)
    seen: list[int] = []
    result = glpn_cli.run_video(
        clip,
        clip.parent / "depth.mkv",
        weights="tiny",
        input_size="64x64",
        end_s="0.3",
        progress=lambda frame: seen.append(frame.index),
    )
    assert result.frames == len(seen) == len(meters_of(clip.parent / "depth.mkv")) == 9
    with pytest.raises(TypeError, match="steadi"):
        glpn_cli.run_video(clip, clip.parent / "other.mkv", steadi="on")

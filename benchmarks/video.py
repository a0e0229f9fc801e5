"""Measure steadied depth of videos: flicker, accuracy, scene cuts, cost and memory.

Synthetic clips have exact depth, camera and motion: scenes of recipes/tiny, seen by a moving camera. Real frames are a
folder of NAME.jpg with NAME.png, 16-bit millimeters, in the order of time; their motion is estimated with OpenCV.

    python benchmarks/video.py
    python benchmarks/video.py --frames FOLDER --cut-frames FOLDER --weights tiny
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import results
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "tiny"))

from glpn_cli.inference.load import load
from glpn_cli.settings import OutputSettings
from glpn_cli.video.cuts import CUT_MISMATCH, mismatch
from glpn_cli.video.flow import estimate_flow, shrink_for_flow, warp
from glpn_cli.video.reading import VideoReader
from glpn_cli.video.steadying import Steadier
from glpn_cli.video.writing import ENCODINGS, ColorPainter, MeterPainter, SegmentEncoder
from scenes.casting import camera_rotation
from scenes.rendering import make_scene, render
from scenes.textures import build_atlas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from glpn_cli.inference.predictor import Predictor
    from scenes.scene import Camera

CASES = ("synthetic", "frames", "cuts", "cost", "memory")
SIZE = (240, 320)
COST_SIZE = (480, 640)
SOUND_RATE = 48_000
FRAMES = 60
CLIPS = (  # kind of scene, seed, motion
    ("room", 11, "walk"),
    ("room", 12, "pan"),
    ("tabletop", 13, "handheld"),
    ("street", 14, "walk"),
    ("park", 15, "walk"),
    ("street", 16, "fast pan"),
)
_VISIBLE = 0.03  # relative difference of depth up to which a pixel shows the same surface


@dataclass(frozen=True)
class Clip:
    """Frames with ground truth.

    Attributes:
        images: (H, W, 3) uint8 each.
        depths: (H, W) float32 each, meters; 0 or infinite is unknown.
        motions: for each frame but the first, (1, 2, H, W) pixels to where its content was, and (1, 1, H, W) bool
            where that was visible.
    """

    images: list[np.ndarray]
    depths: list[np.ndarray]
    motions: list[tuple[Tensor, Tensor]]


# Clips


def camera_path(start: Camera, motion: str, seed: int) -> Iterator[Camera]:
    """Yield the camera of each frame."""
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * math.pi, 6)
    for index in range(FRAMES):
        shake = [math.sin(index * rate + phase) for rate, phase in zip((0.31, 0.47, 0.23, 0.39, 0.53, 0.29), phases)]  # noqa: B905
        yaw, pitch, roll, ahead = start.yaw, start.pitch, start.roll, 0.0
        amount = 1.0 if motion == "handheld" else 0.3
        yaw, pitch, roll = yaw + 0.02 * amount * shake[0], pitch + 0.015 * amount * shake[1], roll + 0.01 * shake[2]
        side, up = 0.03 * amount * shake[3], 0.02 * amount * shake[4]
        if motion == "walk":
            ahead = 0.02 * index
        elif motion == "pan":
            yaw += math.radians(0.5) * index
        elif motion == "fast pan":
            yaw += math.radians(1.5) * index
        x, y, z = start.position
        sine, cosine = math.sin(start.yaw), math.cos(start.yaw)
        position = (x + sine * ahead + cosine * side, y + up, z + cosine * ahead - sine * side)
        yield replace(start, position=position, yaw=yaw, pitch=pitch, roll=roll)


def make_clip(kind: str, seed: int, motion: str, frames: int = FRAMES, size: tuple[int, int] = SIZE) -> Clip:
    """Render a clip with exact depth and motion."""
    scene = make_scene(seed, build_atlas(seed), {kind: 1.0})
    images, depths, motions = [], [], []
    cameras = list(camera_path(scene.camera, motion, seed))[:frames]
    for index, camera in enumerate(cameras):
        moved = copy.copy(scene)
        moved.camera = camera
        image, depth = render([moved], *size)
        images.append(image[0].numpy())
        depths.append(depth[0].numpy().astype(np.float32))
        if index:
            motions.append(exact_motion(depths[-1], depths[-2], camera, cameras[index - 1]))
    return Clip(images, depths, motions)


def exact_motion(now: np.ndarray, before: np.ndarray, camera: Camera, earlier: Camera) -> tuple[Tensor, Tensor]:
    """Return where each pixel was in the earlier frame, and whether it was visible there."""
    height, width = now.shape
    rotations = camera_rotation([camera, earlier])
    depth = torch.from_numpy(np.where(np.isfinite(now), now, 1e4))
    focal = camera.focal_px(height, width)
    x = (torch.arange(width) + 0.5 - width / 2) / focal
    y = -(torch.arange(height) + 0.5 - height / 2).view(-1, 1) / focal
    points = torch.stack([x.expand(height, -1) * depth, y.expand(-1, width) * depth, depth], dim=-1)
    world = points @ rotations[0].T + torch.tensor(camera.position)
    local = (world - torch.tensor(earlier.position)) @ rotations[1]
    ahead = local[..., 2].clamp(min=1e-3)
    columns = local[..., 0] / ahead * focal + width / 2 - 0.5
    rows = -local[..., 1] / ahead * focal + height / 2 - 0.5
    flow = torch.stack([columns - torch.arange(width), rows - torch.arange(height).view(-1, 1)])[None].float()
    shown, inside = warp(torch.from_numpy(np.where(np.isfinite(before), before, 1e4))[None, None], flow)
    same = (shown[0, 0] / ahead - 1).abs() < _VISIBLE
    return flow, inside & same[None, None] & (local[..., 2] > 0)[None, None]


def read_frames(folder: Path, limit: int | None = None) -> Clip:
    """Read real frames; their motion is estimated by OpenCV, forward and backward."""
    import cv2

    photos = sorted(folder.glob("*.jpg"))[:limit]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in photos]
    depths = [np.asarray(Image.open(path.with_suffix(".png"))).astype(np.float32) / 1000 for path in photos]
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(one: np.ndarray, two: np.ndarray) -> Tensor:
        return torch.from_numpy(finder.calc(one, two, None)).permute(2, 0, 1)[None].float()

    motions = []
    for before, now in pairwise(grays):
        back, forth = flow(now, before), flow(before, now)
        returned, inside = warp(forth, back)
        motions.append((back, inside & ((back + returned).norm(dim=1, keepdim=True) < 1)))
    return Clip(images, depths, motions)


# Depth


def predict_clip(predictor: Predictor, images: Sequence[np.ndarray], *, steady: bool) -> list[np.ndarray]:
    """Return (H, W) float32 meters of each frame."""
    prepared = [predictor.prepare(image) for image in images]
    views = [predictor.run([one])[0] for one in prepared]
    if steady:
        steadier: Steadier[int] = Steadier()
        rows = [
            row
            for index, (one, view) in enumerate(zip(prepared, views, strict=True))
            for row in steadier.push(index, one.pixel_values, view)
        ]
        views = [view for _, view in [*rows, *steadier.flush()]]
    return [predictor.finish(one, view).meters for one, view in zip(prepared, views, strict=True)]


def score(clip: Clip, found: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the flicker, and AbsRel with one scale for the clip and with one for each frame.

    Flicker is the mean change of the logarithm of the error along the true motion, from frame to frame, so that a true
    change of depth does not count.
    """
    with np.errstate(all="ignore"):
        errors = [np.log(one) - np.log(true) for one, true in zip(found, clip.depths, strict=True)]
    known = [np.isfinite(error) for error in errors]
    changes = []
    for index, (flow, visible) in enumerate(clip.motions):
        before = torch.from_numpy(np.stack([np.where(known[index], errors[index], 0.0), known[index]]))[None].float()
        moved, _ = warp(before, flow)
        valid = visible[0, 0].numpy() & known[index + 1] & (moved[0, 1].numpy() > 0.999)
        if valid.any():
            changes.append(float(np.abs(errors[index + 1] - moved[0, 0].numpy())[valid].mean()))
    every = np.concatenate([error[good] for error, good in zip(errors, known, strict=True)])
    of_frames = [float(np.abs(np.exp(e[k] - np.median(e[k])) - 1).mean()) for e, k in zip(errors, known, strict=True)]
    return {
        "flicker": statistics.fmean(changes),
        "abs_rel_clip": float(np.abs(np.exp(every - np.median(every)) - 1).mean()),
        "abs_rel_frame": statistics.fmean(of_frames),
    }


def compare(predictor: Predictor, clip: Clip) -> dict[str, dict[str, float]]:
    """Return the scores of single frames, of steadied ones, and their ratios."""
    single = score(clip, predict_clip(predictor, clip.images, steady=False))
    steady = score(clip, predict_clip(predictor, clip.images, steady=True))
    return {"single": single, "steady": steady, "ratio": {name: steady[name] / single[name] for name in single}}


# Cuts


def measure_cuts(clips: Sequence[Sequence[np.ndarray]], seed: int = 0) -> dict[str, float]:
    """Return how many cuts between clips are found, and how many pairs within clips are taken for cuts."""
    grays = [[shrink_for_flow(_pixels(image)) for image in clip] for clip in clips]

    def value(current: Tensor, earlier: Tensor) -> float:
        return mismatch(current, earlier, estimate_flow(current, earlier))

    within = [value(two, one) for clip in grays for one, two in pairwise(clip)]
    rng = np.random.default_rng(seed)
    across = []
    while len(across) < 200 and len(grays) > 1:
        one, two = rng.choice(len(grays), 2, replace=False)
        first, second = (grays[place][rng.integers(len(grays[place]))] for place in (one, two))
        if first.shape == second.shape:
            across.append(value(second, first))
    return {
        "pairs": len(within),
        "false_fraction": statistics.fmean(one > CUT_MISMATCH for one in within),
        "largest_within": max(within),
        "cuts": len(across),
        "found_fraction": statistics.fmean(one > CUT_MISMATCH for one in across),
        "smallest_across": min(across),
    }


def _pixels(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255


# Cost


def measure_cost(predictor: Predictor, frames: int) -> dict[str, dict[str, float]]:
    """Return milliseconds of CPU per frame of 640x480 of each stage, for colors and for meters.

    "overhead" is reading, steadying and writing, relative to the network. torch has one thread here.
    """
    kind, seed, motion = CLIPS[0]
    images = make_clip(kind, seed, motion, frames, COST_SIZE).images
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            write_video(path, images, 1)
            found = {suffix: _time_stages(predictor, path, suffix) for suffix in (".mp4", ".mkv")}
    finally:
        torch.set_num_threads(threads)
    for stages in found.values():
        stages["overhead"] = (stages["read"] + stages["steady"] + stages["write"]) / stages["network"]
    return found


def write_video(path: Path, images: Sequence[np.ndarray], repeats: int, *, rate: int = 30, sound: bool = False) -> None:
    """Write a video that repeats some images."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "veryfast"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        silence = out.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        samples = 0
        for index, image in enumerate(itertools.chain.from_iterable(itertools.repeat(images, repeats))):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            while silence is not None and samples < index / rate * SOUND_RATE:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate, samples = SOUND_RATE, samples + 1024
                out.mux(silence.encode(frame))
        for one in (stream, silence):
            out.mux(one.encode() if one is not None else [])


def _time_stages(predictor: Predictor, path: Path, suffix: str) -> dict[str, float]:
    """Return milliseconds per frame: those of this thread for each stage, and for writing all that is left."""
    spent = dict.fromkeys(("read", "preprocess", "network", "steady", "upsample"), 0.0)

    def timed(name: str, function: Any, *arguments: Any) -> Any:
        start = time.thread_time()
        value = function(*arguments)
        spent[name] += time.thread_time() - start
        return value

    reader = VideoReader(path)
    painter = MeterPainter(OutputSettings()) if suffix == ".mkv" else ColorPainter(OutputSettings(range_m=(0.5, 10.0)))
    encoder = SegmentEncoder(path.with_name(f"depth{suffix}"), ENCODINGS[suffix], Fraction(30))
    steadier: Steadier[Any] = Steadier()
    frames = 0

    def write(rows: Iterable[tuple[Any, Tensor]]) -> None:
        for prepared, views in rows:
            encoder.add(painter.paint(timed("upsample", predictor.finish, prepared, views)))

    start = time.process_time()
    iterator = reader.frames()
    while (frame := timed("read", next, iterator, None)) is not None:
        frames += 1
        prepared = timed("preprocess", predictor.prepare, timed("read", reader.rgb, frame.decoded))
        (views,) = timed("network", predictor.run, [prepared])
        write(timed("steady", lambda: list(steadier.push(prepared, prepared.pixel_values, views))))  # noqa: B023
    write(timed("steady", lambda: list(steadier.flush())))
    encoder.finish()
    spent["write"] = time.process_time() - start - sum(spent.values())
    return {name: 1000 * seconds / frames for name, seconds in spent.items()}


# Memory


def measure_memory(weights: str, minutes: Sequence[float]) -> dict[str, dict[str, float]]:
    """Return the peak memory of `glpn video`, in bytes, for videos of 10 small frames per second with sound."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 22, 3), np.uint8)
    wide = np.asarray(Image.fromarray(noise).resize((176, 96), Image.Resampling.BICUBIC))
    images = [np.ascontiguousarray(wide[:, index : index + 128]) for index in (*range(24), *range(24, 0, -1))]
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for length in minutes:
            path = Path(folder) / f"{length:g}.mp4"
            write_video(path, images, round(length * 60 * 10 / len(images)), rate=10, sound=True)
            for suffix in (".mp4", ".mkv"):
                target = Path(folder) / f"{length:g}.depth{suffix}"
                command = ["video", str(path), "-o", str(target), "-w", weights, "--input-size", "32x32", "-q"]
                # From a small process: on Linux, the peak of a process starts at that of its parent.
                code = "import sys, processes; print(processes.run([*processes.GLPN, *sys.argv[1:]]).peak_bytes)"
                done = subprocess.run(
                    [sys.executable, "-c", code, *command],
                    cwd=Path(__file__).parent,
                    check=True,
                    stdout=subprocess.PIPE,
                )
                found.setdefault(suffix, {})[f"{length:g} min"] = float(done.stdout)
    return found


# The script


def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES, metavar="CASE")
    parser.add_argument("--weights", default="tiny", help="default: %(default)s")
    parser.add_argument("--frames", type=Path, help="folder of real frames with depth")
    parser.add_argument("--cut-frames", type=Path, nargs="*", default=[], help="folders of frames, one clip each")
    results.add_options(parser, "video")
    arguments = parser.parse_args()
    out = results.results_file("video", quick=arguments.quick, out=arguments.out)
    report = results.load(out)
    count = 14 if arguments.quick else FRAMES
    chosen = CLIPS[:2] if arguments.quick else CLIPS
    predictor = load(arguments.weights)
    needs_clips = {"synthetic", "cuts"} & set(arguments.cases)
    clips = (
        {f"{kind} {seed}, {motion}": make_clip(kind, seed, motion, count) for kind, seed, motion in chosen}
        if (needs_clips)
        else {}
    )
    cases: dict[str, Any] = {}
    if "synthetic" in arguments.cases:
        cases["synthetic"] = {"clips": {name: compare(predictor, clip) for name, clip in clips.items()}}
    if "frames" in arguments.cases and arguments.frames is not None:
        cases["frames"] = compare(predictor, read_frames(arguments.frames, count if arguments.quick else None))
    if "cuts" in arguments.cases:
        folders = [_images(folder) for folder in arguments.cut_frames]
        cases["cuts"] = measure_cuts([*(clip.images for clip in clips.values()), *folders])
    if "cost" in arguments.cases:
        cases["cost"] = measure_cost(predictor, 14 if arguments.quick else 90)
        if not arguments.quick:
            cases["cost of the published architecture"] = measure_cost(load_published(), 6)
    if "memory" in arguments.cases:
        cases["memory"] = measure_memory(arguments.weights, (0.1, 0.3) if arguments.quick else (1, 10))
    machine = results.describe_machine(results.torch_threads())
    for name, values in cases.items():
        report.setdefault("cases", {})[f"{name} {arguments.weights}"] = values | {"machine": machine}
        print(name, _short(values))
    results.save(out, report)


def load_published() -> Predictor:
    """Return the published architecture, with random weights."""
    import processes

    with tempfile.TemporaryDirectory() as folder:
        processes.write_weights(Path(folder), "published")
        return load(folder)


def _images(folder: Path) -> list[np.ndarray]:
    paths = sorted([*folder.glob("*.jpg"), *folder.glob("*.png")])
    photos = [path for path in paths if path.suffix == ".jpg"] or paths
    return [np.asarray(Image.open(path).convert("RGB")) for path in photos]


def _short(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _short(value) for name, value in values.items()}
    return round(values, 4) if isinstance(values, float) else values


if __name__ == "__main__":
    main()

"""From a plan to the depth of a video: a run that can be interrupted and resumed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.convert import refuse_unknown_keywords
from glpn_cli.depth import DepthMap
from glpn_cli.errors import ImageError
from glpn_cli.files import make_folder, move_into_place
from glpn_cli.inference.color_range import SAMPLE_SIZE, measure_run_range
from glpn_cli.inference.fingerprint import file_fingerprint
from glpn_cli.inference.plan import MemoryImage
from glpn_cli.inference.progress import BatchProgress
from glpn_cli.inference.record import file_mark
from glpn_cli.output.color import measure_range
from glpn_cli.output.formats import spans_range
from glpn_cli.output.metadata import metadata_to_json
from glpn_cli.settings import OutputSettings, PredictionSettings
from glpn_cli.values import DepthRange, RangeMode
from glpn_cli.video.frame_writer import FrameWriter
from glpn_cli.video.plan import plan_video
from glpn_cli.video.prediction import DepthFrames
from glpn_cli.video.reading import VideoReader, sample_images
from glpn_cli.video.segments import SEGMENT_S, WorkFolder, frames_per_segment
from glpn_cli.video.settings import VideoSettings
from glpn_cli.video.writing import (
    Part,
    join,
    refuse_sound,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike
    from pathlib import Path

    from numpy.typing import NDArray

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.video.plan import VideoPlan
    from glpn_cli.video.prediction import VideoFrame


_SAMPLE_SIDE_PX = 256
_JOINED_NAME = "joined"


@dataclass(slots=True)
class VideoResult:
    """What became of a video.

    Attributes:
        source, target: as in the plan.
        frames: number of frames in the output.
        broken: number of frames that could not be decoded.
        early_end: why the video ended too early; empty if it did not.
        resumed: number of frames that an earlier run had finished.
        cuts: number of scene cuts; 0 without steadying.
        duration_s: the time of the last frame, seconds.
        range_m: the range of the colors; None if there are none.
        depth_m: the nearest and the farthest depth.
        sound_packets: number of packets that were copied.
        hdr: the curve of a high dynamic range video that was converted, such as "PQ"; else "".
        elapsed_s: seconds that the run took.
        facts: the metadata that the output has.
    """

    source: Path
    target: Path
    frames: int = 0
    broken: int = 0
    early_end: str = ""
    resumed: int = 0
    cuts: int = 0
    duration_s: float = 0.0
    range_m: tuple[float, float] | None = None
    depth_m: tuple[float, float] = (0.0, 0.0)
    sound_packets: int = 0
    hdr: str = ""
    elapsed_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """What is wrong with the video, in one line; empty if nothing is."""
        problems = []
        if self.broken:
            problems.append(f"{self.broken:,} of {self.frames:,} frames could not be decoded")
        if self.early_end:
            problems.append(self.early_end)
        return "; ".join(problems)


def run_video(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    formats: str | Sequence[str] = (),
    overwrite: bool = False,
    progress: Callable[[VideoFrame], None] | None = None,
    **settings: Any,
) -> VideoResult:
    """Predict the depth of a video and write it, as `glpn video` does.

    An interrupted run resumes when it is called again with the same settings.

    Args:
        source: the video.
        output: a file with the suffix .mp4 (colors) or .mkv (meters), or a folder for a file per frame.
        formats: names of formats, of the frames in a folder, such as "npz".
        overwrite: replace existing outputs.
        progress: called in the caller's thread after each frame.
        **settings: fields of `VideoSettings` (`steady`, `start_s`, `end_s`, `no_sound`), `OutputSettings` (`colormap`,
            `range`, ...) and `PredictionSettings` (`weights`, ...), also as text.

    Returns:
        What became of it: `frames`, `broken`, `early_end`, `cuts` and more.

    Raises:
        UsageError: a setting is invalid.
        ImageError: the video cannot be read, or no frame can be decoded.
        OutputError: the output exists or cannot be written.
        WeightsError, DeviceError, MissingPackageError: as from `load`.
        TypeError: there is no such setting.
    """
    from glpn_cli.inference.load import load_predictor, warn_if_approximate

    groups = (VideoSettings, OutputSettings, PredictionSettings)
    known = {group: [item.name for item in fields(group)] for group in groups}
    refuse_unknown_keywords("run_video", settings, [name for names in known.values() for name in names])
    chosen = [group(**{name: settings[name] for name in names if name in settings}) for group, names in known.items()]
    plan = plan_video(
        os.fspath(source),
        output=os.fspath(output) + (os.sep if os.path.isdir(output) else ""),
        formats=[formats] if isinstance(formats, str) else formats,
        overwrite=overwrite,
        video=chosen[0],  # type: ignore[arg-type]  # in the order of the groups
        appearance=chosen[1],  # type: ignore[arg-type]
        prediction=chosen[2],  # type: ignore[arg-type]
    )
    run = VideoRun(plan)
    predictor = load_predictor(plan.prediction)
    warn_if_approximate(predictor)
    return run.execute(predictor, on_frame=progress)


class VideoRun:
    """One run of a plan.

    Attributes:
        plan: what to do.
        reader: of the video.
        result: what is known so far.
    """

    def __init__(self, plan: VideoPlan, *, segment_s: float = SEGMENT_S) -> None:
        """Read the facts of the video.

        Args:
            plan: what to do.
            segment_s: seconds of video between two places where a run can resume.

        Raises:
            ImageError: the video cannot be read.
            UsageError: the output cannot contain its sound.
        """
        self.plan = plan
        self.reader = VideoReader(plan.source, plan.video, max_pixels=plan.prediction.max_pixels)
        self.result = VideoResult(plan.source, plan.target)
        self._segment_frames = frames_per_segment(float(self.reader.rate), segment_s)
        self._work: WorkFolder | None = None
        if plan.encoding is not None and self._has_sound:
            refuse_sound(self.reader, plan.encoding)

    @property
    def saved_frames(self) -> int:
        """Number of frames that a later run need not compute again, if this one ends now."""
        return sum(len(segment.pts) for segment in self._work.segments) if self._work is not None else 0

    @property
    def _has_sound(self) -> bool:
        return bool(self.reader.sound) and self.plan.encoding is not None and not self.plan.video.no_sound

    def execute(
        self,
        predictor: Predictor,
        *,
        progress: BatchProgress | None = None,
        on_frame: Callable[[VideoFrame], None] | None = None,
        observe: Callable[[DepthMap], None] = lambda _: None,
    ) -> VideoResult:
        """Compute and write what is missing.

        Args:
            predictor: runs in the caller's thread.
            progress: is notified of what happens.
            on_frame: is called after each frame.
            observe: is called with the depth of each new frame.

        Raises:
            ImageError: no frame can be decoded.
            DeviceError: out of memory, or the precision overflowed.
            OutputError: the output cannot be written, or another process writes it.
        """
        start_s = time.perf_counter()
        progress = progress or BatchProgress()
        if self.plan.encoding is None:
            make_folder(self.plan.target)
        with self.plan.work_folder as work:
            self._work = work
            fingerprint = self._fingerprint(predictor)
            stored, state = work.resume(fingerprint)
            self.result.resumed = sum(len(segment.pts) for segment in work.segments)
            output = self._with_range(predictor, stored.get("range_m"), progress)
            work.begin(fingerprint, {"range_m": self.result.range_m})
            writer = FrameWriter(self.plan, work, self.reader, output, self._segment_frames)
            frames = DepthFrames(self.reader, predictor, self.plan.video, skip=self.result.resumed, state=state)
            self._compute(frames, writer, progress, on_frame, observe)
            self._complete(work, writer)
            work.remove()
        self.result.elapsed_s = time.perf_counter() - start_s
        return self.result

    def _compute(
        self,
        frames: DepthFrames,
        writer: FrameWriter,
        progress: BatchProgress,
        on_frame: Callable[[VideoFrame], None] | None,
        observe: Callable[[DepthMap], None],
    ) -> None:
        """Compute the frames that are missing, and hand them to the writer."""
        progress.start("depth", self.reader.frame_estimate or 0)
        for _ in range(self.result.resumed):
            progress.advance()
        results = frames.results()
        try:
            with writer:
                for frame in results:
                    observe(frame.depth)
                    writer.add(frame, frames)
                    progress.advance()
                    if on_frame is not None:
                        on_frame(frame)
                writer.finish(frames)
        finally:
            results.close()
            progress.stop()
        self.result.hdr = self.reader.hdr
        self.result.early_end = self.reader.early_end

    def _complete(self, work: WorkFolder, writer: FrameWriter) -> None:
        """Write the output from its segments."""
        segments = work.segments
        if not segments:
            raise ImageError(f"{self.plan.source}: no frame could be decoded")
        pts = [tick for segment in segments for tick in segment.pts]
        broken = {number for segment in segments for number in segment.broken}
        self.result.frames, self.result.broken = len(pts), len(broken)
        self.result.cuts = segments[-1].cuts
        self.result.duration_s = self.reader.seconds(pts[-1])
        self.result.depth_m = (min(one.low_m for one in segments), max(one.high_m for one in segments))
        metadata = self._metadata(segments[0].metadata)
        self.result.facts = metadata
        if self.plan.encoding is None:
            writer.write_index(pts, broken)
            return
        joined = work.path / _JOINED_NAME
        parts = [Part(work.file_of(number), segment.pts) for number, segment in enumerate(segments)]
        video = self.plan.video
        end_s = None if video.end_s is None else video.end_s - (video.start_s or 0)
        self.result.sound_packets = join(
            joined,
            parts,
            self.plan.encoding,
            self.reader,
            sound=self._has_sound,
            end_s=end_s,
            metadata=metadata_to_json(metadata),
        )
        move_into_place(joined, self.plan.target, overwrite=self.plan.overwrite)

    def _metadata(self, first: dict[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "frames": self.result.frames,
            "broken_frames": self.result.broken,
            "cuts": self.result.cuts,
            "steady": str(self.plan.video.steady),
            "depth_m": list(self.result.depth_m),
            "start_s": self.plan.video.start_s or 0.0,
        }
        if self.result.range_m is not None:
            facts["range_m"] = list(self.result.range_m)
        provenance = first.pop("provenance")
        return first | facts | {"provenance": provenance}

    def _fingerprint(self, predictor: Predictor) -> dict[str, Any]:
        """Return what determines the output, ready for JSON."""
        import av

        video = self.plan.video
        return {
            "source": os.path.abspath(self.plan.source),
            "source_mark": file_mark(self.plan.source),
            "formats": {row.name: file_fingerprint(row, self.plan.output, predictor) for row in self.plan.rows},
            "suffix": self.plan.target.suffix.lower(),
            "steady": str(video.steady),
            "start_s": video.start_s,
            "end_s": video.end_s,
            "device": str(predictor.runtime.device),
            "av": av.__version__,
            "segment_frames": self._segment_frames,
        }

    def _with_range(
        self, predictor: Predictor, stored: Sequence[float] | None, progress: BatchProgress
    ) -> OutputSettings:
        """Return the settings with one range for all frames, if they show one."""
        output = self.plan.output
        if output.range is None and output.normalize is None:
            output = replace(output, range=DepthRange.parse("run"))  # gray images too, which would flicker otherwise
        if not spans_range(self.plan.rows, output):
            return output
        if stored is not None:
            low_m, high_m = stored
        else:
            low_m, high_m = self._measure_range(predictor, output, progress)
        self.result.range_m = (float(low_m), float(high_m))
        return replace(output, range_m=self.result.range_m)

    def _measure_range(
        self, predictor: Predictor, output: OutputSettings, progress: BatchProgress
    ) -> tuple[float, float]:
        asked = output.range or DepthRange.parse("run")
        images = (MemoryImage(rgb) for rgb in sample_images(self.reader, SAMPLE_SIZE))
        if asked.mode is RangeMode.PERCENTILES and asked.text != "auto":
            parts = [_subsample(predictor.predict(one.image)) for one in images]
            return measure_range(DepthMap(np.concatenate(parts)), asked)
        if asked.mode is RangeMode.PERCENTILES:
            output = replace(output, range=DepthRange.parse("run"))
        if asked.mode in (RangeMode.FIXED, RangeMode.MODEL):
            return measure_run_range(predictor, [], output)[0]
        progress.start("color range", SAMPLE_SIZE)
        try:
            return measure_run_range(predictor, images, output, advance=progress.advance)[0]  # type: ignore[arg-type]
        finally:
            progress.stop()


def _subsample(depth: DepthMap) -> NDArray[np.float32]:
    """Return about as many pixels of a frame as its percentiles need, (h, w) float32, meters."""
    step = max(1, min(depth.shape) // _SAMPLE_SIDE_PX)
    return depth.meters[::step, ::step].copy()

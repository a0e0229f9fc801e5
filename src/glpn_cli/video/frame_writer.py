"""Writing behind the network: frames into files or segments, which are committed when they are complete."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from glpn_cli.depth import is_known
from glpn_cli.files import dump_json, file_sha256, partial_path, write_together
from glpn_cli.output.metadata import build_metadata
from glpn_cli.values import Scale
from glpn_cli.video.plan import INDEX_NAME
from glpn_cli.video.segments import Segment
from glpn_cli.video.writing import METERS, ColorPainter, MeterPainter, SegmentEncoder, encoder_errors_named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from glpn_cli.depth import DepthMap
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings
    from glpn_cli.video.plan import VideoPlan
    from glpn_cli.video.prediction import DepthFrames, VideoFrame
    from glpn_cli.video.reading import VideoReader
    from glpn_cli.video.segments import State, WorkFolder

_WRITE_BEHIND = 2


class FrameWriter:
    """Writes frames behind the network, in a thread, and commits segments; a context manager."""

    def __init__(
        self, plan: VideoPlan, work: WorkFolder, reader: VideoReader, output: OutputSettings, segment_frames: int
    ) -> None:
        self._plan = plan
        self._work = work
        self._reader = reader
        self._output = output
        self._segment_frames = segment_frames
        self._thread = ThreadPoolExecutor(1, "glpn-write")
        self._writing: deque[Future[None]] = deque()
        painter = MeterPainter if plan.encoding is METERS else ColorPainter
        self._painter: MeterPainter | ColorPainter = painter(output)
        self._encoder: SegmentEncoder | None = None
        self._pts: list[int] = []
        self._broken: list[int] = []
        self._ends: list[float] = []
        self._metadata: dict[str, Any] = {}
        self._last: tuple[DepthMap, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what is being written; drop an incomplete segment, which the next run computes again."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._encoder is not None:
            self._encoder.abandon()

    def add(self, frame: VideoFrame, frames: DepthFrames) -> None:
        """Write a frame, and commit the segment that it completes."""
        self._submit(self._write, frame)
        self._pts.append(frame.pts)
        if frame.is_broken:
            self._broken.append(frame.index)
        if len(self._pts) >= self._segment_frames:
            self._commit(frames)

    def finish(self, frames: DepthFrames) -> None:
        """Commit the last segment and wait for it."""
        if self._pts:
            self._commit(frames)
        while self._writing:
            self._writing.popleft().result()

    def write_index(self, pts: Sequence[int], broken: set[int]) -> None:
        """Write the index of a folder."""
        lines = [
            dump_json(
                {
                    "frame": number,
                    "time_s": self._reader.seconds(tick),
                    "outputs": {row.name: _frame_name(number, row) for row in self._plan.rows},
                    "broken": number in broken,
                }
            )
            for number, tick in enumerate(pts)
        ]
        target = self._plan.target / INDEX_NAME
        self._put([(target, "".join(line + "\n" for line in lines).encode())], overwrite=self._plan.overwrite)

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        while self._writing and (len(self._writing) >= _WRITE_BEHIND or self._writing[0].done()):
            self._writing.popleft().result()
        self._writing.append(self._thread.submit(function, *arguments))

    def _commit(self, frames: DepthFrames) -> None:
        pts, broken = tuple(self._pts), tuple(self._broken)
        self._pts, self._broken = [], []
        self._submit(self._finish_segment, pts, broken, frames.cuts, frames.state())

    # In the thread

    def _write(self, frame: VideoFrame) -> None:
        if not self._metadata:
            self._metadata = self._describe(frame.depth)
        known = frame.depth.meters[is_known(frame.depth.meters)]
        if known.size:
            self._ends += [float(known.min()), float(known.max())]
        if self._plan.encoding is None:
            files = [
                (self._plan.target / _frame_name(frame.index, row), row.load_codec().encode(frame.depth, self._output))
                for row in self._plan.rows
            ]
            # A frame of an interrupted run may be there; those of others were refused before.
            self._put(files, overwrite=True, durable=False)
            return
        if self._encoder is None:
            self._encoder = SegmentEncoder(self._work.next_file, self._plan.encoding, self._reader.rate)
        self._encoder.add(self._painted(frame.depth))

    def _put(self, files: list[tuple[Path, bytes]], *, overwrite: bool, durable: bool = True) -> None:
        """Write files; what a killed run leaves of them is in the work folder, and is removed with it."""
        partials = [self._work.path / partial_path(target).name for target, _ in files]
        write_together(files, overwrite=overwrite, partials=partials, durable=durable)

    def _painted(self, depth: DepthMap) -> Any:
        """Return the frame of a depth map; broken frames have that of the frame before."""
        if self._last is None or self._last[0] is not depth:
            self._last = (depth, self._painter.paint(depth))
        return self._last[1]

    def _finish_segment(self, pts: tuple[int, ...], broken: tuple[int, ...], cuts: int, state: State) -> None:
        digest = ""
        if self._encoder is not None:
            self._encoder.finish()
            with encoder_errors_named(self._encoder.path):
                digest = file_sha256(self._encoder.path)
            self._encoder = None
        ends = self._ends or [0.0]
        self._ends = []
        self._work.commit(Segment(pts, broken, cuts, min(ends), max(ends), digest, "", self._metadata), state)

    def _describe(self, depth: DepthMap) -> dict[str, Any]:
        """Return the metadata of the output, without what only its end shows."""
        if self._plan.encoding is METERS:
            scale = self._output.png16_scale
            return build_metadata("video-meters", depth, unit="meter", values_per_meter=scale, unknown=0)
        return build_metadata("video-color" if self._plan.encoding else "frames", depth, Scale.METERS)


def _frame_name(number: int, row: DepthFormat) -> str:
    return f"{number:06d}{row.ending}"

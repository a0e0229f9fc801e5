"""Segments: a video is computed in parts of some seconds, so that an interrupted run resumes after the last one.

.glpn-0123456789ab.part/    beside the output, or in the output folder; removed when the output is complete
lock
run.json                what determines the result, and the color range
00000.mkv               the frames of a segment, if the output is a video
00000.json              written last: times, SHA-256 and facts of the segment
00000.npz               what the next frames need of the frames before; only of the last segment
"""

from __future__ import annotations

import hashlib
import io
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.errors import GLPNError, OutputError
from glpn_cli.files import dump_json, file_sha256, locked, make_folder, os_reason, read_json, write_whole

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

SEGMENT_S = 10.0
"""Seconds of video in a segment: what a killed run loses at most, and a megabyte or so of times and state."""

_SMALLEST_FRAMES, _MOST_FRAMES = 24, 600
_RUN_NAME = "run.json"

State = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished segment.

    Attributes:
        pts: time of each frame, in ticks of the video's time base.
        broken: indices of frames that repeat the depth before, counted from the first frame of the video.
        cuts: number of cuts up to its end.
        low_m, high_m: the nearest and the farthest depth in it.
        sha256: of its file; empty if frames are files.
        state_sha256: of the state after it.
        metadata: of the first frame, as a depth file has it.
    """

    pts: tuple[int, ...]
    broken: tuple[int, ...]
    cuts: int
    low_m: float
    high_m: float
    sha256: str
    state_sha256: str
    metadata: dict[str, Any]


def frames_per_segment(rate: float, seconds: float = SEGMENT_S) -> int:
    """Return the number of frames in a segment."""
    return int(min(max(round(rate * seconds), _SMALLEST_FRAMES), _MOST_FRAMES))


class WorkFolder:
    """The folder of a run; a context manager that holds its lock."""

    def __init__(self, target: Path, folder: Path) -> None:
        """Name the folder after the target, so that a later run finds it.

        Args:
            target: the output.
            folder: where to create it, on the file system of the target.
        """
        self.target = target
        self.path = folder / f".glpn-{hashlib.sha256(target.name.encode(errors='replace')).hexdigest()[:12]}.part"
        self.segments: list[Segment] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Create the folder and lock it.

        Raises:
            OutputError: it cannot be created, or another process uses it.
        """
        make_folder(self.path)
        busy = OutputError(f"{self.target}: another process is writing it")
        try:
            self._stack.enter_context(locked(self.path / "lock", busy))
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {os_reason(error)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the lock. What is finished stays for the next run; without a segment, nothing does."""
        if kind is not None and not self.segments:
            self.remove()
        self._stack.close()

    def resume(self, fingerprint: dict[str, Any]) -> tuple[dict[str, Any], State | None]:
        """Return what an earlier run stored, and the state after its last segment; both are empty for a new run.

        Whatever does not fit the fingerprint, or is damaged, is removed.
        """
        try:
            run = read_json(self.path / _RUN_NAME, OutputError)
            if run.get("fingerprint") == fingerprint:
                self.segments, state = self._read_segments()
                return run, state
        except (GLPNError, OSError, ValueError, TypeError, KeyError):
            pass
        self.clear()
        return {}, None

    def begin(self, fingerprint: dict[str, Any], facts: dict[str, Any]) -> None:
        """Store what determines the result, and facts to keep.

        Raises:
            OutputError: the folder cannot be written.
        """
        text = dump_json({"fingerprint": fingerprint} | facts)
        write_whole(self.path / _RUN_NAME, text.encode(), overwrite=True)

    @property
    def next_file(self) -> Path:
        """The file of the next segment."""
        return self._file(len(self.segments), "mkv")

    def file_of(self, number: int) -> Path:
        """Return the file of a segment."""
        return self._file(number, "mkv")

    def commit(self, segment: Segment, state: State) -> None:
        """Store a finished segment, whose file is complete, and the state after it.

        Raises:
            OutputError: the folder cannot be written.
        """
        number = len(self.segments)
        data = io.BytesIO()
        np.savez(data, **state)  # type: ignore[arg-type]  # the keywords are names of arrays
        write_whole(self._file(number, "npz"), data.getvalue(), overwrite=True)
        values = asdict(segment) | {"state_sha256": hashlib.sha256(data.getvalue()).hexdigest()}
        write_whole(self._file(number, "json"), dump_json(values).encode(), overwrite=True)
        self._file(number - 1, "npz").unlink(missing_ok=True)
        self.segments.append(segment)

    def clear(self) -> None:
        """Remove everything but the lock."""
        self.segments = []
        for path in self.path.iterdir():
            if path.name != "lock":
                path.unlink()

    def remove(self) -> None:
        """Remove the folder; the output is complete."""
        self._stack.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _read_segments(self) -> tuple[list[Segment], State | None]:
        """Return the segments in a row whose files are intact, and the state after the last.

        Raises:
            ValueError: one of them is damaged.
        """
        segments: list[Segment] = []
        while self._file(len(segments), "json").exists():
            values = read_json(self._file(len(segments), "json"), OutputError)
            segment = Segment(**values | {name: tuple(values[name]) for name in ("pts", "broken")})
            if segment.sha256 and file_sha256(self.file_of(len(segments))) != segment.sha256:
                raise ValueError("a segment has changed")
            segments.append(segment)
        if not segments:
            return [], None
        data = self._file(len(segments) - 1, "npz").read_bytes()
        if hashlib.sha256(data).hexdigest() != segments[-1].state_sha256:
            raise ValueError("the state has changed")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return segments, dict(stored)

    def _file(self, number: int, suffix: str) -> Path:
        return self.path / f"{number:05d}.{suffix}"

"""What became of each image of a run, as a value and as a JSON record."""

from __future__ import annotations

import io
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glpn_cli.inference.record import DONE, FAILED, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from glpn_cli.depth import DepthMap
    from glpn_cli.errors import GLPNError
    from glpn_cli.inference.plan import Task
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings


UP_TO_DATE, SKIPPED = "up to date", "skipped"
"""What became of a task besides `DONE` and `FAILED`; these are not in a manifest."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What the notes at the end of a run need to know of a depth map.

    Attributes:
        name: of the image.
        points: number of points that 3D formats can have: one for each pixel, but none of other projections than a
            pinhole camera's.
        weights: their name, or None.
        depth_limit_m: the largest depth that they can predict, or None.
        saturated_fraction: of the pixels, before anchors.
        assumed_camera: what was assumed of the camera; empty if something is known.
        beyond_16_bits: fraction of the pixels that are farther than png16 can store, if it is written.
    """

    name: str
    points: int
    weights: str | None = None
    depth_limit_m: float | None = None
    saturated_fraction: float = 0.0
    assumed_camera: str = ""
    beyond_16_bits: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What became of one task.

    Attributes:
        task: the image and its outputs.
        record: the line of the manifest; also made if the run has no manifest.
        error: why it failed, or None.
        elapsed_s: seconds by stage.
        facts: what `describe_depth` returns; empty if it failed, or the caller did not ask.
        depth: the depth map, if the caller asked for it.
        stdout: the bytes for standard output, which the caller writes; or None.
        files: the bytes of each output, if the caller asked for them; then the caller writes them.
        noted: for the notes at the end of the run, if the caller asked for it.
        entry: what `RunOptions.on_depth` returned.
    """

    task: Task
    record: Record
    error: GLPNError | None = None
    elapsed_s: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    depth: DepthMap | None = None
    stdout: bytes | None = None
    files: tuple[bytes, ...] = ()
    noted: Noted | None = None
    entry: Any = None

    @property
    def is_done(self) -> bool:
        """Whether all outputs are there, or the depth was computed if there are none."""
        return self.error is None and self.record.status != SKIPPED

    @property
    def is_new(self) -> bool:
        """Whether something was computed and written."""
        return self.record.status == DONE

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON record of an image, the same for `predict` and `batch`; docs/cli.md lists the fields."""
        shared = {"source": str(self.task.source), "status": self.record.status}
        if self.error is not None:
            error = {"message": self.error.message, "hint": self.error.hint, "exit_code": self.error.exit_code}
            return shared | {"error": error}
        if self.task.skipped:
            return shared | {"reason": self.task.skipped}
        outputs = {
            "outputs": {row.name: str(path) for row, path in self.task.outputs},
            "sha256": self.record.sha256,
        }
        if not self.elapsed_s:  # nothing was computed
            return shared | outputs
        elapsed_ms = {name: round(1000 * seconds, 3) for name, seconds in self.elapsed_s.items()}
        return shared | outputs | self.facts | {"elapsed_ms": elapsed_ms}


def skipped_result(task: Task) -> Result:
    """Return the result of a task that is not an image."""
    return Result(task, Record(source=str(task.source), status=SKIPPED))


class ResultOrder:
    """Results that wait until those of all earlier tasks have been taken."""

    def __init__(self) -> None:
        self._waiting: dict[int, Result] = {}
        self._next = 0

    @property
    def waiting(self) -> list[Result]:
        """The results that were not taken."""
        return list(self._waiting.values())

    def add(self, number: int, result: Result) -> None:
        """Add the result of a task, counted from 0."""
        self._waiting[number] = result

    def ready(self) -> Iterator[Result]:
        """Take the results that follow the last one taken, without a gap."""
        while self._next in self._waiting:
            self._next += 1
            yield self._waiting.pop(self._next - 1)


def current_result(task: Task, sha256: dict[str, str]) -> Result:
    """Return the result of a task whose outputs are up to date.

    Args:
        task: the image and its outputs.
        sha256: of each output, by format.
    """
    outputs = {row.name: str(path) for row, path in task.outputs}
    return Result(task, Record(source=str(task.source), status=UP_TO_DATE, outputs=outputs, sha256=sha256))


def failed_result(
    task: Task,
    error: GLPNError,
    *,
    elapsed_s: dict[str, float] | None = None,
    settings: dict[str, Any] | None = None,
) -> Result:
    """Return the result of a task that failed.

    Args:
        task: the image and its outputs.
        error: why it failed.
        elapsed_s: seconds by stage.
        settings: the run's settings, for the record.
    """
    elapsed_s = elapsed_s or {}
    record = Record(
        source=str(task.source),
        status=FAILED,
        error=error.message,
        hint=error.hint,
        exit_code=error.exit_code,
        seconds=round(sum(elapsed_s.values()), 4),
        settings=settings or {},
    )
    return Result(task, record, without_traceback(error), elapsed_s)


def without_traceback(error: GLPNError) -> GLPNError:
    """Return a copy of an error with its traceback as a note, because a traceback holds on to the images in its frames.

    An error that was never raised is returned as it is.
    """
    if error.__traceback__ is None:
        return error
    copy = type(error)(error.message, hint=error.hint)
    copy.setting = error.setting
    copy.add_note("".join(traceback.format_exception(error)).rstrip())
    return copy


def note_depth(
    depth: DepthMap, final: DepthMap | None = None, *, rows: Iterable[DepthFormat] = (), output: OutputSettings
) -> Noted:
    """Return what the notes at the end of a run need to know of a depth map.

    Args:
        depth: a predicted depth map, before anchors.
        final: the same after anchors; None if there are none.
        rows: the formats that are written.
        output: numbers and colors of the files.
    """
    from glpn_cli.depth import PINHOLE

    final = final or depth
    known = depth.provenance
    has_points = depth.camera is None or depth.camera.projection == PINHOLE
    beyond_16_bits = 0.0
    if any(row.name == "png16" for row in rows):
        from glpn_cli.output.png import beyond_16_bits as measure

        beyond_16_bits = measure(final, output)
    is_assumed = depth.camera is not None and depth.camera.is_assumed
    return Noted(
        known.source or "the image",
        depth.meters.size if has_points else 0,
        known.weights,
        known.depth_limit_m,
        depth.saturated_fraction,
        depth.camera.source.removeprefix("assumed: ") if is_assumed and depth.camera else "",
        beyond_16_bits,
    )


def describe_depth(depth: DepthMap, output: OutputSettings) -> dict[str, Any]:
    """Return the facts of a depth map for the JSON record, ready for JSON.

    Args:
        depth: a predicted depth map.
        output: numbers and colors of the files.
    """
    import numpy as np

    known = depth.provenance
    return {
        "depth_m": {
            "min": float(depth.meters.min()),
            "median": float(np.percentile(depth.meters, 50)),  # np.median would import numpy.ma
            "max": float(depth.meters.max()),
        },
        "image_size": _sides(depth.meters.shape),
        "network_size": _sides(known.network_size),
        "tile_size": _sides(known.tile_size),
        "weights": {"name": known.weights, "sha256": known.weights_sha256, "metric": known.metric},
        "depth_limit_m": known.depth_limit_m,
        "meters_per_unit": known.meters_per_unit,
        "scale": str(output.scale),
        "device": known.device,
        "precision": known.precision,
        "tta": known.tta,
        "sharp_edges": known.sharp_edges,
        "anchor_factor": known.anchor_factor,
        "anchors": list(known.anchors),
        "saturated_fraction": round(depth.saturated_fraction, 4),
        "camera": None if depth.camera is None else depth.camera.to_dict(depth.meters.shape),
        "notes": list(known.notes),
    }


def describe_file_use(row: DepthFormat, data: bytes) -> str:
    """Return a note on what the values of a written file mean, from its metadata."""
    metadata = row.load_codec().read_metadata(io.BytesIO(data))
    return "" if metadata is None else f"{row.name}: {row.explain(metadata)}"


def _sides(size: tuple[int, ...] | None) -> dict[str, int] | None:
    return None if size is None else {"height": size[0], "width": size[1]}

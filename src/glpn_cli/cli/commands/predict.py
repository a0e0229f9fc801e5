"""`glpn predict`: depth of a few images, beside them or where the user says."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glpn_cli.cli.anchoring import parse_anchors, say_anchors
from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.loading import load_predictor
from glpn_cli.cli.options.images import (
    Input,
    InputOptions,
)
from glpn_cli.cli.options.network import (
    CameraOptions,
    NetworkOptions,
)
from glpn_cli.cli.options.points import (
    AnchorTexts,
    Preview,
)
from glpn_cli.cli.options.records import JsonLines
from glpn_cli.cli.options.results import (
    Output,
    OutputOptions,
    Overwrite,
)
from glpn_cli.cli.options.talk import (
    TalkOptions,
    Version,
)
from glpn_cli.cli.outcome import conclude
from glpn_cli.cli.piping import check_stdin, read_stdin
from glpn_cli.cli.remarks import Remarks
from glpn_cli.errors import GLPNError, ReaderGoneError, UsageError

if TYPE_CHECKING:
    from glpn_cli.cli.console import Console
    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.measure import Anchor
    from glpn_cli.inference.autotune import Stopwatch
    from glpn_cli.inference.plan import Job, Plan
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.settings import OutputSettings, PredictorSettings


@with_option_groups
def predict(
    photos: Input = None,
    *,
    inputs: InputOptions,
    output: Output = None,
    results: OutputOptions,
    overwrite: Overwrite = False,
    network: NetworkOptions,
    camera: CameraOptions,
    anchor: AnchorTexts = None,
    preview: Preview = False,
    json_lines: JsonLines = False,
    talk: TalkOptions,
    version: Version = False,  # noqa: ARG001 - its callback acts
) -> None:
    """Predict the depth of photos.

    photo.jpg gets photo.depth.png beside it; --format npy gives meters.
    """
    console = talk.console()
    with console.errors_reported():
        from glpn_cli.inference.plan import plan_outputs

        if inputs.list_is_stdin and "-" in (photos or ()):
            raise UsageError("standard input cannot be both an image and the list")
        plan = plan_outputs(
            photos or (),
            output=output,
            formats=results.formats or (),
            overwrite=overwrite,
            search=inputs.settings(recursive=False, offline=network.offline),
            listed=inputs.read_list(),
        )
        output_settings = results.settings(plan.formats)
        settings = network.settings(plan.formats, camera.settings())
        _check_streams(plan, json_lines=json_lines)
        if plan.skipped_outputs:
            console.note(f"{plan.skipped_outputs} depth files among the images were left out")
        _Run(
            console,
            plan,
            output_settings,
            parse_anchors(anchor, images=len(plan.jobs)),
            overwrite=overwrite,
            preview=preview,
            json_lines=json_lines,
        ).go(settings)


def _check_streams(plan: Plan, *, json_lines: bool) -> None:
    if plan.to_stdout and json_lines:
        raise UsageError("standard output cannot take both depth and --json", hint="write depth with -o FILE")
    if plan.to_stdout and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal", hint="name a file with -o, or pipe it into a program")
    if plan.from_stdin:
        check_stdin("predict")


@dataclass
class _Run:
    """One run over a plan: every image gets its turn, whatever became of the others."""

    console: Console
    plan: Plan
    output_settings: OutputSettings
    anchors: list[Anchor]
    overwrite: bool
    preview: bool
    json_lines: bool

    def go(self, settings: PredictorSettings) -> None:
        """Do every job, report each, and raise what the whole run came to."""
        failure_codes: list[int] = []  # and not the errors, whose tracebacks hold images
        done = 0
        remarks = Remarks(self.plan.formats)
        start_s = time.perf_counter()
        try:
            predictor = self._load(settings)
            for job in self.plan.jobs:
                try:
                    self._do(job, predictor, remarks)
                    done += 1
                except ReaderGoneError:
                    raise
                except GLPNError as error:
                    failure_codes.append(error.exit_code)
                    self._report_failure(job, error)
        except KeyboardInterrupt:
            self.console.say(f"interrupted: {done} of {len(self.plan.jobs)} done", style="yellow")
            raise
        remarks.say(self.console)
        if len(self.plan.jobs) > 1:
            elapsed_s = time.perf_counter() - start_s
            self.console.say(f"{done} of {len(self.plan.jobs)} done in {elapsed_s:.1f} s")
        conclude(len(self.plan.jobs), failure_codes)

    def _load(self, settings: PredictorSettings) -> Predictor | None:
        """Load the network, unless it is known already that there is nothing to do."""
        if all(job.failure for job in self.plan.jobs):
            return None
        predictor = load_predictor(self.console, settings)
        self.plan.make_folder()
        return predictor

    def _do(self, job: Job, predictor: Predictor | None, remarks: Remarks) -> None:
        if job.failure or predictor is None:
            raise job.failure or AssertionError("a job without a failure needs a predictor")
        from glpn_cli.device import memory_errors_named
        from glpn_cli.files import write_together, write_whole
        from glpn_cli.image.discovery import STDIN
        from glpn_cli.inference.autotune import Stopwatch
        from glpn_cli.inference.plan import STDOUT
        from glpn_cli.inference.source import open_source

        stopwatch = Stopwatch()
        start_s = time.perf_counter()
        if job.source is STDIN:
            depth = predictor.predict(read_stdin(), name="stdin", stopwatch=stopwatch)
        else:
            image, name = open_source(job.source, stopwatch=stopwatch)
            depth = predictor.predict(image, name=name, stopwatch=stopwatch)
        remarks.take(depth)
        if self.anchors:
            from glpn_cli.geometry.measure import anchor_depth

            depth = anchor_depth(depth, self.anchors)
        with stopwatch.stage("encode"), memory_errors_named(f"{job.source}: encoding", hint="fewer formats at once"):
            files = [
                (path, depth_format.load_codec().encode(depth, self.output_settings))
                for depth_format, path in job.outputs
            ]
        with stopwatch.stage("write"):
            (path, data), *others = files
            if path is STDOUT:
                self.console.raw_data(data)
            elif others or not self.plan.named:
                write_together(files, overwrite=self.overwrite)
            else:
                write_whole(path, data, overwrite=self.overwrite)
        self._report(job, depth, stopwatch, time.perf_counter() - start_s)

    def _report(self, job: Job, depth: DepthMap, stopwatch: Stopwatch, elapsed_s: float) -> None:
        from glpn_cli.inference.plan import STDOUT

        facts = depth.provenance
        for note in facts.notes:
            self.console.note(note, about=str(job.source))
        names = ", ".join("standard output" if path is STDOUT else str(path) for _, path in job.outputs)
        roughly = "roughly " if facts.metric is False else ""
        self.console.say(
            f"{names}: {roughly}{depth.meters.min():.2f} to {depth.meters.max():.2f} m "
            f"({facts.weights}, {facts.device}, {facts.precision}, {elapsed_s:.2f} s)"
        )
        say_anchors(self.console, depth)
        if self.preview:
            from glpn_cli.cli.preview import show_preview

            show_preview(self.console, depth, self.output_settings)
        stages = ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in stopwatch.elapsed_s.items())
        tiles = "" if facts.tile_size is None else f" and in tiles of {_size(facts.tile_size)}"
        self.console.detail(f"  {_size(depth.meters.shape)} seen as {_size(facts.network_size)}{tiles}; ms: {stages}")
        if depth.camera is not None and any(row.needs_camera for row, _ in job.outputs):
            self.console.detail(f"  focal length {depth.camera.focal_px:.1f} px ({depth.camera.source})")
        if self.json_lines:
            self.console.data(json.dumps(self._record(job, depth, stopwatch), allow_nan=False))

    def _record(self, job: Job, depth: DepthMap, stopwatch: Stopwatch) -> dict[str, Any]:
        """Give what --json prints of an image; docs/cli.md lists the fields."""
        import numpy as np

        facts = depth.provenance
        return {
            "source": str(job.source),
            "status": "done",
            "outputs": {depth_format.name: str(path) for depth_format, path in job.outputs},
            "depth_m": {
                "min": float(depth.meters.min()),
                "median": float(np.median(depth.meters)),
                "max": float(depth.meters.max()),
            },
            "image_size": _sides(depth.meters.shape),
            "network_size": _sides(facts.network_size),
            "tile_size": _sides(facts.tile_size),
            "weights": {"name": facts.weights, "sha256": facts.weights_sha256, "metric": facts.metric},
            "depth_limit_m": facts.depth_limit_m,
            "meters_per_unit": facts.meters_per_unit,
            "scale": str(self.output_settings.scale),
            "device": facts.device,
            "precision": facts.precision,
            "tta": facts.tta,
            "anchor_factor": facts.anchor_factor,
            "anchors": list(facts.anchors),
            "saturated_share": round(depth.saturated_share, 4),
            "camera": None if depth.camera is None else depth.camera.to_dict(),
            "elapsed_ms": {name: round(1000 * seconds, 3) for name, seconds in stopwatch.elapsed_s.items()},
            "notes": list(facts.notes),
        }

    def _report_failure(self, job: Job, error: GLPNError) -> None:
        self.console.error(error)
        if self.json_lines:
            failure = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
            self.console.data(json.dumps({"source": str(job.source), "status": "failed", "error": failure}))


def _size(size: tuple[int, ...] | None) -> str:
    return "x".join(str(side) for side in size or ())


def _sides(size: tuple[int, ...] | None) -> dict[str, int] | None:
    return None if size is None else {"height": size[0], "width": size[1]}

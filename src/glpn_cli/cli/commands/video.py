"""`glpn video`: depth of every frame of a video, steady over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, format_duration
from glpn_cli.cli.options import LOGGING, OUTPUT, Argument, Option
from glpn_cli.cli.progress import RunProgress
from glpn_cli.cli.results import DepthNotes, load_predictor
from glpn_cli.errors import OutputError, PartialFailureError
from glpn_cli.settings import OutputSettings, PredictionSettings
from glpn_cli.video.settings import VideoSettings

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap
    from glpn_cli.video.run import VideoResult, VideoRun


@command(
    arguments={"video": Argument("A video.", "VIDEO")},
    options={
        "output": Option(
            "NAME.mp4 for colors, NAME.mkv for meters, or a folder for a file per frame.",
            OUTPUT,
            "PATH",
            short="-o",
            aliases=("--out",),
            default="VIDEO.depth.mp4, next to it",
        ),
        "formats": Option(
            "Formats of the files per frame, separated by commas, as of predict.",
            OUTPUT,
            "NAME,...",
            flag="--format",
            short="-f",
        ),
        "json": Option("Print a JSON object on standard output.", LOGGING),
    },
    without=("stretch",),
    examples=(
        "glpn video clip.mp4 -o depth.mp4 --side-by-side --legend",
        "glpn video clip.mp4 -o depth.mkv",
        "glpn video clip.mp4 -o frames/ --format npz",
    ),
)
def video(
    console: Console,
    video: str,
    *,
    settings: VideoSettings,
    output: str | None = None,
    formats: tuple[str, ...],
    overwrite: bool,
    appearance: OutputSettings,
    prediction: PredictionSettings,
    json: bool,
) -> None:
    """Predict the depth of a video.

    Depth is steady over time, the sound is copied, and every frame keeps its time. Run the same command again to
    resume an interrupted run.
    """
    from glpn_cli.inference.result import note_depth
    from glpn_cli.video.plan import plan_video
    from glpn_cli.video.run import VideoRun

    plan = plan_video(
        video,
        output=output,
        formats=formats,
        overwrite=overwrite,
        video=settings,
        appearance=appearance,
        prediction=prediction,
    )
    run = VideoRun(plan)
    predictor = load_predictor(console, plan.prediction)
    notes = DepthNotes(plan.rows, plan.output)

    def observe(depth: DepthMap) -> None:
        notes.add(note_depth(depth, rows=plan.rows, output=plan.output))

    try:
        result = run.execute(predictor, progress=RunProgress(console), observe=observe)
    except (KeyboardInterrupt, OutputError) as error:
        _print_interrupted(console, run, error)
        raise
    notes.print(console)
    if json:
        console.record(_record(result, predictor.card.name))
    _print_result(console, run, result)
    if result.problem:
        raise PartialFailureError(f"{result.source}: {result.problem}", hint=_problem_hint(result))


def _print_result(console: Console, run: VideoRun, result: VideoResult) -> None:
    if result.hdr:
        console.note(f"{result.source}: high dynamic range ({result.hdr}) was converted to ordinary colors")
    if run.reader.sound and not result.sound_packets:
        why = "frames have no sound" if run.plan.encoding is None else "set by `no_sound`"
        console.detail(f"  the sound was not copied: {why}")
    resumed = f", {result.resumed} of an earlier run" if result.resumed else ""
    cuts = f", {result.cuts} {'cut' if result.cuts == 1 else 'cuts'}" if result.cuts else ""
    console.info(
        f"{result.target}: {result.frames} frames of {result.duration_s:.1f} s{cuts}{resumed}, "
        f"{result.depth_m[0]:.2f} to {result.depth_m[1]:.2f} m, in {format_duration(result.elapsed_s)}"
    )


def _print_interrupted(console: Console, run: VideoRun, error: BaseException) -> None:
    """Print whether a later run resumes."""
    ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
    if not run.saved_frames:
        console.warn(f"{ended}: no frames are saved yet")
    else:
        total = run.reader.frame_estimate
        of_all = f" of about {total}" if total else ""
        console.warn(f"{ended}: {run.saved_frames}{of_all} frames are saved; run the same command again to resume")


def _problem_hint(result: VideoResult) -> str:
    if not result.broken:
        return "the file is incomplete; what is there was predicted"
    return "each repeats the depth of the frame before" + ("; the file is incomplete" if result.early_end else "")


def _record(result: VideoResult, weights: str) -> dict[str, Any]:
    """Return the JSON record; docs/video.md lists the fields."""
    return {
        "source": str(result.source),
        "status": "partial" if result.problem else "done",
        "output": str(result.target),
        "frames": result.frames,
        "broken_frames": result.broken,
        "ends_early": result.early_end or None,
        "resumed_frames": result.resumed,
        "cuts": result.cuts,
        "last_time_s": result.duration_s,
        "depth_m": {"min": result.depth_m[0], "max": result.depth_m[1]},
        "range_m": None if result.range_m is None else list(result.range_m),
        "sound_packets": result.sound_packets,
        "hdr": result.hdr or None,
        "weights": weights,
        "elapsed_s": round(result.elapsed_s, 3),
    }

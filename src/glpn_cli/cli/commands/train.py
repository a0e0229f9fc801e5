"""`glpn train`: train weights on images with ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console
from glpn_cli.cli.options import TRAINING, Option
from glpn_cli.cli.progress import DownloadProgress, TrainProgress
from glpn_cli.training.settings import TrainRun, TrainSettings

if TYPE_CHECKING:
    from glpn_cli.training.trainer import Outcome


@command(
    options={
        "recipe": Option(
            "JSON file of settings, such as settings.json of a training run. Options take precedence.",
            TRAINING,
            "FILE",
            rare=True,
        )
    },
    examples=(
        "glpn train --data rooms/ --units-per-meter 1000 --out run/",
        "glpn train --data nyu --data kitti --init none --config b0 --out run/",
        "glpn predict photo.jpg --weights run/best",
    ),
)
def train(
    console: Console,
    *,
    run: TrainRun,
    learning: Annotated[dict[str, Any], TrainSettings],
    recipe: str | None = None,
) -> None:
    """Train weights on images with ground truth.

    DIR/best and DIR/last are weights for `glpn predict --weights`. Run the same command again to resume.
    """
    from glpn_cli.training.recipe import build_settings, read_recipe

    settings = build_settings({} if recipe is None else read_recipe(recipe), learning, note=console.note)
    from glpn_cli.training.trainer import train as start_training

    outcome = start_training(settings, run, watcher=TrainProgress(console), downloads=DownloadProgress(console))
    _print_outcome(console, outcome, run.until)


def _print_outcome(console: Console, outcome: Outcome, until: int) -> None:
    if not outcome.finished and outcome.is_main:
        how = "run the same command again to resume"
        if outcome.step == until:
            how += ", without `until`"
        console.warn(f"stopped after step {outcome.step} of {outcome.steps}; {how}")
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.finished and outcome.is_main:
        console.info(
            f"{outcome.folder}: {_which(outcome)}, on {outcome.device}; use them with --weights {outcome.folder}"
        )


def _which(outcome: Outcome) -> str:
    """Return which weights were saved as the best."""
    if outcome.best_step == 0:
        return f"the initial weights, because none of {outcome.steps} steps improved on them"
    if outcome.best_step in (None, outcome.steps):
        return f"weights after {outcome.steps} steps"
    return f"weights after {outcome.best_step} of {outcome.steps} steps, the best"

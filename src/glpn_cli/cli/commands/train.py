"""`glpn train`: from images with known depth to weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.options.data import (
    DataRoot,
    UnitsPerMeter,
)
from glpn_cli.cli.options.learning import (
    Accumulate,
    Architecture,
    ClipNorm,
    CropShare,
    CutDepth,
    DropPath,
    Ema,
    Epochs,
    Init,
    LearnFrom,
    LearningRate,
    MaxMinutes,
    NameOf,
    PhotometricOf,
    Recipe,
    SaveEvery,
    Seed,
    Steps,
    Tensorboard,
    Textures,
    TrainBatchSize,
    TrainOut,
    TrainOverwrite,
    TrainPrecision,
    TrainSizes,
    TrainWorkers,
    Until,
    ValidateBy,
    ValidateEvery,
)
from glpn_cli.cli.options.network import (
    Device,
    Offline,
    Threads,
)
from glpn_cli.cli.options.talk import TalkOptions
from glpn_cli.errors import UsageError
from glpn_cli.settings import parse_size
from glpn_cli.training.settings import NATIVE_CROP, TrainRun

if TYPE_CHECKING:
    from glpn_cli.cli.console import Console
    from glpn_cli.training.settings import TrainSettings
    from glpn_cli.training.trainer import Outcome


_RUN = TrainRun(out="")


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """What is learnt from, and how; None is what the recipe says, or the default."""

    data: LearnFrom = None
    validation: ValidateBy = None
    root: DataRoot = None
    units_per_meter: UnitsPerMeter = None
    textures: Textures = None
    recipe: Recipe = None
    init: Init = None
    config: Architecture = None
    sizes: TrainSizes = None
    crop: CropShare = None
    batch_size: TrainBatchSize = None
    accumulate: Accumulate = None
    epochs: Epochs = None
    steps: Steps = None
    learning_rate: LearningRate = None
    cut_depth: CutDepth = None
    photometric: PhotometricOf = None
    drop_path: DropPath = None
    ema: Ema = None
    clip_norm: ClipNorm = None
    precision: TrainPrecision = None
    seed: Seed = None

    def settings(self) -> TrainSettings:
        """Give the settings of the training.

        Raises:
            UsageError: they make no sense.
        """
        from glpn_cli.training.recipe import build_settings, read_recipe

        given: dict[str, Any] = asdict(self)
        recipe = given.pop("recipe")
        if self.sizes is not None:
            given["sizes"] = [_parse_size_with_share(text) for text in self.sizes]
        if self.crop is not None:
            given["crop"] = _parse_crop(self.crop)
        return build_settings({} if recipe is None else read_recipe(recipe), given)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a training goes, and for how long."""

    out: TrainOut
    name: NameOf = _RUN.name
    overwrite: TrainOverwrite = False
    save_every: SaveEvery = _RUN.save_every
    validate_every: ValidateEvery = _RUN.validate_every
    tensorboard: Tensorboard = False
    workers: TrainWorkers = _RUN.workers
    max_minutes: MaxMinutes = 0.0
    until: Until = 0
    device: Device = _RUN.device
    threads: Threads = None
    offline: Offline = _RUN.offline

    def settings(self) -> TrainRun:
        """Give what the training is carried out by."""
        return TrainRun(**asdict(self))


@with_option_groups
def train(*, run: RunOptions, learning: LearningOptions, talk: TalkOptions) -> None:
    """Train on images with known depth.

    DIR/best and DIR/last are then weights for glpn predict. The same command goes on with a training that stopped.
    """
    console = talk.console()
    with console.errors_reported():
        settings = learning.settings()
        from glpn_cli.cli.download_progress import DownloadProgress
        from glpn_cli.cli.train_progress import TrainProgress
        from glpn_cli.training.trainer import train as start_training

        watcher, downloads = TrainProgress(console), DownloadProgress(console)
        outcome = start_training(settings, run.settings(), watcher=watcher, downloads=downloads)
        _conclude(console, outcome, run.until)


def _conclude(console: Console, outcome: Outcome, until: int) -> None:
    if not outcome.finished and outcome.leads:
        how = "the same command goes on"
        if outcome.step == until:
            how += " without --until"
        console.say(f"stopped after {outcome.step} of {outcome.steps} steps; {how}", style="yellow")
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.finished and outcome.leads:
        console.say(
            f"{outcome.folder}: weights {_which(outcome)}, on {outcome.device}; glpn predict --weights {outcome.folder}"
        )


def _which(outcome: Outcome) -> str:
    """Say which weights are kept."""
    if outcome.best_step == 0:
        return f"that it began with, as none of {outcome.steps} steps led to better ones"
    if outcome.best_step in (None, outcome.steps):
        return f"after {outcome.steps} steps"
    return f"after {outcome.best_step} of {outcome.steps} steps, which were the best"


def _parse_crop(text: str) -> tuple[float, float]:
    if text == "native":
        return NATIVE_CROP
    try:
        low, high = (float(share) for share in text.split("-"))
    except ValueError:
        raise UsageError(f"--crop is native or two shares, not {text!r}", hint="for example 0.7-1") from None
    return low, high


def _parse_size_with_share(text: str) -> tuple[int, int, float]:
    size, _, share = text.partition("=")
    try:
        return (*parse_size(size), float(share or 1))
    except ValueError:
        raise UsageError(f"--size {text}: its share is a number", hint="for example 96x128=0.7") from None

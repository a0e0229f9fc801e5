"""The folder of a training: weights, logs and the recipe."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.metrics import METRICS
from glpn_cli.output.writer import make_folder
from glpn_cli.training.logs import CsvLog, open_tensorboard
from glpn_cli.training.state import settings_as_json
from glpn_cli.training.validation import ALIGNED
from glpn_cli.weights.checkpoint import write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from glpn_cli.model.config import GLPNConfig
    from glpn_cli.settings.training import TrainRun, TrainSettings
    from glpn_cli.training.watcher import StepFacts
    from glpn_cli.weights.card import WeightsCard

__all__ = ["STATE_NAME", "Results"]

STATE_NAME = "state.pt"
"""The file that a training goes on from."""

_STEP_COLUMNS = ("epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second")
_METRIC_COLUMNS = (*METRICS, *(ALIGNED + name for name in METRICS))
_TOLD = ("data", "sizes", "batch_size", "learning_rate", "seed", "init")
_SECONDS_BETWEEN_ROWS = 10.0


class Results:
    """What a training leaves behind; only one of its processes has it."""

    def __init__(self, settings: TrainSettings, run: TrainRun, *, first_step: int) -> None:
        """Begin, or go on after some steps.

        Raises:
            OutputExistsError: there are weights that no state belongs to.
            OutputError: the folder cannot be written to.
            MissingPackageError: TensorBoard is wanted and not installed.
        """
        self._folder = Path(run.out)
        self._recipe = settings_as_json(settings)
        make_folder(self._folder)
        if not (run.overwrite or first_step) and any((self._folder / name).exists() for name in ("best", "last")):
            raise OutputExistsError(
                f"{self._folder}: has weights already", hint="--overwrite replaces them; or another --out"
            )
        try:
            (self._folder / "settings.json").write_text(self._recipe + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written to: {error.strerror or error}") from error
        self._steps = CsvLog(self._folder / "train.csv", _STEP_COLUMNS, first_step=first_step)
        self._metrics = CsvLog(self._folder / "validation.csv", _METRIC_COLUMNS, first_step=first_step)
        self._tensorboard = open_tensorboard(self._folder / "tensorboard") if run.tensorboard else None
        self._last_row_s = time.monotonic()

    def add_step(self, facts: StepFacts, *, last: bool) -> None:
        """Write down a step, if it is the last or the row before is some seconds old."""
        now_s = time.monotonic()
        if last or now_s - self._last_row_s >= _SECONDS_BETWEEN_ROWS:
            self._last_row_s = now_s
            row = {name: float(getattr(facts, name)) for name in _STEP_COLUMNS}
            self._steps.add(facts.step, row)
            self._to_tensorboard(facts.step, row)

    def add_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write down a measurement."""
        self._metrics.add(step, metrics)
        self._to_tensorboard(step, {f"validation/{name}": value for name, value in metrics.items()})

    def write_weights(
        self, name: str, config: GLPNConfig, tensors: Mapping[str, Tensor], card: WeightsCard, steps: tuple[int, int]
    ) -> None:
        """Write weights that `glpn predict --weights` takes, with what they were made from.

        Args:
            name: of their folder.
            config: their architecture.
            tensors: by published key.
            card: what turns their output into metres.
            steps: how many are done, and how many there are.

        Raises:
            OutputError: they cannot be written.
        """
        recipe = json.loads(self._recipe)
        facts = {key: recipe[key] for key in _TOLD} | {"step": steps[0], "steps": steps[1]}
        # Folders are the user's business; what was in them is not.
        facts["data"] = [Path(word).name for word in recipe["data"]]
        facts["init"] = Path(recipe["init"]).name
        metadata = card.to_metadata() | {"training": json.dumps(facts, sort_keys=True)}
        write_checkpoint(self._folder / name, config, tensors, metadata)

    def close(self) -> None:
        """Write out what TensorBoard has not yet."""
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _to_tensorboard(self, step: int, values: Mapping[str, float]) -> None:
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, step)

"""The course of a training as tables that other programs read: CSV, and TensorBoard where it is wanted.

The folder of a training: weights, logs and the recipe.
"""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import MissingPackageError, OutputError, OutputExistsError
from glpn_cli.files import make_folder, write_whole
from glpn_cli.metrics import METRICS
from glpn_cli.model.config import CONFIG_NAME
from glpn_cli.training.checkpoints import settings_as_json
from glpn_cli.training.validation import ALIGNED
from glpn_cli.weights.checkpoint import write_checkpoint
from glpn_cli.weights.store import BEST_NAME, LAST_NAME, SAFETENSORS_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from glpn_cli.model.config import GLPNConfig
    from glpn_cli.training.progress import StepFacts
    from glpn_cli.training.settings import TrainRun, TrainSettings
    from glpn_cli.weights.catalog import WeightsCard


class CsvLog:
    """A table with a row per event, whose first column is the step; rows reach the disk at once."""

    def __init__(self, file: Path, columns: tuple[str, ...], *, keep_to: int) -> None:
        """Go on with a table, without the rows of steps that are done again.

        Args:
            file: where it is or will be.
            columns: of the table, after the step.
            keep_to: the last step whose row stays; below 0 none does.

        Raises:
            OutputError: it cannot be written.
        """
        self._file = file
        self._columns = ("step", *columns)
        kept = [row for row in self._rows() if int(row["step"]) <= keep_to]
        # Whole or as it was: no disk is too full for what was there.
        write_whole(file, self._text(kept, header=True).encode(), overwrite=True)

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a row.

        Raises:
            OutputError: it cannot be written.
        """
        row = {"step": step} | {name: _short(values.get(name, "")) for name in self._columns[1:]}
        try:
            with self._file.open("a", encoding="utf-8", newline="") as stream:
                stream.write(self._text([row]))
        except OSError as error:
            raise self._unwritable(error) from error

    def _rows(self) -> list[dict[str, str]]:
        try:
            with self._file.open(encoding="utf-8", newline="") as stream:
                return [row for row in csv.DictReader(stream) if str(row.get("step", "")).isdecimal()]
        except OSError:
            return []

    def _text(self, rows: list[Any], *, header: bool = False) -> str:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self._columns, extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self._file}: cannot be written: {error.strerror or error}")


def find_tensorboard() -> Callable[..., Any]:
    """Give what writes a log for TensorBoard.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackageError("--tensorboard needs TensorBoard", hint="pip install tensorboard") from error
    return SummaryWriter


def open_tensorboard(folder: Path, *, keep_to: int) -> Any:
    """Open a log for TensorBoard, which shows nothing of later steps that was written before.

    Args:
        folder: with its files.
        keep_to: as for a table.

    Raises:
        MissingPackageError: it is not installed.
        OutputError: what was there cannot be removed.
    """
    writer = find_tensorboard()
    if keep_to < 0:
        try:
            for file in folder.glob("events.out.tfevents.*"):
                file.unlink()
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be removed: {error.strerror}") from error
    return writer(str(folder), purge_step=keep_to + 1)


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


STATE_NAME = "state.pt"

"""The file that a training goes on from."""

_SETTINGS, _STEPS, _METRICS = "settings.json", "train.csv", "validation.csv"

_WEIGHTS = (BEST_NAME, LAST_NAME)

_STEP_COLUMNS = ("epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second")

_METRIC_COLUMNS = (*METRICS, *(ALIGNED + name for name in METRICS))

_TOLD = ("data", "sizes", "batch_size", "learning_rate", "seed", "init")

_SECONDS_BETWEEN_ROWS = 10.0


class Results:
    """What a training leaves behind; only one of its processes has it."""

    def __init__(self, settings: TrainSettings, run: TrainRun, *, first_step: int, due: bool = False) -> None:
        """See that results can be kept; nothing that is there is touched yet.

        Args:
            settings: what is trained, for the recipe.
            run: where to.
            first_step: how many steps were done before.
            due: whether the last of them is going to be measured again.

        Raises:
            OutputExistsError: something is there that no state belongs to, or that is not of a training.
            OutputError: the folder cannot be made.
            MissingPackageError: TensorBoard is wanted and not installed.
        """
        self._folder = Path(run.out)
        self._recipe = settings_as_json(settings)
        self._keep_to = (first_step, first_step - due) if first_step else (-1, -1)
        make_folder(self._folder)
        if not first_step:
            self._check_room(overwrite=run.overwrite)
        if run.tensorboard:
            find_tensorboard()
        self._wants_tensorboard, self._tensorboard = run.tensorboard, None
        self._last_row_s = time.monotonic()

    def begin(self) -> None:
        """Open the logs; for a new training in place of what one before it left.

        Raises:
            OutputError: the folder cannot be written to.
        """
        steps, metrics = self._keep_to
        if steps < 0:
            self._make_room()
        write_whole(self._folder / _SETTINGS, (self._recipe + "\n").encode(), overwrite=True)
        self._steps = CsvLog(self._folder / _STEPS, _STEP_COLUMNS, keep_to=steps)
        self._metrics = CsvLog(self._folder / _METRICS, _METRIC_COLUMNS, keep_to=metrics)
        if self._wants_tensorboard:
            self._tensorboard = open_tensorboard(self._folder / "tensorboard", keep_to=metrics)

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
            card: what turns their output into meters.
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

    def _check_room(self, *, overwrite: bool) -> None:
        """Refuse to take away what is not to be overwritten, or is not of a training.

        What this very training wrote before its first state, because it was killed then, it may write again.
        """
        present = [name for name in (_SETTINGS, _STEPS, _METRICS, *_WEIGHTS) if (self._folder / name).exists()]
        if present and not overwrite and (not self._began_here() or set(_WEIGHTS) & set(present)):
            raise OutputExistsError(
                f"{self._folder / present[-1]}: is there already", hint="--overwrite begins anew; or another --out"
            )
        for name, begins in ((_SETTINGS, "{"), (_STEPS, "step,"), (_METRICS, "step,")):
            text = self._text_of(name)
            if text and not text.startswith(begins):
                raise OutputExistsError(f"{self._folder / name}: is not of a training", hint="another --out")

    def _make_room(self) -> None:
        """Take away what a training before this one left."""
        try:
            (self._folder / STATE_NAME).unlink(missing_ok=True)
            for folder in (self._folder / name for name in _WEIGHTS):
                for name in (CONFIG_NAME, SAFETENSORS_NAME):
                    (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be removed: {error.strerror}") from error

    def _began_here(self) -> bool:
        return self._text_of(_SETTINGS) == self._recipe + "\n"

    def _text_of(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _to_tensorboard(self, step: int, values: Mapping[str, float]) -> None:
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, step)

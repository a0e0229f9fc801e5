"""The folder of a run: logs as CSV and for TensorBoard, weights, and the settings as a recipe."""

from __future__ import annotations

import csv
import errno
import io
import json
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import MissingPackageError, OutputError, OutputExistsError
from glpn_cli.files import locked, make_folder, os_reason, write_whole
from glpn_cli.metrics import METRICS
from glpn_cli.model.config import CONFIG_NAME
from glpn_cli.training.checkpoints import STATE_NAME, same_settings, settings_to_json
from glpn_cli.training.validation import ALIGNED_PREFIX
from glpn_cli.weights.checkpoint import write_checkpoint
from glpn_cli.weights.store import BEST_NAME, LAST_NAME, SAFETENSORS_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from glpn_cli.model.config import GLPNConfig
    from glpn_cli.training.progress import StepFacts
    from glpn_cli.training.settings import TrainRun, TrainSettings
    from glpn_cli.weights.catalog import WeightsCard

LOCK_NAME = ".glpn-train.lock"
_SETTINGS_NAME, _STEPS_NAME, _METRICS_NAME = "settings.json", "train.csv", "validation.csv"
_WEIGHTS_NAMES = (BEST_NAME, LAST_NAME)
_STEP_COLUMNS = ("epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second")
_METRIC_COLUMNS = (*METRICS, *(ALIGNED_PREFIX + name for name in METRICS))
_SETTINGS_IN_METADATA = ("data", "sizes", "batch_size", "learning_rate", "seed", "init")
_SECONDS_BETWEEN_ROWS = 10.0
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder, which is created; without effect if a file system has no locks.

    Raises:
        OutputError: another process trains in the folder, or the folder or the lock file cannot be created.
    """
    busy = OutputError(f"{folder}: another process is training here", hint="wait for it, or choose another `out`")
    make_folder(folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / LOCK_NAME, busy))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise OutputError(f"{folder / LOCK_NAME}: cannot be locked: {os_reason(error)}") from error
        yield


def check_existing(settings: TrainSettings, run: TrainRun) -> None:
    """Refuse to replace files without permission, and files that are not of a run even with it.

    What the same run wrote before it was killed ahead of its first checkpoint may be replaced.

    Raises:
        OutputExistsError: the folder of a new run has such files.
    """
    folder = Path(run.out)
    names = (_SETTINGS_NAME, _STEPS_NAME, _METRICS_NAME, *_WEIGHTS_NAMES)
    existing = [name for name in names if (folder / name).exists()]
    is_same_run = same_settings(_read_text(folder / _SETTINGS_NAME), settings)
    if existing and not run.overwrite and (not is_same_run or set(_WEIGHTS_NAMES) & set(existing)):
        raise OutputExistsError(
            f"{folder / existing[-1]}: already exists",
            hint="set `overwrite` to start over, or choose another `out`",
        )
    for name, start in ((_SETTINGS_NAME, "{"), (_STEPS_NAME, "step,"), (_METRICS_NAME, "step,")):
        text = _read_text(folder / name)
        if text and not text.startswith(start):
            raise OutputExistsError(f"{folder / name}: does not belong to a training run", hint="choose another `out`")


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class RunFolder:
    """The files of a run except its checkpoint. Only the main process uses it.

    The constructor checks whether the run can be saved; it changes no existing file.

    Args:
        settings: saved as a recipe.
        run: the folder, and how the run is carried out.
        first_step: steps done before; 0 for a new run.
        validates_first: whether the validation of that step will be repeated.

    Raises:
        OutputExistsError: the folder contains files without a checkpoint, or files that are not of a run.
        OutputError: the folder cannot be created.
        MissingPackageError: TensorBoard is not installed.
    """

    def __init__(self, settings: TrainSettings, run: TrainRun, *, first_step: int, validates_first: bool) -> None:
        self._folder = Path(run.out)
        self._settings = settings
        self._is_new = not first_step
        self._last_steps_row = first_step or -1
        self._last_metrics_row = first_step - validates_first if first_step else -1
        make_folder(self._folder)
        if self._is_new:
            check_existing(settings, run)
        if run.tensorboard:
            _find_tensorboard()
        self._wants_tensorboard, self._tensorboard = run.tensorboard, None
        self._last_row_s = time.monotonic()

    def open_logs(self) -> None:
        """Open the logs. A new run replaces what an earlier one left; a resumed run drops rows of later steps.

        Raises:
            OutputError: the folder cannot be written to.
        """
        if self._is_new:
            self._remove_earlier_run()
        recipe = settings_to_json(self._settings) + "\n"
        write_whole(self._folder / _SETTINGS_NAME, recipe.encode(), overwrite=True)
        self._steps = CsvLog(self._folder / _STEPS_NAME, _STEP_COLUMNS, last_step=self._last_steps_row)
        self._metrics = CsvLog(self._folder / _METRICS_NAME, _METRIC_COLUMNS, last_step=self._last_metrics_row)
        if self._wants_tensorboard:
            self._tensorboard = _open_tensorboard(self._folder / "tensorboard", last_step=self._last_metrics_row)

    def add_step(self, facts: StepFacts, *, last: bool) -> None:
        """Log a step if it is the last one, or if the previous row is some seconds old."""
        now_s = time.monotonic()
        if last or now_s - self._last_row_s >= _SECONDS_BETWEEN_ROWS:
            self._last_row_s = now_s
            values = {name: getattr(facts, name) for name in _STEP_COLUMNS}
            row = {name: float(value) for name, value in values.items() if value is not None}
            self._steps.add(facts.step, row)
            self._add_to_tensorboard(facts.step, row)

    def add_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log a validation."""
        self._metrics.add(step, metrics)
        self._add_to_tensorboard(step, {f"validation/{name}": value for name, value in metrics.items()})

    def write_weights(
        self, name: str, config: GLPNConfig, tensors: Mapping[str, Tensor], card: WeightsCard, steps: tuple[int, int]
    ) -> None:
        """Save weights, with some of the settings in their metadata.

        Args:
            name: the subfolder.
            config: the architecture.
            tensors: by published key.
            card: metadata that converts the output to meters.
            steps: steps done, and steps of the whole run.

        Raises:
            OutputError: the files cannot be written.
        """
        settings = json.loads(settings_to_json(self._settings))
        facts = {key: settings[key] for key in _SETTINGS_IN_METADATA} | {"step": steps[0], "steps": steps[1]}
        # Weights are shared, and paths are private.
        facts["data"] = [Path(entry).name for entry in settings["data"]]
        facts["init"] = Path(settings["init"]).name
        metadata = card.to_metadata() | {"training": json.dumps(facts, sort_keys=True)}
        write_checkpoint(self._folder / name, config, tensors, metadata)

    def close(self) -> None:
        """Flush and close the log for TensorBoard."""
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _remove_earlier_run(self) -> None:
        try:
            (self._folder / STATE_NAME).unlink(missing_ok=True)
            for folder in (self._folder / name for name in _WEIGHTS_NAMES):
                for name in (CONFIG_NAME, SAFETENSORS_NAME):
                    (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be removed: {os_reason(error)}") from error

    def _add_to_tensorboard(self, step: int, values: Mapping[str, float]) -> None:
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, step)


class CsvLog:
    """A CSV file with a row per event, flushed at once. The first column is the step.

    Args:
        file: the file; rows that it contains stay, up to `last_step`.
        columns: the columns after the step.
        last_step: later steps will be repeated, so their rows are dropped; -1 drops all.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, file: Path, columns: tuple[str, ...], *, last_step: int) -> None:
        self._file = file
        self._columns = ("step", *columns)
        rows = [row for row in self._read() if int(row["step"]) <= last_step]
        # Atomically: a full disk must not lose the rows.
        write_whole(file, self._format(rows, header=True).encode(), overwrite=True)

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a row; a column without a value stays empty.

        Raises:
            OutputError: the file cannot be written.
        """
        row = {"step": step} | {name: _format_value(values.get(name, "")) for name in self._columns[1:]}
        try:
            with self._file.open("a", encoding="utf-8", newline="") as stream:
                stream.write(self._format([row]))
        except OSError as error:
            raise OutputError(f"{self._file}: cannot be written: {os_reason(error)}") from error

    def _read(self) -> list[dict[str, str]]:
        try:
            with self._file.open(encoding="utf-8", newline="") as stream:
                return [row for row in csv.DictReader(stream) if str(row.get("step", "")).isdecimal()]
        except OSError:
            return []

    def _format(self, rows: list[Any], *, header: bool = False) -> str:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self._columns, extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()


def _format_value(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _find_tensorboard() -> Callable[..., Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackageError(
            "TensorBoard is not installed", hint="pip install tensorboard", setting="tensorboard"
        ) from error
    return SummaryWriter


def _open_tensorboard(folder: Path, *, last_step: int) -> Any:
    """Open a log for TensorBoard that hides rows after `last_step` of an earlier command; -1 removes them all."""
    writer = _find_tensorboard()
    if last_step < 0:
        try:
            for file in folder.glob("events.out.tfevents.*"):
                file.unlink()
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be removed: {os_reason(error)}") from error
    return writer(str(folder), purge_step=last_step + 1)

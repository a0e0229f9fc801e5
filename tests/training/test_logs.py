from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from glpn_cli.errors import MissingPackageError, OutputError, OutputExistsError
from glpn_cli.metrics import METRICS
from glpn_cli.training import logs
from glpn_cli.training.initialization import create_network
from glpn_cli.training.logs import LOCK_NAME, CsvLog, RunFolder, lock_folder
from glpn_cli.training.progress import StepFacts
from glpn_cli.training.recipe import build_settings, read_recipe
from glpn_cli.weights.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.training.settings import TrainRun, TrainSettings

    Run = Callable[..., TrainRun]
    Rows = Callable[[Path], list[dict[str, str]]]


def facts(step: int) -> StepFacts:
    return StepFacts(step, step / 4, 0.125, 1e-3, 2.0, 31.25, (32, 64))


def open_folder(settings: TrainSettings, run: TrainRun, step: int = 0, *, due: bool = False) -> RunFolder:
    folder = RunFolder(settings, run, first_step=step, validates_first=due)
    folder.open_logs()
    return folder


def test_rows_have_the_step_and_short_numbers(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "log.csv", ("a", "b"), last_step=-1)
    log.add(3, {"a": 0.123456789, "b": 2, "c": 5})
    log.add(4, {"b": "text, quoted"})
    expected = 'step,a,b\n3,0.123457,2\n4,,"text, quoted"\n'
    assert (tmp_path / "log.csv").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(("last_step", "steps"), [(-1, []), (0, ["0"]), (5, ["0", "5"]), (100, ["0", "5", "9"])])
def test_rows_of_steps_that_will_be_repeated_are_dropped(
    tmp_path: Path, read_rows: Rows, last_step: int, steps: list[str]
) -> None:
    log = CsvLog(tmp_path / "log.csv", ("a",), last_step=-1)
    for step in (0, 5, 9):
        log.add(step, {"a": step})
    CsvLog(tmp_path / "log.csv", ("a",), last_step=last_step)
    assert [row["step"] for row in read_rows(tmp_path / "log.csv")] == steps


def test_a_half_written_row_is_dropped(tmp_path: Path, read_rows: Rows) -> None:
    (tmp_path / "log.csv").write_text("step,a\n1,2\nx", encoding="utf-8")
    CsvLog(tmp_path / "log.csv", ("a",), last_step=9)
    assert read_rows(tmp_path / "log.csv") == [{"step": "1", "a": "2"}]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "log.csv", ("a",), last_step=-1)
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OutputError, match=r"log\.csv"):
        log.add(1, {"a": 1})


def test_steps_are_logged_every_few_seconds_and_at_the_end(
    settings: TrainSettings, run: Run, read_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    folder = open_folder(settings, run())
    for step, now_s in enumerate((101, 111, 112, 122, 123), start=1):
        now[0] = now_s
        folder.add_step(facts(step), last=step == 5)
    rows = read_rows(Path(run().out) / "train.csv")
    assert [row["step"] for row in rows] == ["2", "4", "5"]
    assert rows[0] == {
        "step": "2",
        "epoch": "0.5",
        "loss": "0.125",
        "learning_rate": "0.001",
        "gradient_norm": "2",
        "samples_per_second": "31.25",
    }


def test_a_gradient_norm_that_was_not_measured_is_empty(settings: TrainSettings, run: Run, read_rows: Rows) -> None:
    open_folder(settings, run()).add_step(replace(facts(1), gradient_norm=None), last=True)
    (row,) = read_rows(Path(run().out) / "train.csv")
    assert (row["gradient_norm"], row["loss"]) == ("", "0.125")


def test_metrics_are_logged_with_all_columns(settings: TrainSettings, run: Run, read_rows: Rows) -> None:
    folder = open_folder(settings, run())
    folder.add_metrics(2, {"abs_rel": 0.25, "aligned_abs_rel": 0.5})
    (row,) = read_rows(Path(run().out) / "validation.csv")
    assert list(row) == ["step", *METRICS, *(f"aligned_{name}" for name in METRICS)]
    assert (row["step"], row["abs_rel"], row["aligned_abs_rel"], row["d1"]) == ("2", "0.25", "0.5", "")


@pytest.mark.parametrize(("due", "steps"), [(False, ["0", "3"]), (True, ["0"])])
def test_a_resumed_run_continues_its_logs(
    settings: TrainSettings, run: Run, read_rows: Rows, *, due: bool, steps: list[str]
) -> None:
    folder = open_folder(settings, run())
    for step in (0, 3, 6):
        folder.add_metrics(step, {})
    for step in (1, 3, 4):
        folder.add_step(facts(step), last=True)
    open_folder(settings, run(), 3, due=due)
    assert [row["step"] for row in read_rows(Path(run().out) / "train.csv")] == ["1", "3"]
    assert [row["step"] for row in read_rows(Path(run().out) / "validation.csv")] == steps


def test_the_settings_are_saved_as_a_recipe(settings: TrainSettings, run: Run) -> None:
    open_folder(settings, run())
    assert build_settings(read_recipe(str(Path(run().out) / "settings.json")), {}) == settings


def test_saved_weights_carry_settings_without_paths(settings: TrainSettings, run: Run, tmp_path: Path) -> None:
    initial = create_network(settings, "mine")
    used = replace(settings, data=("/private/photos=2", "nyu"), init=str(tmp_path / "weights"), config=None)
    tensors = initial.network.state_dict()
    open_folder(used, run()).write_weights("last", initial.network.config, tensors, initial.card, (2, 6))
    checkpoint = read_checkpoint(Path(run().out) / "last")
    assert checkpoint.config.to_dict() == initial.network.config.to_dict()
    assert all(torch.equal(checkpoint.tensors[key], value) for key, value in tensors.items())
    assert checkpoint.metadata["working_size"] == "32x64"
    training = json.loads(checkpoint.metadata["training"])
    assert training == {
        "data": ["photos=2", "nyu"],
        "sizes": [[32, 64, 1.0]],
        "batch_size": 4,
        "learning_rate": 3e-3,
        "seed": 0,
        "init": "weights",
        "step": 2,
        "steps": 6,
    }


@pytest.mark.parametrize("name", ["settings.json", "train.csv", "validation.csv", "best", "last"])
def test_existing_results_are_not_replaced_without_permission(settings: TrainSettings, run: Run, name: str) -> None:
    folder = Path(run().out)
    folder.mkdir()
    (folder / name).mkdir() if name in ("best", "last") else (folder / name).write_text("", encoding="utf-8")
    with pytest.raises(OutputExistsError, match=name) as raised:
        open_folder(settings, run())
    assert "`overwrite`" in str(raised.value.hint)
    if name not in ("best", "last"):
        open_folder(settings, run(overwrite=True))


def test_a_run_killed_before_its_first_checkpoint_may_start_again(settings: TrainSettings, run: Run) -> None:
    open_folder(settings, run())
    open_folder(settings, run())
    with pytest.raises(OutputExistsError):
        open_folder(replace(settings, seed=1), run())
    (Path(run().out) / "last").mkdir()
    with pytest.raises(OutputExistsError, match="last"):
        open_folder(settings, run())


def test_starting_over_removes_the_checkpoint_and_weights(settings: TrainSettings, run: Run) -> None:
    folder = Path(run().out)
    for name in ("best", "last"):
        (folder / name).mkdir(parents=True)
        for file in ("model.safetensors", "config.json", "notes.txt"):
            (folder / name / file).touch()
    (folder / "state.pt").touch()
    checked = RunFolder(settings, run(overwrite=True), first_step=0, validates_first=False)
    assert (folder / "state.pt").exists()  # nothing is removed before the logs are opened
    checked.open_logs()
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {"best/notes.txt", "last/notes.txt", "settings.json", "train.csv", "validation.csv"}


@pytest.mark.parametrize(("name", "text"), [("settings.json", "[1]"), ("train.csv", "name,price\n")])
def test_files_of_something_else_are_never_replaced(settings: TrainSettings, run: Run, name: str, text: str) -> None:
    folder = Path(run().out)
    folder.mkdir()
    (folder / name).write_text(text, encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match=name):
            open_folder(settings, run(overwrite=overwrite))
    assert (folder / name).read_text(encoding="utf-8") == text
    assert [file.name for file in folder.iterdir()] == [name]


class Writer:
    """Stands in for TensorBoard's writer."""

    opened: dict[str, Any]

    def __init__(self, folder: str, *, purge_step: int) -> None:
        Writer.opened = {"folder": Path(folder).name, "purge_step": purge_step, "closed": False}
        Writer.scalars: list[tuple[str, float, int]] = []
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / f"events.out.tfevents.{purge_step}").touch()

    def add_scalar(self, name: str, value: float, step: int) -> None:
        Writer.scalars.append((name, value, step))

    def close(self) -> None:
        Writer.opened["closed"] = True


def test_tensorboard_shows_steps_and_validations(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", type("Module", (), {"SummaryWriter": Writer}))
    folder = open_folder(settings, run(tensorboard=True))
    folder.add_step(facts(1), last=True)
    folder.add_metrics(1, {"abs_rel": 0.25})
    folder.close()
    assert Writer.opened == {"folder": "tensorboard", "purge_step": 0, "closed": True}
    assert ("loss", 0.125, 1) in Writer.scalars
    assert ("validation/abs_rel", 0.25, 1) in Writer.scalars
    files = Path(run().out) / "tensorboard"
    open_folder(settings, run(tensorboard=True), 3)
    assert {path.name for path in files.iterdir()} == {"events.out.tfevents.0", "events.out.tfevents.4"}
    open_folder(settings, run(tensorboard=True, overwrite=True))
    assert {path.name for path in files.iterdir()} == {"events.out.tfevents.0"}


def test_missing_tensorboard_is_an_error(settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError) as raised:
        RunFolder(settings, run(tensorboard=True), first_step=0, validates_first=False)
    assert raised.value.setting == "tensorboard"


HOLD_LOCK = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("locked", flush=True)
sys.stdin.read()
"""


def test_only_one_process_has_the_lock(run: Run) -> None:
    folder = Path(run().out)
    folder.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(folder / LOCK_NAME)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline()
        with pytest.raises(OutputError, match="run: "), lock_folder(folder):
            pass
    finally:
        other.kill()
        other.communicate()
    with lock_folder(folder):  # a killed process releases it
        pass


@pytest.mark.parametrize(("number", "trains"), [(errno.ENOLCK, True), (errno.ENOTSUP, True), (errno.EACCES, False)])
def test_file_systems_without_locks_can_be_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, number: int, trains: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(logs, "locked", refuse)
    if trains:
        with lock_folder(Path(run().out)):
            pass
    else:
        with pytest.raises(OutputError, match=LOCK_NAME), lock_folder(Path(run().out)):
            pass

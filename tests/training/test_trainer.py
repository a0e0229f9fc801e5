from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import glpn_cli
from glpn_cli.errors import (
    InputError,
    MissingPackageError,
    OutputError,
    OutputExistsError,
    TrainingError,
    UsageError,
    WeightsError,
)
from glpn_cli.metrics import METRICS
from glpn_cli.training import augmentation, trainer
from glpn_cli.training.checkpoints import save_state
from glpn_cli.training.initialization import create_network
from glpn_cli.training.logs import lock_folder
from glpn_cli.training.progress import StepFacts, TrainWatcher
from glpn_cli.training.trainer import train
from glpn_cli.values import Precision
from glpn_cli.weights.checkpoint import read_checkpoint
from scene_folder import write_scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from glpn_cli.training.settings import TrainRun, TrainSettings

    Run = Callable[..., TrainRun]
    Same = Callable[[Any, Any], bool]
    Rows = Callable[[Path], list[dict[str, str]]]


class Recorder(TrainWatcher):
    """Stores losses and texts; can interrupt the run as a scheduler does."""

    def __init__(self, *, stop_after: int = 0) -> None:
        self.losses: dict[int, float] = {}
        self.validations: list[tuple[int, bool]] = []
        self.notes: list[str] = []
        self.details: list[str] = []
        self.ended = 0
        self.stop_after = stop_after

    def advance(self, facts: StepFacts) -> None:
        self.losses[facts.step] = facts.loss
        if facts.step == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def validated(self, step: int, metrics: Mapping[str, float], *, best: bool) -> None:
        assert metrics["abs_rel"] > 0
        self.validations.append((step, best))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def detail(self, text: str) -> None:
        self.details.append(text)

    def end(self) -> None:
        self.ended += 1


class Killer(TrainWatcher):
    """Ends the run after a step without giving it time to save anything."""

    def __init__(self, step: int = 1) -> None:
        self.step = step

    def advance(self, facts: StepFacts) -> None:
        if facts.step == self.step:
            raise SystemExit(facts.step)


def contents(run: TrainRun) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(Path(run.out) / "state.pt", weights_only=True)
    return state


def make_pair(folder: Path, name: str, meters: float, *, size: tuple[int, int] = (80, 48)) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (80, 48), (90, 120, 30)).save(folder / f"{name}.jpg")
    depth = np.full((size[1], size[0]), meters * 1000, np.uint16)
    Image.fromarray(depth).save(folder / f"{name}.png")


# Resuming


def test_a_run_stopped_twice_ends_with_identical_weights(settings: TrainSettings, run: Run, same: Same) -> None:
    train(settings, run("whole"))
    outcome = train(settings, run("stopped"), watcher=Recorder(stop_after=2))
    assert (outcome.step, outcome.interrupted, outcome.finished) == (2, True, False)
    again = Recorder(stop_after=3)
    train(settings, run("stopped", workers=1), watcher=again)  # with another number of workers
    assert list(again.losses) == [3]
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global random state must not matter
    assert train(settings, run("stopped")).finished
    whole, stopped = contents(run("whole")), contents(run("stopped"))
    assert whole["step"] == stopped["step"] == settings.steps
    for part in ("network", "optimizer", "averaged"):
        assert same(whole[part], stopped[part]), part
    first, second = (read_checkpoint(Path(run(name).out) / "last").tensors for name in ("whole", "stopped"))
    assert same(first, second)


def test_a_killed_run_resumes_from_its_last_checkpoint(
    settings: TrainSettings, run: Run, same: Same, read_rows: Rows
) -> None:
    train(settings, run("whole"))
    with pytest.raises(SystemExit):
        train(settings, run("killed", save_every=2), watcher=Killer(5))
    recorder = Recorder()
    train(settings, run("killed", save_every=2), watcher=recorder)
    assert list(recorder.losses) == [5, 6]
    assert same(contents(run("whole"))["network"], contents(run("killed"))["network"])
    rows = read_rows(Path(run("killed").out) / "validation.csv")
    assert [row["step"] for row in rows] == ["6"]
    assert list(rows[0]) == ["step", *METRICS, *(f"aligned_{name}" for name in METRICS)]
    assert all(rows[0].values())


def test_scenes_and_pairs_resume_with_identical_weights(
    settings: TrainSettings, run: Run, same: Same, tmp_path: Path
) -> None:
    scenes = str(write_scenes(tmp_path / "scenes", 0))
    mixed = replace(settings, data=(*settings.data, f"{scenes}=0.2"), steps=4, crop=(0.5, 1.0))
    recorder = Recorder(stop_after=2)
    train(mixed, run("whole"))
    train(mixed, run("stopped"), watcher=recorder)
    assert f"{scenes}: 40 samples, 42% of an epoch" in recorder.details
    assert train(mixed, run("stopped")).finished
    assert same(contents(run("whole")), contents(run("stopped")))


def test_the_initial_weights_are_not_needed_to_resume(
    settings: TrainSettings, run: Run, same: Same, tmp_path: Path
) -> None:
    train(replace(settings, steps=1), run("first"))
    os.rename(Path(run("first").out) / "last", tmp_path / "begin")
    later = replace(settings, init=str(tmp_path / "begin"), config=None)
    train(later, run("whole"))
    train(later, run("stopped"), watcher=Recorder(stop_after=2))
    (tmp_path / "begin" / "model.safetensors").unlink()
    assert train(later, run("stopped")).finished
    assert same(contents(run("whole")), contents(run("stopped")))
    with pytest.raises(WeightsError):
        train(later, run("anew"))


def test_an_interrupted_validation_is_repeated_first(
    settings: TrainSettings, run: Run, same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings, run("whole", validate_every=3))
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "validate", lambda *_: (_ for _ in ()).throw(InputError("a bad image")))
        with pytest.raises(InputError, match="a bad image"):
            train(settings, run("twice", validate_every=3))
    assert contents(run("twice"))["step"] == 3
    assert train(settings, run("twice", validate_every=3)).finished
    assert same(contents(run("whole")), contents(run("twice")))
    whole, twice = Path(run("whole").out), Path(run("twice").out)
    assert (whole / "validation.csv").read_bytes() == (twice / "validation.csv").read_bytes()
    assert same(read_checkpoint(whole / "best").tensors, read_checkpoint(twice / "best").tensors)


def test_a_repeated_validation_has_one_row(settings: TrainSettings, run: Run, read_rows: Rows) -> None:
    train(settings, run(validate_every=3, until=3))
    save_state(Path(run().out) / "state.pt", contents(run()) | {"due": True})  # killed after the row was written
    train(settings, run(validate_every=3))
    assert [row["step"] for row in read_rows(Path(run().out) / "validation.csv")] == ["3", "6"]


def test_a_run_killed_after_its_first_validation_resumes(settings: TrainSettings, run: Run) -> None:
    early = {"validate_every": 2, "save_every": 500}
    with pytest.raises(SystemExit):
        train(settings, run("killed", **early), watcher=Killer(3))
    recorder = Recorder()
    assert train(settings, run("killed", **early), watcher=recorder).finished
    assert min(recorder.losses) == 3


def test_a_run_may_end_at_an_earlier_step(settings: TrainSettings, run: Run) -> None:
    outcome = train(settings, run(until=3))
    assert (outcome.step, outcome.finished, outcome.interrupted) == (3, False, False)
    again = Recorder()
    assert train(settings, run(until=3), watcher=again).step == 3
    assert not again.losses
    second = replace(settings, init=str(Path(run().out) / "last"), config=None, steps=1)
    assert train(second, run("second")).finished
    assert train(settings, run()).finished  # it can still be resumed


def test_a_time_limit_ends_a_run_after_a_step(settings: TrainSettings, run: Run) -> None:
    outcome = train(settings, run(max_minutes=1e-9))
    assert (outcome.step, outcome.finished, outcome.interrupted) == (1, False, False)
    assert contents(run())["step"] == 1


@pytest.mark.parametrize("init", ["none", "tiny"])
def test_a_run_killed_before_its_first_checkpoint_starts_again(settings: TrainSettings, run: Run, init: str) -> None:
    new = replace(settings, init=init, config=settings.config if init == "none" else None, steps=3)
    for overwrite in (True, False):
        with pytest.raises(SystemExit):
            train(new, run(overwrite=overwrite), watcher=Killer(2))
    assert not list(Path(run().out).rglob("*.safetensors"))
    recorder = Recorder()
    assert train(new, run(), watcher=recorder).finished
    assert min(recorder.losses) == 1


def test_a_run_of_an_earlier_version_resumes(settings: TrainSettings, run: Run, same: Same) -> None:
    train(settings, run("whole"))
    train(settings, run("old", until=3))
    file = Path(run("old").out) / "state.pt"
    state = torch.load(file, weights_only=True)
    saved = json.loads(state["settings"])
    del saved["muon"]  # a setting that did not exist
    saved["units_per_metre"] = saved.pop("units_per_meter")
    saved["validation_pictures"] = saved.pop("validation_images")
    saved["textures"] = []
    card = {key.replace("meters_per_unit", "metres_per_unit"): value for key, value in state["card"].items()}
    torch.save(state | {"settings": json.dumps(saved), "card": card}, file)
    assert train(settings, run("old")).finished
    assert same(contents(run("whole")), contents(run("old")))


def test_a_finished_run_does_nothing(settings: TrainSettings, run: Run) -> None:
    train(replace(settings, steps=1), run())
    recorder = Recorder()
    outcome = train(replace(settings, steps=1), run(), watcher=recorder)
    assert (outcome.step, outcome.finished, recorder.losses, recorder.ended) == (1, True, {}, 1)


def test_other_settings_are_not_resumed(settings: TrainSettings, run: Run) -> None:
    short = replace(settings, steps=1)
    train(short, run())
    with pytest.raises(UsageError, match="batch_size=4") as raised:
        train(replace(short, batch_size=2), run())
    assert "`overwrite`" in str(raised.value.hint)
    train(replace(short, batch_size=2), run(overwrite=True))
    (Path(run().out) / "state.pt").unlink()
    with pytest.raises(OutputExistsError, match="last"):
        train(short, run())


def test_another_number_of_samples_is_not_resumed(settings: TrainSettings, run: Run, tmp_path: Path) -> None:
    for name in "abcd":
        make_pair(tmp_path / "pairs", name, 2.0)
    data = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, steps=2)
    train(data, run(), watcher=Recorder(stop_after=1))
    make_pair(tmp_path / "pairs", "e", 2.0)
    with pytest.raises(UsageError, match="3 samples of pairs"):
        train(data, run())


# Starting over


def test_an_earlier_run_stays_until_a_step_succeeds(
    settings: TrainSettings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings, run())
    before = {path: path.read_bytes() for path in Path(run().out).rglob("*") if path.is_file()}
    for name in ("good", "broken"):
        make_pair(tmp_path / "pairs", name, 2.0)
    (tmp_path / "pairs" / "broken.jpg").write_bytes((tmp_path / "pairs" / "good.jpg").read_bytes()[:300])
    bad = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, validation=settings.data, seed=1)
    in_folder = replace(bad, init=str(Path(run().out) / "best"), config=None)
    unknown = replace(settings, validation=("nowhere",))
    for wrong, error in ((bad, InputError), (in_folder, UsageError), (unknown, UsageError)):
        with pytest.raises(error):
            train(wrong, run(overwrite=True))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError):
        train(replace(settings, seed=1), run(overwrite=True, tensorboard=True))
    assert {path: path.read_bytes() for path in Path(run().out).rglob("*") if path.is_file()} == before


def test_starting_over_removes_the_earlier_run(settings: TrainSettings, run: Run) -> None:
    train(replace(settings, steps=2), run())
    with pytest.raises(SystemExit):
        train(settings, run(overwrite=True), watcher=Killer())
    assert not (Path(run().out) / "state.pt").exists()
    assert not list(Path(run().out).rglob("*.safetensors"))


def test_initial_weights_in_the_run_folder_are_refused(settings: TrainSettings, run: Run) -> None:
    train(settings, run())
    with pytest.raises(UsageError) as raised:
        train(replace(settings, init=str(Path(run().out) / "last"), config=None), run(overwrite=True))
    assert raised.value.setting == "init"
    assert (Path(run().out) / "last" / "model.safetensors").exists()


def test_files_of_something_else_stay(settings: TrainSettings, run: Run) -> None:
    folder = Path(run().out)
    folder.mkdir()
    (folder / "train.csv").write_text("name,price\n", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match=r"train\.csv"):
            train(settings, run(overwrite=overwrite))
    assert (folder / "train.csv").read_text(encoding="utf-8") == "name,price\n"
    assert [file.name for file in folder.iterdir()] == ["train.csv"]
    torch.save({"model": 1}, folder / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt"):
        train(settings, run())


def test_two_runs_do_not_share_a_folder(settings: TrainSettings, run: Run) -> None:
    class Second(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            assert facts.step == 1
            with pytest.raises(OutputError, match="another process"):
                train(replace(settings, steps=1), run(overwrite=True))

    assert train(settings, run(until=1), watcher=Second()).step == 1


# Weights and validation


def test_trained_weights_predict(settings: TrainSettings, run: Run) -> None:
    outcome = train(replace(settings, steps=2), run(name="ours"))
    predictor = glpn_cli.load(outcome.folder, device="cpu")
    assert (predictor.card.depth_limit_m, predictor.card.working_size, predictor.card.shrink) == (80, (32, 64), True)
    assert predictor.card.metric is False
    depth = predictor.predict(np.zeros((48, 60, 3), np.uint8))
    assert depth.meters.shape == (48, 60)
    metadata = read_checkpoint(outcome.folder).metadata
    assert '"steps": 2' in metadata["training"]
    assert str(Path.home()) not in metadata["training"]
    assert os.sep not in metadata["training"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_improves_on_an_image_it_has_not_seen(
    settings: TrainSettings, run: Run, read_rows: Rows, precision: str
) -> None:
    recorder = Recorder()
    longer = replace(
        settings, steps=90, batch_size=6, ema=0.0, drop_path=0.0, learning_rate=6e-3, precision=Precision(precision)
    )
    train(longer, run(validate_every=1), watcher=Recorder(stop_after=1))
    train(longer, run(validate_every=89), watcher=recorder)
    rows = read_rows(Path(run().out) / "validation.csv")
    first, last = float(rows[0]["abs_rel"]), float(rows[-1]["abs_rel"])
    assert last < 0.75 * first, (first, last)
    assert recorder.losses[90] < 0.85 * recorder.losses[2]


def test_the_seed_and_the_drop_path_matter(settings: TrainSettings, run: Run, same: Same) -> None:
    short = replace(settings, steps=2)
    train(short, run("a"))
    train(replace(short, seed=1), run("b"))
    train(replace(short, drop_path=0.0), run("c"))
    a, b, c = (contents(run(name))["network"] for name in "abc")
    assert not same(a, b)
    assert not same(a, c)


def test_a_step_counts_once_in_several_micro_batches(settings: TrainSettings, run: Run, same: Same) -> None:
    one = replace(settings, steps=1, drop_path=0.0, clip_norm=0.0, ema=0.0)
    train(one, run("whole"))
    train(replace(one, accumulate=2), run("halves"))
    whole, halves = contents(run("whole"))["network"], contents(run("halves"))["network"]
    assert not same(whole, halves)  # each half has its own statistics and loss
    counts = [key for key in whole if key.endswith("num_batches_tracked")]
    assert counts
    assert all(int(halves[key]) == 1 for key in counts)


def test_initial_weights_stay_best_if_training_does_not_improve(
    settings: TrainSettings, run: Run, same: Same, read_rows: Rows
) -> None:
    worse = replace(settings, init="tiny", config=None, steps=2, learning_rate=0.1, ema=0.0, clip_norm=0.0)
    recorder = Recorder()
    outcome = train(worse, run(validate_every=1), watcher=recorder)
    assert outcome.best_step == 0
    assert recorder.validations == [(0, True), (1, False), (2, False)]
    rows = read_rows(Path(run().out) / "validation.csv")
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert outcome.best is not None
    assert float(rows[0]["aligned_abs_rel"]) == pytest.approx(outcome.best["aligned_abs_rel"], rel=1e-5)
    with torch.no_grad():
        best = read_checkpoint(Path(run().out) / "best")
        initial = create_network(worse, "glpn").network.state_dict()
    assert same(dict(best.tensors), dict(initial))
    assert json.loads(best.metadata["training"])["step"] == 0


def test_initial_weights_stay_best_after_a_stop(settings: TrainSettings, run: Run, read_rows: Rows) -> None:
    worse = replace(settings, init="tiny", config=None, steps=3, learning_rate=0.1, ema=0.0, clip_norm=0.0)
    assert train(worse, run(), watcher=Recorder(stop_after=1)).best_step == 0
    assert train(worse, run()).best_step == 0
    assert [row["step"] for row in read_rows(Path(run().out) / "validation.csv")] == ["0", "3"]


@pytest.mark.parametrize(("metric", "best"), [(True, 1), (False, 2)])
def test_the_best_weights_have_the_lowest_error(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch, *, metric: bool, best: int
) -> None:
    results = iter([{"abs_rel": 0.1, "aligned_abs_rel": 0.3}, {"abs_rel": 0.2, "aligned_abs_rel": 0.1}])
    create = trainer.create_network

    def create_with_metric(*arguments: Any, **options: Any) -> Any:
        initial = create(*arguments, **options)
        return replace(initial, card=replace(initial.card, metric=metric))

    monkeypatch.setattr(trainer, "validate", lambda *_: next(results))
    monkeypatch.setattr(trainer, "create_network", create_with_metric)
    outcome = train(replace(settings, steps=2), run(validate_every=1))
    assert outcome.best_step == best
    training = json.loads(read_checkpoint(Path(run().out) / "best").metadata["training"])
    assert training["step"] == best


def test_validation_is_every_epoch_but_not_too_often(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_MIN_STEPS_BETWEEN_VALIDATIONS", 3)
    recorder = Recorder()
    train(settings, run(validate_every=0), watcher=recorder)  # an epoch has two steps
    assert [step for step, _ in recorder.validations] == [4, 6]


# Errors


def test_a_diverged_network_is_not_saved(settings: TrainSettings, run: Run) -> None:
    wild = replace(settings, learning_rate=1e39, learning_rate_end=1e39, clip_norm=0.0)
    recorder = Recorder()
    with pytest.raises(TrainingError, match=r"step \d: training diverged"):
        train(wild, run(save_every=1), watcher=recorder)
    assert not (Path(run().out) / "state.pt").exists()
    assert recorder.ended == 1


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_full_disk_leaves_the_previous_checkpoint(settings: TrainSettings, run: Run) -> None:
    import resource

    short = replace(settings, steps=2)
    train(short, run(), watcher=Recorder(stop_after=1))
    before = (Path(run().out) / "state.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # writing fails in the middle of the file
    try:
        with pytest.raises(OutputError, match=r"state\.pt: .*File too large$") as raised:
            train(short, run())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "resumes" in str(raised.value.hint)
    assert (Path(run().out) / "state.pt").read_bytes() == before
    assert not list(Path(run().out).glob("*.part"))


def test_a_damaged_checkpoint_is_named(settings: TrainSettings, run: Run) -> None:
    Path(run().out).mkdir()
    (Path(run().out) / "state.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"state\.pt"):
        train(settings, run())


def test_the_checkpoint_is_not_read_while_another_process_trains(settings: TrainSettings, run: Run) -> None:
    folder = Path(run().out)
    folder.mkdir()
    (folder / "state.pt").write_bytes(b"being written")
    with lock_folder(folder), pytest.raises(OutputError, match="another process"):
        train(settings, run())
    with pytest.raises(InputError):
        train(settings, run())


@pytest.mark.parametrize("change", [{"data": ("nowhere",)}, {"validation": ("nowhere",)}], ids=str)
def test_missing_data_creates_no_folder(settings: TrainSettings, run: Run, change: dict[str, tuple[str]]) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        train(replace(settings, **change), run())  # type: ignore[arg-type]
    assert not Path(run().out).exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_without_depth_is_named(settings: TrainSettings, run: Run, tmp_path: Path, workers: int) -> None:
    for name, meters in (("good", 2.0), ("empty", 0.0), ("last", 2.0)):
        make_pair(tmp_path / "pairs", name, meters)
    data = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, validation=settings.data)
    with pytest.raises(InputError, match=r"^empty: "):
        train(data, run(workers=workers))


def test_depth_of_another_size_is_named(settings: TrainSettings, run: Run, tmp_path: Path) -> None:
    make_pair(tmp_path / "pairs", "good", 2.0)
    make_pair(tmp_path / "pairs", "odd", 2.0, size=(40, 40))
    data = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, validation=settings.data)
    with pytest.raises(InputError, match=r"odd\.png"):
        train(data, run())


@pytest.mark.parametrize(
    ("meters", "size", "text"), [(2.0, (40, 40), r"odd\.png"), (0.0, (80, 48), "no validation image")]
)
def test_broken_validation_images_are_named_before_a_step(
    settings: TrainSettings, run: Run, same: Same, tmp_path: Path, meters: float, size: tuple[int, int], text: str
) -> None:
    make_pair(tmp_path / "pairs", "odd", meters, size=size)
    train(settings, run())
    before = contents(run())
    recorder = Recorder()
    with pytest.raises(InputError, match=text):
        train(replace(settings, validation=(str(tmp_path / "pairs"),)), run(overwrite=True), watcher=recorder)
    assert not recorder.losses
    assert same(contents(run()), before)


def test_an_infinite_loss_names_its_images(settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(sample: Any, *arguments: Any, **options: Any) -> Any:
        augmented = augmentation.augment(sample, *arguments, **options)
        if sample.name.startswith("tum_fr2_pioneer"):
            augmented.meters[0, 0] = np.inf
        return augmented

    monkeypatch.setattr("glpn_cli.training.loader.augment", poisoned)
    with pytest.raises(TrainingError, match=r"^step \d+: .* (tum_fr2_pioneer/\d+(, )?)+$"):
        train(settings, run())


@pytest.mark.parametrize("changes", [{"accumulate": 3}, {"batch_size": 6, "accumulate": 4}], ids=str)
def test_a_batch_must_be_divisible(settings: TrainSettings, run: Run, changes: dict[str, int]) -> None:
    with pytest.raises(UsageError) as raised:
        train(replace(settings, **changes), run())  # type: ignore[arg-type]
    assert raised.value.setting == "batch_size"
    assert not Path(run().out).exists()


def test_the_run_folder_must_not_be_a_file(settings: TrainSettings, run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"mine")
    with pytest.raises(OutputError, match="run: "):
        train(settings, run())
    assert (tmp_path / "run").read_bytes() == b"mine"


def test_an_empty_folder_name_is_refused(settings: TrainSettings, run: Run) -> None:
    with pytest.raises(UsageError) as raised:
        train(settings, replace(run(), out=""))
    assert raised.value.setting == "out"


def test_missing_data_is_found_before_a_download(settings: TrainSettings, run: Run) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        train(replace(settings, data=("nowhere",), init="nyu", config=None), run())


def test_missing_tensorboard_is_an_error(settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError):
        train(settings, run(tensorboard=True))


@pytest.mark.parametrize(("limit_m", "count"), [(10.0, 1), (80.0, 0)])
def test_data_deeper_than_the_weights_is_noted(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch, limit_m: float, count: int
) -> None:
    pairs = trainer.training_sets(settings)
    monkeypatch.setattr(trainer, "training_sets", lambda _: [replace(pairs[0], name="kitti")])
    recorder = Recorder()
    train(replace(settings, depth_limit_m=limit_m, steps=1), run(), watcher=recorder)
    assert len(recorder.notes) == count
    assert all("kitti" in note for note in recorder.notes)


def test_details_name_data_and_network(settings: TrainSettings, run: Run) -> None:
    recorder = Recorder()
    train(replace(settings, steps=1), run(), watcher=recorder)
    pairs, validation, network = recorder.details
    assert pairs == f"{settings.data[0]}: 11 samples, 100% of an epoch"
    assert validation.startswith("1 ")
    assert "float32 on cpu" in network

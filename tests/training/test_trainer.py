from __future__ import annotations

import csv
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
from glpn_cli.training import checkpoints as state_module
from glpn_cli.training import trainer
from glpn_cli.training.initialization import load_start
from glpn_cli.training.progress import StepFacts, TrainWatcher
from glpn_cli.training.trainer import train
from glpn_cli.weights.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.training.settings import TrainRun, TrainSettings

    Run = Callable[..., TrainRun]


class Recorder(TrainWatcher):
    def __init__(self, *, stop_after: int = 0) -> None:
        self.losses: dict[int, float] = {}
        self.stop_after = stop_after

    def advance(self, facts: StepFacts) -> None:
        self.losses[facts.step] = facts.loss
        if facts.step == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)


def contents(run: TrainRun) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(Path(run.out) / "state.pt", weights_only=True)
    return state


def table(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def test_a_training_that_was_stopped_twice_ends_with_the_bits_of_one_that_was_not(
    settings: TrainSettings, run: Run
) -> None:
    train(settings, run("whole"))
    outcome = train(settings, run("stopped"), watcher=Recorder(stop_after=2))
    assert (outcome.step, outcome.interrupted, outcome.finished) == (2, True, False)
    again = Recorder(stop_after=3)
    train(settings, run("stopped", workers=1), watcher=again)  # and with other hands
    assert list(again.losses) == [3]
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - what others do to the global chance must not matter
    assert train(settings, run("stopped")).finished
    whole, stopped = contents(run("whole")), contents(run("stopped"))
    assert whole["step"] == stopped["step"] == settings.steps
    for part in ("network", "optimizer", "averaged"):
        assert same(whole[part], stopped[part]), part
    first, second = (read_checkpoint(Path(run(name).out) / "last").tensors for name in ("whole", "stopped"))
    assert same(first, second)


def test_a_killed_training_goes_on_from_its_last_state(settings: TrainSettings, run: Run) -> None:
    class Killed(Exception):  # noqa: N818 - it is no error
        pass

    class Killer(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            if facts.step == 5:
                raise Killed

    train(settings, run("whole"))
    with pytest.raises(Killed):
        train(settings, run("killed", save_every=2), watcher=Killer())
    recorder = Recorder()
    train(settings, run("killed", save_every=2), watcher=recorder)
    assert list(recorder.losses) == [5, 6]
    assert same(contents(run("whole"))["network"], contents(run("killed"))["network"])
    rows = table(Path(run("killed").out) / "validation.csv")
    assert [row["step"] for row in rows] == ["6"]
    assert list(rows[0]) == ["step", *METRICS, *(f"aligned_{name}" for name in METRICS)]
    assert all(rows[0].values())


def test_the_seed_and_the_drop_path_matter(settings: TrainSettings, run: Run) -> None:
    short = replace(settings, steps=2)
    train(short, run("a"))
    train(replace(short, seed=1), run("b"))
    train(replace(short, drop_path=0.0), run("c"))
    a, b, c = (contents(run(name))["network"] for name in "abc")
    assert not same(a, b)
    assert not same(a, c)


def test_the_weights_predict_and_say_what_they_are(settings: TrainSettings, run: Run) -> None:
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


def test_a_step_in_two_parts_differs_from_a_whole_one_only_by_statistics_and_loss(
    settings: TrainSettings, run: Run
) -> None:
    one = replace(settings, steps=1, drop_path=0.0, clip_norm=0.0, ema=0.0)
    train(one, run("whole"))
    train(replace(one, accumulate=2), run("halves"))
    whole, halves = contents(run("whole"))["network"], contents(run("halves"))["network"]
    assert not same(whole, halves)
    counts = [key for key in whole if key.endswith("num_batches_tracked")]
    assert counts
    assert all(int(halves[key]) == 1 for key in counts)  # a step counts once, in however many parts


def test_another_training_is_not_gone_on_with(settings: TrainSettings, run: Run) -> None:
    short = replace(settings, steps=1)
    train(short, run())
    with pytest.raises(UsageError, match="a training with batch_size = 4 is there, not 2"):
        train(replace(short, batch_size=2), run())
    train(replace(short, batch_size=2), run(overwrite=True))
    (Path(run().out) / "state.pt").unlink()
    with pytest.raises(OutputExistsError, match="last: is there already"):
        train(short, run())


def test_a_training_does_not_go_on_with_more_images_than_it_began_with(
    settings: TrainSettings, run: Run, tmp_path: Path
) -> None:
    for name in "abcd":
        make_pair(tmp_path / "pairs", name, 2.0)
    data = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, steps=2)
    train(data, run(), watcher=Recorder(stop_after=1))
    make_pair(tmp_path / "pairs", "e", 2.0)
    with pytest.raises(UsageError, match="pairs had 3 samples when this training began, and has 4 now"):
        train(data, run())


def test_a_network_that_has_come_apart_is_said_and_not_kept(settings: TrainSettings, run: Run) -> None:
    wild = replace(settings, learning_rate=1e39, learning_rate_end=1e39, clip_norm=0.0)
    with pytest.raises(TrainingError, match=r"step \d: the network has come apart"):
        train(wild, run(save_every=1))
    assert not (Path(run().out) / "state.pt").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_full_disk_is_said_and_the_state_before_stays(settings: TrainSettings, run: Run) -> None:
    import resource

    short = replace(settings, steps=2)
    train(short, run(), watcher=Recorder(stop_after=1))
    before = (Path(run().out) / "state.pt").read_bytes()

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # the system says no in the midst of it
    try:
        with pytest.raises(OutputError, match=r"state\.pt: cannot be written: File too large$") as raised:
            train(short, run())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.hint is not None
    assert "goes on" in raised.value.hint
    assert (Path(run().out) / "state.pt").read_bytes() == before
    assert not list(Path(run().out).glob("*.part"))


def test_a_damaged_state_is_said(settings: TrainSettings, run: Run) -> None:
    Path(run().out).mkdir()
    (Path(run().out) / "state.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is damaged"):
        train(settings, run())


def make_pair(folder: Path, name: str, meters: float, *, size: tuple[int, int] = (80, 48)) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (80, 48), (90, 120, 30)).save(folder / f"{name}.jpg")
    depth = np.full((size[1], size[0]), meters * 1000, np.uint16)
    Image.fromarray(depth).save(folder / f"{name}.png")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_image_without_depth_is_named(settings: TrainSettings, run: Run, tmp_path: Path, workers: int) -> None:
    for name, meters in (("good", 2.0), ("empty", 0.0), ("last", 2.0)):
        make_pair(tmp_path / "pairs", name, meters)
    data = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, validation=settings.data)
    with pytest.raises(InputError, match="empty: has no pixel of known depth"):
        train(data, run(workers=workers))


def test_a_image_and_a_depth_of_two_sizes_are_named(settings: TrainSettings, run: Run, tmp_path: Path) -> None:
    make_pair(tmp_path / "pairs", "good", 2.0)
    make_pair(tmp_path / "pairs", "odd", 2.0, size=(40, 24))
    data = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, validation=settings.data)
    with pytest.raises(InputError, match=r"odd\.png"):
        train(data, run())


@pytest.mark.parametrize(
    ("meters", "size", "said"), [(2.0, (40, 24), r"odd\.png"), (0.0, (80, 48), "no image to validate with")]
)
def test_a_image_that_cannot_be_measured_by_is_named_before_a_step(
    settings: TrainSettings, run: Run, tmp_path: Path, meters: float, size: tuple[int, int], said: str
) -> None:
    make_pair(tmp_path / "pairs", "odd", meters, size=size)
    train(settings, run())
    before = contents(run())
    recorder = Recorder()
    with pytest.raises(InputError, match=said):
        train(replace(settings, validation=(str(tmp_path / "pairs"),)), run(overwrite=True), watcher=recorder)
    assert not recorder.losses
    assert same(contents(run()), before)


def test_a_loss_that_is_no_number_names_the_image(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glpn_cli.training import augmentation

    def poisoned(sample: Any, *arguments: Any, **options: Any) -> Any:
        made = augmentation.augment(sample, *arguments, **options)
        if sample.name.startswith("tum_fr2_pioneer"):
            made.meters[0, 0] = np.inf
        return made

    monkeypatch.setattr("glpn_cli.training.datasets.augment", poisoned)
    with pytest.raises(
        TrainingError, match=r"step \d+: the loss is no number; it comes from (tum_fr2_pioneer/\d+(, )?)+$"
    ):
        train(settings, run())


def test_sizes_and_parts_that_cannot_be_are_refused_before_anything_is_read(settings: TrainSettings, run: Run) -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        train(replace(settings, sizes=((30, 64, 1.0),)), run())
    with pytest.raises(UsageError, match="3 equal parts"):
        train(replace(settings, accumulate=3), run())
    assert not Path(run().out).exists()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_short_training_on_real_images_lowers_the_error_on_one_that_it_has_not_seen(
    settings: TrainSettings, run: Run, precision: str
) -> None:
    from glpn_cli.settings import Precision

    recorder = Recorder()
    longer = replace(
        settings, steps=90, batch_size=6, ema=0.0, drop_path=0.0, learning_rate=6e-3, precision=Precision(precision)
    )
    train(longer, run(validate_every=1), watcher=Recorder(stop_after=1))
    train(longer, run(validate_every=89), watcher=recorder)
    rows = table(Path(run().out) / "validation.csv")
    first, last = float(rows[0]["abs_rel"]), float(rows[-1]["abs_rel"])
    assert last < 0.75 * first, (first, last)
    assert recorder.losses[90] < 0.85 * recorder.losses[2]


def test_what_was_there_stays_until_a_step_of_the_new_training_is_done(
    settings: TrainSettings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(settings, run())
    there = {path: path.read_bytes() for path in Path(run().out).rglob("*") if path.is_file()}
    for name in ("good", "broken"):
        make_pair(tmp_path / "pairs", name, 2.0)
    (tmp_path / "pairs" / "broken.jpg").write_bytes((tmp_path / "pairs" / "good.jpg").read_bytes()[:300])
    bad = replace(settings, data=(str(tmp_path / "pairs"),), batch_size=2, validation=settings.data, seed=1)
    for begin in ("none", str(Path(run().out) / "best")):
        weights = {"init": begin} if begin == "none" else {"init": begin, "config": None}
        with pytest.raises((InputError, UsageError)):
            train(replace(bad, **weights), run(overwrite=True))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError):
        train(replace(settings, seed=1), run(overwrite=True, tensorboard=True))
    assert {path: path.read_bytes() for path in Path(run().out).rglob("*") if path.is_file()} == there


def test_a_training_goes_on_without_the_weights_that_it_began_with(
    settings: TrainSettings, run: Run, tmp_path: Path
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


def test_weights_that_it_would_take_away_are_no_beginning(settings: TrainSettings, run: Run) -> None:
    train(settings, run())
    with pytest.raises(UsageError, match="lies in --out"):
        train(replace(settings, init=str(Path(run().out) / "last"), config=None), run(overwrite=True))
    assert (Path(run().out) / "last" / "model.safetensors").exists()


def test_weights_that_it_began_with_are_measured_too_and_stay_the_best_where_none_are_better(
    settings: TrainSettings, run: Run
) -> None:
    worse = replace(settings, init="tiny", config=None, steps=2, learning_rate=0.1, ema=0.0, clip_norm=0.0)
    outcome = train(worse, run(validate_every=1))
    assert outcome.best_step == 0
    rows = table(Path(run().out) / "validation.csv")
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert outcome.best is not None
    assert float(rows[0]["aligned_abs_rel"]) == pytest.approx(outcome.best["aligned_abs_rel"], rel=1e-5)
    with torch.no_grad():
        kept = read_checkpoint(Path(run().out) / "best")
        began = load_start(worse, "glpn").network.state_dict()
    assert same(dict(kept.tensors), dict(began))
    assert json.loads(kept.metadata["training"])["step"] == 0


def test_a_training_from_weights_that_is_killed_before_its_first_state_begins_again(
    settings: TrainSettings, run: Run
) -> None:
    class Killer(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            if facts.step == 2:
                raise SystemExit

    tuned = replace(settings, init="tiny", config=None, steps=3)
    with pytest.raises(SystemExit):
        train(tuned, run(), watcher=Killer())
    assert not list(Path(run().out).rglob("*.safetensors"))
    recorder = Recorder()
    assert train(tuned, run(), watcher=recorder).finished
    assert min(recorder.losses) == 1


def test_what_it_began_with_counts_as_best_also_after_a_stop(settings: TrainSettings, run: Run) -> None:
    worse = replace(settings, init="tiny", config=None, steps=3, learning_rate=0.1, ema=0.0, clip_norm=0.0)
    assert train(worse, run(), watcher=Recorder(stop_after=1)).best_step == 0
    assert train(worse, run()).best_step == 0
    assert [row["step"] for row in table(Path(run().out) / "validation.csv")] == ["0", "3"]


def test_a_measurement_that_is_done_again_has_one_row(settings: TrainSettings, run: Run) -> None:
    train(settings, run(validate_every=3, until=3))
    state = contents(run())
    state_module.keep_state(Path(run().out) / "state.pt", state | {"due": True})  # killed after the row was written
    train(settings, run(validate_every=3))
    assert [row["step"] for row in table(Path(run().out) / "validation.csv")] == ["3", "6"]


def test_two_processes_do_not_train_in_one_folder(settings: TrainSettings, run: Run) -> None:
    class Second(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            assert facts.step == 1
            with pytest.raises(OutputError, match="another process trains here"):
                train(replace(settings, steps=1), run(overwrite=True))

    assert train(settings, run(until=1), watcher=Second()).step == 1


def test_a_folder_cannot_be_a_file(settings: TrainSettings, run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"mine")
    with pytest.raises(OutputError, match="run: is no folder"):
        train(settings, run())


def test_tensorboard_is_named_where_it_is_not_installed(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError, match="tensorboard"):
        train(settings, run(tensorboard=True))


def test_a_training_that_is_killed_after_its_first_measurement_goes_on(settings: TrainSettings, run: Run) -> None:
    class Killer(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            if facts.step == 3:
                raise SystemExit

    early = {"validate_every": 2, "save_every": 500}
    with pytest.raises(SystemExit):
        train(settings, run("killed", **early), watcher=Killer())
    recorder = Recorder()
    assert train(settings, run("killed", **early), watcher=recorder).finished
    assert min(recorder.losses) == 3


def test_beginning_anew_forgets_the_state_of_before(settings: TrainSettings, run: Run) -> None:
    class Killer(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            raise SystemExit(facts.step)

    train(replace(settings, steps=2), run())
    with pytest.raises(SystemExit):
        train(settings, run(overwrite=True), watcher=Killer())
    assert not (Path(run().out) / "state.pt").exists()


def test_a_training_from_before_a_setting_was_there_goes_on(settings: TrainSettings, run: Run) -> None:
    train(replace(settings, steps=1), run())
    file = Path(run().out) / "state.pt"
    state = torch.load(file, weights_only=True)
    kept = json.loads(state["settings"])
    del kept["muon"]
    torch.save(state | {"settings": json.dumps(kept)}, file)
    assert train(replace(settings, steps=1), run()).finished


def test_a_training_may_end_at_a_step_before_its_last_and_its_weights_be_begun_with(
    settings: TrainSettings, run: Run
) -> None:
    outcome = train(settings, run(until=3))
    assert (outcome.step, outcome.finished, outcome.interrupted) == (3, False, False)
    again = Recorder()
    assert train(settings, run(until=3), watcher=again).step == 3
    assert not again.losses
    second = replace(settings, init=str(Path(run().out) / "last"), config=None, steps=1)
    assert train(second, run("second")).finished
    assert train(settings, run()).finished  # and it can still be gone on with


def test_files_that_are_not_of_a_training_stay(settings: TrainSettings, run: Run) -> None:
    folder = Path(run().out)
    folder.mkdir()
    (folder / "train.csv").write_text("name,price\n", encoding="utf-8")
    with pytest.raises(OutputExistsError, match=r"train\.csv: is there already"):
        train(settings, run())
    with pytest.raises(OutputExistsError, match=r"train\.csv: is not of a training"):
        train(settings, run(overwrite=True))
    assert (folder / "train.csv").read_text(encoding="utf-8") == "name,price\n"
    assert [file.name for file in folder.iterdir()] == ["train.csv"]
    torch.save({"model": 1}, folder / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt: is not the state of a training"):
        train(settings, run())


def test_an_empty_name_of_a_folder_is_refused(settings: TrainSettings, run: Run) -> None:
    with pytest.raises(UsageError, match="--out is empty"):
        train(settings, replace(run(), out=""))


def test_a_training_that_was_killed_before_its_first_state_may_begin_again(settings: TrainSettings, run: Run) -> None:
    class Killer(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            raise SystemExit(facts.step)

    for overwrite in (True, False):
        with pytest.raises(SystemExit):
            train(settings, run(overwrite=overwrite), watcher=Killer())
    assert train(settings, run()).finished


def test_beginning_anew_with_a_mistake_loses_nothing_and_without_one_takes_old_weights_away(
    settings: TrainSettings, run: Run
) -> None:
    class Killer(TrainWatcher):
        def advance(self, facts: StepFacts) -> None:
            raise SystemExit(facts.step)

    train(settings, run())
    before = sorted(Path(run().out).rglob("*"))
    with pytest.raises(UsageError):
        train(replace(settings, validation=("nowhere",)), run(overwrite=True))
    assert sorted(Path(run().out).rglob("*")) == before
    with pytest.raises(SystemExit):
        train(settings, run(overwrite=True), watcher=Killer())
    assert not list(Path(run().out).rglob("*.safetensors"))


def test_what_was_to_be_measured_when_it_stopped_is_measured_first(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch
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


def test_data_that_is_deeper_than_the_weights_is_told(
    settings: TrainSettings, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    watcher = TrainWatcher()
    monkeypatch.setattr(watcher, "note", told.append)
    pairs = trainer.training_sets(settings)
    for limit_m, notes in ((10.0, 1), (80.0, 0)):
        told.clear()
        monkeypatch.setattr(trainer, "training_sets", lambda _: [replace(pairs[0], name="kitti")])
        deep = replace(settings, depth_limit_m=limit_m, steps=1)
        train(deep, run(str(limit_m), overwrite=True), watcher=watcher)
        assert len(told) == notes
    assert not told


def test_a_rate_below_the_paper_s_rises_and_falls_too(settings: TrainSettings) -> None:
    low = replace(settings, learning_rate=1e-6)
    assert low.lowest_rate == pytest.approx(3e-7)
    with pytest.raises(ValueError, match="learning_rate_end"):
        replace(low, learning_rate_end=1e-5)

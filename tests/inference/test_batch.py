from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import glpn_cli
from glpn_cli.errors import InputError, MissingPackageError, OutputError, UsageError
from glpn_cli.inference.batch import Batch, BatchRun, make_batch
from glpn_cli.inference.manifest import MANIFEST_NAME, Manifest, read_records
from glpn_cli.inference.progress import BatchProgress
from glpn_cli.inference.run import RunOptions
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import PredictionSettings, SearchSettings
from glpn_cli.values import Colormap, Tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record

COUNT = 5


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    """The bundled weights at a size that costs little."""
    return glpn_cli.load("tiny", input_size="32x64")


@pytest.fixture(autouse=True)
def images(make_image: Callable[..., Path]) -> None:
    for index in range(COUNT):
        make_image(f"in/{index}.png", 40, 40)


class Progress(BatchProgress):
    """Records what is reported."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.texts: list[str] = []

    def start(self, what: str, total: int) -> None:
        self.events.append(f"{what} {total}")

    def advance(self) -> None:
        self.events.append("advance")

    def stop(self) -> None:
        self.events.append("stop")

    def info(self, text: str) -> None:
        self.texts.append(text)


def batch(tmp_path: Path, *formats: str, **settings: Any) -> Batch:
    return make_batch(tmp_path / "in", tmp_path / "out", formats=formats or ("npy",), weights="tiny", **settings)


def run_all(tmp_path: Path, predictor: Predictor, *formats: str, **settings: Any) -> list[Record]:
    with BatchRun(batch(tmp_path, *formats, **settings), lambda _: predictor) as running:
        return [result.record for result in running]


def written(tmp_path: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.depth.npy")}


def journal(tmp_path: Path) -> Path:
    return tmp_path / "out" / ".glpn-batch.journal"


# Running


def test_a_run_writes_outputs_and_manifest(tmp_path: Path, tiny: Predictor) -> None:
    with BatchRun(batch(tmp_path), lambda _: tiny) as running:
        assert (len(running.tasks), len(running.pending)) == (COUNT, COUNT)
        records = {result.record.source: result.record for result in running}
    assert read_records(tmp_path / "out") == records
    assert len(written(tmp_path)) == COUNT
    assert not journal(tmp_path).exists()


@pytest.mark.parametrize("how", ["moved", "copied", "copied to another depth"])
def test_a_project_elsewhere_resumes(tmp_path: Path, tiny: Predictor, how: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shutil.move(tmp_path / "in", project / "in")
    run_all(project, tiny)
    there = tmp_path / ("elsewhere" if how != "copied to another depth" else "a/b/c")
    if how == "moved":
        shutil.move(project, there)
    else:
        shutil.copytree(project, there, copy_function=shutil.copyfile)  # with new dates
    changed = there / "in" / "0.png"
    Image.open(changed).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(changed)
    before = written(there)
    assert len(before) == COUNT
    records = run_all(there, tiny)
    assert [record.source for record in records] == [str(changed)]
    assert {name for name, date in written(there).items() if date != before[name]} == {"0.depth.npy"}
    assert {Path(source).parent for source in read_records(there / "out")} == {there / "in"}


def test_outputs_that_were_moved_alone_stay_with_their_images(tmp_path: Path, tiny: Predictor) -> None:
    run_all(tmp_path, tiny)
    (tmp_path / "deep").mkdir()
    shutil.move(tmp_path / "out", tmp_path / "deep" / "out")
    with BatchRun(
        make_batch(tmp_path / "in", tmp_path / "deep" / "out", formats="npy", weights="tiny"), lambda _: tiny
    ) as run:
        assert not run.pending


def test_an_image_with_a_new_date_is_not_done_again(tmp_path: Path, tiny: Predictor) -> None:
    run_all(tmp_path, tiny)
    for image in (tmp_path / "in").iterdir():
        os.utime(image, (0, 0))
    assert run_all(tmp_path, tiny) == []


def test_the_predictor_is_loaded_once_with_the_settings(tmp_path: Path, tiny: Predictor) -> None:
    asked: list[PredictionSettings] = []

    def load(settings: PredictionSettings) -> Predictor:
        asked.append(settings)
        return tiny

    with BatchRun(batch(tmp_path, "npy", "glb", max_pixels=10**6), load) as running:
        list(running)
    assert [(settings.weights, settings.max_pixels, settings.keep_rgb) for settings in asked] == [("tiny", 10**6, True)]


def test_progress_tells_of_each_stage(tmp_path: Path, tiny: Predictor) -> None:
    progress = Progress()
    with BatchRun(batch(tmp_path, "color", range="run"), lambda _: tiny, progress=progress) as running:
        list(running)
    stage = ["advance"] * COUNT + ["stop"]
    assert progress.events == [f"color range {COUNT}", *stage, f"depth {COUNT}", *stage]


def test_options_reach_the_run_loop(tmp_path: Path, tiny: Predictor) -> None:
    seen: list[Record] = []
    options = RunOptions(take_notes=True, on_depth=lambda record, _: seen.append(record), describe=True)
    with BatchRun(batch(tmp_path), lambda _: tiny, options=options) as running:
        results = list(running)
    assert len(seen) == COUNT
    assert all(result.facts and result.noted is not None for result in results)


@pytest.mark.parametrize("folder", ["empty", "gone"])
def test_a_batch_without_images_creates_nothing(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    running = BatchRun(make_batch(tmp_path / folder, tmp_path / "out"), lambda _: pytest.fail("loaded"))
    with pytest.raises(InputError if folder == "empty" else UsageError) as caught, running:
        pass
    assert folder in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_one_run_at_a_time(tmp_path: Path, tiny: Predictor) -> None:
    with BatchRun(batch(tmp_path), lambda _: tiny) as running:
        with pytest.raises(OutputError) as caught, BatchRun(batch(tmp_path), lambda _: pytest.fail("loaded")):
            pass
        assert str(tmp_path / "out") in str(caught.value)
        list(running)
    with BatchRun(batch(tmp_path), lambda _: tiny) as running:
        assert not running.pending


def test_an_error_while_entering_releases_the_folder(tmp_path: Path, tiny: Predictor) -> None:
    def fail(settings: PredictionSettings) -> Predictor:
        raise MissingPackageError("no weights")

    with pytest.raises(MissingPackageError), BatchRun(batch(tmp_path), fail):
        pass
    assert len(run_all(tmp_path, tiny)) == COUNT


# Resuming


def leave_early(tmp_path: Path, predictor: Predictor, how: str) -> None:
    if how == "return":
        with BatchRun(batch(tmp_path, workers=1), lambda _: predictor) as running:
            results = iter(running)  # still referenced when the context is left
            next(results)
            next(results)
        assert not list(results)
        return
    error = KeyboardInterrupt if how == "interrupt" else ZeroDivisionError
    with pytest.raises(error), BatchRun(batch(tmp_path, workers=1), lambda _: predictor) as running:
        for number, _ in enumerate(running, start=1):
            if number == 2:
                raise error


@pytest.mark.parametrize("how", ["return", "interrupt", "error"])
def test_a_run_that_is_left_early_resumes(tmp_path: Path, tiny: Predictor, how: str) -> None:
    leave_early(tmp_path, tiny, how)
    before = written(tmp_path)
    assert 2 <= len(before) < COUNT
    assert journal(tmp_path).exists()
    assert {path for record in read_records(tmp_path / "out").values() for path in record.outputs.values()} == set(
        before
    )
    assert len(run_all(tmp_path, tiny)) == COUNT - len(before)
    after = written(tmp_path)
    assert len(after) == COUNT
    assert {name: after[name] for name in before} == before
    assert not journal(tmp_path).exists()


@pytest.mark.parametrize("iterate", [False, True])
def test_a_run_with_nothing_to_do_is_complete(tmp_path: Path, tiny: Predictor, *, iterate: bool) -> None:
    run_all(tmp_path, tiny)
    before = written(tmp_path)
    progress = Progress()
    with BatchRun(batch(tmp_path), lambda _: tiny, progress=progress) as running:
        assert len(running.tasks) == COUNT
        if iterate:
            assert not list(running)
    assert not journal(tmp_path).exists()
    assert (written(tmp_path), progress.events) == (before, [])


def test_failed_images_are_retried(tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]) -> None:
    (tmp_path / "in" / "0.png").write_bytes(b"no image")
    assert [record.status for record in run_all(tmp_path, tiny)].count("failed") == 1
    assert [record.status for record in run_all(tmp_path, tiny)] == ["failed"]
    make_image("in/0.png", 40, 40)
    assert [record.status for record in run_all(tmp_path, tiny)] == ["done"]


def test_other_settings_are_refused_and_change_nothing(tmp_path: Path, tiny: Predictor) -> None:
    run_all(tmp_path, tiny)
    before = (tmp_path / "out" / MANIFEST_NAME).read_bytes()
    with pytest.raises(UsageError) as caught:
        run_all(tmp_path, tiny, scale="published")
    assert "`scale`" in str(caught.value)
    assert (tmp_path / "out" / MANIFEST_NAME).read_bytes() == before


def test_overwrite_redoes_all_and_resumes_if_interrupted(tmp_path: Path, tiny: Predictor) -> None:
    run_all(tmp_path, tiny)
    before = written(tmp_path)
    with BatchRun(batch(tmp_path, overwrite=True), lambda _: tiny) as running:
        assert len(running.pending) == COUNT
        next(iter(running))
    redone = {name for name, time_ns in written(tmp_path).items() if time_ns != before[name]}
    assert 1 <= len(redone) < COUNT
    again = run_all(tmp_path, tiny, overwrite=True)
    assert len(again) == COUNT - len(redone)
    assert all(time_ns != before[name] for name, time_ns in written(tmp_path).items())
    assert len(run_all(tmp_path, tiny, overwrite=True)) == COUNT  # a finished redo starts over


# Color range


def metadata_of(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the metadata of all color images."""
    found = []
    for path in sorted((tmp_path / "out").glob("*.depth-color.png")):
        with Image.open(path) as image:
            found.append(json.loads(image.info["glpn"]))
    return found


@pytest.mark.parametrize("asked", [None, "p0:p100"])
def test_each_image_has_its_own_range(tmp_path: Path, tiny: Predictor, asked: str | None) -> None:
    progress = Progress()
    (tmp_path / "in" / "0.png").unlink()
    Image.new("RGB", (60, 40), "white").save(tmp_path / "in" / "0.png")
    with BatchRun(batch(tmp_path, "color", range=asked), lambda _: tiny, progress=progress) as running:
        records = [result.record for result in running]
        assert running.color_range_m is None
    assert progress.events[0] == f"depth {COUNT}"
    assert not any("range_m" in record.settings for record in records)
    for index, metadata in enumerate(metadata_of(tmp_path)):
        meters = tiny.predict(tmp_path / "in" / f"{index}.png").meters
        low, high = np.percentile(meters, (1, 99) if asked is None else (0, 100))
        assert (metadata["low"], metadata["high"]) == pytest.approx((low, high), rel=1e-5)
    assert len({metadata["high"] for metadata in metadata_of(tmp_path)}) == 2


def test_all_images_of_a_run_share_one_range_on_request(tmp_path: Path, tiny: Predictor) -> None:
    planned = batch(tmp_path, "color", range="run")
    with BatchRun(planned, lambda _: tiny) as running:
        records = [result.record for result in running]
        assert running.color_range_m is not None
        assert running.output.range_m == running.color_range_m
    assert {tuple(record.settings["range_m"]) for record in records} == {running.color_range_m}
    assert {(metadata["low"], metadata["high"]) for metadata in metadata_of(tmp_path)} == {running.color_range_m}
    depths = [tiny.predict(tmp_path / "in" / f"{index}.png").meters for index in range(COUNT)]
    low_m, high_m = running.color_range_m
    assert low_m <= min(np.percentile(meters, 1) for meters in depths)
    assert max(np.percentile(meters, 99) for meters in depths) <= high_m
    assert planned.output.range_m is None


def test_later_images_get_the_range_of_the_earlier_run(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    first = run_all(tmp_path, tiny, "color", range="run")[0].settings["range_m"]
    make_image("in/later.png", 70, 90)
    progress = Progress()
    with BatchRun(batch(tmp_path, "color", range="run"), lambda _: tiny, progress=progress) as running:
        (result,) = running
    assert result.record.settings["range_m"] == first
    assert progress.events[0] == "depth 1"


def test_a_range_that_is_set_needs_no_sample(tmp_path: Path, tiny: Predictor) -> None:
    progress = Progress()
    with BatchRun(batch(tmp_path, "color", range_m=(0.5, 4)), lambda _: tiny, progress=progress) as running:
        assert {tuple(result.record.settings["range_m"]) for result in running} == {(0.5, 4.0)}
    assert progress.events[0] == f"depth {COUNT}"


# Reports


class Reporter:
    """Records what a run tells its report."""

    def __init__(self) -> None:
        self.added: list[str] = []
        self.settled: list[str] = []
        self.ended = ""

    def recorder(self, record: Record, depth: DepthMap) -> str:
        assert depth.meters.shape == (40, 40)
        self.added.append(record.source)
        return record.source

    def settle(self, record: Record, entry: str | None) -> None:
        assert entry == (record.source if record.is_done else None)
        self.settled.append(record.source)

    @contextmanager
    def opened(self, running: BatchRun, fingerprint: dict[str, Any]) -> Iterator[Reporter]:
        assert fingerprint["format"] == ["npy"]
        assert (len(running.tasks), running.predictor.card.name) == (COUNT, "tiny")
        try:
            yield self
        except BaseException:
            self.ended = "incomplete"
            raise
        self.ended = "complete"


def test_a_reporter_gets_every_depth_map_and_record(tmp_path: Path, tiny: Predictor) -> None:
    (tmp_path / "in" / "0.png").write_bytes(b"no image")
    reporter = Reporter()
    with BatchRun(batch(tmp_path), lambda _: tiny, report=reporter.opened) as running:
        list(running)
    assert (len(reporter.added), len(reporter.settled), reporter.ended) == (COUNT - 1, COUNT, "complete")


def test_a_reporter_hears_of_a_run_without_new_images(tmp_path: Path, tiny: Predictor) -> None:
    run_all(tmp_path, tiny)
    reporter = Reporter()
    with BatchRun(batch(tmp_path), lambda _: tiny, report=reporter.opened) as running:
        list(running)
    assert (reporter.added, reporter.settled, reporter.ended) == ([], [], "complete")


def test_a_run_left_early_reports_its_last_writes(tmp_path: Path, tiny: Predictor) -> None:
    reporter = Reporter()
    with BatchRun(batch(tmp_path), lambda _: tiny, report=reporter.opened) as running:
        results = iter(running)
        next(results)
    assert reporter.ended == "incomplete"
    assert len(reporter.added) == len(read_records(tmp_path / "out")) < COUNT
    assert not list(results)


# Settings


def test_make_batch_converts_text() -> None:
    made = make_batch(
        "in", "out", formats="png16, COLOR", colormap="Grey", range="0:10", tiles="auto", include="*.jpg", workers="3"
    )
    assert [row.name for row in made.formats] == ["png16", "color"]
    assert (made.output.colormap, str(made.output.range)) == (Colormap.GRAY, "0:10")
    assert made.prediction.tiles == Tiles.parse("auto")
    assert (made.search.include, made.search.recursive, made.run.workers) == (("*.jpg",), True, 3)
    assert (made.folders, made.out) == (["in"], Path("out").absolute())
    assert make_batch("in", "out", recursive=False).search.recursive is False
    assert [row.name for row in make_batch("in", "out", formats=()).formats] == ["png"]
    assert [row.name for row in make_batch("in", "out", legend=True).formats] == ["color"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"formats": "pgn"}, "formats"),
        ({"formats": ["npy", ""]}, "formats"),
        ({"colormap": "trubo", "formats": "color"}, "colormap"),
        ({"workers": 0}, "workers"),
        ({"output": ""}, "output"),
        ({"range": "3:1"}, "range"),
    ],
)
def test_make_batch_refuses_invalid_settings(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_batch(**({"folders": "in", "output": "out"} | settings))
    assert caught.value.setting == named


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"formats": "npy", "colormap": "magma"}, ("`colormap`", "color")),
        ({"formats": "uncertainty"}, ("`tta='flip'`",)),
        ({"allow_url": True, "offline": True}, ("`allow_url`", "`offline`")),
    ],
)
def test_settings_without_effect_or_in_conflict_are_refused(settings: dict[str, Any], named: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        make_batch("in", "out", **settings)
    assert all(name in str(caught.value) for name in named)


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="colourmap"):
        make_batch("in", "out", colourmap="turbo")


def test_plan_writes_nothing(tmp_path: Path, tiny: Predictor) -> None:
    assert [task.done for task in batch(tmp_path).plan()] == [False] * COUNT
    assert not (tmp_path / "out").exists()
    run_all(tmp_path, tiny)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir())
    assert [task.done for task in batch(tmp_path).plan()] == [True] * COUNT
    assert [task.done for task in batch(tmp_path, overwrite=True).plan()] == [False] * COUNT
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()) == before
    with pytest.raises(InputError, match="include"):
        batch(tmp_path, include="*.bmp").plan()


def test_images_with_colors_keep_the_image(tmp_path: Path) -> None:
    assert not batch(tmp_path, "npy").prediction.keep_rgb
    assert batch(tmp_path, "ply").prediction.keep_rgb
    assert batch(tmp_path, keep_rgb=True).prediction.keep_rgb
    made = Batch(["in"], tmp_path, formats=[FORMATS["npy"]], search=SearchSettings(recursive=False))
    assert made.search.recursive is False


def test_a_batch_of_version_0_1_resumes(tmp_path: Path) -> None:
    """Version 0.1 wrote British names: metres, grey, picture. Its colors were linear and shared a range."""
    made = {"formats": ["color", "ply"], "colormap": "gray", "curve": "linear", "range": "run"}
    tiny = glpn_cli.load("tiny")

    def batch_of(**settings: Any) -> Batch:
        return make_batch(tmp_path / "in", tmp_path / "out", **({"formats": ["color", "ply"]} | settings))

    with BatchRun(batch_of(**made), lambda _: tiny) as running:
        assert running.color_range_m is not None
        list(running)
    low_m, high_m = running.color_range_m
    lines = []
    for record in read_records(tmp_path / "out").values():
        settings = {
            "format": ["color", "ply"],
            "normalize": "max",
            "scale": "metres",
            "weights_sha256": hashlib.sha256(_weights_file().read_bytes()).hexdigest(),
            "input_size": "model",
            "tiles": "off",
            "precision": "float32",
            "colormap": "grey",
            "camera": "of each picture",
            "range_m": [low_m, high_m],
        }
        line = {
            "source": record.source,
            "status": "done",
            "outputs": record.outputs,
            "error": None,
            "hint": None,
            "exit_code": 0,
            "seconds": 0.1,
            "source_mark": record.source_mark,
            "sha256": record.sha256,
            "settings": settings,
        }
        lines.append(json.dumps(line) + "\n")
    (tmp_path / "out" / MANIFEST_NAME).write_text("".join(lines))
    Image.new("RGB", (40, 40)).save(tmp_path / "in" / "later.png")
    with pytest.raises(UsageError) as caught, BatchRun(batch_of(colormap="gray"), lambda _: tiny):
        pass
    assert all(name in caught.value.message for name in ("`curve`", "`range`"))
    assert (tmp_path / "out" / MANIFEST_NAME).read_text() == "".join(lines)
    with BatchRun(batch_of(**made), lambda _: tiny) as running:
        (result,) = running
    assert result.record.source.endswith("later.png")
    assert running.color_range_m == (low_m, high_m)
    with Manifest(tmp_path / "out") as manifest:
        assert {record.settings["scale"] for record in manifest.records.values()} == {"meters"}


def _weights_file() -> Path:
    from glpn_cli.weights.location import locate_weights
    from glpn_cli.weights.store import find_weights_file

    return find_weights_file(locate_weights("tiny").path)

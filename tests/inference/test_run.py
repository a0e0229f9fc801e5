from __future__ import annotations

import errno
import gc
import io
import json
import os
import sys
import threading
import time
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import glpn_cli
from glpn_cli import files
from glpn_cli.device import Runtime
from glpn_cli.errors import DeviceError, GLPNError, ImageError, OutputError, OutputExistsError, UsageError
from glpn_cli.geometry.measure import Anchor
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.manifest import Manifest
from glpn_cli.inference.mirror import plan_mirrored
from glpn_cli.inference.plan import Task, plan_beside
from glpn_cli.inference.run import RunOptions, open_source, run
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings, RunSettings
from glpn_cli.values import Precision
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record
    from glpn_cli.inference.result import Result

GPU = Runtime(torch.device("mps"), Precision.FLOAT32)
"""Not a CPU for the run loop; the stand-in predictors compute on the CPU all the same."""


class _StandIn:
    """A predictor with some attributes changed."""

    def __init__(self, predictor: Predictor, **changes: Any) -> None:
        self._predictor = predictor
        self.__dict__.update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


class _Os:
    """The module `os` with some names changed, for `files` alone."""

    def __init__(self, **changes: Any) -> None:
        self.__dict__.update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _refuse(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    """The bundled weights at a size that costs little."""
    return glpn_cli.load("tiny", input_size="32x64")


@pytest.fixture
def images(make_image: Callable[..., Path]) -> None:
    """Put seven images of two shapes and one broken file into `in/`."""
    for index in range(7):
        make_image(f"in/{index}.png", 60, 80 if index % 2 else 40)
    make_image("in/broken.jpg").write_bytes(b"no image")


def mirrored(
    tmp_path: Path,
    predictor: Any,
    *,
    formats: tuple[str, ...] = ("npy",),
    batch_size: int | None = 2,
    workers: int = 2,
    fixed_threads: bool = True,
    **options: Any,
) -> Generator[Result]:
    """Run the loop as a batch does, with a manifest in `out/`."""
    if fixed_threads:
        predictor = _StandIn(predictor, settings=replace(predictor.settings, threads=1))
    with Manifest(tmp_path / "out") as manifest:
        manifest.begin()
        rows = [FORMATS[name] for name in formats]
        tasks = plan_mirrored([str(tmp_path / "in")], tmp_path / "out", formats=rows, records=manifest.records)
        yield from run(
            [task for task in tasks if not task.done],
            predictor,
            OutputSettings(),
            settings=RunSettings(workers=workers, batch_size=batch_size),
            manifest=manifest,
            options=RunOptions(fingerprint={"precision": "float32"}, **options),
        )


def beside(
    tmp_path: Path, predictor: Any, *arguments: str, output: str | None = None, workers: int = 2, **options: Any
) -> Generator[Result]:
    """Run the loop as `predict` does, without a manifest."""
    named = [argument if argument == "-" else str(tmp_path / argument) for argument in arguments or ("in",)]
    plan = plan_beside(named, output=output, formats=["npy"])
    options_ = RunOptions(named_file=plan.named_file, **options)
    return run(plan.tasks, predictor, OutputSettings(), settings=RunSettings(workers=workers), options=options_)


def names(results: list[Result]) -> list[str]:
    return [Path(result.record.source).name for result in results]


# Results


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 100])
def test_depth_equals_predict_for_any_batch_size(tmp_path: Path, tiny: Predictor, batch_size: int) -> None:
    results = list(mirrored(tmp_path, tiny, batch_size=batch_size))
    assert sorted(result.record.status for result in results) == ["done"] * 7 + ["failed"]
    for index in range(7):
        expected = tiny.predict(tmp_path / "in" / f"{index}.png").meters
        np.testing.assert_array_equal(np.load(tmp_path / "out" / f"{index}.depth.npy"), expected)


@pytest.mark.usefixtures("images")
def test_records_of_done_and_failed_images(tmp_path: Path, tiny: Predictor) -> None:
    results = {Path(result.record.source).name: result for result in mirrored(tmp_path, tiny, formats=("npy", "png"))}
    done, failed = results["0.png"].record, results["broken.jpg"].record
    assert done.outputs == {"npy": "0.depth.npy", "png": "0.depth.png"}
    assert done.seconds > 0
    assert done.settings == {"precision": "float32"}
    assert all(done.matches(name, tmp_path / "out" / path) for name, path in done.outputs.items())
    assert (failed.exit_code, failed.outputs) == (4, {})
    assert "broken.jpg" in str(failed.error)
    assert results["0.png"].is_done
    assert isinstance(results["broken.jpg"].error, ImageError)


def test_results_keep_the_order_of_tasks_on_a_cpu(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    for index in range(12):
        image = make_image(f"in/{index:02}.png", 40, 40 + 40 * (index % 2))
        if index in (0, 5, 6, 11):
            image.write_bytes(b"no image")
    (tmp_path / "in" / "03.depth.npy").write_bytes(b"in the way")
    results = list(beside(tmp_path, tiny, workers=3))
    assert names(results) == [f"{index:02}.png" for index in range(12)]
    assert [index for index, result in enumerate(results) if not result.is_done] == [0, 3, 5, 6, 11]


@pytest.mark.usefixtures("images")
def test_json_record_has_facts_and_errors(tmp_path: Path, tiny: Predictor) -> None:
    results = {Path(result.record.source).name: result for result in beside(tmp_path, tiny, describe=True)}
    done = json.loads(json.dumps(results["1.png"].to_dict(), allow_nan=False))
    assert done["status"] == "done"
    assert done["outputs"] == {"npy": str(tmp_path / "in" / "1.depth.npy")}
    assert done["sha256"] == {"npy": files.file_sha256(tmp_path / "in" / "1.depth.npy")}
    assert done["image_size"] == {"height": 60, "width": 80}
    assert done["depth_m"]["min"] <= done["depth_m"]["median"] <= done["depth_m"]["max"]
    assert done["weights"]["name"] == "tiny"
    assert set(done["elapsed_ms"]) == {"decode", "preprocess", "network", "upsample", "encode", "write"}
    failed = results["broken.jpg"].to_dict()
    assert failed["status"] == "failed"
    assert failed["error"]["exit_code"] == 4
    assert "broken.jpg" in failed["error"]["message"]
    assert results["1.png"].depth is None
    assert all(not result.facts for result in beside(tmp_path, tiny, "in/broken.jpg"))


@pytest.mark.usefixtures("images")
def test_results_that_finish_after_the_generator_is_closed_are_reported(tmp_path: Path, tiny: Predictor) -> None:
    late: list[Result] = []
    results = beside(tmp_path, tiny, on_late=late.append)
    first = next(results)
    results.close()
    written = {str(path) for path in (tmp_path / "in").glob("*.depth.npy")}
    assert {str(path) for result in [first, *late] if result.is_new for _, path in result.task.outputs} == written


def test_a_result_does_not_wait_for_the_next_task(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    taken: list[str] = []
    arrived = threading.Event()

    def tasks() -> Iterator[Task]:
        for name in ("a.png", "gone.png", "b.png"):
            if name != "gone.png":
                make_image(name)
            yield Task(tmp_path / name)
            assert arrived.wait(HANG_S), "the result waited for the next task"
            arrived.clear()

    for result in run(tasks(), tiny, OutputSettings(), options=RunOptions(arriving=True)):
        taken.append(Path(result.record.source).name)
        arrived.set()
    assert taken == ["a.png", "gone.png", "b.png"]


def test_an_error_of_arriving_tasks_ends_the_run(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    def tasks() -> Iterator[Task]:
        yield Task(make_image("a.png"))
        raise UsageError("no more")

    results = run(tasks(), tiny, OutputSettings(), options=RunOptions(arriving=True))
    assert next(results).is_done
    with pytest.raises(UsageError):
        next(results)


@pytest.mark.usefixtures("images")
def test_depth_maps_stay_in_results_on_request(tmp_path: Path, tiny: Predictor) -> None:
    (result,) = beside(tmp_path, tiny, "in/1.png", keep_depth=True)
    assert result.depth is not None
    np.testing.assert_array_equal(result.depth.meters, np.load(tmp_path / "in" / "1.depth.npy"))


@pytest.mark.usefixtures("images")
def test_anchors_scale_depth_after_notes_were_taken(tmp_path: Path, tiny: Predictor) -> None:
    depth = tiny.predict(tmp_path / "in/1.png")
    (result,) = beside(tmp_path, tiny, "in/1.png", anchors=[Anchor(10, 20, 3.5)], take_notes=True, describe=True)
    assert np.load(tmp_path / "in" / "1.depth.npy")[20, 10] == pytest.approx(3.5, rel=1e-5)
    assert result.facts["anchor_factor"] == pytest.approx(3.5 / depth.meters[20, 10], rel=1e-5)
    assert result.noted is not None
    assert result.noted.depth_limit_m == tiny.card.depth_limit_m
    assert result.facts["depth_limit_m"] == pytest.approx(tiny.card.depth_limit_m * result.facts["anchor_factor"])


@pytest.mark.usefixtures("images")
def test_an_anchor_outside_the_image_is_a_failure(tmp_path: Path, tiny: Predictor) -> None:
    (result,) = beside(tmp_path, tiny, "in/1.png", anchors=[Anchor(10, 2000, 3.5)])
    assert isinstance(result.error, GLPNError)
    assert not (tmp_path / "in" / "1.depth.npy").exists()


def test_a_failure_known_beforehand_is_a_result(tmp_path: Path, tiny: Predictor) -> None:
    failure = UsageError("too small", hint="buy a larger one", setting="range")
    (result,) = run([Task("gone", failure=failure)], tiny, OutputSettings())
    assert (result.record.status, result.record.exit_code, result.record.source) == ("failed", 2, "gone")
    assert isinstance(result.error, UsageError)
    assert (result.error.message, result.error.hint, result.error.setting) == (failure.message, failure.hint, "range")


@pytest.mark.usefixtures("images")
def test_errors_of_results_hold_no_frames(tmp_path: Path, tiny: Predictor) -> None:
    (result,) = beside(tmp_path, tiny, "in/broken.jpg")
    assert result.error is not None
    assert result.error.__traceback__ is None
    assert result.error.__context__ is None
    assert any("read_image" in note for note in result.error.__notes__)  # --debug shows where it came from


# Grouping and memory


@pytest.mark.usefixtures("images")
def test_images_of_one_size_are_grouped(tmp_path: Path, tiny: Predictor) -> None:
    groups: list[set[tuple[int, ...]]] = []
    sizes: list[int] = []

    def run_group(group: list[Any]) -> Any:
        groups.append({tuple(image.pixel_values.shape) for image in group})
        sizes.append(len(group))
        return tiny.run(group)

    assert len(list(mirrored(tmp_path, _StandIn(tiny, run=run_group, runtime=GPU), batch_size=3))) == 8
    assert all(len(shapes) == 1 for shapes in groups)
    assert max(sizes) == 3
    assert sum(sizes) == 7


@pytest.mark.usefixtures("images")
def test_a_cpu_takes_one_image_at_a_time(tmp_path: Path, tiny: Predictor) -> None:
    sizes: list[int] = []

    def run_group(group: list[Any]) -> Any:
        sizes.append(len(group))
        return tiny.run(group)

    assert len(list(mirrored(tmp_path, _StandIn(tiny, run=run_group), batch_size=3))) == 8
    assert set(sizes) == {1}


def test_groups_are_halved_until_memory_suffices(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    for index in range(40):
        make_image(f"in/{index:02}.png", 40, 40)
    tried: list[int] = []

    def run_group(group: list[Any]) -> Any:
        tried.append(len(group))
        if len(group) > 4:
            raise DeviceError("not enough memory")
        return tiny.run(group)

    notes: list[str] = []
    stand_in = _StandIn(tiny, run=run_group, runtime=GPU)
    results = list(mirrored(tmp_path, stand_in, batch_size=32, note=notes.append))
    assert [result.record.status for result in results] == ["done"] * 40
    assert tried == [32, 16, 8] + [4] * 10
    assert [note.rpartition(" ")[2] for note in notes] == ["16", "8", "4"]


@pytest.mark.usefixtures("images")
def test_a_single_image_without_enough_memory_fails_alone(tmp_path: Path, tiny: Predictor) -> None:
    def run_group(group: list[Any]) -> Any:
        if any(image.name.endswith("3.png") for image in group):
            raise DeviceError("not enough memory")
        return tiny.run(group)

    stand_in = _StandIn(tiny, run=run_group, runtime=GPU)
    failed = [result for result in mirrored(tmp_path, stand_in, batch_size=2) if not result.is_done]
    assert sorted(names(failed)) == ["3.png", "broken.jpg"]


@pytest.mark.usefixtures("images")
def test_memory_that_runs_out_in_an_npz_fails_one_image(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_array = np.lib.format.write_array
    written: Counter[str] = Counter()

    def fail_once(*arguments: Any, **options: Any) -> None:
        written["arrays"] += 1
        if written["arrays"] == 4:
            raise MemoryError
        write_array(*arguments, **options)

    monkeypatch.setattr("numpy.lib.format.write_array", fail_once)
    monkeypatch.setattr("numpy.lib._npyio_impl.format.write_array", fail_once, raising=False)
    results = list(mirrored(tmp_path, tiny, formats=("npz",), workers=1))
    assert Counter(result.record.exit_code for result in results) == {0: 6, 5: 1, 4: 1}


@pytest.mark.usefixtures("images")
def test_memory_that_runs_out_for_the_report_fails_one_image(tmp_path: Path, tiny: Predictor) -> None:
    def on_depth(record: Record, depth: DepthMap) -> None:
        if record.source.endswith("3.png"):
            raise MemoryError

    results = list(mirrored(tmp_path, tiny, on_depth=on_depth))
    assert Counter(result.record.exit_code for result in results) == {0: 6, 5: 1, 4: 1}


@pytest.mark.parametrize("loop", [mirrored, beside])
def test_only_a_few_images_are_in_memory(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path], loop: Callable[..., Iterator[Result]]
) -> None:
    for index in range(40):
        make_image(f"in/{index:02}.png")
    lock = threading.Lock()
    started = finished = most = 0

    def prepare(source: Path, **keywords: Any) -> Any:
        nonlocal started
        with lock:
            started += 1
        return tiny.prepare(source, **keywords)

    for _ in loop(tmp_path, _StandIn(tiny, prepare=prepare), workers=2):
        finished += 1
        time.sleep(0.01)  # a slow consumer
        most = max(most, started - finished)
    assert finished == 40
    assert most < 20


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Memory must be freed at once: images are large, and few objects are created for each."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("failing", ["", "prepare", "run", "finish", "write"])
def test_images_are_freed_when_their_results_are_out(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    for index in range(6):
        make_image(f"in/{index}.png")
    images: list[weakref.ref[Any]] = []

    def prepare(source: Path, **keywords: Any) -> Any:
        prepared = tiny.prepare(source, **keywords)
        images.append(weakref.ref(prepared.pixel_values))
        if failing == "prepare":
            raise ImageError("broken")
        return prepared

    def run_group(group: list[Any]) -> Any:
        if failing == "run":
            raise DeviceError("not enough memory")
        return tiny.run(group)

    def finish(prepared: Any, predicted: Any, **keywords: Any) -> Any:
        depth = tiny.finish(prepared, predicted, **keywords)
        images.append(weakref.ref(depth.meters))
        if failing == "finish":
            raise DeviceError("not enough memory")
        return depth

    if failing == "write":
        monkeypatch.setattr(files, "os", _Os(link=_refuse))
    stand_in = _StandIn(tiny, prepare=prepare, run=run_group, finish=finish)
    results = list(beside(tmp_path, stand_in, workers=2))
    assert [result.is_done for result in results] == [not failing] * 6
    assert len(images) == (6 if failing in ("prepare", "run") else 12)
    assert not [image for image in images if image() is not None]


def test_an_image_is_freed_before_the_next_one_is_read(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    for index in range(6):
        make_image(f"in/{index}.png")
    inputs: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def prepare(source: Path, **keywords: Any) -> Any:
        alive.append(sum(image() is not None for image in inputs))
        prepared = tiny.prepare(source, **keywords)
        inputs.append(weakref.ref(prepared.pixel_values))
        return prepared

    list(beside(tmp_path, _StandIn(tiny, prepare=prepare), workers=1))
    assert len(alive) == 6
    assert max(alive) <= 2  # one waits to be predicted while one is predicted


def test_images_with_tiles_do_not_accumulate(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    for index in range(8):
        make_image(f"in/{index}.png", 40, 70)
    predictor = glpn_cli.load("tiny", input_size="32x64", tiles="32x32")
    lock = threading.Lock()
    held, most = 0, 0

    def prepare(*arguments: Any, **keywords: Any) -> Any:
        nonlocal held, most
        prepared = predictor.prepare(*arguments, **keywords)
        assert prepared.rgb is not None
        with lock:
            held += 1
            most = max(most, held)
        return prepared

    def finish(*arguments: Any, **keywords: Any) -> Any:
        nonlocal held
        with lock:
            held -= 1
        return predictor.finish(*arguments, **keywords)

    stand_in = _StandIn(predictor, prepare=prepare, finish=finish)
    assert all(result.is_done for result in mirrored(tmp_path, stand_in, batch_size=4, workers=2))
    assert most <= 3


@pytest.mark.parametrize("in_order", [True, False])
def test_results_of_two_sizes_in_order(tmp_path: Path, make_image: Callable[..., Path], in_order: bool) -> None:
    order = ["w", "t", "w", "t", "t", "w"]
    for index, size in enumerate(order):
        make_image(f"in/{index}{size}.png", *((32, 64) if size == "w" else (64, 32)))
    (tmp_path / "in" / "3x.png").write_bytes(b"no image")
    native = _StandIn(glpn_cli.load("tiny", input_size="native"), cpu_passes=3)
    found = names(list(beside(tmp_path, native, in_order=in_order)))
    assert sorted(found) == sorted(path.name for path in (tmp_path / "in").glob("*.png"))
    assert (found == sorted(found)) == in_order


def test_results_that_wait_for_their_turn_are_not_lost(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    for index, height in enumerate([32, 64, 64, 64, 64, 32]):
        make_image(f"in/{index}.png", height, 96 - height)
    late: list[Result] = []
    native = _StandIn(glpn_cli.load("tiny", input_size="native"), cpu_passes=2)
    results = beside(tmp_path, native, in_order=True, on_late=late.append)
    seen = [next(results)]
    results.close()
    written = {path.name for path in (tmp_path / "in").glob("*.npy")}
    assert written == {f"{Path(result.record.source).stem}.depth.npy" for result in seen + late}


# Threads


def test_reading_predicting_and_writing_overlap(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(4):
        make_image(f"in/{index}.png")
    begun: Counter[str] = Counter()
    changed = threading.Condition()
    overlaps: list[tuple[str, bool]] = []

    def during(stage: str, function: Callable[..., Any], other: str = "") -> Callable[..., Any]:
        """Let the first call of a stage wait until the other one begins with the second image."""

        def watched(*arguments: Any, **keywords: Any) -> Any:
            with changed:
                begun[stage] += 1
                changed.notify_all()
                if other and begun[stage] == 1:
                    overlaps.append((stage, changed.wait_for(lambda: begun[other] > 1, HANG_S)))
            return function(*arguments, **keywords)

        return watched

    monkeypatch.setattr(files, "write_new", during("write", files.write_new, "predict"))
    stand_in = _StandIn(tiny, prepare=during("read", tiny.prepare), run=during("predict", tiny.run, "read"))
    assert len(list(beside(tmp_path, stand_in, workers=1))) == 4
    assert sorted(overlaps) == [("predict", True), ("write", True)]


@pytest.mark.parametrize("fixed", [False, True])
def test_threads_are_tuned_and_restored_unless_fixed(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, *, fixed: bool
) -> None:
    for index in range(20):
        make_image(f"in/{index}.png", 640, 480)  # reading and writing take longer than so small a network
    counts: list[int] = []
    predictor = glpn_cli.load("tiny", input_size="32x32", device="cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    assert len(list(mirrored(tmp_path, predictor, batch_size=1, fixed_threads=fixed))) == 20
    assert (1 in counts) is not fixed
    assert counts[-1:] == ([] if fixed else [2])


@pytest.mark.usefixtures("images")
def test_on_depth_is_called_before_outputs_appear(tmp_path: Path, tiny: Predictor) -> None:
    seen: dict[str, bool] = {}
    threads: set[str] = set()

    def on_depth(record: Record, depth: DepthMap) -> None:
        assert depth.meters.shape[0] == 60
        seen[record.source] = (tmp_path / "out" / record.outputs["npy"]).exists()
        threads.add(threading.current_thread().name)

    results = list(mirrored(tmp_path, tiny, on_depth=on_depth))
    assert seen == {result.record.source: False for result in results if result.is_done}
    assert threading.current_thread().name not in threads


@pytest.mark.usefixtures("images")
def test_a_bug_is_not_hidden_as_a_failure(tmp_path: Path, tiny: Predictor) -> None:
    def run_group(group: list[Any]) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(mirrored(tmp_path, _StandIn(tiny, run=run_group)))


# Writing


def test_outputs_are_depth_images(tmp_path: Path, tiny: Predictor, photo: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(photo.read_bytes())
    list(mirrored(tmp_path, tiny, formats=("png",)))
    with Image.open(tmp_path / "out" / "a.depth.png") as image:
        assert image.size == (600, 400)


@pytest.mark.usefixtures("images")
def test_a_full_disk_ends_the_run_and_the_next_resumes(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_new = files.write_new
    written: list[Path] = []

    def write(path: Path, data: bytes, *, durable: bool) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write_new(path, data, durable=durable)

    with monkeypatch.context() as patch, pytest.raises(OutputError) as caught:
        patch.setattr(files, "write_new", write)
        list(mirrored(tmp_path, tiny, workers=1))
    assert files.is_disk_wide(caught.value)
    assert len(list((tmp_path / "out").glob("*.npy"))) == 3
    results = list(mirrored(tmp_path, tiny))
    assert len(results) == 5
    assert len(list((tmp_path / "out").glob("*.npy"))) == 7
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.mark.usefixtures("images")
def test_without_a_manifest_every_image_meets_the_full_disk(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes, *, durable: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_new", refuse)
    codes = [result.record.exit_code for result in beside(tmp_path, tiny)]
    assert codes == [6] * 7 + [4]


@pytest.mark.usefixtures("images")
def test_a_removed_output_folder_ends_the_run(tmp_path: Path, tiny: Predictor) -> None:
    def remove(record: Record, depth: DepthMap) -> None:
        for path in (tmp_path / "out").iterdir():
            path.unlink()
        (tmp_path / "out").rmdir()

    with pytest.raises(OutputError) as caught:
        list(mirrored(tmp_path, tiny, workers=1, on_depth=remove))
    assert str(tmp_path / "out") in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("images")
def test_a_failed_write_leaves_no_output_of_its_image(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refuse(partial: Path, target: Path) -> None:
        if Path(target).name == "3.depth.png":  # its npy has its name already
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        link(partial, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "link", refuse)
        results = list(mirrored(tmp_path, tiny, formats=("npy", "png")))
    failed = {Path(result.record.source).name: result.record.exit_code for result in results if not result.is_done}
    assert failed == {"3.png": 6, "broken.jpg": 4}
    assert not list((tmp_path / "out").glob("3.*"))
    assert not list((tmp_path / "out").glob(".glpn*part"))
    again = [result for result in mirrored(tmp_path, tiny, formats=("npy", "png")) if result.is_done]
    assert names(again) == ["3.png"]


@pytest.mark.usefixtures("images")
def test_a_file_that_appears_after_the_plan_is_not_replaced(tmp_path: Path, tiny: Predictor) -> None:
    def interfere(record: Record, depth: DepthMap) -> None:
        (tmp_path / "out" / record.outputs["npy"]).write_bytes(b"theirs")

    for result in mirrored(tmp_path, tiny, on_depth=interfere):
        if result.record.exit_code != 4:
            assert isinstance(result.error, OutputExistsError)
    assert {path.read_bytes() for path in (tmp_path / "out").glob("*.npy")} == {b"theirs"}


@pytest.mark.usefixtures("images")
def test_own_outputs_are_replaced_unless_edited_meanwhile(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    list(mirrored(tmp_path, tiny))
    before = (tmp_path / "out" / "0.depth.npy").read_bytes()
    for name in ("0", "1"):  # both changed
        make_image(f"in/{name}.png", 50, 50)

    def interfere(record: Record, depth: DepthMap) -> None:
        if record.source.endswith("1.png"):
            (tmp_path / "out" / "1.depth.npy").write_bytes(b"edited")

    results = {Path(result.record.source).name: result for result in mirrored(tmp_path, tiny, on_depth=interfere)}
    assert results["0.png"].is_done
    assert (tmp_path / "out" / "0.depth.npy").read_bytes() != before
    assert isinstance(results["1.png"].error, OutputExistsError)
    assert (tmp_path / "out" / "1.depth.npy").read_bytes() == b"edited"


@pytest.mark.usefixtures("images")
def test_a_file_that_takes_the_place_of_a_lost_output_is_not_replaced(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(mirrored(tmp_path, tiny))
    make_image("in/0.png", 50, 50)  # changed, so that its output is written again
    lost = tmp_path / "out" / "0.depth.npy"
    lost.unlink()
    link = os.link

    def appear(partial: Path, target: Path) -> None:
        if Path(target) == lost:
            lost.write_bytes(b"theirs")  # after the last check
        link(partial, target)

    monkeypatch.setattr(files.os, "link", appear)
    results = {Path(result.record.source).name: result for result in mirrored(tmp_path, tiny)}
    assert isinstance(results["0.png"].error, OutputExistsError)
    assert lost.read_bytes() == b"theirs"


@pytest.mark.usefixtures("images")
@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_only_a_named_output_follows_a_link(tmp_path: Path, tiny: Predictor) -> None:
    (tmp_path / "linked.npy").write_bytes(b"old")
    (tmp_path / "link.npy").symlink_to("linked.npy")
    (tmp_path / "in" / "1.depth.npy").symlink_to(tmp_path / "precious.npy")
    (tmp_path / "precious.npy").write_bytes(b"precious")
    plan = plan_beside([str(tmp_path / "in/1.png")], output=str(tmp_path / "link.npy"), overwrite=True)
    list(run(plan.tasks, tiny, OutputSettings(), options=RunOptions(named_file=plan.named_file)))
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "linked.npy").shape == (60, 80)
    plan = plan_beside([str(tmp_path / "in/1.png")], formats=["npy"], overwrite=True)
    list(run(plan.tasks, tiny, OutputSettings(), options=RunOptions(named_file=plan.named_file)))
    assert not (tmp_path / "in" / "1.depth.npy").is_symlink()
    assert (tmp_path / "precious.npy").read_bytes() == b"precious"


@pytest.mark.usefixtures("images")
def test_bytes_for_standard_output_are_in_the_result(tmp_path: Path, tiny: Predictor) -> None:
    before = sorted(tmp_path.rglob("*"))
    (result,) = beside(tmp_path, tiny, "in/1.png", output="-")
    assert result.stdout is not None
    np.testing.assert_array_equal(np.load(io.BytesIO(result.stdout)), tiny.predict(tmp_path / "in/1.png").meters)
    assert sorted(tmp_path.rglob("*")) == before


# Sources and interrupts


def test_a_source_that_vanishes_is_a_failure(tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]) -> None:
    make_image("in/a.png")
    gone = make_image("in/b.png")

    def prepare(source: Path, **keywords: Any) -> Any:
        gone.unlink(missing_ok=True)
        return tiny.prepare(source, **keywords)

    results = mirrored(tmp_path, _StandIn(tiny, prepare=prepare))
    statuses = {Path(result.record.source).name: result.record.status for result in results}
    assert statuses == {"a.png": "done", "b.png": "failed"}


def test_closing_finishes_what_is_being_written(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    for index in range(12):
        make_image(f"in/{index:02}.png")
    results = mirrored(tmp_path, tiny)
    next(results)
    results.close()
    finished = list((tmp_path / "out").glob("*.npy"))
    assert 0 < len(finished) < 12
    with Manifest(tmp_path / "out") as manifest:
        assert sorted(path for record in manifest.records.values() for path in record.outputs.values()) == sorted(
            path.name for path in finished
        )


class _Stdin:
    """Standard input that calls a function when it is read."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self.buffer = self
        self._read = read

    def read(self, _size: int) -> bytes:
        return self._read()


def test_standard_input_is_an_image(
    tmp_path: Path, tiny: Predictor, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    (result,) = beside(tmp_path, tiny, "-", output=f"{tmp_path}/out.npy", describe=True)
    assert result.to_dict()["source"] == "-"
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), tiny.predict(photo).meters)


@pytest.mark.usefixtures("images")
def test_images_before_standard_input_do_not_wait_for_it(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[str] = []

    def read() -> bytes:
        assert results == ["0.png", "1.png"]
        return b""

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(sys, "stdin", _Stdin(read))
    for result in beside(tmp_path, tiny, "in/0.png", "in/1.png", "-", "in/2.png", output=str(tmp_path / "out")):
        results += names([result])
    assert results == ["0.png", "1.png", "-", "2.png"]


@pytest.mark.usefixtures("images")
def test_an_interrupt_ends_reading_standard_input(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> bytes:
        assert threading.current_thread() is threading.main_thread()
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(sys, "stdin", _Stdin(read))
    results = beside(tmp_path, tiny, "in/0.png", "-", "in/1.png", output=str(tmp_path / "out"))
    assert names([next(results)]) == ["0.png"]
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.depth.npy"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("glpn-read", "glpn-write"))]


def test_standard_input_that_is_too_long_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.inference.run.MAX_STREAM_BYTES", 10)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(11))))
    with pytest.raises(ImageError):
        open_source(plan_beside(["-"]).tasks[0].source, stopwatch=Stopwatch())


def test_standard_input_that_cannot_be_read_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> bytes:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))

    monkeypatch.setattr(sys, "stdin", _Stdin(read))
    with pytest.raises(ImageError, match=os.strerror(errno.EISDIR)):
        open_source(plan_beside(["-"]).tasks[0].source, stopwatch=Stopwatch())


@pytest.mark.usefixtures("images")
def test_closing_stops_downloads(tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.image.fetching import Address

    stopped = threading.Event()
    started = threading.Event()

    def fetch(address: Address, *, stopper: Any) -> bytes:
        class Deadline:
            def expire(self) -> None:
                stopped.set()

        with stopper.stopping(Deadline()):
            started.set()
            assert stopped.wait(HANG_S)
        raise ImageError("stopped")

    monkeypatch.setattr("glpn_cli.inference.run.fetch_image", fetch)
    tasks = plan_beside([str(tmp_path / "in/0.png")], formats=["npy"]).tasks
    url = Task(Address.parse("http://localhost/a.jpg"), ((FORMATS["npy"], tmp_path / "a.npy"),))
    results = run([*tasks, url], tiny, OutputSettings(), settings=RunSettings(workers=2))
    next(results)
    assert started.wait(HANG_S)
    results.close()
    assert stopped.is_set()
    assert not (tmp_path / "a.npy").exists()

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import glpn_cli
from glpn_cli import files as writer
from glpn_cli.device import Runtime
from glpn_cli.errors import DeviceError, OutputError
from glpn_cli.inference.batch import run_batch
from glpn_cli.inference.manifest import Manifest, Record
from glpn_cli.inference.mirror import mirror_folders
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings, Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from glpn_cli.inference.predictor import Predictor


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return glpn_cli.load("tiny")


@pytest.fixture
def images(make_image: Callable[..., Path]) -> None:
    """Put seven images of two shapes and one broken file into `in/`."""
    for index in range(7):
        make_image(f"in/{index}.png", 60, 80 if index % 2 else 40)
    make_image("in/broken.jpg").write_bytes(b"no image")


def stream(
    tmp_path: Path,
    predictor: Any,
    *,
    formats: tuple[str, ...] = ("npy",),
    batch_size: int | None = 2,
    workers: int = 2,
    **more: Any,
) -> Generator[Record]:
    with Manifest(tmp_path / "out") as manifest:
        manifest.begin()
        rows = [FORMATS[name] for name in formats]
        found = mirror_folders([str(tmp_path / "in")], tmp_path / "out", formats=rows, records=manifest.records)
        to_do = [image for image in found if not image.done]
        yield from run_batch(
            to_do,
            predictor,
            manifest,
            output_settings=OutputSettings(),
            settings={"precision": "float32"},
            workers=workers,
            batch_size=batch_size,
            **more,
        )


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 100])
def test_every_image_gets_the_depth_that_predict_gives(tmp_path: Path, tiny: Predictor, batch_size: int) -> None:
    records = list(stream(tmp_path, tiny, batch_size=batch_size))
    assert sorted(record.status for record in records) == ["done"] * 7 + ["failed"]
    for index in range(7):
        expected = tiny.predict(tmp_path / "in" / f"{index}.png").meters
        np.testing.assert_array_equal(np.load(tmp_path / "out" / f"{index}.depth.npy"), expected)


@pytest.mark.usefixtures("images")
def test_a_record_tells_what_happened(tmp_path: Path, tiny: Predictor) -> None:
    records = {Path(record.source).name: record for record in stream(tmp_path, tiny, formats=("npy", "png"))}
    done, failed = records["0.png"], records["broken.jpg"]
    assert done.outputs == {"npy": "0.depth.npy", "png": "0.depth.png"}
    assert done.seconds > 0
    assert all(done.matches(name, tmp_path / "out" / path) for name, path in done.outputs.items())
    assert (failed.exit_code, failed.outputs) == (4, {})
    assert "broken.jpg" in str(failed.error)


GPU = Runtime(torch.device("mps"), Precision.FLOAT32)
"""Not a CPU, as far as the batch is concerned; the images of a stand-in are computed on one all the same."""


class _Stand:
    """A predictor that is one of ours but for what a test changes."""

    def __init__(self, predictor: Predictor, **changes: Any) -> None:
        self._predictor = predictor
        self.__dict__.update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


@pytest.mark.usefixtures("images")
def test_images_of_one_size_go_together(tmp_path: Path, tiny: Predictor) -> None:
    groups: list[set[tuple[int, ...]]] = []
    sizes: list[int] = []

    def run(group: list[Any]) -> Any:
        groups.append({tuple(image.pixel_values.shape) for image in group})
        sizes.append(len(group))
        return tiny.run(group)

    assert len(list(stream(tmp_path, _Stand(tiny, run=run, runtime=GPU), batch_size=3))) == 8
    assert all(len(shapes) == 1 for shapes in groups)
    assert max(sizes) == 3
    assert sum(sizes) == 7


@pytest.mark.usefixtures("images")
def test_a_cpu_takes_one_image_whatever_number_is_asked_for(tmp_path: Path, tiny: Predictor) -> None:
    sizes: list[int] = []

    def run(group: list[Any]) -> Any:
        sizes.append(len(group))
        return tiny.run(group)

    assert len(list(stream(tmp_path, _Stand(tiny, run=run), batch_size=3))) == 8
    assert set(sizes) == {1}


def test_a_group_that_is_too_much_for_the_memory_is_halved_until_it_fits(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    for index in range(40):
        make_image(f"in/{index:02}.png", 40, 40)
    tried: list[int] = []

    def run(group: list[Any]) -> Any:
        tried.append(len(group))
        if len(group) > 4:
            raise DeviceError("not enough memory")
        return tiny.run(group)

    told: list[str] = []
    records = list(stream(tmp_path, _Stand(tiny, run=run, runtime=GPU), batch_size=32, tell=told.append))
    assert [record.status for record in records] == ["done"] * 40
    assert tried == [32, 16, 8] + [4] * 10
    assert [line.rpartition(" ")[2] for line in told] == ["16", "8", "4"]
    assert all("too much for the memory; going on with" in line for line in told)


def test_threads_are_given_back_when_the_run_has_changed_their_number(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(20):
        make_image(f"in/{index}.png", 640, 480)  # reading and writing take longer than so small a network
    counts: list[int] = []
    predictor = glpn_cli.load("tiny", input_size="32x32", device="cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    assert len(list(stream(tmp_path, predictor, batch_size=1, threads_fixed=False))) == 20
    assert 1 in counts
    assert counts[-1] == 2


@pytest.mark.usefixtures("images")
def test_a_single_image_that_is_too_much_fails_alone(tmp_path: Path, tiny: Predictor) -> None:
    def run(group: list[Any]) -> Any:
        if any(image.name.endswith("3.png") for image in group):
            raise DeviceError("not enough memory")
        return tiny.run(group)

    stand = _Stand(tiny, run=run, runtime=GPU)
    failed = [record for record in stream(tmp_path, stand, batch_size=2) if not record.is_done]
    assert sorted(Path(record.source).name for record in failed) == ["3.png", "broken.jpg"]


@pytest.mark.usefixtures("images")
def test_a_bug_is_not_hidden_as_a_failure(tmp_path: Path, tiny: Predictor) -> None:
    def run(group: list[Any]) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(stream(tmp_path, _Stand(tiny, run=run)))


@pytest.mark.usefixtures("images")
def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_to_disk = writer._write_to_disk
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write_to_disk(path, data)

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space left"):
        patch.setattr(writer, "_write_to_disk", write)
        list(stream(tmp_path, tiny, workers=1))
    assert len(list((tmp_path / "out").glob("*.npy"))) == 3
    records = list(stream(tmp_path, tiny))
    assert len(records) == 5
    assert len(list((tmp_path / "out").glob("*.npy"))) == 7
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.mark.usefixtures("images")
def test_a_failure_to_write_one_image_leaves_nothing_of_it(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = writer._name_without_replacing

    def refuse(partial: Path, target: Path) -> None:
        if target.name == "3.depth.png":  # its npy has its name already
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        name(partial, target)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_name_without_replacing", refuse)
        failed = {
            Path(record.source).name: record.exit_code
            for record in stream(tmp_path, tiny, formats=("npy", "png"))
            if not record.is_done
        }
    assert failed == {"3.png": 6, "broken.jpg": 4}
    assert not list((tmp_path / "out").glob("3.*"))
    assert not list((tmp_path / "out").glob(".glpn*part"))
    assert {
        Path(record.source).name for record in stream(tmp_path, tiny, formats=("npy", "png")) if record.is_done
    } == {"3.png"}


def test_only_a_few_images_are_in_memory_however_many_there_are(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    for index in range(40):
        make_image(f"in/{index:02}.png")
    begun, lock = [0], threading.Lock()
    most = 0
    finished = 0

    def prepare(source: Path, **keywords: Any) -> Any:
        with lock:
            begun[0] += 1
        return tiny.prepare(source, **keywords)

    for _ in stream(tmp_path, _Stand(tiny, prepare=prepare), workers=2, batch_size=2):
        finished += 1
        time.sleep(0.01)  # a slow consumer
        most = max(most, begun[0] - finished)
    assert finished == 40
    assert most < 20


def test_reading_computing_and_writing_overlap(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(6):
        make_image(f"in/{index}.png")
    busy: set[str] = set()
    seen_together: set[frozenset[str]] = set()
    lock = threading.Lock()

    def during(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any, **keywords: Any) -> Any:
            with lock:
                busy.add(stage)
                seen_together.add(frozenset(busy))
            time.sleep(0.03)
            try:
                return function(*arguments, **keywords)
            finally:
                with lock:
                    busy.discard(stage)

        return slow

    monkeypatch.setattr(writer, "_write_to_disk", during("write", writer._write_to_disk))
    stand = _Stand(tiny, prepare=during("read", tiny.prepare), run=during("compute", tiny.run))
    assert len(list(stream(tmp_path, stand, workers=1, batch_size=1))) == 6
    assert any({"read", "compute"} <= together for together in seen_together)
    assert any({"compute", "write"} <= together for together in seen_together)


def test_closing_the_stream_finishes_what_is_being_written(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    for index in range(12):
        make_image(f"in/{index:02}.png")
    records = stream(tmp_path, tiny)
    next(records)
    records.close()
    finished = list((tmp_path / "out").glob("*.npy"))
    assert 0 < len(finished) < 12
    with Manifest(tmp_path / "out") as manifest:
        assert sorted(path for record in manifest.records.values() for path in record.outputs.values()) == sorted(
            path.name for path in finished
        )


def test_a_source_that_vanishes_is_a_failure(tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]) -> None:
    make_image("in/a.png")
    gone = make_image("in/b.png")
    records = stream(tmp_path, tiny, batch_size=1, workers=1)

    class _Vanishing(_Stand):
        def prepare(self, source: Path, **keywords: Any) -> Any:
            gone.unlink(missing_ok=True)
            return tiny.prepare(source, **keywords)

    records = stream(tmp_path, _Vanishing(tiny))
    statuses = {Path(record.source).name: record.status for record in records}
    assert statuses == {"a.png": "done", "b.png": "failed"}


def test_outputs_of_a_batch_are_depth_images(tmp_path: Path, tiny: Predictor, photo: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(photo.read_bytes())
    list(stream(tmp_path, tiny, formats=("png",)))
    with Image.open(tmp_path / "out" / "a.depth.png") as image:
        assert image.size == (600, 400)


def test_images_with_tiles_do_not_pile_up_while_they_wait(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    for index in range(8):
        make_image(f"in/{index}.png", 70, 70)
    predictor = glpn_cli.load("tiny", tiles="32x32")
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

    stand = _Stand(predictor, prepare=prepare, finish=finish)
    assert all(record.is_done for record in stream(tmp_path, stand, batch_size=4, workers=2))
    assert most <= 3

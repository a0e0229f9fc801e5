from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glpn_cli
from glpn_cli.api import open_batch
from glpn_cli.errors import GLPNError, InputError, OutputError, OutputExistsError, UsageError, WeightsError
from glpn_cli.inference.batch import make_batch
from glpn_cli.inference.load import load_predictor
from glpn_cli.inference.manifest import read_records
from glpn_cli.inference.progress import BatchProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.inference.result import Result


@pytest.fixture(autouse=True)
def images(make_image: Callable[..., Path]) -> None:
    """Put three images and a broken one into `in/`."""
    for name in ("a.png", "b.png", "sub/c.png"):
        make_image(f"in/{name}", 40, 60)
    make_image("in/x.jpg").write_bytes(b"no image")


def report_sources(folder: Path) -> set[str]:
    """Return the names of the images in the index of a report."""
    index = (folder / "glpn-report" / "images.js").read_text()
    return {name for name in ("a.png", "b.png", "c.png", "later.png", "x.jpg") if name in index}


def test_records_are_values(tmp_path: Path) -> None:
    records = glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", formats=["npy", "png"])
    by_name = {Path(record.source).name: record for record in records}
    assert {name: record.status for name, record in by_name.items()} == {
        "a.png": "done",
        "b.png": "done",
        "c.png": "done",
        "x.jpg": "failed",
    }
    done, failed = by_name["c.png"], by_name["x.jpg"]
    assert done.outputs == {"npy": "sub/c.depth.npy", "png": "sub/c.depth.png"}
    assert done.matches("npy", tmp_path / "out" / "sub" / "c.depth.npy")
    assert (failed.exit_code, failed.outputs) == (4, {})
    assert "x.jpg" in str(failed.error)
    depth = glpn_cli.load("tiny").predict(tmp_path / "in" / "a.png")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "a.depth.npy"), depth.meters)


def test_a_second_call_resumes(tmp_path: Path) -> None:
    first = glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.depth.png")}
    calls: list[str] = []

    def progress(result: Result, finished: int, total: int) -> None:
        calls.append(f"{Path(result.record.source).name} {finished}/{total}")

    again = glpn_cli.run_batch(str(tmp_path / "in"), str(tmp_path / "out"), weights="tiny", progress=progress)
    assert {record.source: record.status for record in again} == {record.source: record.status for record in first}
    assert calls == ["x.jpg 1/1"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_progress_counts_and_may_end_the_run(tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []

    def progress(result: Result, finished: int, total: int) -> None:
        counts.append((finished, total))
        if finished == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", workers=1, progress=progress)
    assert counts == [(1, 4), (2, 4)]
    done = read_records(tmp_path / "out")
    assert len(done) >= 2
    records = glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny")
    assert len(records) == 4
    assert all(done[source] == record for record in records if (source := record.source) in done)


def test_several_folders_and_text_settings(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image("more/d.png", 40, 40)
    records = glpn_cli.run_batch(
        [tmp_path / "in" / "sub", str(tmp_path / "more")],
        tmp_path / "out",
        weights="tiny",
        colormap="magma",
        range="0:10",
        tta="flip",
        input_size="64x96",
        workers="1",
    )
    assert [record.outputs for record in records] == [
        {"color": "sub/c.depth-color.png"},
        {"color": "more/d.depth-color.png"},
    ]
    assert records[0].settings["colormap"] == "magma"
    assert records[0].settings["range_m"] == [0.0, 10.0]
    assert (records[0].settings["tta"], records[0].settings["input_size"]) == ("flip", "64x96")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"formats": "pgn"}, "formats"),
        ({"colormap": "trubo"}, "colormap"),
        ({"precision": "int8"}, "precision"),
        ({"batch_size": 0}, "batch_size"),
        ({"output": ""}, "output"),
        ({"folders": []}, "folders"),
    ],
)
def test_an_invalid_setting_is_refused_before_anything_happens(
    tmp_path: Path, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError) as caught:
        glpn_cli.run_batch(**({"folders": tmp_path / "in", "output": tmp_path / "out"} | settings))
    assert caught.value.setting == named
    assert not (tmp_path / "out").exists()


def test_an_unknown_setting_is_a_type_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"colourmap.*'colormap'"):
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", colourmap="magma")
    with pytest.raises(TypeError, match=r"formts.*'formats'"):
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", formts="npz")


@pytest.mark.parametrize(
    "arguments",
    [
        {"folders": []},
        {"folders": ""},
        {"folders": "in/a.png"},
        {"folders": "in", "output": ""},
        {"folders": "in", "weights": ""},
        {"folders": "in", "weights": "nyu", "offline": True},
        {"folders": "in", "weights": "nyu"},
        {"folders": "in", "weights": "nyv"},
        {"folders": "in", "colormap": "magma", "formats": "npz"},
        {"folders": "in", "formats": "uncertainty"},
    ],
)
def test_hints_name_no_command(tmp_path: Path, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GLPNError) as caught:
        glpn_cli.run_batch(**({"output": "out"} | arguments))
    text = f"{caught.value} {caught.value.hint}"
    assert not re.search(r"glpn [a-z]|(?<!\w)--[a-z]|command|shell|flag", text), text


def test_approximate_weights_give_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.inference.load._warned_names", set())
    with pytest.warns(glpn_cli.ApproximateDepthWarning) as caught:
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny")
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("folder", "settings", "error"),
    [
        ("empty", {}, InputError),
        ("gone", {}, UsageError),
        ("in", {"weights": "no-such-weights"}, WeightsError),
        ("in", {"device": "gpu"}, UsageError),
    ],
)
def test_errors_of_the_whole_batch_are_raised(
    tmp_path: Path, folder: str, settings: dict[str, Any], error: type[GLPNError]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(error):
        glpn_cli.run_batch(tmp_path / folder, tmp_path / "out", **settings)


def test_other_settings_are_refused_unless_overwritten(tmp_path: Path) -> None:
    glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny")
    with pytest.raises(UsageError, match="normalize"):
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", normalize="minmax")
    records = glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", normalize="minmax", overwrite=True)
    assert {record.settings["normalize"] for record in records} == {"minmax"}


# Reports


def test_a_report_shows_all_images(tmp_path: Path) -> None:
    records = glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", report=True)
    assert (tmp_path / "out" / "index.html").is_file()
    assert report_sources(tmp_path / "out") == {"a.png", "b.png", "c.png", "x.jpg"}
    assert len(list((tmp_path / "out" / "glpn-report").glob("*.small.js"))) == 3
    assert "keep_rgb" not in json.dumps(records[0].settings)


def test_a_report_takes_in_images_of_earlier_runs(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny")
    (tmp_path / "in" / "x.jpg").unlink()
    glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", report=True)  # nothing to predict
    assert report_sources(tmp_path / "out") == {"a.png", "b.png", "c.png"}
    make_image("in/later.png", 40, 60)
    glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", report=True)
    assert report_sources(tmp_path / "out") == {"a.png", "b.png", "c.png", "later.png"}


def test_an_interrupted_report_shows_what_is_done(tmp_path: Path) -> None:
    def progress(result: Result, finished: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", report=True, progress=progress)
    done = {Path(source).name for source in read_records(tmp_path / "out")}
    assert done
    assert report_sources(tmp_path / "out") >= done


def test_another_page_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    with pytest.raises(OutputExistsError, match="index"):
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", report=True)
    assert (tmp_path / "out" / "index.html").read_text() == "mine"
    glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", report=True, overwrite=True)
    assert (tmp_path / "out" / "index.html").read_text() != "mine"


def test_an_error_ends_the_report_and_stays_the_error(tmp_path: Path) -> None:
    def progress(result: Result, finished: int, total: int) -> None:
        (tmp_path / "out" / "glpn-report").rename(tmp_path / "moved")  # the report cannot be written any more
        raise InputError("of the caller")

    with pytest.raises(InputError, match="of the caller"):
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", weights="tiny", report=True, progress=progress)


def test_open_batch_does_not_change_the_batch(tmp_path: Path) -> None:
    batch = make_batch(tmp_path / "in", tmp_path / "out", weights="tiny", formats="color")
    before = vars(batch).copy()
    texts: list[str] = []

    class Progress(BatchProgress):
        def info(self, text: str) -> None:
            texts.append(text)

    with open_batch(batch, load_predictor, report=True, progress=Progress()) as running:
        assert running.predictor.settings.keep_rgb
        list(running)
    assert vars(batch) == before
    assert str(tmp_path / "out" / "index.html") in texts[-1]
    with pytest.raises(OutputError), open_batch(batch, load_predictor), open_batch(batch, load_predictor):
        pass

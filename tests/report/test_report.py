"""The files of a report."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import DepthMap, Provenance
from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.inference.manifest import Manifest
from glpn_cli.inference.record import FAILED, Record, file_mark
from glpn_cli.output.color import colorize, curve_meters, resolve_range
from glpn_cli.report.content import decode_grid
from glpn_cli.report.journal import entry_name
from glpn_cli.report.report import PAGE_NAME, PARTS_NAME, Report, refuse_to_replace_page
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Colormap, Curve, DepthRange, Near
from synthetic_report import HOSTILE, add, done_record, failed_record, random_depth, run_facts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def read_script(path: Path) -> Any:
    """Return the value in a script, and check that there is nothing else in it."""
    found = re.fullmatch(r'glpn\.\w+\((?:"[0-9a-f]{24}", )?(\{.*\})\);\n', path.read_bytes().decode("ascii"))
    assert found is not None
    return json.loads(found[1])


def read_rows(out: Path) -> dict[str, dict[str, Any]]:
    index = read_script(out / PARTS_NAME / "images.js")
    return {row[1]: dict(zip(index["columns"], row, strict=True)) for row in index["rows"]}


def begin_report(out: Path, *records: Record) -> Report:
    report = Report(out, run_facts())
    report.begin({record.source: record for record in records}, total=len(records))
    return report


def script_of(out: Path, name: str, ending: str = ".js") -> Path:
    return out / PARTS_NAME / (entry_name(f"/photos/{name}") + ending)


def test_image_becomes_a_row_and_two_scripts(tmp_path: Path) -> None:
    report = begin_report(tmp_path)
    depth = random_depth(3)
    add(report, done_record("a.png"), depth)
    report.settle(done_record("a.png"))
    report.settle(failed_record("b.png"))
    report.end(complete=True)
    row = read_rows(tmp_path)["a.png"]
    assert (row["status"], row["height"], row["width"], row["seconds"]) == ("done", 30, 40, 0.25)
    assert row["nearest"] == pytest.approx(depth.meters.min(), abs=1e-4)
    assert row["median"] == pytest.approx(np.median(depth.meters), abs=0.02)
    assert row["farthest"] == pytest.approx(depth.meters.max(), abs=1e-4)
    assert read_rows(tmp_path)["b.png"]["error"] == "an empty file"
    image = read_script(script_of(tmp_path, "a.png"))
    np.testing.assert_allclose(decode_grid(image["grid"]), depth.meters, atol=0.00051)
    assert image["outputs"] == {"npy": "a.png.depth.npy"}
    assert image["photo"].startswith("data:image/jpeg;base64,")
    assert read_script(script_of(tmp_path, "a.png", ".small.js"))["grid"]["height"] == 30
    assert not script_of(tmp_path, "b.png").exists()


@pytest.mark.parametrize(
    "name",
    [f"{HOSTILE}.png", "</script><script>alert(1)//.png", "\u202e.png", "\udcff.png", "\u2028.png", "'\"`\\.png"],
)
def test_names_are_escaped_in_scripts(tmp_path: Path, name: str) -> None:
    report = begin_report(tmp_path)
    add(report, done_record(name), random_depth(1))
    report.settle(done_record(name))
    report.settle(failed_record("b.png", name, name))
    report.end(complete=True)
    # The common folder may end inside of a name with a slash.
    names = [row["name"] for row in read_rows(tmp_path).values()]
    assert any(shown.endswith(name.rpartition("/")[2]) for shown in names)
    for script in (tmp_path / PARTS_NAME).glob("*.js*"):
        if script.name == "images.js" or re.match(r"[0-9a-f]{24}", script.name):
            assert "<" not in script.read_bytes().decode("ascii")
    assert all(re.fullmatch(r"[\w.-]+", found.name, re.ASCII) for found in (tmp_path / PARTS_NAME).iterdir())


def test_second_run_adds_images(tmp_path: Path) -> None:
    first, second = done_record("a.png"), done_record("b.png")
    report = begin_report(tmp_path)
    add(report, first, random_depth(1))
    report.settle(first)
    report.end(complete=False)
    before = script_of(tmp_path, "a.png").stat().st_mtime_ns
    report = begin_report(tmp_path, first)
    assert report.missing() == []
    add(report, second, random_depth(2))
    report.settle(second)
    report.end(complete=True)
    assert {name: row["median"] is not None for name, row in read_rows(tmp_path).items()} == {
        "a.png": True,
        "b.png": True,
    }
    assert script_of(tmp_path, "a.png").stat().st_mtime_ns == before


def test_killed_run_is_completed_by_the_next(tmp_path: Path) -> None:
    report = begin_report(tmp_path)
    report.recorder(done_record("a.png"), random_depth(1))  # killed here, before `settle`
    assert (tmp_path / PAGE_NAME).exists()
    assert read_rows(tmp_path) == {}
    with (tmp_path / PARTS_NAME / "images.jsonl").open("a") as journal:
        journal.write('\n{"source": "/photos/torn')
    report = begin_report(tmp_path, done_record("a.png"))
    assert report.missing() == []
    add(report, done_record("b.png"), random_depth(2))
    report.settle(done_record("b.png"))
    report.end(complete=True)
    assert all(row["median"] for row in read_rows(tmp_path).values())
    assert len(read_rows(tmp_path)) == 2


def test_image_recorded_during_an_interruption_is_shown(tmp_path: Path) -> None:
    """An interruption can come between the line in the manifest and `settle`."""
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        report = begin_report(tmp_path)
        add(report, done_record("a.png"), random_depth(1))
        manifest.append(done_record("a.png"))
    assert read_rows(tmp_path) == {}
    report.end(complete=False)
    assert read_rows(tmp_path)["a.png"]["median"] is not None


def test_images_from_urls_are_listed_by_url(tmp_path: Path) -> None:
    urls = ["https://example.org/shots/a.jpg", "https://example.org/shots/b.jpg"]
    records = [replace(done_record("x"), source=url, source_mark="") for url in urls]
    report = begin_report(tmp_path, *records)
    assert len(list(report.catch_up(report.missing(), workers=1))) == 2
    report.end(complete=True)
    assert sorted(read_rows(tmp_path)) == urls


def test_changed_outputs_are_added_again(tmp_path: Path) -> None:
    report = begin_report(tmp_path)
    add(report, done_record("a.png"), random_depth(1))
    report.end(complete=False)
    redone = Record(source="/photos/a.png", status="done", outputs={"npy": "a.png.depth.npy"}, sha256={"npy": "other"})
    assert begin_report(tmp_path, redone).missing() == [redone]


def test_removed_scripts_are_written_again(tmp_path: Path) -> None:
    report = begin_report(tmp_path)
    add(report, done_record("a.png"), random_depth(1))
    script_of(tmp_path, "a.png", ".small.js").unlink()
    assert begin_report(tmp_path, done_record("a.png")).missing() == [done_record("a.png")]


@pytest.fixture
def done_before(tmp_path: Path, make_image: Callable[..., Path]) -> Callable[..., tuple[Record, DepthMap]]:
    """An image and its outputs, written by a batch without a report."""

    def make(*formats: str, **settings: str) -> tuple[Record, DepthMap]:
        source = make_image("in/a.png", 30, 40)
        depth = DepthMap(random_depth(1).meters)
        for name in formats:
            depth.save(tmp_path / f"a.depth.{name}", overwrite=True)
        outputs = {name: f"a.depth.{name}" for name in formats}
        return Record(str(source), "done", outputs, source_mark=file_mark(source), settings=settings), depth

    return make


def catch_up_with(out: Path, record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    report = begin_report(out, record)
    assert len(list(report.catch_up(report.missing(), workers=1))) == 1
    report.end(complete=True)
    (row,) = read_rows(out).values()
    return row, read_script(out / PARTS_NAME / f"{entry_name(record.source)}.js")


def test_most_exact_output_is_read_back(tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]) -> None:
    record, depth = done_before("png", "npy")
    row, image = catch_up_with(tmp_path, record)
    assert not row["approximate"]
    np.testing.assert_allclose(decode_grid(image["grid"]), depth.meters, atol=0.00051)
    assert image["photo"] is not None


def test_depth_from_8_bit_outputs_is_approximate(
    tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]
) -> None:
    record, depth = done_before("png")
    row, image = catch_up_with(tmp_path, record)
    assert row["approximate"]
    np.testing.assert_allclose(decode_grid(image["grid"]), depth.meters, atol=8 / 255)


def test_outputs_in_published_scale_become_meters(
    tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]
) -> None:
    record, depth = done_before("npy", scale="published")
    report = Report(tmp_path, run_facts(meters_per_unit=8.0))
    report.begin({record.source: record}, total=1)
    list(report.catch_up(report.missing(), workers=1))
    image = read_script(tmp_path / PARTS_NAME / f"{entry_name(record.source)}.js")
    np.testing.assert_allclose(decode_grid(image["grid"]), 8 * depth.meters, atol=0.00062)


def test_photo_or_depth_may_be_missing(tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]) -> None:
    record, _ = done_before("npy")
    (tmp_path / "a.depth.npy").rename(tmp_path / "moved.npy")
    row, image = catch_up_with(tmp_path, record)
    assert (row["width"], row["median"], image["grid"]) == (40, None, None)
    assert image["photo"] is not None
    (tmp_path / "moved.npy").rename(tmp_path / "a.depth.npy")
    Image.new("RGB", (40, 30)).save(record.source)  # another image with the same name
    script = tmp_path / PARTS_NAME / f"{entry_name(record.source)}.js"
    script.unlink()
    row, image = catch_up_with(tmp_path, record)
    assert row["median"] is not None
    assert image["photo"] is None


def test_only_scripts_of_removed_images_are_deleted(tmp_path: Path) -> None:
    report = begin_report(tmp_path)
    add(report, done_record("gone.png"), random_depth(1))
    for foreign in ("mine.js", "0123.js", "photo.jpg"):
        (tmp_path / PARTS_NAME / foreign).write_text("mine")
    report = begin_report(tmp_path, done_record("a.png"))
    report.end(complete=False)
    assert script_of(tmp_path, "gone.png").exists()
    report.end(complete=True)
    assert not script_of(tmp_path, "gone.png").exists()
    assert all((tmp_path / PARTS_NAME / foreign).exists() for foreign in ("mine.js", "0123.js", "photo.jpg"))


def test_foreign_page_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    refuse_to_replace_page(tmp_path, overwrite=False)
    (tmp_path / PAGE_NAME).write_text("<h1>my holidays</h1>")
    with pytest.raises(OutputExistsError):
        refuse_to_replace_page(tmp_path, overwrite=False)
    refuse_to_replace_page(tmp_path, overwrite=True)
    begin_report(tmp_path)
    refuse_to_replace_page(tmp_path, overwrite=False)
    (tmp_path / PAGE_NAME).unlink()
    (tmp_path / PAGE_NAME).mkdir()
    with pytest.raises(OutputError):
        refuse_to_replace_page(tmp_path, overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.html"
    elsewhere.write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PAGE_NAME).symlink_to(elsewhere)
    begin_report(tmp_path / "out")
    assert elsewhere.read_text() == "precious"
    assert not (tmp_path / "out" / PAGE_NAME).is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / PARTS_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=PARTS_NAME):
        begin_report(tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_index_is_updated_every_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    report = Report(tmp_path, run_facts())
    report.begin({}, total=3)
    report.settle(failed_record("a.png"))
    assert read_rows(tmp_path) == {}
    now_s += 60
    report.settle(failed_record("b.png"))
    index = read_script(tmp_path / PARTS_NAME / "images.js")
    assert (len(index["rows"]), index["total"]) == (2, 3)


def test_report_of_version_0_1_is_continued(tmp_path: Path) -> None:
    """Version 0.1 named its files and functions after pictures."""
    report = begin_report(tmp_path)
    add(report, done_record("a.png"), random_depth(1))
    report.settle(done_record("a.png"))
    report.end(complete=True)
    parts = tmp_path / PARTS_NAME
    (parts / "images.jsonl").rename(parts / "pictures.jsonl")
    (parts / "images.js").rename(parts / "pictures.js")
    script = script_of(tmp_path, "a.png")
    script.write_text(script.read_text().replace("glpn.image(", "glpn.picture("))
    before = script.read_bytes()
    report = begin_report(tmp_path, done_record("a.png"))
    assert report.missing() == []
    old = {"pictures.js", "pictures.jsonl"}
    assert {path.name for path in parts.iterdir()} & {"images.js", "images.jsonl", *old} == {
        "images.js",
        "images.jsonl",
    }
    report.end(complete=True)
    assert read_rows(tmp_path)["a.png"]["median"] is not None
    assert script.read_bytes() == before


def test_stale_files_of_version_0_1_are_removed(tmp_path: Path) -> None:
    """A run that was killed in between leaves both journals; the new one is valid."""
    report = begin_report(tmp_path)
    add(report, done_record("a.png"), random_depth(1))
    (tmp_path / PARTS_NAME / "pictures.jsonl").write_text("")
    (tmp_path / PARTS_NAME / "pictures.js").write_text("")
    assert begin_report(tmp_path, done_record("a.png")).missing() == []
    assert not list((tmp_path / PARTS_NAME).glob("pictures.*"))


def test_page_has_the_colors_of_the_outputs(tmp_path: Path) -> None:
    colors = OutputSettings(colormap=Colormap.MAGMA, near=Near.DARK, range_m=(0.5, 4.0))
    Report(tmp_path, replace(run_facts(), colors=colors)).begin({}, total=0)
    index = read_script(tmp_path / PARTS_NAME / "images.js")
    assert (index["palette"], index["run_range_m"]) == ("magma", [0.5, 4.0])
    assert index["curve"] == "inverse"
    assert set(index["palettes"]) == {str(name) for name in Colormap}
    of_page = np.frombuffer(base64.b64decode(index["palettes"]["magma"]), np.uint8).reshape(256, 3)
    meters = curve_meters(np.linspace(0, 1, 256, dtype=np.float32)[None], 0.5, 4.0, Curve.INVERSE)
    np.testing.assert_array_equal(colorize(DepthMap(meters), colors, 0.5, 4.0)[0], of_page)


def test_image_has_the_range_of_its_color_file(tmp_path: Path) -> None:
    depth = random_depth(1)
    for text in ("auto", "p10:p80"):
        colors = OutputSettings(range=DepthRange.parse(text))
        report = Report(tmp_path, run_facts(colors=colors))
        report.begin({}, total=1)
        add(report, done_record("a.png"), depth)
        report.settle(done_record("a.png"))
        report.end(complete=True)
        row = read_rows(tmp_path)["a.png"]
        assert (row["low"], row["high"]) == pytest.approx(resolve_range(depth, colors, Curve.INVERSE), abs=1e-4)


def test_thumbnails_are_sharp_on_dense_screens(tmp_path: Path) -> None:
    """Cards are about 200 CSS pixels wide for each image."""
    report = begin_report(tmp_path)
    add(report, done_record("a.png"), random_depth(1, 600, 800))
    small = read_script(script_of(tmp_path, "a.png", ".small.js"))
    with Image.open(io.BytesIO(base64.b64decode(small["photo"].partition(",")[2]))) as photo:
        assert photo.size == (480, 360)
    assert (small["grid"]["width"], small["grid"]["height"]) == (400, 300)


def test_files_have_no_absolute_paths(tmp_path: Path) -> None:
    folder = tmp_path / "home of ann" / "shots"
    records = [replace(done_record("a.png"), source=str(folder / "sub" / "a.png"))]
    for number, error in enumerate((f"{tmp_path}/out/a.png: is already the output of {folder}/a.png", "empty")):
        source = str(folder / f"bad{number}.png")
        hint = f"there is no folder {folder}/sub"
        records.append(Record(source, FAILED, error=f"{source}: {error}", hint=hint, exit_code=4))
    facts = replace(run_facts(folders=(str(folder),)), lines=(("Camera", f"camera_file {tmp_path}/cameras/c.json"),))
    report = Report(tmp_path / "out", facts)
    report.begin({}, total=3)
    provenance = Provenance(notes=(f"read from {folder}/sub/a.png",))
    add(report, records[0], DepthMap(random_depth(1).meters, provenance))
    for record in records:
        report.settle(record)
    report.end(complete=True)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"index.html", "images.js", "images.jsonl"} < {path.name for path in files}
    for path in files:
        assert str(tmp_path) not in path.read_text(encoding="utf-8"), path.name
        assert "home of ann" not in path.read_text(encoding="utf-8"), path.name
    assert set(read_rows(tmp_path / "out")) == {"sub/a.png", "bad0.png", "bad1.png"}


def test_journal_with_paths_is_continued_without(tmp_path: Path) -> None:
    report = begin_report(tmp_path)
    add(report, done_record("a.png"), random_depth(1))
    report.settle(done_record("a.png"))
    report.end(complete=True)
    journal = tmp_path / PARTS_NAME / "images.jsonl"
    values = json.loads(journal.read_text())
    del values["id"], values["range_m"]
    journal.write_text(json.dumps({"source": "/photos/a.png", **values}) + "\n")
    report = begin_report(tmp_path, done_record("a.png"))
    assert report.missing() == []
    report.end(complete=True)
    row = read_rows(tmp_path)["a.png"]
    assert (row["low"], row["high"]) == (row["near"], row["far"])
    assert "/photos" not in journal.read_text()

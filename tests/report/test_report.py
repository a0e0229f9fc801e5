from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import DepthMap
from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.inference.manifest import Manifest, Record, file_mark
from glpn_cli.output.color import colorize
from glpn_cli.report.index import decode_grid
from glpn_cli.report.journal import entry_name
from glpn_cli.report.report import PAGE_NAME, PARTS_NAME, Report, refuse_to_replace_page
from glpn_cli.settings import Colormap, Near, OutputSettings
from made_report import HOSTILE, done_record, failed_record, made_depth, run_facts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def data_of(path: Path) -> Any:
    """Read the last value that a script hands over, and see that the script is nothing but that."""
    found = re.fullmatch(r'glpn\.\w+\((?:"[0-9a-f]{24}", )?(\{.*\})\);\n', path.read_bytes().decode("ascii"))
    assert found is not None
    return json.loads(found[1])


def rows(out: Path) -> dict[str, dict[str, Any]]:
    index = data_of(out / PARTS_NAME / "images.js")
    return {row[1]: dict(zip(index["columns"], row, strict=True)) for row in index["rows"]}


def report_on(out: Path, *records: Record) -> Report:
    report = Report(out, run_facts())
    report.begin({record.source: record for record in records}, total=len(records))
    return report


def part(out: Path, name: str, ending: str = ".js") -> Path:
    return out / PARTS_NAME / (entry_name(f"/photos/{name}") + ending)


def test_a_image_becomes_a_row_and_two_scripts(tmp_path: Path) -> None:
    report = report_on(tmp_path)
    depth = made_depth(3)
    report.add(done_record("a.png"), depth)
    report.settle(done_record("a.png"))
    report.settle(failed_record("b.png"))
    report.end(complete=True)
    row = rows(tmp_path)["a.png"]
    assert (row["status"], row["height"], row["width"], row["seconds"]) == ("done", 30, 40, 0.25)
    assert row["nearest"] == pytest.approx(depth.meters.min(), abs=1e-4)
    assert row["median"] == pytest.approx(np.median(depth.meters), abs=0.02)
    assert row["farthest"] == pytest.approx(depth.meters.max(), abs=1e-4)
    assert rows(tmp_path)["b.png"]["error"] == "an empty file"
    image = data_of(part(tmp_path, "a.png"))
    np.testing.assert_allclose(decode_grid(image["grid"]), depth.meters, atol=0.00051)
    assert image["outputs"] == {"npy": "a.png.depth.npy"}
    assert image["photo"].startswith("data:image/jpeg;base64,")
    assert data_of(part(tmp_path, "a.png", ".small.js"))["grid"]["height"] == 30
    assert not part(tmp_path, "b.png").exists()


@pytest.mark.parametrize(
    "name",
    [f"{HOSTILE}.png", "</script><script>alert(1)//.png", "\u202e.png", "\udcff.png", "\u2028.png", "'\"`\\.png"],
)
def test_names_cannot_leave_their_quotes(tmp_path: Path, name: str) -> None:
    report = report_on(tmp_path)
    report.add(done_record(name), made_depth(1))
    report.settle(done_record(name))
    report.settle(failed_record("b.png", name, name))
    report.end(complete=True)
    # The common folder of such names may end inside them, where they have a slash.
    names = [row["name"] for row in rows(tmp_path).values()]
    assert any(shown.endswith(name.rpartition("/")[2]) for shown in names)
    for script in (tmp_path / PARTS_NAME).glob("*.js*"):
        if script.name == "images.js" or re.match(r"[0-9a-f]{24}", script.name):
            assert "<" not in script.read_bytes().decode("ascii")
    assert all(re.fullmatch(r"[\w.-]+", found.name, re.ASCII) for found in (tmp_path / PARTS_NAME).iterdir())


def test_a_second_run_adds_to_the_report(tmp_path: Path) -> None:
    first, second = done_record("a.png"), done_record("b.png")
    report = report_on(tmp_path)
    report.add(first, made_depth(1))
    report.settle(first)
    report.end(complete=False)
    before = part(tmp_path, "a.png").stat().st_mtime_ns
    report = report_on(tmp_path, first)
    assert report.missing() == []
    report.add(second, made_depth(2))
    report.settle(second)
    report.end(complete=True)
    assert {name: row["median"] is not None for name, row in rows(tmp_path).items()} == {"a.png": True, "b.png": True}
    assert part(tmp_path, "a.png").stat().st_mtime_ns == before


def test_a_run_that_was_killed_leaves_a_page_and_the_next_completes_it(tmp_path: Path) -> None:
    report = report_on(tmp_path)
    report.add(done_record("a.png"), made_depth(1))  # and then it is killed, before anything else is said of a.png
    assert (tmp_path / PAGE_NAME).exists()
    assert rows(tmp_path) == {}
    with (tmp_path / PARTS_NAME / "images.jsonl").open("a") as journal:
        journal.write('\n{"source": "/photos/torn')
    report = report_on(tmp_path, done_record("a.png"))
    assert report.missing() == []
    report.add(done_record("b.png"), made_depth(2))
    report.settle(done_record("b.png"))
    report.end(complete=True)
    assert all(row["median"] for row in rows(tmp_path).values())
    assert len(rows(tmp_path)) == 2


def test_a_image_that_was_finished_while_the_run_was_ending_is_in_the_page(tmp_path: Path) -> None:
    """An interrupt may come after the writer's line in the manifest and before anybody is told of it."""
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        report = report_on(tmp_path)
        report.add(done_record("a.png"), made_depth(1))
        manifest.append(done_record("a.png"))
    assert rows(tmp_path) == {}
    report.end(complete=False)
    assert rows(tmp_path)["a.png"]["median"] is not None


def test_images_from_addresses_are_listed_by_them_and_never_taken_for_paths(tmp_path: Path) -> None:
    addresses = ["https://example.org/shots/a.jpg", "https://example.org/shots/b.jpg"]
    records = [replace(done_record("x"), source=address, source_mark="") for address in addresses]
    report = report_on(tmp_path, *records)
    assert len(list(report.catch_up(report.missing(), workers=1))) == 2
    report.end(complete=True)
    assert data_of(tmp_path / PARTS_NAME / "images.js")["folder"] == ""
    assert sorted(rows(tmp_path)) == addresses


def test_what_another_run_made_of_a_image_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    report = report_on(tmp_path)
    report.add(done_record("a.png"), made_depth(1))
    report.end(complete=False)
    redone = Record(source="/photos/a.png", status="done", outputs={"npy": "a.png.depth.npy"}, sha256={"npy": "other"})
    assert report_on(tmp_path, redone).missing() == [redone]


def test_a_script_that_was_removed_is_made_again(tmp_path: Path) -> None:
    report = report_on(tmp_path)
    report.add(done_record("a.png"), made_depth(1))
    part(tmp_path, "a.png", ".small.js").unlink()
    assert report_on(tmp_path, done_record("a.png")).missing() == [done_record("a.png")]


@pytest.fixture
def done_before(tmp_path: Path, make_image: Callable[..., Path]) -> Callable[..., tuple[Record, DepthMap]]:
    """An image and its outputs, as a batch without a report left them."""

    def make(*formats: str, **settings: str) -> tuple[Record, DepthMap]:
        source = make_image("in/a.png", 30, 40)
        depth = DepthMap(made_depth(1).meters)
        for name in formats:
            depth.save(tmp_path / f"a.depth.{name}", overwrite=True)
        outputs = {name: f"a.depth.{name}" for name in formats}
        return Record(str(source), "done", outputs, source_mark=file_mark(source), settings=settings), depth

    return make


def caught_up(out: Path, record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    report = report_on(out, record)
    assert len(list(report.catch_up(report.missing(), workers=1))) == 1
    report.end(complete=True)
    (row,) = rows(out).values()
    return row, data_of(out / PARTS_NAME / f"{entry_name(record.source)}.js")


def test_images_done_before_are_read_back_from_their_best_output(
    tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]
) -> None:
    record, depth = done_before("png", "npy")
    row, image = caught_up(tmp_path, record)
    assert not row["approximate"]
    np.testing.assert_allclose(decode_grid(image["grid"]), depth.meters, atol=0.00051)
    assert image["photo"] is not None


def test_an_8_bit_output_gives_depth_that_is_called_approximate(
    tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]
) -> None:
    record, depth = done_before("png")
    row, image = caught_up(tmp_path, record)
    assert row["approximate"]
    np.testing.assert_allclose(decode_grid(image["grid"]), depth.meters, atol=8 / 255)


def test_an_output_in_the_published_scale_is_turned_into_meters(
    tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]
) -> None:
    record, depth = done_before("npy", scale="published")
    report = Report(tmp_path, run_facts(meters_per_unit=8.0))
    report.begin({record.source: record}, total=1)
    list(report.catch_up(report.missing(), workers=1))
    image = data_of(tmp_path / PARTS_NAME / f"{entry_name(record.source)}.js")
    np.testing.assert_allclose(decode_grid(image["grid"]), 8 * depth.meters, atol=0.00062)


def test_depth_stays_when_the_photo_is_gone_and_the_photo_when_depth_is(
    tmp_path: Path, done_before: Callable[..., tuple[Record, DepthMap]]
) -> None:
    record, _ = done_before("npy")
    (tmp_path / "a.depth.npy").rename(tmp_path / "kept.npy")
    row, image = caught_up(tmp_path, record)
    assert (row["width"], row["median"], image["grid"]) == (40, None, None)
    assert image["photo"] is not None
    (tmp_path / "kept.npy").rename(tmp_path / "a.depth.npy")
    Image.new("RGB", (40, 30)).save(record.source)  # another image of the same name
    part_of = tmp_path / PARTS_NAME / f"{entry_name(record.source)}.js"
    part_of.unlink()
    row, image = caught_up(tmp_path, record)
    assert row["median"] is not None
    assert image["photo"] is None


def test_what_belongs_to_no_image_any_more_goes_and_nothing_else_does(tmp_path: Path) -> None:
    report = report_on(tmp_path)
    report.add(done_record("gone.png"), made_depth(1))
    for stranger in ("mine.js", "0123.js", "photo.jpg"):
        (tmp_path / PARTS_NAME / stranger).write_text("mine")
    report = report_on(tmp_path, done_record("a.png"))
    report.end(complete=False)
    assert part(tmp_path, "gone.png").exists()
    report.end(complete=True)
    assert not part(tmp_path, "gone.png").exists()
    assert all((tmp_path / PARTS_NAME / stranger).exists() for stranger in ("mine.js", "0123.js", "photo.jpg"))


def test_a_page_of_somebody_else_is_not_replaced_unless_that_is_said(tmp_path: Path) -> None:
    refuse_to_replace_page(tmp_path, overwrite=False)
    (tmp_path / PAGE_NAME).write_text("<h1>my holidays</h1>")
    with pytest.raises(OutputExistsError):
        refuse_to_replace_page(tmp_path, overwrite=False)
    refuse_to_replace_page(tmp_path, overwrite=True)
    report_on(tmp_path)
    refuse_to_replace_page(tmp_path, overwrite=False)
    (tmp_path / PAGE_NAME).unlink()
    (tmp_path / PAGE_NAME).mkdir()
    with pytest.raises(OutputError):
        refuse_to_replace_page(tmp_path, overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_in_the_place_of_the_page_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.html"
    elsewhere.write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PAGE_NAME).symlink_to(elsewhere)
    report_on(tmp_path / "out")
    assert elsewhere.read_text() == "precious"
    assert not (tmp_path / "out" / PAGE_NAME).is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_folder_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / PARTS_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="a link leads out of"):
        report_on(tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_who_reloads_the_page_sees_how_far_the_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.report.report._SECONDS_BETWEEN_INDEXES", 0.0)
    monkeypatch.setattr("glpn_cli.report.report._INDEX_SHARE", 0)
    report = Report(tmp_path, run_facts())
    report.begin({}, total=3)
    report.settle(failed_record("a.png"))
    index = data_of(tmp_path / PARTS_NAME / "images.js")
    assert (len(index["rows"]), index["total"]) == (1, 3)


def test_the_colors_of_the_page_are_those_of_the_colored_outputs(tmp_path: Path) -> None:
    colors = OutputSettings(colormap=Colormap.MAGMA, near=Near.DARK, range_m=(0.5, 4.0))
    Report(tmp_path, replace(run_facts(), colors=colors)).begin({}, total=0)
    index = data_of(tmp_path / PARTS_NAME / "images.js")
    assert (index["palette"], index["range_m"]) == ("magma", [0.5, 4.0])
    assert set(index["palettes"]) == {str(name) for name in Colormap}
    of_page = np.frombuffer(base64.b64decode(index["palettes"]["magma"]), np.uint8).reshape(256, 3)
    meters = np.linspace(0.5, 4.0, 256, dtype=np.float32)[None]
    np.testing.assert_array_equal(colorize(DepthMap(meters), colors, 0.5, 4.0)[0], of_page)

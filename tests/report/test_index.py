"""The index: the run and the rows of the images."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from glpn_cli.report.index import COLUMNS, Names, build_index, describe_run, find_common_folder
from glpn_cli.report.journal import Entry, entry_name
from glpn_cli.settings import OutputSettings
from glpn_cli.values import DepthRange
from synthetic_report import done_record, failed_record, random_depth, run_facts


def test_rows_have_a_value_for_every_column() -> None:
    depth = random_depth(1)
    records = [done_record("a.png"), done_record("b.png"), failed_record("c.png"), done_record("d.png")]
    ids = [entry_name(record.source) for record in records]
    entries = {
        ids[0]: Entry.of(records[0], depth, depth.meters, (4.5, 7.5)),
        ids[1]: Entry(ids[1], "mark", 0, 0),
        ids[2]: Entry.of(records[2], depth, depth.meters, (4.5, 7.5)),
    }
    index = build_index(run_facts(), records, entries, total=7, written="today")
    json.dumps(index, allow_nan=False)
    assert index["columns"] == list(COLUMNS)
    rows = {row["name"]: row for row in (dict(zip(COLUMNS, values, strict=True)) for values in index["rows"])}
    assert rows["a.png"]["nearest"] == pytest.approx(depth.meters.min(), abs=1e-4)
    assert (rows["a.png"]["height"], rows["a.png"]["width"], rows["a.png"]["approximate"]) == (30, 40, False)
    assert (rows["a.png"]["low"], rows["a.png"]["high"]) == (4.5, 7.5)
    assert (rows["b.png"]["height"], rows["b.png"]["median"], rows["b.png"]["approximate"]) == (None, None, False)
    assert rows["c.png"]["median"] is None, "a failed image shows its error and not the depth of an earlier run"
    assert rows["c.png"]["error"] == "an empty file"
    assert rows["d.png"]["median"] is None
    assert index["total"] == 7


def path(*parts: str) -> str:
    return os.path.join(os.path.abspath(os.sep), *parts)


def test_common_folder_ends_in_a_slash() -> None:
    photos = path("photos", "")
    assert find_common_folder([photos + "a.png", os.path.join(photos, "sub", "b.png")]) == photos
    assert find_common_folder([]) == ""
    assert find_common_folder([photos + "a.png", "https://example.org/b.png"]) == photos
    assert find_common_folder([path("a", "a.png"), path("b", "b.png")]) == ""


def test_images_are_named_by_their_paths_from_their_folders() -> None:
    shots, more = path("home", "ann", "shots"), path("home", "ann", "more")
    sources = [os.path.join(shots, "day 1", "a.png"), os.path.join(shots, "day 1", "b.png")]
    assert [Names(sources, [shots]).of(source) for source in sources] == ["day 1/a.png", "day 1/b.png"]
    assert Names(sources, [shots, more]).of(sources[0]) == "shots/day 1/a.png"
    assert Names(sources, []).of(sources[0]) == "a.png"


def test_images_without_a_common_folder_have_no_absolute_names() -> None:
    sources = [path("home", "ann", "a.png"), path("data", "b.png"), "https://example.org/c.png", "entry 3 of the list"]
    names = Names(sources, [])
    assert [names.of(source) for source in sources] == ["ann/a.png", "data/b.png", *sources[2:]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ann/my shots/day 1/a.png: is a folder", "day 1/a.png: is a folder"),
        ("there is no folder /home/ann/my shots", "there is no folder my shots"),
        ("/home/ann/out/a.depth.png: exists", "a.depth.png: exists"),
        ("/home/ann/shots2/a.png", "…/a.png"),
        ("/backup/home/ann/out/a.png", "…/a.png"),
        ("'/elsewhere/of/ann/a.png' is missing", "'…/a.png' is missing"),
        ("see https://example.org/a/b and 16/32 bits", "see https://example.org/a/b and 16/32 bits"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")
def test_texts_have_no_absolute_paths(text: str, shown: str) -> None:
    assert Names([], ["/home/ann/my shots"], "/home/ann/out").redact(text) == shown


def with_ranges(*ends: tuple[float, float], colors: OutputSettings | None = None) -> Any:
    records = [done_record(f"{number}.png") for number in range(len(ends))]
    depth = random_depth(1)
    entries = {
        entry_name(record.source): Entry.of(record, depth, depth.meters, ends_m)
        for record, ends_m in zip(records, ends, strict=True)
    }
    return build_index(run_facts(colors=colors), records, entries, total=len(ends), written="today")


def test_range_of_all_images_is_not_stretched_by_a_few() -> None:
    assert with_ranges((1, 5), (1, 4), (0.9, 6), (1.1, 5), (3, 80))["run_range_m"] == pytest.approx([0.9, 6])
    assert with_ranges((1, 5))["run_range_m"] == pytest.approx([1, 5])
    assert with_ranges((0, 1), (1, 5))["run_range_m"] == pytest.approx([1, 5]), "all depth of the first is unknown"
    assert with_ranges()["run_range_m"] == [0, 10]


@pytest.mark.parametrize(
    ("text", "start", "run_range_m"),
    [
        (None, "image", [1, 5]),
        ("p5:p95", "image", [1, 5]),
        ("2:7", "run", [2, 7]),
        ("run", "run", [1, 5]),
        ("model", "model", [1, 5]),
    ],
)
def test_page_starts_with_the_range_of_the_outputs(text: str | None, start: str, run_range_m: list[float]) -> None:
    index = with_ranges((1, 5), colors=OutputSettings(range=None if text is None else DepthRange.parse(text)))
    assert (index["range"], index["model_range_m"]) == (start, [0, 10])
    assert index["run_range_m"] == pytest.approx(run_range_m)


def test_entries_of_earlier_versions_have_a_range() -> None:
    record, depth = done_record("a.png"), random_depth(1)
    entry = replace(Entry.of(record, depth, depth.meters, (1, 2)), range_m=None)
    (values,) = build_index(run_facts(), [record], {entry.id: entry}, total=1, written="today")["rows"]
    row = dict(zip(COLUMNS, values, strict=True))
    assert (row["low"], row["high"]) == (row["near"], row["far"])


def test_run_is_described_by_weights_device_and_settings() -> None:
    card = SimpleNamespace(name="tiny", metric=False, depth_limit_m=80.0, meters_per_unit=1.0)
    predictor = SimpleNamespace(card=card, runtime=SimpleNamespace(device="cpu", precision="float32"))
    settings = {"weights_sha256": "ab", "formats": ["npy", "png"], "precision": "float32", "input_size": "480x640"}
    run = describe_run(predictor, ["/photos/shots/", "more"], settings, OutputSettings())  # type: ignore[arg-type]
    lines = dict(run.lines)
    assert run.title == "shots, more"
    assert "tiny" in lines["Weights"]
    assert "approximate" in lines["Weights"]
    assert lines["Computed on"] == "cpu in float32"
    assert (lines["Weights SHA-256"], lines["Formats"]) == ("ab", "npy, png")
    assert lines["Input size"] == "640 x 480 pixels (width x height)"
    assert "Precision" not in lines


@pytest.mark.parametrize(
    ("folders", "title"),
    [
        (["/photos/shots/"], "shots"),
        (["/a/x", "/b/x"], "x"),
        (["/a/1", "/a/2", "/a/3", "/a/4", "/a/5"], "1, 2, 3 and 2 more"),
        (["/"], "images"),
    ],
)
def test_title_is_the_name_of_the_folder(folders: list[str], title: str) -> None:
    card = SimpleNamespace(name="tiny", metric=False, depth_limit_m=80.0, meters_per_unit=1.0)
    predictor = SimpleNamespace(card=card, runtime=SimpleNamespace(device="cpu", precision="float32"))
    assert describe_run(predictor, folders, {}, OutputSettings()).title == title  # type: ignore[arg-type]

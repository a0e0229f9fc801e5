"""The journal of a report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from glpn_cli.errors import OutputError
from glpn_cli.report.journal import DepthStatistics, Entry, Journal, entry_name, mark_outputs
from synthetic_report import done_record, random_depth

if TYPE_CHECKING:
    from pathlib import Path


def entry(name: str) -> Entry:
    depth = random_depth(1)
    return Entry.of(done_record(name), depth, depth.meters, (4.5, 7.5))


def test_journal_returns_the_last_entry_of_each_image(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "images.jsonl")
    assert journal.read() == {}
    journal.rewrite([entry("a.png"), entry("b.png")])
    changed = Entry(entry("a.png").id, "other", 1, 2)
    journal.append(changed)
    assert journal.read() == {changed.id: changed, entry("b.png").id: entry("b.png")}


def test_incomplete_and_invalid_lines_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "images.jsonl"
    path.write_text('[]\n{"source": 1}\n{"source": "a", "outputs_mark": "b", "height": "c", "width": 1}\n{"sour')
    journal = Journal(path)
    assert journal.read() == {}
    journal.append(entry("a.png"))
    assert journal.read() == {entry("a.png").id: entry("a.png")}


@pytest.mark.parametrize(
    "change",
    [
        {"range_m": [1, float("nan")]},
        {"range_m": [10**400, 1]},
        {"range_m": [1, 2, 3]},
        {"depth": {"nearest": 10**400}},
        {"depth": dict.fromkeys(("nearest", "near", "median", "far", "farthest"), float("inf"))},
        {"approximate": float("nan")},
        {"height": float("nan")},
        pytest.param({"x": json.loads("[" * 400 + "]" * 400)}, id="nested"),
    ],
)
def test_altered_entries_are_ignored(tmp_path: Path, change: dict[str, object]) -> None:
    journal = Journal(tmp_path / "images.jsonl")
    journal.rewrite([entry("a.png")])
    line = json.loads((tmp_path / "images.jsonl").read_text())
    (tmp_path / "images.jsonl").write_text(json.dumps(line | change) + "\n")
    assert journal.read() == {}


def test_entries_of_earlier_versions_are_read_without_their_paths(tmp_path: Path) -> None:
    path = tmp_path / "images.jsonl"
    depth = {"nearest": 1, "near": 2, "median": 3, "far": 4, "farthest": 5}
    values = {
        "source": "/home/a.png",
        "outputs_mark": "b",
        "height": 1,
        "width": 2,
        "depth": depth,
        "approximate": True,
    }
    path.write_text(json.dumps(values) + "\n")
    journal = Journal(path)
    (read,) = journal.read().values()
    assert (read.id, read.range_m, read.approximate) == (entry_name("/home/a.png"), None, True)
    assert read.depth == DepthStatistics(1, 2, 3, 4, 5)
    journal.rewrite([read])
    assert "/home" not in path.read_text()
    assert journal.read() == {read.id: read}


@pytest.mark.parametrize("range_m", ["ab", [1], [1, 2, 3], 5, [None, 1]])
def test_entries_with_an_invalid_range_are_ignored(range_m: object) -> None:
    assert Entry.from_dict({"id": "a", "outputs_mark": "b", "height": 1, "width": 2, "range_m": range_m}) is None


def test_fields_of_newer_versions_are_ignored() -> None:
    values = {"id": "a", "outputs_mark": "b", "height": 1, "width": 2, "new": 3}
    assert Entry.from_dict(values) == Entry("a", "b", 1, 2)


def test_unusable_journal_is_an_output_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for attempt in (journal.read, lambda: journal.append(entry("a.png"))):
        with pytest.raises(OutputError, match=tmp_path.name):
            attempt()


def test_statistics_ignore_unknown_depth() -> None:
    meters = np.array([[0, np.nan, 1, 2, 3, np.inf]], np.float32)
    statistics = DepthStatistics.of(meters, meters)
    assert (statistics.nearest, statistics.median, statistics.farthest) == (1, 2, 3)
    assert DepthStatistics.of(meters[:, :2], meters[:, :2]) == DepthStatistics(0, 0, 0, 0, 0)


def test_names_and_marks_identify_images_and_outputs() -> None:
    assert entry_name("/a/\udcff.png") != entry_name("/b/\udcff.png")
    assert entry_name("/a.png").isalnum()
    assert mark_outputs(done_record("a.png")) == mark_outputs(done_record("a.png"))
    assert mark_outputs(done_record("a.png")) != mark_outputs(done_record("b.png"))

"""The index: the run and the rows of the images."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from glpn_cli.report.index import COLUMNS, build_index, describe_run, find_common_folder
from glpn_cli.report.journal import Entry
from glpn_cli.settings import OutputSettings
from synthetic_report import done_record, failed_record, random_depth, run_facts


def test_rows_have_a_value_for_every_column() -> None:
    depth = random_depth(1)
    records = [done_record("a.png"), done_record("b.png"), failed_record("c.png"), done_record("d.png")]
    entries = {
        records[0].source: Entry.of(records[0], depth, depth.meters),
        records[1].source: Entry(records[1].source, "mark", 0, 0),
        records[2].source: Entry.of(records[2], depth, depth.meters),
    }
    index = build_index(run_facts(), records, entries, total=7, written="today")
    json.dumps(index, allow_nan=False)
    assert index["columns"] == list(COLUMNS)
    rows = {row["name"]: row for row in (dict(zip(COLUMNS, values, strict=True)) for values in index["rows"])}
    assert rows["a.png"]["nearest"] == pytest.approx(depth.meters.min(), abs=1e-4)
    assert (rows["a.png"]["height"], rows["a.png"]["width"], rows["a.png"]["approximate"]) == (30, 40, False)
    assert (rows["b.png"]["height"], rows["b.png"]["median"], rows["b.png"]["approximate"]) == (None, None, False)
    assert rows["c.png"]["median"] is None, "a failed image shows its error and not the depth of an earlier run"
    assert rows["c.png"]["error"] == "an empty file"
    assert rows["d.png"]["median"] is None
    assert index["total"] == 7


def test_common_folder_ends_in_a_slash() -> None:
    photos = os.path.join(os.sep, "photos", "")
    assert find_common_folder([photos + "a.png", os.path.join(photos, "sub", "b.png")]) == photos
    assert find_common_folder([]) == ""
    assert find_common_folder([photos + "a.png", "https://example.org/b.png"]) == ""


def test_run_is_described_by_weights_device_and_settings() -> None:
    card = SimpleNamespace(name="tiny", metric=False, depth_limit_m=80.0, meters_per_unit=1.0)
    predictor = SimpleNamespace(card=card, runtime=SimpleNamespace(device="cpu", precision="float32"))
    settings = {"weights_sha256": "ab", "formats": ["npy", "png"], "precision": "float32"}
    run = describe_run(predictor, ["/photos/shots/", "more"], settings, OutputSettings())  # type: ignore[arg-type]
    lines = dict(run.lines)
    assert run.title == "shots, more"
    assert "tiny" in lines["Weights"]
    assert "approximate" in lines["Weights"]
    assert lines["Computed on"] == "cpu in float32"
    assert (lines["Weights SHA-256"], lines["Formats"]) == ("ab", "npy, png")
    assert "Precision" not in lines

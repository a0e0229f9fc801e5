"""Manifests of all versions, and what is known of them in memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glpn_cli.inference import history as history_module
from glpn_cli.inference.batch import make_batch
from glpn_cli.inference.history import History
from glpn_cli.inference.manifest import MANIFEST_NAME, Manifest, read_records
from glpn_cli.inference.record import DONE, FAILED, UNFINISHED, Record, file_mark
from glpn_cli.inference.verify import CHANGED, verify_outputs
from glpn_cli.values import Shard

if TYPE_CHECKING:
    from typing import Any

ROOT = Path(__file__).parents[2]
OLD = Path(__file__).parent / "manifests" / "settings-per-line.jsonl"
"""Of version 0.2, from a run over an invalid image and two of examples/."""

SETTINGS = {"format": ["png"], "precision": "float32"}


def record(name: str, **changes: Any) -> Record:
    done = Record(f"/in/{name}", DONE, {"png": f"{name}.png"}, sha256={"png": "0"}, settings=SETTINGS)
    return replace(done, relative_source="", **changes)


def write(folder: Path, *records: Record) -> list[dict[str, Any]]:
    """Write a manifest and return its lines."""
    with Manifest(folder) as manifest:
        manifest.begin()
        for item in records:
            manifest.append(item)
    return lines(folder)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / MANIFEST_NAME).read_text().splitlines()]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A batch of an earlier version that was moved, with other bytes in its outputs."""
    for name in ("shots/coffee.png", "shots/sub/rocket.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "examples" / Path(name).name, tmp_path / name)
    (tmp_path / "shots" / "bad.jpg").write_bytes(b"bad\n")
    out = tmp_path / "depths"
    for name in ("coffee", "sub/rocket"):
        for suffix in ("png", "npz"):
            (out / f"{name}.depth.{suffix}").parent.mkdir(parents=True, exist_ok=True)
            (out / f"{name}.depth.{suffix}").write_bytes(b"x")
    shutil.copyfile(OLD, out / MANIFEST_NAME)
    return out


def test_an_old_manifest_is_read_as_before(old: Path) -> None:
    given = [json.loads(line) for line in OLD.read_text().splitlines()]
    known = read_records(old)
    assert [(found.status, found.outputs, found.sha256, found.settings) for found in known.values()] == [
        (line["status"], line["outputs"], line["sha256"], line["settings"]) for line in given[1:]
    ]
    assert list(known) == [str(old.parent / "shots" / name) for name in ("coffee.png", "sub/rocket.jpg")]
    assert {finding.status for finding in verify_outputs(old)} == {CHANGED}


def test_an_old_batch_is_resumed(old: Path) -> None:
    batch = make_batch(old.parent / "shots", old, formats="png,npz")
    with Manifest(old) as manifest:
        manifest.begin()
        assert [task.done for task in batch.tasks(manifest.records)] == [False, True, True]
    assert [("settings" in line, line["source"]) for line in lines(old)] == [
        (True, str(old.parent / "shots" / "coffee.png")),
        (False, str(old.parent / "shots" / "sub" / "rocket.jpg")),
    ]
    assert [task.done for task in batch.plan()] == [False, True, True]


def test_an_old_journal_is_read(old: Path) -> None:
    content = (old / "coffee.depth.png").read_bytes()
    journal = OLD.read_text()
    for digest in json.loads(journal.splitlines()[1])["sha256"].values():
        journal = journal.replace(digest, hashlib.sha256(content).hexdigest())
    (old / MANIFEST_NAME).unlink()
    (old / ".glpn-batch.journal").write_text(journal)
    with Manifest(old) as manifest:
        (known,) = manifest.records.values()  # the other outputs have other bytes
        assert (known.status, Path(known.source).name) == (DONE, "coffee.png")
        assert known.settings["precision"] == "float32"


def test_settings_are_written_once(tmp_path: Path) -> None:
    first = [record(name) for name in "abc"]
    assert ["settings" in line for line in write(tmp_path, *first)] == [True, False, False]
    other = record("d", settings=SETTINGS | {"range_m": [0, 10]})
    written = write(tmp_path, other, replace(other, source="/in/e", outputs={}))
    assert ["settings" in line for line in written] == [True, False, False, True, False]
    assert len({line["settings_id"] for line in written}) == 2
    assert [known.settings for known in read_records(tmp_path).values()] == [SETTINGS] * 3 + [other.settings] * 2


def test_settings_survive_their_line(tmp_path: Path) -> None:
    write(tmp_path, record("a", status=FAILED, outputs={}), record("b"))
    assert [("settings" in line, line["status"]) for line in write(tmp_path)] == [(True, DONE)]
    assert read_records(tmp_path)["/in/b"].settings == SETTINGS


def test_lines_may_be_sorted(tmp_path: Path) -> None:
    write(tmp_path, *(record(name) for name in "abc"))
    path = tmp_path / MANIFEST_NAME
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert {found.status for found in read_records(tmp_path).values()} == {DONE}
    assert all(found.settings == SETTINGS for found in read_records(tmp_path).values())


def test_images_of_unknown_settings_are_done_again(tmp_path: Path) -> None:
    write(tmp_path, record("a"), record("b"))
    path = tmp_path / MANIFEST_NAME
    path.write_text(path.read_text().splitlines(keepends=True)[1])
    assert {found.status for found in read_records(tmp_path).values()} == {UNFINISHED}
    with Manifest(tmp_path) as manifest:
        assert manifest.records.samples() == []


def test_records_are_read_from_the_new_version_of_a_manifest(tmp_path: Path) -> None:
    write(tmp_path, record("a", status=FAILED, outputs={}), *(record(name) for name in "bcd"))
    with Manifest(tmp_path) as manifest:
        before = dict(manifest.records)
        manifest.begin()
        manifest.append(record("e"))
        assert dict(manifest.records) == before
        assert manifest.records.owner("c.png") == before["/in/c"]
        assert manifest.records.owner("e.png") is None


def test_there_may_be_more_manifests_than_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_MAX_OPEN", 2)
    for number in range(1, 6):
        with Manifest(tmp_path, Shard(number, 5)) as manifest:
            manifest.begin()
            manifest.append(record(str(number)))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    known = read_records(tmp_path)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before + 2
    assert [found.source for found in known.values()] == [f"/in/{number}" for number in range(1, 6)]
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        assert len(manifest.records) == 5
    assert lines(tmp_path) == []


def test_a_record_takes_little_memory(tmp_path: Path) -> None:
    count = 5000
    images = tmp_path / "in"
    images.mkdir()
    (images / "a.jpg").touch()
    mark = file_mark(images / "a.jpg")
    write(tmp_path, *(record(f"folder/name-of-an-image-{number:06}", source_mark=mark) for number in range(count)))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        history = History()
        history.read(tmp_path / MANIFEST_NAME)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(history) == count
    assert (after - before) / count < 350  # one in memory took 2 KB

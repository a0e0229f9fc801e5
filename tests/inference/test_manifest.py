from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from dataclasses import replace
from io import FileIO
from typing import TYPE_CHECKING, Any

import pytest

from glpn_cli.errors import OutputError
from glpn_cli.files import is_disk_wide
from glpn_cli.image.fetching import Address
from glpn_cli.inference import lines as module
from glpn_cli.inference.manifest import MANIFEST_NAME, Manifest, read_records
from glpn_cli.inference.record import DONE, FAILED, OUTDATED, UNFINISHED, Record, file_mark

if TYPE_CHECKING:
    from pathlib import Path


ON_WINDOWS = pytest.mark.skipif(os.name != "nt", reason="an absolute path only on Windows")


def record(source: str, content: bytes = b"", **changes: object) -> Record:
    digest = hashlib.sha256(content).hexdigest()
    done = Record(
        source, DONE, {"png": f"{source}.depth.png"}, sha256={"png": digest}, settings={"precision": "float32"}
    )
    return replace(done, **changes)  # type: ignore[arg-type]


JOURNAL_NAME = ".glpn-batch.journal"


def kill(manifest: Manifest) -> None:
    """Leave a manifest as a killed process does: the system releases the lock and closes the files."""
    manifest._locked.close()
    for file in manifest._open_files.values():
        file.close()


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / MANIFEST_NAME).read_text().splitlines()]


def test_the_folder_is_created_and_lines_stay(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    with Manifest(folder) as manifest:
        assert manifest.records == {}
        manifest.begin()
        manifest.append(record("a"))
        manifest.append(record("b", status=FAILED, error="broken", exit_code=4))
    assert [(line["source"], line["status"]) for line in lines(folder)] == [("a", "done"), ("b", "failed")]
    assert read_records(folder) == {"a": record("a")}


def test_failures_are_dropped_to_be_retried(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a", status=FAILED))
    with Manifest(tmp_path) as manifest:
        assert manifest.records == {}
        manifest.begin()
        manifest.append(record("a"))
    assert [(line["source"], line["status"]) for line in lines(tmp_path)] == [("a", "done")]


def test_a_failure_after_success_leaves_known_outputs(tmp_path: Path) -> None:
    done = record("a")
    for status in (DONE, FAILED, FAILED):
        with Manifest(tmp_path) as manifest:
            manifest.begin()
            manifest.append(done if status == DONE else record("a", status=FAILED, outputs={}, sha256={}))
    unfinished = replace(done, status=UNFINISHED)
    assert read_records(tmp_path) == {"a": unfinished}
    with Manifest(tmp_path) as manifest:
        assert manifest.records == {"a": unfinished}


@pytest.mark.parametrize("torn", ['{"source": "b", "sta', "\0\0\0", "[]", '{"source": "b"}', "[" * 100_000])
def test_torn_and_foreign_lines_are_dropped(tmp_path: Path, torn: str) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a"))
    with (tmp_path / MANIFEST_NAME).open("a") as stream:
        stream.write(torn)
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("c"))
    assert [line["source"] for line in lines(tmp_path)] == ["a", "c"]


def test_one_batch_at_a_time(tmp_path: Path) -> None:
    with Manifest(tmp_path), pytest.raises(OutputError) as caught, Manifest(tmp_path):
        pass
    assert str(tmp_path) in str(caught.value)
    with Manifest(tmp_path):
        pass


def test_a_file_in_place_of_the_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError), Manifest(tmp_path / "file"):
        pass


def test_outputs_that_appeared_before_a_kill_are_done(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path).__enter__()
    manifest.begin()
    manifest.announce(record("a", b"whole"), [tmp_path / ".glpn-1.part"])
    (tmp_path / "a.depth.png").write_bytes(b"whole")
    kill(manifest)
    with Manifest(tmp_path) as again:
        assert again.records == {"a": record("a", b"whole")}
        again.begin()
    assert [line["status"] for line in lines(tmp_path)] == ["done"]


def test_temporary_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path).__enter__()
    manifest.begin()
    partial = tmp_path / ".glpn-0123456789ab.part"
    manifest.announce(record("a", b"whole"), [partial])
    partial.write_bytes(b"who")
    (tmp_path / ".glpn-2.part").write_bytes(b"not ours")
    kill(manifest)
    with Manifest(tmp_path) as again:
        assert again.records == {}
        assert partial.exists()  # nothing is changed before `begin`
        again.begin()
    assert not partial.exists()
    assert (tmp_path / ".glpn-2.part").exists()


def test_another_file_of_an_announced_name_is_not_ours(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path).__enter__()
    manifest.begin()
    manifest.announce(record("a", b"whole"), [])
    (tmp_path / "a.depth.png").write_bytes(b"precious")
    kill(manifest)
    with Manifest(tmp_path) as again:
        assert again.records == {}
    assert (tmp_path / "a.depth.png").read_bytes() == b"precious"


def test_one_output_of_two_is_unfinished(tmp_path: Path) -> None:
    both = record("a", b"whole", outputs={"png": "a.depth.png", "npy": "a.depth.npy"})
    both.sha256["npy"] = "0" * 64
    manifest = Manifest(tmp_path).__enter__()
    manifest.begin()
    manifest.announce(both, [])
    (tmp_path / "a.depth.png").write_bytes(b"whole")
    kill(manifest)
    with Manifest(tmp_path) as again:
        known = again.records["a"]
        assert known.status == UNFINISHED
        assert known.matches("png", tmp_path / "a.depth.png")
        assert not known.matches("npy", tmp_path / "a.depth.npy")


def test_outdated_records_stay_until_a_new_line(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a"))
        manifest.append(record("b"))
    with pytest.raises(KeyboardInterrupt), Manifest(tmp_path) as manifest:
        manifest.outdate()
        manifest.begin()
        assert {known.status for known in manifest.records.values()} == {OUTDATED}
        manifest.append(record("a", b"new"))
        raise KeyboardInterrupt
    with Manifest(tmp_path) as manifest:
        assert {known.source: known.status for known in manifest.records.values()} == {"a": DONE, "b": OUTDATED}
        manifest.begin()
    assert len(lines(tmp_path)) == 2


def test_a_complete_redo_does_not_look_interrupted(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a"))
        manifest.append(record("gone"))
    with Manifest(tmp_path) as manifest:
        manifest.outdate()
        manifest.begin()
        assert manifest.is_being_redone
        manifest.append(record("a", b"new"))
    with Manifest(tmp_path) as manifest:
        assert not manifest.is_being_redone
        assert {known.source: known.status for known in manifest.records.values()} == {"a": DONE, "gone": UNFINISHED}


def test_only_a_complete_run_removes_the_journal(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.announce(record("a"), [])
        assert (tmp_path / JOURNAL_NAME).exists()
    assert not (tmp_path / JOURNAL_NAME).exists()
    with pytest.raises(KeyboardInterrupt), Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.announce(record("a"), [])
        raise KeyboardInterrupt
    assert (tmp_path / JOURNAL_NAME).exists()


def test_lines_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()

        def work(name: str) -> None:
            for index in range(50):
                manifest.append(record(f"{name}{index}", settings={"padding": "x" * 2000}))

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({str(line["source"]) for line in lines(tmp_path)}) == 200


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text(json.dumps({"source": "a", "status": "done", "later": 1}) + "\n")
    assert read_records(tmp_path)["a"].is_done


def test_a_changed_file_has_another_mark(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert file_mark(path) == ""
    path.write_bytes(b"1")
    before = file_mark(path)
    path.write_bytes(b"22")
    assert file_mark(path) != before


def test_a_run_that_does_not_begin_changes_nothing(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a", status=FAILED, error="broken"))
    before = (tmp_path / MANIFEST_NAME).read_bytes()
    with Manifest(tmp_path) as manifest:
        manifest.outdate()
    assert (tmp_path / MANIFEST_NAME).read_bytes() == before


@pytest.mark.parametrize(
    "partials",
    [["../precious.txt"], ["precious.txt"], ["/etc/precious"], ["a/../../.glpn-0123456789ab.part"], [7], 7, None],
)
def test_a_forged_journal_removes_no_other_files(tmp_path: Path, partials: object) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for path in (tmp_path / "precious.txt", out / "precious.txt", tmp_path / ".glpn-0123456789ab.part"):
        path.write_text("x")
    forged = {"source": "x", "status": "done", "partials": partials}
    (out / ".glpn-batch.journal").write_text(json.dumps(forged) + "\n")
    with Manifest(out) as manifest:
        manifest.begin()
    assert (tmp_path / "precious.txt").exists()
    assert (out / "precious.txt").exists()
    assert (tmp_path / ".glpn-0123456789ab.part").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"settings": None},
        {"outputs": ["a"]},
        {"source": ["a"]},
        {"status": "perhaps"},
        {"outputs": {"png": "../../elsewhere.png"}},
        {"outputs": {"png": "/elsewhere.png"}},
        {"outputs": {"png": "a\0.png"}},
        {"outputs": {"png": "a\ud800.png"}},
        {"outputs": {"png": 1}},
        {"source": "a\0.png"},
        {"relative_source": "a\0.png"},
        {"source": "a\ud800.png"},
        {"sha256": {"png": ["a"]}},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": "1"},
        {"seconds": -1},
        {"exit_code": None},
        {"error": ["a"]},
        {"hint": {"a": 1}},
        {"source_mark": None},
        pytest.param({"settings": json.loads('{"a":' * 400 + "1" + "}" * 400)}, id="nested"),
        pytest.param({"outputs": {"png": "C:elsewhere.png"}}, marks=ON_WINDOWS),
        pytest.param({"outputs": {"png": "\\elsewhere.png"}}, marks=ON_WINDOWS),
    ],
)
def test_an_invalid_line_is_dropped(tmp_path: Path, fields: dict[str, object]) -> None:
    line = {"source": "a", "status": "done", **fields}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(line) + "\n")
    assert read_records(tmp_path) == {}


def test_names_of_undecodable_files_are_kept(tmp_path: Path) -> None:
    line = {"source": "/a\udcff.png", "status": "done", "outputs": {"png": "a\udcff.depth.png"}}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(line) + "\n")
    assert list(read_records(tmp_path)) == ["/a\udcff.png"]


@pytest.mark.parametrize("name", [MANIFEST_NAME, ".glpn-batch.journal"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_of_closing_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    close = os.close
    broken = -1

    def fail(descriptor: int) -> None:
        close(descriptor)
        if descriptor == broken:
            raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=re.escape(name)) as caught, Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a"))
        broken = manifest._open_files[tmp_path / name]._descriptor
        monkeypatch.setattr(os, "close", fail)
    assert is_disk_wide(caught.value)
    monkeypatch.undo()
    with Manifest(tmp_path) as again:  # the lock is free
        assert again.records == {"a": record("a")}


def test_an_error_of_closing_hides_no_other_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "broken")

    with pytest.raises(KeyboardInterrupt), Manifest(tmp_path) as manifest:
        manifest.begin()
        monkeypatch.setattr(os, "close", fail)
        raise KeyboardInterrupt
    monkeypatch.undo()
    with Manifest(tmp_path):
        pass


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(FileIO):
        """A file on a disk with room for ten bytes."""

        def write(self, data: Any) -> int:
            return super().write(data[:10])

    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a"))
        with monkeypatch.context() as patch, pytest.raises(OutputError) as caught:
            patch.setattr(module, "FileIO", Short)
            manifest.append(record("b"))
        assert is_disk_wide(caught.value)
        manifest.append(record("c"))
    assert [line["source"] for line in lines(tmp_path)] == ["a", "c"]


def test_announcing_flushes_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((tmp_path / ".glpn-batch.journal").read_bytes())

    with Manifest(tmp_path) as manifest:
        manifest.begin()
        monkeypatch.setattr(os, "fsync", watch)
        manifest.announce(record("a"), [])
        assert synced
        assert json.loads(synced[-1])["source"] == "a"
        monkeypatch.undo()


def test_the_journal_restores_lines_lost_in_a_power_failure(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path).__enter__()
    manifest.begin()
    manifest.announce(record("a", b"whole"), [])
    (tmp_path / "a.depth.png").write_bytes(b"whole")
    manifest.append(record("a", b"whole"))
    kill(manifest)
    (tmp_path / MANIFEST_NAME).write_bytes(bytes(300) + b"\xff\xfe\n")  # what may be left of it
    with Manifest(tmp_path) as again:
        assert again.records == {"a": record("a", b"whole")}


@pytest.mark.parametrize("name", [MANIFEST_NAME, ".glpn-batch.journal"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_removed_or_replaced_manifest_ends_the_run(tmp_path: Path, name: str, *, replaced: bool) -> None:
    with pytest.raises(OutputError, match=re.escape(name)), Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a"))
        other = tmp_path / "other"
        other.write_bytes(b"of another batch\n")
        if replaced:
            os.replace(other, tmp_path / name)
        else:
            (tmp_path / name).unlink()
        if name == MANIFEST_NAME:
            manifest.append(record("b"))
        else:
            manifest.announce(record("b"), [])
    assert (tmp_path / name).exists() == replaced
    if replaced:
        assert (tmp_path / name).read_bytes() == b"of another batch\n"


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("name", [MANIFEST_NAME, ".glpn-batch.journal", ".glpn-batch.part"])
def test_links_in_place_of_manifest_files_are_not_followed(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("x")
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to(precious)
    with Manifest(out) as manifest:
        manifest.begin()
        manifest.announce(record("a"), [])
        manifest.append(record("a"))
    assert precious.read_text() == "x"
    assert [line["source"] for line in lines(out)] == ["a"]


def test_an_output_belongs_to_its_last_source(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(record("a.jpg", outputs={"png": "a.depth.png"}))
        manifest.append(record("a.png", outputs={"png": "a.depth.png"}))
    assert [line["source"] for line in lines(tmp_path)] == ["a.png"]


def test_british_names_of_version_0_1_are_read(tmp_path: Path) -> None:
    settings = {"scale": "metres", "colormap": "grey", "camera": "of each picture", "tiles": "off"}
    line = {"source": "a", "status": "done", "settings": settings}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(line) + "\n")
    assert read_records(tmp_path)["a"].settings == {
        "scale": "meters",
        "colormap": "gray",
        "camera": "of each image",
        "tiles": "off",
    }


def test_reading_a_manifest_that_is_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).mkdir()
    with pytest.raises(OutputError, match=MANIFEST_NAME):
        read_records(tmp_path)
    with pytest.raises(OutputError), Manifest(tmp_path):
        pass
    (tmp_path / MANIFEST_NAME).rmdir()
    with Manifest(tmp_path) as manifest:  # the lock is released
        assert manifest.records == {}


def test_a_url_has_no_mark() -> None:
    assert file_mark(Address.parse("http://h.org/a.jpg")) == ""

"""Batches of tars, in memory and on this machine. Stores that speak S3 are in `tests/e2e/test_object_store.py`."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

import glpn_cli
from glpn_cli.api import open_tar_batch
from glpn_cli.errors import ImageError, OutputError, OutputExistsError, UsageError
from glpn_cli.inference import tar_stream
from glpn_cli.inference.batch import BatchRun, make_batch
from glpn_cli.inference.store import Location
from glpn_cli.inference.tar_batch import TarRun, make_tar_batch
from glpn_cli.inference.verify import INTACT, verify_tars
from tar_files import content, make_tar, png, samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.result import Result

SIZE = "64x64"


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return glpn_cli.load("tiny", input_size=SIZE)


@pytest.fixture(params=["memory", "local"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    yield Location.parse("memory://bucket" if request.param == "memory" else str(tmp_path))
    fsspec.filesystem("memory").store.clear()


def write(location: Location, data: bytes) -> None:
    with fsspec.open(str(location), "wb", auto_mkdir=True) as stream:
        stream.write(data)


def run(root: Location, predictor: Predictor, names: str = "in/{000..001}.tar", **settings: Any) -> list[Result]:
    options = {"formats": "npy", "weights": "tiny", "input_size": SIZE, "workers": 2} | settings
    batch = make_tar_batch(str(root.child(names)), str(root.child("out")), **options)
    with TarRun(batch, lambda _: predictor) as running:
        return list(running)


def statuses(results: list[Result]) -> Counter[str]:
    return Counter(result.record.status for result in results)


def names(folder: Location) -> set[str]:
    return set(folder.list_sizes())


def is_clean(root: Location) -> bool:
    return {finding.status for finding in verify_tars(root.child("out"))} <= {INTACT}


@pytest.fixture
def two(root: Location) -> Location:
    write(root.child("in/000.tar"), make_tar(samples(3)))
    write(root.child("in/001.tar"), make_tar(samples(2, first=3)))
    return root


def test_tars_have_the_bytes_of_a_plain_batch(two: Location, tmp_path: Path, tiny: Predictor) -> None:
    settings: dict[str, Any] = {"formats": "png,npz,color", "range": "0:10"}
    assert statuses(run(two, tiny, **settings)) == {"done": 5}
    for name, data in samples(5):
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / name).write_bytes(data)
    plain = make_batch(tmp_path / "plain", tmp_path / "depth", input_size=SIZE, **settings)
    with BatchRun(plain, lambda _: tiny) as running:
        list(running)
    found = {name: data for tar in ("000", "001") for name, data in content(two.child(f"out/{tar}.tar").read()).items()}
    expected = {path.name: path.read_bytes() for path in (tmp_path / "depth").glob("0*.*")}
    assert found == expected
    assert list(found)[:3] == ["00000.depth.png", "00000.depth.npz", "00000.depth-color.png"]
    assert names(two.child("out")) == {"000.tar", "000.glpn.jsonl", "001.tar", "001.glpn.jsonl"}
    assert is_clean(two)


def test_finished_tars_are_not_done_again(two: Location, tiny: Predictor) -> None:
    run(two, tiny, "in/000.tar")
    before = two.child("out/000.tar").mark()
    assert statuses(run(two, tiny)) == {"done": 2}
    assert run(two, tiny) == []
    assert two.child("out/000.tar").mark() == before
    write(two.child("in/000.tar"), make_tar(samples(4)))
    assert statuses(run(two, tiny)) == {"done": 4}
    two.child("out/001.tar").remove()
    assert statuses(run(two, tiny)) == {"done": 2}
    assert is_clean(two)


def test_other_settings_need_permission(two: Location, tiny: Predictor) -> None:
    run(two, tiny)
    with pytest.raises(UsageError, match="format"):
        run(two, tiny, formats="png")
    assert statuses(run(two, tiny, formats="png", overwrite=True)) == {"done": 5}
    assert run(two, tiny, formats="png", overwrite=True) == []  # so that an interrupted one resumes
    assert set(content(two.child("out/001.tar").read())) == {"00003.depth.png", "00004.depth.png"}


def test_failures_are_lines_and_are_retried_alone(
    two: Location, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [("00000.png", b"no image"), *samples(2, first=1), ("../x.png", png()), ("00009.jpg", b"")]
    write(two.child("in/000.tar"), make_tar(broken))
    results = run(two, tiny)
    assert statuses(results) == {"done": 4, "failed": 3}
    assert all(str(two) in result.error.message for result in results if result.error is not None)
    before = two.child("out/000.tar").mark()
    again = run(two, tiny)
    assert statuses(again) == {"failed": 3}
    assert two.child("out/000.tar").mark() == before
    assert is_clean(two)

    # Now the failed image can be read, as after the installation of a decoder.
    prepare = type(tiny).prepare

    def repaired(self: Predictor, image: Any, **options: Any) -> Any:
        return prepare(self, png(7) if image == b"no image" else image, **options)

    monkeypatch.setattr(type(tiny), "prepare", repaired)
    assert statuses(run(two, tiny)) == {"done": 1, "failed": 2}
    assert list(content(two.child("out/000.tar").read())) == [f"0000{index}.depth.npy" for index in range(3)]
    assert is_clean(two)
    assert statuses(run(two, tiny)) == {"failed": 2}


def test_a_truncated_tar_gives_what_was_there(two: Location, tiny: Predictor) -> None:
    tar = make_tar(samples(3))
    write(two.child("in/000.tar"), tar[: tar.index(b"00002.png") + 600])
    assert statuses(run(two, tiny)) == {"done": 4, "failed": 1}
    assert len(content(two.child("out/000.tar").read())) == 2
    (failed,) = run(two, tiny)
    assert isinstance(failed.error, ImageError)
    write(two.child("in/000.tar"), tar)
    assert statuses(run(two, tiny)) == {"done": 3}
    assert is_clean(two)


def test_a_missing_or_foreign_tar_does_not_stop_the_rest(two: Location, tiny: Predictor) -> None:
    write(two.child("in/003.tar"), b"text" * 1000)
    assert statuses(run(two, tiny, "in/{000..003}.tar")) == {"done": 5, "failed": 2}
    assert "003.tar" not in names(two.child("out"))


def test_foreign_outputs_stay(two: Location, tiny: Predictor) -> None:
    foreign = make_tar(samples(1))
    write(two.child("out/000.tar"), foreign)
    write(two.child("out/001.glpn.jsonl"), b"notes")
    results = run(two, tiny)
    assert [type(result.error) for result in results] == [OutputExistsError, OutputExistsError]
    assert two.child("out/000.tar").read() == foreign
    assert statuses(run(two, tiny, overwrite=True)) == {"done": 5}
    assert is_clean(two)


def test_depth_of_another_tar_stays(two: Location, tiny: Predictor) -> None:
    run(two, tiny)
    write(two.child("other/000.tar"), make_tar(samples(1, first=9)))
    (failed,) = run(two, tiny, "other/000.tar")
    assert isinstance(failed.error, OutputExistsError)
    assert run(two, tiny) == []
    assert statuses(run(two, tiny, "other/000.tar", overwrite=True)) == {"done": 1}


def test_a_tar_without_a_record_is_done_again(two: Location, tiny: Predictor) -> None:
    run(two, tiny)
    two.child("out/000.glpn.jsonl").remove()
    assert "left over" in {finding.status for finding in verify_tars(two.child("out"))}
    assert statuses(run(two, tiny)) == {"done": 3}
    assert is_clean(two)


def test_of_two_writers_one_wins(two: Location, tiny: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    if "memory" in str(two):
        pytest.skip("memory:// looks for a name before it writes, and not in the same step")
    both = threading.Barrier(2)
    finish = tar_stream.TarWriter.finish

    def together(self: Any, record: Any) -> None:
        finish(self, record)
        both.wait(60)

    results: list[list[Result]] = []
    monkeypatch.setattr(tar_stream.TarWriter, "finish", together)
    runs = [threading.Thread(target=lambda: results.append(run(two, tiny, "in/000.tar"))) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert sorted(map(len, results)) == [1, 3]
    (error,) = (result.error for result in min(results, key=len))
    assert isinstance(error, OutputExistsError)
    assert is_clean(two)


def test_a_tar_that_changes_while_it_is_read_is_not_committed(
    two: Location, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = tar_stream.TarScan.images

    def replaced(self: Any, stream: Any) -> Any:
        yield from read(self, stream)
        write(self.source, make_tar(samples(4)))

    monkeypatch.setattr(tar_stream.TarScan, "images", replaced)
    (failed,) = run(two, tiny, "in/000.tar")
    assert isinstance(failed.error, ImageError)
    assert names(two.child("out")) == set()


def test_an_interrupted_tar_leaves_nothing(two: Location, tiny: Predictor) -> None:
    batch = make_tar_batch(str(two.child("in/{000..001}.tar")), str(two.child("out")), formats="npy", input_size=SIZE)
    with TarRun(batch, lambda _: tiny) as running:
        assert next(iter(running)).record.status == "done"
    assert {"000.tar", "000.glpn.jsonl"} <= names(two.child("out"))
    assert is_clean(two)
    assert len(run(two, tiny)) in (0, 2)


def test_a_store_that_refuses_ends_the_run(two: Location, tiny: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Location, *_: Any, **_options: Any) -> None:
        raise OutputError(f"{self}: cannot be written: access denied")

    with monkeypatch.context() as patch:
        patch.setattr(Location, "put", refuse)
        with pytest.raises(OutputError):
            run(two, tiny)
    assert names(two.child("out")) == set()
    assert statuses(run(two, tiny)) == {"done": 5}


def test_read_ahead_is_limited(two: Location, tiny: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_stream, "_READ_AHEAD_BYTES", 1)
    write(two.child("in/000.tar"), make_tar(samples(6)))
    most = 0
    hold = tar_stream.TarReader.hold

    def watch(self: Any, count: int) -> None:
        nonlocal most
        most = max(most, self._held_bytes)
        hold(self, count)

    monkeypatch.setattr(tar_stream.TarReader, "hold", watch)
    assert statuses(run(two, tiny)) == {"done": 8}
    assert most <= len(png()) + 100


def test_shards_take_disjoint_tars(root: Location, tiny: Predictor) -> None:
    for index in range(6):
        write(root.child(f"in/{index}.tar"), make_tar(samples(1, first=index)))
    done = [len(run(root, tiny, "in/{0..5}.tar", shard=f"{number}/2")) for number in (1, 2)]
    assert sum(done) == 6
    assert all(done)
    assert run(root, tiny, "in/{0..5}.tar") == []


def test_records_and_tars_say_what_they_are(two: Location, tiny: Predictor) -> None:
    run(two, tiny)
    head, *lines = map(json.loads, two.child("out/000.glpn.jsonl").read().splitlines())
    assert head["glpn_tar"] | {"done": 3, "failed": 0, "passed_over": 3, "output": "000.tar"} == head["glpn_tar"]
    assert [line["source"] for line in lines] == ["00000.png", "00001.png", "00002.png"]
    with tarfile.open(fileobj=io.BytesIO(two.child("out/000.tar").read())) as tar:
        assert {(member.mtime, member.uid, member.isreg()) for member in tar} == {(0, 0, True)}


def test_verification_finds_what_changed(two: Location, tiny: Predictor) -> None:
    run(two, tiny)
    tar = bytearray(two.child("out/000.tar").read())
    tar[tar.index(b"00001.depth.npy") + 700] ^= 1
    write(two.child("out/000.tar"), bytes(tar))
    two.child("out/001.tar").remove()
    assert Counter(finding.status for finding in verify_tars(two.child("out"))) == {
        "intact": 2,
        "changed": 1,
        "missing": 2,
    }
    write(two.child("out/000.tar"), bytes(tar[:1000]))
    assert "changed" in {finding.status for finding in verify_tars(two.child("out"))}


@pytest.mark.parametrize(
    ("inputs", "output", "settings"),
    [
        (["a.tar"], ".", {}),
        (["a.tar", "b/a.tar"], "out", {}),
        (["a.tar", "folder"], "out", {}),
        (["folder"], "memory://out", {}),
        ([], "memory://out", {}),
        (["a.tar"], "out.tar", {}),
        (["a.tar"], "", {}),
        (["a.tar"], "out", {"range": "run", "formats": "color"}),
        (["memory://b/a.tar"], "out", {"offline": True}),
        (["a.tar"], "out", {"cluster": "auto"}),
    ],
)
def test_what_cannot_work_is_refused(inputs: list[str], output: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_tar_batch(inputs, output, **settings)


def test_a_link_to_the_output_folder_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(make_tar(samples(1)))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError):
        make_tar_batch(tmp_path / "a.tar", tmp_path / "link")


def test_a_report_of_tars_is_refused(tmp_path: Path) -> None:
    batch = make_tar_batch(tmp_path / "a.tar", tmp_path / "out")
    with pytest.raises(UsageError):
        open_tar_batch(batch, lambda _: None, report=True)  # type: ignore[arg-type,return-value]


def test_spooled_tars_do_not_stay(two: Location, tiny: Predictor, tmp_path: Path) -> None:
    run(two, tiny)
    assert not [name for name in os.listdir(tmp_path / "out" if two.local else tmp_path) if name.startswith(".")]

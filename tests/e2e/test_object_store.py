"""Batches of tars in a store that speaks S3, and what is left when runs are killed or cut off."""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import glpn_cli
from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.inference.store import Location
from glpn_cli.inference.tar_batch import TarRun, make_tar_batch
from glpn_cli.inference.verify import verify_tars
from tar_files import content, make_tar, samples
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.result import Result

NUMBERS = itertools.count()
SIZE = "64x64"


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A running store; its address and keys, as environment variables."""
    server = pytest.importorskip("moto.server")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables
    running.stop()


@pytest.fixture
def root(environment: dict[str, str]) -> Location:
    """A new bucket with two tars."""
    bucket = Location.parse(f"s3://bucket-{next(NUMBERS)}")
    bucket.files.mkdir(bucket.path)
    bucket.files.pipe_file(bucket.child("in/000.tar").path, make_tar(samples(3)))
    bucket.files.pipe_file(bucket.child("in/001.tar").path, make_tar(samples(2, first=3)))
    return bucket


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return glpn_cli.load("tiny", input_size=SIZE)


def run(root: Location, predictor: Predictor, names: str = "in/{000..001}.tar", **settings: Any) -> list[Result]:
    options = {"formats": "npy", "input_size": SIZE, "workers": 2} | settings
    batch = make_tar_batch(str(root.child(names)), str(root.child("out")), **options)
    with TarRun(batch, lambda _: predictor) as running:
        return list(running)


def statuses(results: list[Result]) -> Counter[str]:
    return Counter(result.record.status for result in results)


def verified(root: Location) -> Counter[str]:
    return Counter(finding.status for finding in verify_tars(root.child("out")))


def names(folder: Location) -> set[str]:
    return set(folder.list_sizes())


def test_a_run_resumes_and_reads_patterns(root: Location, tiny: Predictor) -> None:
    assert statuses(run(root, tiny, "in/000.tar")) == {"done": 3}
    assert statuses(run(root, tiny, "in/*.tar")) == {"done": 2}
    assert run(root, tiny) == []
    assert verified(root) == {"intact": 5}
    assert list(content(root.child("out/001.tar").read())) == ["00003.depth.npy", "00004.depth.npy"]


def test_the_command_line_hides_keys(root: Location, glpn: Any, tiny: Predictor) -> None:
    options = ("--weights", "tiny", "--input-size", SIZE, "-f", "npy")
    done = glpn("batch", f"{root}/in/{{000..002}}.tar", "-o", f"{root}/out", *options, "--json")
    assert done.returncode == 7
    assert done.stdout.count(b'"status": "done"') == 5
    again = glpn("batch", f"{root}/in/*.tar", "-o", f"{root}/out", *options)
    assert again.returncode == 0
    assert glpn("batch", "--verify", "-o", f"{root}/out").returncode == 0
    assert glpn("batch", f"{root}/in/*.tar", "-o", f"{root}/out", "--dry-run").stdout.count(b"done") == 2
    refused = glpn("batch", f"{root}/in/*.tar", "-o", "s3://no-such-bucket/out", *options, "--debug")
    assert refused.returncode == 6
    for ran in (done, again, refused):
        assert b"AKIA" not in ran.stdout + ran.stderr
        assert b"secret" not in ran.stdout + ran.stderr


def test_of_two_writers_one_wins(root: Location, tiny: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    asked: list[str] = []
    exists = root.files.exists

    def together(path: str, **options: Any) -> bool:
        found: bool = exists(path, **options)
        asked.append(path)
        if len(asked) <= 2:  # both see that there is none, and both store theirs
            both.wait(20)
        return found

    monkeypatch.setattr(root.files, "exists", together)
    results: list[list[Result]] = []
    runs = [threading.Thread(target=lambda: results.append(run(root, tiny, "in/000.tar"))) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert sorted(map(len, results)) == [1, 3]
    assert isinstance(min(results, key=len)[0].error, OutputExistsError)
    monkeypatch.undo()
    assert verified(root) == {"intact": 3}


def test_many_writers_of_one_name(root: Location, tmp_path: Any) -> None:
    target = root.child("out/000.tar")
    won: list[int] = []

    def write(number: int) -> None:
        file = tmp_path / str(number)
        file.write_bytes(b"%d" % number)
        try:
            target.put(file, replace=False)
        except FileExistsError:
            return
        won.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert target.read() == b"%d" % won[0]


def test_a_cut_upload_leaves_nothing(root: Location, tiny: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        put_file = root.files.put_file

        def cut(lpath: str, rpath: str, **options: Any) -> None:
            if rpath.endswith("jsonl"):
                raise ConnectionResetError
            put_file(lpath, rpath, **options)

        patch.setattr(root.files, "put_file", cut)
        with pytest.raises(OutputError):
            run(root, tiny)
    assert names(root.child("out")) <= {"000.tar", "001.tar"}  # without records
    assert statuses(run(root, tiny)) == {"done": 5}
    assert verified(root) == {"intact": 5}


def test_a_large_tar_is_sent_in_parts_or_not_at_all(
    root: Location, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, target = tmp_path / "tar", root.child("out/000.tar")
    file.write_bytes(bytes(11 * 2**20))
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda *_, **_options: 5 * 2**20)
    upload = type(root.files)._upload_file_part_concurrent

    async def cut(self: Any, *arguments: Any, **options: Any) -> None:
        await upload(self, *arguments, **options)
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(type(root.files), "_upload_file_part_concurrent", cut)
        with pytest.raises(OutputError):
            target.put(file, replace=False)
    assert target.mark_or_none() is None
    target.put(file, replace=False)
    with pytest.raises(FileExistsError):
        file.write_bytes(b"other")
        target.put(file, replace=False)


@pytest.mark.parametrize("moment", ["before the tar", "in the tar", "before the record", "after the record"])
def test_a_killed_run_is_resumed(
    root: Location, warm_python: list[str], tmp_path: Any, moment: str, tiny: Predictor
) -> None:
    code = f"""
import os, signal, sys
from glpn_cli.inference.store import Location
from s3fs import S3FileSystem
from glpn_cli.cli.app import main
moment, put, send = {moment!r}, Location.put, S3FileSystem._put_file
def die(): os.kill(os.getpid(), signal.SIGKILL)
def kill(self, file, *, replace):
    is_record = self.name == "001.glpn.jsonl"
    if self.name == "001.tar" and moment == "before the tar": die()
    if is_record and moment == "before the record": die()
    put(self, file, replace=replace)
    if is_record and moment == "after the record": die()
async def cut(self, lpath, rpath, **options):
    if rpath.endswith("001.tar") and moment == "in the tar":
        import socket
        host, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
        sending = socket.create_connection((host, int(port)))
        sending.sendall(b"PUT /" + rpath.encode() + b" HTTP/1.1\\r\\nContent-Length: 10000\\r\\n\\r\\nhalf")
        die()
    await send(self, lpath, rpath, **options)
Location.put, S3FileSystem._put_file = kill, cut
sys.argv = ["glpn", "batch", "{root}/in/{{000..001}}.tar", "-o", "{root}/out", "-f", "npy",
            "--weights", "tiny", "--input-size", "{SIZE}"]
main()
"""
    killed = subprocess.run([*warm_python, "-c", code], capture_output=True, check=False, timeout=HANG_S)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert verified(root)["changed"] == verified(root)["missing"] == 0
    assert statuses(run(root, tiny)) == ({} if moment == "after the record" else {"done": 2})
    assert verified(root) == {"intact": 5}

"""A Ray cluster: real nodes on this machine, of one CPU each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import glpn_cli
from glpn_cli.errors import MissingPackageError, UsageError
from glpn_cli.inference import plan
from glpn_cli.settings import RunSettings
from ray_cluster import Driver, LocalCluster, is_alive, send_signal
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

COUNT = 16
NODES = 2
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
"""A frozen node is given up after seconds, not after a minute."""


@pytest.fixture(scope="module")
def started_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(NODES, **HEALTH) as running:
        yield running


@pytest.fixture
def cluster(started_cluster: LocalCluster) -> LocalCluster:
    started_cluster.repair(NODES)
    return started_cluster


@pytest.fixture
def driver(tmp_path: Path, cluster: LocalCluster) -> Driver:
    return Driver(tmp_path, cluster)


def make_images(make_image: Callable[..., Path], count: int) -> None:
    for index in range(count):
        make_image(f"in/{index % 3}/{index:03}.png", 40 + index % 2, 40)


def outputs(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in (".png", ".npy", ".npz"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what is new of an output that was written again."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.depth.*")
        if not path.name.startswith(".")
    }


def lines(folder: Path) -> int:
    path = folder / "glpn-batch.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def await_event(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait for an event, and show what the process has said if it ends before."""
    try:
        wait_until(condition, process)
    except AssertionError as error:
        error.add_note(process.communicate(timeout=HANG_S)[1].decode())
        raise


def check_complete(glpn: Glpn, folder: Path, count: int) -> None:
    """Check that all images have both outputs, as the manifest says, and that nothing else is left."""
    verified = glpn("batch", "--verify", "--out", folder)
    assert verified.stderr.startswith(b"%d intact, in" % (2 * count)), verified.stderr.decode()
    records = [json.loads(line) for line in (folder / "glpn-batch.jsonl").read_text().splitlines()]
    assert len({record["source"] for record in records}) == len(records) == count
    assert {path.name for path in folder.glob(".*")} == {".glpn-batch.lock"}


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="clusters of Ray run on Linux")
class TestCluster:
    def test_workers_write_what_one_process_writes(
        self, glpn: Glpn, driver: Driver, tmp_path: Path, make_image: Callable[..., Path]
    ) -> None:
        make_images(make_image, COUNT)
        (tmp_path / "in" / "bad.jpg").write_text("no image")
        options = ("-f", "color,npz,png16", "--range", "run", "--workers", "1", "--report", "--json")
        plain = glpn("batch", "in", "--out", "plain", *options)
        shared = driver.run("batch", "in", "--out", "shared", *options)
        assert (plain.returncode, shared.returncode) == (7, 7), shared.stderr.decode()
        assert len(outputs(tmp_path / "plain")) == 3 * COUNT
        assert outputs(tmp_path / "shared") == outputs(tmp_path / "plain")
        assert b"16 of 17 done" in shared.stderr
        records = {Path(record["source"]).name: record for record in map(json.loads, shared.stdout.splitlines())}
        known = {Path(record["source"]).name: record for record in map(json.loads, plain.stdout.splitlines())}
        assert {name: record.get("depth_m") for name, record in records.items()} == {
            name: record.get("depth_m") for name, record in known.items()
        }
        assert glpn("batch", "--verify", "--out", "shared").returncode == 0

    def test_predict_keeps_the_order_of_images(
        self, driver: Driver, make_image: Callable[..., Path], tmp_path: Path
    ) -> None:
        make_images(make_image, COUNT)
        run = driver.run("predict", "in", "--recursive", "-f", "npy", "-o", "flat/", "--json")
        assert run.returncode == 0, run.stderr.decode()
        names = [Path(json.loads(line)["source"]).name for line in run.stdout.splitlines()]
        assert names == sorted(names, key=lambda name: (int(name[:3]) % 3, name))
        assert len(list((tmp_path / "flat").iterdir())) == len(names) == COUNT

    def test_a_killed_worker_and_a_killed_node_lose_nothing(
        self, glpn: Glpn, driver: Driver, cluster: LocalCluster, tmp_path: Path, make_image: Callable[..., Path]
    ) -> None:
        make_images(make_image, 100)
        process = driver.start("batch", "in", "--out", "out", "-f", "png,npy", "--json")
        out = tmp_path / "out"
        await_event(lambda: lines(out) > 3, process)
        first, second = cluster.raylets
        (worker,) = cluster.workers(first)
        send_signal(worker, signal.SIGKILL)
        await_event(lambda: cluster.workers(first) not in ([], [worker]), process)
        send_signal(second, signal.SIGKILL)
        before = marks(out)
        stdout, stderr = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, stderr.decode()
        assert {json.loads(line)["status"] for line in stdout.splitlines()} == {"done"}
        assert len(stdout.splitlines()) == 100
        after = marks(out)
        assert {name: after[name] for name in before} == before
        check_complete(glpn, out, 100)

    def test_a_killed_run_resumes(
        self, glpn: Glpn, driver: Driver, tmp_path: Path, make_image: Callable[..., Path]
    ) -> None:
        make_images(make_image, 60)
        out = tmp_path / "out"
        command = ("batch", "in", "--out", "out", "-f", "png,npy")
        process = driver.start(*command)
        await_event(lambda: lines(out) > 3, process)
        process.kill()
        process.communicate(timeout=HANG_S)
        again = driver.run(*command, "--json")
        assert again.returncode == 0, again.stderr.decode()
        statuses = [json.loads(line)["status"] for line in again.stdout.splitlines()]
        assert statuses.count("up to date") > 3
        assert len(statuses) == 60
        check_complete(glpn, out, 60)

    def test_an_interrupted_run_finishes_what_it_writes(
        self, driver: Driver, tmp_path: Path, make_image: Callable[..., Path]
    ) -> None:
        make_images(make_image, 60)
        process = driver.start("batch", "in", "--out", "out", "-f", "png,npy")
        await_event(lambda: lines(tmp_path / "out") > 3, process)
        process.terminate()
        _, stderr = process.communicate(timeout=HANG_S)
        assert process.returncode == 130, stderr.decode()
        written = {name.split(".")[0] for name in marks(tmp_path / "out")}
        assert len(marks(tmp_path / "out")) == 2 * len(written)
        assert lines(tmp_path / "out") == len(written)

    def test_a_frozen_node_writes_nothing_twice(
        self, glpn: Glpn, driver: Driver, cluster: LocalCluster, tmp_path: Path, make_image: Callable[..., Path]
    ) -> None:
        make_images(make_image, 60)
        out = tmp_path / "out"
        process = driver.start("batch", "in", "--out", "out", "-f", "png,npy")
        await_event(lambda: lines(out) > 3, process)
        raylet = cluster.raylets[0]
        (worker,) = cluster.workers(raylet)
        for pid in (raylet, worker):
            send_signal(pid, signal.SIGSTOP)
        await_event(lambda: lines(out) == 60, process)
        before = marks(out)
        for pid in (worker, raylet):
            send_signal(pid, signal.SIGCONT)
        _, stderr = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, stderr.decode()
        wait_until(lambda: not is_alive(worker))
        assert marks(out) == before
        check_complete(glpn, out, 60)

    def test_workers_that_never_start_are_not_waited_for(
        self, driver: Driver, cluster: LocalCluster, tmp_path: Path, make_image: Callable[..., Path]
    ) -> None:
        make_images(make_image, COUNT)
        hold = (
            "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)\n"
            "class Holder:\n    def ready(self): pass\n"
            "holder = ray.remote(num_cpus=1)(Holder).remote(); ray.get(holder.ready.remote())\n"
            "print('held', flush=True); sys.stdin.read()"
        )
        environment = {**os.environ, **cluster.variables}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([sys.executable, "-c", hold, cluster.address], env=environment, **pipes) as holder:
            assert holder.stdout.readline() == b"held\n"
            run = driver.run("batch", "in", "--out", "out", "-f", "npy")
            holder.communicate()
        assert run.returncode == 0, run.stderr.decode()
        assert b"2 x cpu" in run.stderr
        assert len(outputs(tmp_path / "out")) == COUNT

    def test_unequal_hosts_are_refused(self, driver: Driver, tmp_path: Path, make_image: Callable[..., Path]) -> None:
        make_images(make_image, 3)
        host = os.uname().nodename.encode()
        newer = "import glpn_cli._version as version; version.__version__ = '99.0'"
        run = driver.run("batch", "in", "--out", "out", patch=newer)
        assert run.returncode == 5, run.stderr.decode()
        assert b"99.0" in run.stderr
        assert host in run.stderr
        elsewhere = (
            "from glpn_cli.inference.crews.probe import Nonce\n"
            "from dataclasses import replace\nfrom pathlib import Path\n"
            "place = Nonce.place\nNonce.place = lambda *args: replace(place(*args), path=Path('/elsewhere/x'))"
        )
        run = driver.run("batch", "in", "--out", "out", patch=elsewhere)
        assert run.returncode == 6, run.stderr.decode()
        assert host in run.stderr
        assert not outputs(tmp_path / "out")

    def test_clusters_that_do_not_fit_are_refused(self, driver: Driver, make_image: Callable[..., Path]) -> None:
        make_image("in/a.png")
        run = driver.run("batch", "in", "--out", "out", "--device", "cuda")
        assert run.returncode == 5, run.stderr.decode()
        assert b"GPU" in run.stderr
        run = driver.run("batch", "in", "--out", "out", patch="import ray; ray.__version__ = '2.50.0'")
        assert run.returncode == 5, run.stderr.decode()
        assert b"2.50.0" in run.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--cluster", "auto", "--device", "cpu,cpu"), b"--device"),
        (("--cluster", "auto", "--device", "cuda:1"), b"--device"),
        (("--cluster", "auto", "--device", "all"), b"--device"),
        (("--cluster", "auto", "--shard", "1/2"), b"--shard"),
        (("--cluster", "ray://host:1"), b"--cluster"),
        (("--cluster", ""), b"--cluster"),
    ],
)
def test_what_a_cluster_excludes(
    glpn: Glpn, make_image: Callable[..., Path], options: tuple[str, ...], named: bytes
) -> None:
    make_image("in/a.png")
    run = glpn("batch", "in", "--out", "out", *options)
    assert run.returncode == 2
    assert named in run.stderr


@pytest.mark.parametrize("options", [("a.png", "--preview"), ("a.png", "-o", "-"), ("-", "-o", "b.png")])
def test_predict_in_a_cluster_needs_files(
    glpn: Glpn, make_image: Callable[..., Path], options: tuple[str, ...]
) -> None:
    data = make_image("a.png").read_bytes()
    run = glpn("predict", *options, "--cluster", "auto", stdin=data)
    assert run.returncode == 2
    assert b"--cluster" in run.stderr


def test_video_names_the_commands_that_take_a_cluster(glpn: Glpn) -> None:
    run = glpn("video", "a.mp4", "--cluster", "auto")
    assert run.returncode == 2
    assert b"batch" in run.stderr


def test_missing_ray_is_named(make_image: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image("in/a.png")
    monkeypatch.setattr(plan, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError) as caught:
        glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", cluster="auto")
    assert "pip install" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_an_address_without_a_cluster_ends_the_run_soon(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    make_image("in/a.png")
    start_s = time.monotonic()
    run = glpn("batch", "in", "--out", "out", "--cluster", "127.0.0.1:9", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    assert run.returncode == 5
    assert b"127.0.0.1:9" in run.stderr
    assert time.monotonic() - start_s < 60


def test_settings_take_an_address() -> None:
    assert RunSettings(cluster="[::1]:6379").cluster == "[::1]:6379"
    with pytest.raises(UsageError) as caught:
        RunSettings(cluster="host")
    assert caught.value.setting == "cluster"

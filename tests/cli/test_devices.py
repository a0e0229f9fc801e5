"""Several devices: real worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import glpn_cli
from glpn_cli.errors import UsageError
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

COUNT = 16


@pytest.fixture
def images(make_image: Callable[..., Path]) -> None:
    for index in range(COUNT):
        make_image(f"in/{index % 3}/{index:02}.png", 40 + index % 2, 40)


def outputs(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in (".png", ".npy", ".npz"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.usefixtures("images")
def test_two_workers_write_what_one_process_writes(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "in" / "bad.jpg").write_text("no image")
    options = ("-f", "color,npz,png16", "--range", "run", "--workers", "1", "--report", "--json")
    plain = glpn("batch", "in", "--out", "plain", *options)
    shared = glpn("batch", "in", "--out", "shared", "--device", "cpu,cpu", *options)
    assert (plain.returncode, shared.returncode) == (7, 7), shared.stderr.decode()
    assert len(outputs(tmp_path / "plain")) == 3 * COUNT
    assert outputs(tmp_path / "shared") == outputs(tmp_path / "plain")
    assert b"16 of 17 done" in shared.stderr
    assert b"bad.jpg" in shared.stderr
    records = {Path(record["source"]).name: record for record in map(json.loads, shared.stdout.splitlines())}
    known = {Path(record["source"]).name: record for record in map(json.loads, plain.stdout.splitlines())}
    assert {name: record.get("depth_m") for name, record in records.items()} == {
        name: record.get("depth_m") for name, record in known.items()
    }
    parts = {path.name: path.read_bytes() for path in (tmp_path / "plain" / "glpn-report").glob("*.small.js")}
    assert parts == {path.name: path.read_bytes() for path in (tmp_path / "shared/glpn-report").glob("*.small.js")}
    assert glpn("batch", "--verify", "--out", "shared").returncode == 0
    again = glpn("batch", "in", "--out", "shared", "-f", "color,npz,png16", "--range", "run")
    assert b"0 of 1 done" in again.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_killed_worker_and_a_killed_run_lose_nothing(
    glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for index in range(90):
        make_image(f"in/{index:02}.png", 40, 40)
    command = [sys.executable, "-m", "glpn_cli", "batch", "in", "--out", "out", "-f", "png,npy", "--device", "cpu,cpu"]
    done = tmp_path / "out" / "glpn-batch.jsonl"

    def lines() -> int:
        return done.read_bytes().count(b"\n") if done.exists() else 0

    process = subprocess.Popen([*command, "--debug"], cwd=tmp_path, stderr=subprocess.PIPE)
    wait_until(lambda: lines() > 3, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    first, *_ = workers = children.read_text().split()
    assert len(workers) == 2
    os.kill(int(first), signal.SIGKILL)
    wait_until(lambda: first not in children.read_text().split(), process)
    process.kill()
    process.communicate(timeout=HANG_S)
    before = set(outputs(tmp_path / "out"))
    again = glpn("batch", "in", "--out", "out", "-f", "png,npy", "--json")  # waits for the workers of the killed run
    assert again.returncode == 0, again.stderr.decode()
    statuses = [json.loads(line)["status"] for line in again.stdout.splitlines()]
    whole = sum({f"{index:02}.depth.png", f"{index:02}.depth.npy"} <= before for index in range(90))
    assert statuses.count("up to date") >= whole > 0
    assert len(statuses) == 90
    assert glpn("batch", "--verify", "--out", "out").stderr.startswith(b"180 intact, in")
    assert {path.name for path in (tmp_path / "out").glob(".*")} == {".glpn-batch.lock"}


@pytest.mark.usefixtures("images")
def test_predict_shares_images_and_keeps_their_order(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("predict", "in", "--recursive", "-f", "npy", "-o", "flat/", "--device", "cpu,cpu", "--json")
    assert run.returncode == 0, run.stderr.decode()
    names = [Path(json.loads(line)["source"]).name for line in run.stdout.splitlines()]
    assert sorted(names) == [f"{index:02}.png" for index in range(COUNT)]
    assert names == sorted(names, key=lambda name: (int(name[:2]) % 3, name))
    again = glpn("predict", "in", "--recursive", "-f", "npy", "-o", "flat/")
    assert again.stderr.count(b"up to date") == COUNT + 1


def test_one_image_takes_one_device(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    make_image("a.png")
    run = glpn("predict", "a.png", "--device", "cpu,cpu", "-o", "-")
    assert run.returncode == 0
    assert run.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize("device", ["cpu,tpu", "cpu,", "auto,cpu", "all,cpu"])
def test_unknown_devices_are_usage_errors(glpn: Glpn, make_image: Callable[..., Path], device: str) -> None:
    make_image("in/a.png")
    run = glpn("batch", "in", "--out", "out", "--device", device)
    assert run.returncode == 2
    assert b"--device" in run.stderr


def test_a_device_that_is_missing_ends_the_run(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image("in/a.png")
    run = glpn("batch", "in", "--out", "out", "--device", "cpu,xpu:7")
    assert run.returncode == 5
    assert b"xpu:7" in run.stderr
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_single_predictor_takes_one_device() -> None:
    with pytest.raises(UsageError) as caught:
        glpn_cli.load("tiny", "cpu,cpu")
    assert caught.value.setting == "device"


def test_standard_input_is_not_shared(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    data = make_image("a.png").read_bytes()
    run = glpn("predict", "a.png", "-", "-o", "out/", "--device", "cpu,cpu", stdin=data)
    assert run.returncode == 2
    assert b"--device" in run.stderr

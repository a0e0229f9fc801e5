"""Images of `glpn predict` and `glpn batch`: filters, lists and URLs."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]
    Make = Callable[..., Path]


@pytest.fixture
def shots(make_image: Make, tmp_path: Path) -> Path:
    """A folder with images that options include or exclude."""
    for name in ("a.jpg", "b.png", "sub/a.jpg", "sub/raw/c.jpg", ".hidden.jpg", ".thumbs/d.jpg"):
        make_image(f"shots/{name}")
    (tmp_path / "shots" / "loop").symlink_to("..")
    return tmp_path / "shots"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(make_image: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with an image and an HTML page."""
    monkeypatch.setenv("no_proxy", "*")
    make_image("web/pics/photo.jpg")
    (tmp_path / "web" / "page.jpg").write_text("<!doctype html><html><img src=photo.jpg>")
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def depths(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.depth.png")}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "glpn-batch.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("shots")
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), {"a", "b", "sub/a", "sub/raw/c"}),
        (("--no-recursive",), {"a", "b"}),
        (("--include", "*.JPG"), {"a", "sub/a", "sub/raw/c"}),
        (("--include", "sub/*", "--include", "*.png", "--exclude", "raw"), {"b", "sub/a"}),
        (("--hidden",), {"a", "b", "sub/a", "sub/raw/c", ".hidden", ".thumbs/d"}),
    ],
)
def test_options_filter_the_images_of_a_batch(glpn: Glpn, options: tuple[str, ...], found: set[str]) -> None:
    run = glpn("batch", "shots", "--out", "out", "--dry-run", *options)
    assert run.returncode == 0
    assert set(re.findall(r"/out/(.*)\.depth\.png", run.stdout.decode())) == found


@pytest.mark.usefixtures("shots")
def test_predict_searches_subfolders_only_if_recursive(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "shots", "--exclude", "b.*").returncode == 0
    assert depths(tmp_path / "shots") == {"a.depth.png"}
    assert glpn("predict", "shots", "--recursive", "--include", "raw").returncode == 0
    assert depths(tmp_path / "shots") == {"a.depth.png", "sub/raw/c.depth.png"}
    run = glpn("predict", "shots", "--include", "*.webp")
    assert run.returncode == 4
    assert b"--include" in run.stderr


@pytest.mark.usefixtures("shots")
def test_a_batch_without_matching_images_writes_nothing(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("batch", "shots", "--out", "out", "--include", "*.webp")
    assert run.returncode == 4
    assert b"--include" in run.stderr
    assert not (tmp_path / "out").exists()
    assert glpn("batch", "shots", "--out", "out", "--include", "../x").returncode == 2


@pytest.mark.usefixtures("shots")
def test_predict_reads_a_list_from_a_file_or_pipe(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"shots/a.jpg\r\n\r\nshots/sub/raw/c.jpg\r\n")
    assert glpn("predict", "--from-list", "list.txt", "-o", "out/").returncode == 0
    assert depths(tmp_path / "out") == {"a.depth.png", "c.depth.png"}
    assert glpn("predict", "shots/b.png", "--from-list", "-", stdin=b"shots/a.jpg\0").returncode == 0
    assert depths(tmp_path / "shots") == {"a.depth.png", "b.depth.png"}


def test_other_files_of_a_list_are_skipped_and_counted(glpn: Glpn, tmp_path: Path, make_image: Make) -> None:
    make_image("a.jpg")
    make_image("sub/scan.png").rename(tmp_path / "sub" / "scan")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.jpg").write_text("no image")
    found = b"\0".join([b".", b"a.jpg", b"notes.txt", b"sub", b"sub/scan", b"broken.jpg"])
    for command in (("predict", "-o", "one/", "--json"), ("batch", "-o", "all")):
        run = glpn(*command, "--from-list", "-", stdin=found)
        assert run.returncode == 7, run.stderr  # the broken image
        assert b"not images" in run.stderr
        assert b"notes.txt" not in run.stderr
        if run.stdout:
            records = [json.loads(line) for line in run.stdout.splitlines()]
            assert sorted((record["source"], record["status"]) for record in records) == [
                ("a.jpg", "done"), ("broken.jpg", "failed"), ("notes.txt", "skipped"), ("sub", "skipped"),
                ("sub/scan", "done"),
            ]  # fmt: skip
    assert depths(tmp_path / "one") == {"a.depth.png", "scan.depth.png"}
    assert depths(tmp_path / "all") == {"a.depth.png", "sub/scan.depth.png"}
    assert glpn("predict", "--from-list", "-", stdin=b"notes.txt").returncode == 4


def test_errors_about_a_list_name_it(glpn: Glpn, tmp_path: Path, make_image: Make) -> None:
    make_image("a.jpg")
    (tmp_path / "mine.txt").write_text("a.jpg\ngone.jpg\n")
    for command in (("predict", "-o", "one/"), ("batch", "-o", "all")):
        assert b"mine.txt" in glpn(*command, "--from-list", "mine.txt").stderr
    run = glpn("predict", "-", "-o", "x.png", stdin=b"no image")
    assert b"standard input: " in run.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_pipe_drives_a_long_lived_process(tmp_path: Path, make_image: Make) -> None:
    for name in ("a.jpg", "b.jpg"):
        make_image(name)
    command = [sys.executable, "-m", "glpn_cli", "predict", "--from-list", "-", "--json", "-q"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name, status in (("a.jpg", "done"), ("gone.jpg", "failed"), ("b.jpg", "done"), ("a.jpg", "done")):
            process.stdin.write(name.encode() + b"\n")
            process.stdin.flush()
            record = json.loads(process.stdout.readline())
            assert (record["source"], record["status"]) == (name, status)
        process.stdin.close()
        assert process.wait(HANG_S) == 7
    assert {path.name for path in tmp_path.iterdir()} == {"a.jpg", "b.jpg"}


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_process_that_waits_for_its_list_can_be_interrupted(tmp_path: Path, make_image: Make) -> None:
    make_image("a.jpg")
    command = [sys.executable, "-m", "glpn_cli", "predict", "--from-list", "-", "--json"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(b"a.jpg\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 130
        stderr = process.stderr.read()
    assert b"interrupted: 1 done" in stderr
    assert b"Traceback" not in stderr


def test_raw_files_and_recorded_depth_are_left_out_with_a_note(glpn: Glpn, tmp_path: Path, make_image: Make) -> None:
    for name in ("in/a.jpg", "in/b.jpg", "scan/color/1.jpg"):
        make_image(name)
    for name in ("in/a.png", "scan/depth/1.png", "in/alone.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)).save(tmp_path / name)
    (tmp_path / "in" / "c.NEF").write_bytes(b"II*\0")
    run = glpn("batch", "in", "scan", "-o", "out")
    assert run.returncode == 0, run.stderr
    assert depths(tmp_path / "out") == {
        "in/a.depth.png", "in/b.depth.png", "in/alone.depth.png", "scan/color/1.depth.png"
    }  # fmt: skip
    assert b"2 depth images" in run.stderr
    assert b"1 raw camera file (.nef)" in run.stderr
    run = glpn("predict", "in", "-o", "one/")
    assert depths(tmp_path / "one") == {"a.jpg.depth.png", "b.depth.png", "alone.depth.png"}
    assert b"raw camera file" in run.stderr
    assert b"1 depth image" in run.stderr
    (tmp_path / "raws").mkdir()
    (tmp_path / "raws" / "a.dng").write_bytes(b"II*\0")
    for command in (("predict", "raws"), ("batch", "raws", "-o", "none")):
        run = glpn(*command)
        assert run.returncode == 4
        assert b"raw" in run.stderr.splitlines()[-1]
    run = glpn("predict", "scan/depth")
    assert run.returncode == 4
    assert b"depth image" in run.stderr.splitlines()[-1]
    run = glpn("predict", "scan/depth/1.png", "-o", "named/")
    assert depths(tmp_path / "named") == {"1.depth.png"}, run.stderr


@pytest.mark.usefixtures("shots")
def test_a_batch_of_a_list_stays_inside_and_resumes(
    glpn: Glpn, tmp_path: Path, make_image: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.jpg").write_bytes(make_image("x.jpg").read_bytes())
    up = "../" * len(tmp_path.parts)
    entries = ["shots/a.jpg", f"{up}{outside}/x.jpg", str(outside / "../" / outside.name / "x.jpg"), "gone.jpg"]
    (tmp_path / "list").write_text("\n".join(entries))
    before = {path for folder in (tmp_path, outside) for path in folder.rglob("*")}
    first = glpn("batch", "--from-list", "list", "--out", "out")
    assert first.returncode == 7, first.stderr
    whole = outside.relative_to(outside.anchor).as_posix()
    assert depths(tmp_path / "out") == {"shots/a.depth.png", f"{whole}/x.depth.png"}
    after = {path for folder in (tmp_path, outside) for path in folder.rglob("*")}
    assert {path for path in after - before if not path.is_relative_to(tmp_path / "out")} == set()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert b"0 of 1 done" in glpn("batch", "--from-list", "list", "--out", "out").stderr
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert {Path(line["source"]).name for line in lines(tmp_path / "out")} == {"x.jpg", "a.jpg", "gone.jpg"}


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "named"),
    [
        (("predict",), b"", 2, b"--from-list"),
        (("batch", "--out", "out"), b"", 2, b"--from-list"),
        (("predict", "--from-list", "gone.txt"), b"", 4, b"gone.txt"),
        (("predict", "--from-list", "-"), b"\n\n", 4, b"error: "),
        (("predict", "-", "--from-list", "-"), b"a.jpg", 2, b"standard input"),
        (("predict", "--from-list", "-"), b"gone.jpg", 4, b"gone.jpg"),
        (("predict", "http://me:pw@127.0.0.1:9/a.jpg"), b"", 2, b"--allow-url"),
        (("predict", "--from-list", "-"), b"http://me:pw@127.0.0.1:9/a.jpg", 2, b"--allow-url"),
        (("batch", "--from-list", "-", "--out", "out"), b"http://me:pw@127.0.0.1:9/a.jpg", 2, b"--allow-url"),
        (("predict", "--allow-url", "http://me:pw@127.0.0.1:9/a.jpg"), b"", 4, b"http://127.0.0.1:9/a.jpg"),
        (("predict", "--allow-url", "http://me:pw@"), b"", 4, b"URL"),
        (("predict", "--allow-url", "--offline", "http://h/a.jpg"), b"", 2, b"--offline"),
        (("batch", "http://127.0.0.1:9/a.jpg", "--out", "out"), b"", 2, b"http://127.0.0.1:9/a.jpg"),
    ],
)
def test_invalid_inputs_are_refused(
    glpn: Glpn, tmp_path: Path, arguments: tuple[str, ...], stdin: bytes, code: int, named: bytes
) -> None:
    run = glpn(*arguments, stdin=stdin, no_proxy="*")
    assert run.returncode == code, run.stderr
    assert named in run.stderr
    assert b"pw" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_predict_downloads_into_the_current_folder(glpn: Glpn, tmp_path: Path, web: str) -> None:
    run = glpn("predict", "--allow-url", f"http://me:pw@{web}/pics/photo.jpg?size=9", "--json", "-f", "png", "-v")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "photo.depth.png").is_file()
    record = json.loads(run.stdout)
    assert record["source"].startswith(f"http://{web}/pics/photo.jpg?...")
    assert "fetch" in record["elapsed_ms"]
    assert b"pw" not in run.stdout + run.stderr + (tmp_path / "photo.depth.png").read_bytes()
    assert glpn("predict", "--allow-url", f"http://{web}/pics/photo.jpg", "-o", "-").stdout.startswith(b"\x89PNG")


def test_downloads_are_judged_by_their_content(glpn: Glpn, web: str) -> None:
    run = glpn("predict", "--allow-url", f"http://{web}/page.jpg", f"http://{web}/none.jpg")
    assert run.returncode == 4
    assert b"page.jpg" in run.stderr
    assert b"HTML" in run.stderr
    assert b"none.jpg" in run.stderr
    assert b"404" in run.stderr


def test_a_batch_of_urls_resumes_and_hides_passwords(glpn: Glpn, tmp_path: Path, web: str) -> None:
    (tmp_path / "list").write_text(f"http://me:pw@{web}/pics/photo.jpg\nhttp://{web}/page.jpg\n")
    run = glpn("batch", "--from-list", "list", "--allow-url", "--out", "out")
    assert run.returncode == 7, run.stderr
    assert depths(tmp_path / "out") == {f"{web.replace(':', '_')}/pics/photo.depth.png"}
    assert {line["source"]: line["status"] for line in lines(tmp_path / "out")} == {
        f"http://{web}/pics/photo.jpg": "done",
        f"http://{web}/page.jpg": "failed",
    }
    assert b"pw" not in run.stderr + (tmp_path / "out" / "glpn-batch.jsonl").read_bytes()
    assert glpn("batch", "--verify", "--out", "out").returncode == 0
    again = glpn("batch", "--from-list", "list", "--allow-url", "--out", "out")
    assert b"0 of 1 done" in again.stderr

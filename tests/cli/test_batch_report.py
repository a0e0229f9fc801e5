"""`glpn batch --report`: a page that shows every image of the batch."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from e2e.watched_glpn import start_watched
from glpn_cli.inference.manifest import read_records
from glpn_cli.report.content import decode_grid
from glpn_cli.report.journal import entry_name
from waiting import HANG_S

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def folder(make_image: Callable[..., Path]) -> None:
    """Three good images and a broken one in `in/`."""
    for name in ("a.png", "sub/b.jpg", "sub/c [1].png"):
        make_image(f"in/{name}")
    make_image("in/broken.png").write_text("no image")


def index(tmp_path: Path) -> dict[str, Any]:
    text = (tmp_path / "out" / "glpn-report" / "images.js").read_text(encoding="ascii")
    return json.loads(re.fullmatch(r"glpn\.index\((.*)\);\n", text)[1])  # type: ignore[index, no-any-return]


def rows(tmp_path: Path) -> dict[str, dict[str, Any]]:
    listed = index(tmp_path)
    return {row[1]: dict(zip(listed["columns"], row, strict=True)) for row in listed["rows"]}


@pytest.mark.usefixtures("folder")
def test_the_report_shows_every_image_and_the_same_meters(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("batch", "in", "--out", "out", "--report", "-f", "npy")
    assert run.returncode == 7
    assert f"report: {tmp_path / 'out' / 'index.html'}".encode() in run.stderr
    assert {name: row["status"] for name, row in rows(tmp_path).items()} == {
        "a.png": "done",
        "sub/b.jpg": "done",
        "sub/c [1].png": "done",
        "broken.png": "failed",
    }
    script = tmp_path / "out" / "glpn-report" / f"{entry_name(str(tmp_path / 'in' / 'a.png'))}.js"
    image = json.loads(re.fullmatch(r'glpn\.image\("\w+", (.*)\);\n', script.read_text())[1])  # type: ignore[index]
    depth = np.load(tmp_path / "out" / "a.depth.npy")
    np.testing.assert_allclose(decode_grid(image["grid"]), depth, atol=0.00051)
    assert ["Weights", "tiny, approximate meters up to 80 m"] in index(tmp_path)["lines"]
    assert (index(tmp_path)["title"], index(tmp_path)["range"], index(tmp_path)["curve"]) == ("in", "image", "inverse")
    for path in (tmp_path / "out" / "index.html", *(tmp_path / "out" / "glpn-report").iterdir()):
        assert str(tmp_path) not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.usefixtures("folder")
def test_the_report_has_the_ranges_of_the_color_files(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("batch", "in", "--out", "out", "--report", "-f", "color", "--range", "run", "--curve", "log")
    assert run.returncode == 7
    listed = index(tmp_path)
    assert (listed["range"], listed["curve"]) == ("run", "log")
    done = [record for record in read_records(tmp_path / "out").values() if record.is_done]
    (range_m,) = {tuple(record.settings["range_m"]) for record in done}
    assert tuple(listed["run_range_m"]) == range_m


@pytest.mark.usefixtures("folder")
def test_outputs_are_the_same_with_and_without_a_report(glpn: Glpn, tmp_path: Path) -> None:
    glpn("batch", "in", "--out", "out", "--report", "-f", "npy", "-f", "png")
    glpn("batch", "in", "--out", "plain", "-f", "npy", "-f", "png")

    def files(out: str) -> dict[str, bytes]:
        return {
            path.relative_to(tmp_path / out).as_posix(): path.read_bytes()
            for path in (tmp_path / out).rglob("*.depth.*")
        }

    assert len(files("out")) == 6
    assert files("out") == files("plain")


@pytest.mark.usefixtures("folder")
def test_a_report_can_be_added_later_and_grows(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    assert glpn("batch", "in", "--out", "out", "-f", "npy").returncode == 7
    assert not (tmp_path / "out" / "index.html").exists()
    (tmp_path / "in" / "broken.png").unlink()
    run = glpn("batch", "in", "--out", "out", "-f", "npy", "--report")
    assert run.returncode == 0
    assert b"adding 3 images" in run.stderr
    assert b"up to date" in run.stderr
    assert all(row["median"] and not row["approximate"] for row in rows(tmp_path).values())
    make_image("in/new.png")
    run = glpn("batch", "in", "--out", "out", "-f", "npy")
    assert b"index.html" in run.stderr
    assert b"--report" in run.stderr
    run = glpn("batch", "in", "--out", "out", "-f", "npy")
    assert b"index.html" not in run.stderr, "nothing was processed"
    make_image("in/newer.png")
    run = glpn("batch", "in", "--out", "out", "-f", "npy", "--report")
    assert b"adding 1 images" in run.stderr
    assert sorted(rows(tmp_path)) == ["a.png", "new.png", "newer.png", "sub/b.jpg", "sub/c [1].png"]


@pytest.mark.usefixtures("folder")
def test_a_report_is_not_an_input_of_the_next_batch(glpn: Glpn, tmp_path: Path) -> None:
    glpn("batch", "in", "--out", "in", "--report")
    run = glpn("batch", "in", "--out", "in", "--report")
    assert b"0 of 1 done" in run.stderr
    assert b"3 up to date" in run.stderr
    assert b"0 of 1 done" in glpn("batch", "in", "--out", "in").stderr


@pytest.mark.usefixtures("folder")
def test_another_page_is_not_replaced(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("<h1>my holidays</h1>")
    run = glpn("batch", "in", "--out", "out", "--report")
    assert run.returncode == 6
    assert b"index.html" in run.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]
    assert glpn("batch", "in", "--out", "out", "--report", "--overwrite").returncode == 7
    assert rows(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_completes_an_interrupted_report(
    glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path], warm_python: list[str], end: signal.Signals
) -> None:
    original = make_image("in/0.png")
    for number in range(1, 16):
        (tmp_path / "in" / f"{number}.png").write_bytes(original.read_bytes())
    command = ("batch", "in", "--out", "out", "--report", "-w", "tiny")
    aim = f"record:10:after:{end.name}"  # a journal line and one of the manifest
    process = start_watched(warm_python, tmp_path, aim, command)
    process.communicate(timeout=HANG_S)
    assert process.returncode == (130 if end == signal.SIGINT else -end)
    assert (tmp_path / "out" / "index.html").exists()
    finished = len((tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines())
    if end == signal.SIGINT:
        assert len(rows(tmp_path)) == finished
        assert index(tmp_path)["total"] == 16
    assert 0 < finished < 16
    run = glpn(*command)
    assert run.returncode == 0, run.stderr
    assert b"adding" not in run.stderr  # no output had to be read again
    assert len(rows(tmp_path)) == index(tmp_path)["total"] == 16
    assert all(row["median"] and not row["approximate"] for row in rows(tmp_path).values())
    assert not list((tmp_path / "out").rglob("*.part"))

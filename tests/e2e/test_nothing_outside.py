"""A batch never writes outside its output folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="creating links needs privileges on Windows")

BATCH = ("batch", "in", "--out", "out", "-w", "tiny")


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return contents and modification times of all files of a folder, except in out/."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_relative_to(folder / "out")
    }


@pytest.fixture
def outside(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """Two images, and a folder that must not be changed."""
    make_image("in/a.png")
    make_image("in/sub/b.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious.txt").write_text("precious")
    (tmp_path / "out").mkdir()
    return tmp_path / "elsewhere"


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_link_instead_of_folder_is_not_followed(
    glpn: Glpn, tmp_path: Path, outside: Path, overwrite: tuple[str, ...]
) -> None:
    (tmp_path / "out" / "sub").symlink_to(outside)
    before = snapshot(tmp_path)
    run = glpn(*BATCH, *overwrite)
    assert run.returncode == 7
    assert str(tmp_path / "out" / "sub").encode() in run.stderr
    assert snapshot(tmp_path) == before
    assert (tmp_path / "out" / "a.depth.png").exists()
    dry_run = glpn(*BATCH, "--dry-run").stdout.decode()
    (line,) = (line for line in dry_run.splitlines() if str(tmp_path / "in" / "sub" / "b.png") in line)
    assert "link" in line


def test_link_that_appears_during_batch_is_not_followed(
    glpn: Glpn, tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glpn_cli.inference.manifest import Manifest

    announce = Manifest.announce

    def announce_late(manifest: Manifest, *arguments: object) -> None:
        announce(manifest, *arguments)  # type: ignore[arg-type]
        if not (tmp_path / "out" / "sub").exists():
            (tmp_path / "out" / "sub").symlink_to(outside)

    monkeypatch.setattr(Manifest, "announce", announce_late)
    before = snapshot(tmp_path)
    assert glpn(*BATCH, "--workers", "1").returncode == 7
    assert snapshot(tmp_path) == before


def test_links_inside_output_folder_are_followed(glpn: Glpn, tmp_path: Path, outside: Path) -> None:
    (tmp_path / "out").rmdir()
    (tmp_path / "out").symlink_to(outside)
    (outside / "real").mkdir()
    (outside / "sub").symlink_to(outside / "real")
    assert glpn(*BATCH).returncode == 0
    assert (outside / "real" / "b.depth.png").exists()
    assert (outside / "precious.txt").read_text() == "precious"


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_link_instead_of_output_is_not_followed(
    glpn: Glpn, tmp_path: Path, outside: Path, overwrite: tuple[str, ...]
) -> None:
    (tmp_path / "out" / "a.depth.png").symlink_to(outside / "precious.txt")
    (tmp_path / "out" / "sub").mkdir()
    (tmp_path / "out" / "sub" / "b.depth.png").symlink_to(outside / "missing.png")
    before = snapshot(tmp_path)
    assert glpn(*BATCH, *overwrite).returncode == (0 if overwrite else 6)
    assert snapshot(tmp_path) == before
    assert not (outside / "missing.png").exists()
    assert (tmp_path / "out" / "a.depth.png").is_symlink() == (not overwrite)


def test_predict_follows_only_a_link_named_by_the_user(glpn: Glpn, tmp_path: Path, outside: Path) -> None:
    for folder in ("out", "in"):
        (tmp_path / folder / "a.depth.png").symlink_to(outside / "precious.txt")
    assert glpn("predict", "in/a.png", "-o", "out/", "--overwrite").returncode == 0
    assert glpn("predict", "in/a.png", "--overwrite").returncode == 0
    assert (outside / "precious.txt").read_text() == "precious"
    assert not (tmp_path / "out" / "a.depth.png").is_symlink()
    (tmp_path / "latest.png").symlink_to(outside / "wanted.png")
    assert glpn("predict", "in/a.png", "-o", "latest.png", "--overwrite").returncode == 0
    assert (tmp_path / "latest.png").is_symlink()
    assert (outside / "wanted.png").exists()


def test_suspicious_names_stay_inside(
    glpn: Glpn, tmp_path: Path, outside: Path, make_image: Callable[..., Path]
) -> None:
    names = ["...a.png", "..b.png", "..\\..\\up.png", "C:up.png", "~.png", "$HOME.png", "%2e%2e%2fup.png", "-o.png"]
    for name in names:
        shutil.copy(tmp_path / "in" / "a.png", tmp_path / "in" / name)
    make_image("in/.../deep.png")
    make_image("in/x../deep.png")
    before = snapshot(tmp_path)
    run = glpn(*BATCH, "--hidden")
    assert run.returncode == 0, run.stderr
    assert snapshot(tmp_path) == before
    assert outside.exists()
    listed = [json.loads(line) for line in (tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines()]
    assert len(listed) == 2 + len(names) + 2
    for line in listed:
        assert (tmp_path / "out" / line["outputs"]["png"]).is_file()


@pytest.mark.parametrize(
    "output", ["../elsewhere/precious.txt", "{root}/elsewhere/precious.txt", "sub/../../elsewhere/x"]
)
def test_forged_manifest(glpn: Glpn, tmp_path: Path, outside: Path, output: str) -> None:
    assert glpn(*BATCH).returncode == 0
    path = tmp_path / "out" / "glpn-batch.jsonl"
    forged = [json.loads(line) for line in path.read_text().splitlines()]
    for line in forged:
        line["outputs"] = {"png": output.format(root=tmp_path)}
        line["source_mark"] = "other"
    path.write_text("".join(json.dumps(line) + "\n" for line in forged))
    before = snapshot(tmp_path)
    glpn(*BATCH)
    glpn(*BATCH, "--overwrite")
    assert snapshot(tmp_path) == before
    assert outside.exists()


def test_image_list_with_paths_outside(
    glpn: Glpn, tmp_path: Path, outside: Path, make_image: Callable[..., Path]
) -> None:
    make_image("elsewhere/far.png")
    make_image("elsewhere/..far..png")
    (tmp_path / "in" / "link").symlink_to(outside)
    listed = [
        str(outside / "far.png"),
        "elsewhere/..far..png",
        "in/../in/sub/../../elsewhere/far.png",
        "in/link/far.png",
        "/../../../" + str(outside / "far.png"),
        "../../../../../../../../../etc/passwd",
        "in/a.png",
    ]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    before = snapshot(tmp_path)
    above = sorted(tmp_path.parent.iterdir())
    run = glpn("batch", "--from-list", "list.txt", "--out", "out", "-w", "tiny")
    assert run.returncode == 0
    assert b"skipped 1 entry of the list" in run.stderr  # passwd is not an image
    assert snapshot(tmp_path) == before
    assert sorted(tmp_path.parent.iterdir()) == above
    records = [json.loads(line) for line in (tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines()]
    done = [record for record in records if record["status"] == "done"]
    assert {Path(record["source"]).name for record in done} == {"a.png", "far.png", "..far..png"}
    for record in done:
        assert ".." not in record["outputs"]["png"].split("/")
        assert (tmp_path / "out" / record["outputs"]["png"]).resolve().is_relative_to(tmp_path / "out")


def test_linked_images_are_read_and_never_written(glpn: Glpn, tmp_path: Path, outside: Path) -> None:
    (outside / "photo.png").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    (tmp_path / "in" / "linked.png").symlink_to(outside / "photo.png")
    (tmp_path / "in" / "far").symlink_to(outside)
    before = snapshot(tmp_path)
    assert glpn(*BATCH).returncode == 0
    assert snapshot(tmp_path) == before
    assert (tmp_path / "out" / "linked.depth.png").exists()
    assert (tmp_path / "out" / "far" / "photo.depth.png").exists()


def test_hostile_name_is_escaped_everywhere(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    name = "\x1b[31m<b>\u202e\u2028&\n\x07[red].png"
    make_image(f"in/{name}")
    (tmp_path / "in" / f"bad{name}").write_text("not an image")
    (tmp_path / "in" / os.fsdecode(b"\xff\xfe.png")).write_text("not an image")
    runs = [
        glpn(*BATCH, "--dry-run"),
        glpn(*BATCH, "-v", "--json"),
        glpn("batch", "--verify", "--out", "out", "--json"),
    ]
    (next((tmp_path / "out").glob("*.depth.png"))).write_bytes(b"changed")
    runs.append(glpn("batch", "--verify", "--out", "out"))
    runs.append(glpn("predict", f"in/{name}", f"in/bad{name}", "-o", "single/", "--json", "-w", "tiny"))
    for run in runs:
        for text in (run.stdout, run.stderr):
            shown = text.decode("ascii")
            assert not set(shown) & set("\x1b\x07\r")
    for run in (runs[1], runs[2], runs[4]):
        assert all(isinstance(json.loads(line), dict) for line in run.stdout.splitlines())
    manifest = (tmp_path / "out" / "glpn-batch.jsonl").read_bytes()
    assert manifest.isascii()
    assert str(tmp_path / "in" / name) in {json.loads(line)["source"] for line in manifest.splitlines()}

"""`glpn info` as a user runs it."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from glpn_cli.depth import DepthMap

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def files(tmp_path: Path, depth_map: DepthMap) -> list[str]:
    """Write every format."""
    for row in FORMATS.values():
        (tmp_path / ("x" + row.ending)).write_bytes(row.load_codec().encode(depth_map, OutputSettings()))
    return ["x" + row.ending for row in FORMATS.values()]


def test_every_output_says_what_it_is(glpn: Glpn, files: list[str]) -> None:
    run = glpn("info", *files, "--json")
    assert (run.returncode, run.stderr) == (0, b"")
    for line, row in zip(run.stdout.splitlines(), FORMATS.values(), strict=True):
        said = json.loads(line)
        assert (said["format"], said["reads_back"]) == (row.name, str(row.reads_back))
        if said["depth_m"] is not None:
            assert said["depth_m"]["min"] == pytest.approx(0.5, abs=0.02)
            assert said["depth_m"]["max"] == pytest.approx(7.5, abs=0.02)
            assert said["size"] == {"height": 20, "width": 30}
        if said["says"] is not None:
            assert said["says"]["provenance"]["weights"] == "tiny"
    assert {"npz", "png16"} <= {json.loads(line)["format"] for line in run.stdout.splitlines()}


def test_a_person_can_read_it(glpn: Glpn, files: list[str]) -> None:
    said = glpn("info", "x.depth16.png").stdout.decode()
    for words in ("x.depth16.png", "0.5 to 7.5 m", "values per meter  256", "tiny", "approximate meters", "photo.jpg"):
        assert words in said


def test_others_files_get_an_honest_answer(glpn: Glpn, tmp_path: Path, photo: Path) -> None:
    shutil.copy(photo, tmp_path / "photo.png")
    (tmp_path / "a[red].txt").write_text("hello")
    run = glpn("info", "photo.png", "a[red].txt")
    assert run.returncode == 0
    assert b"does not say what they mean" in run.stdout
    assert b"a[red].txt\n  remark            is no depth file that glpn knows" in run.stdout
    said = json.loads(glpn("info", "photo.png", "--json").stdout)
    assert (said["status"], said["format"], said["depth_m"], said["says"]) == ("foreign", None, None, None)


def test_what_cannot_be_read_is_a_failure(glpn: Glpn, files: list[str], tmp_path: Path) -> None:
    run = glpn("info", "gone.npz", "x.depth.npz", "--json")
    assert run.returncode == 7
    assert json.loads(run.stdout.splitlines()[0])["error"]["exit_code"] == 4
    assert glpn("info", "gone.npz").returncode == 4
    (tmp_path / "cut.npz").write_bytes((tmp_path / "x.depth.npz").read_bytes()[:-400])
    assert b"is a damaged npz file" in glpn("info", "cut.npz").stdout
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.depth16.png").read_bytes()[:-40])
    assert glpn("info", "cut.png").returncode == 4


def test_without_the_package_of_a_format_the_exit_code_says_so(
    glpn: Glpn, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    run = glpn("info", "x.depth.exr")
    assert run.returncode == 8
    assert b"pip install" in run.stderr

"""`glpn info`: metadata of depth files and of other files."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

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
    """A file of every format."""
    for row in FORMATS.values():
        (tmp_path / ("x" + row.ending)).write_bytes(row.load_codec().encode(depth_map, OutputSettings()))
    return ["x" + row.ending for row in FORMATS.values()]


def test_every_format_is_described(glpn: Glpn, files: list[str]) -> None:
    run = glpn("info", *files, "--json")
    assert (run.returncode, run.stderr) == (0, b"")
    for line, row in zip(run.stdout.splitlines(), FORMATS.values(), strict=True):
        record = json.loads(line)
        assert (record["format"], record["reads_back"]) == (row.name, str(row.reads_back))
        if record["depth_m"] is not None:
            cut_m = 0.08 if row.name == "disparity16" else 0.02  # its range leaves out 1 % at each end
            assert record["depth_m"]["min"] == pytest.approx(0.5, abs=cut_m)
            assert record["depth_m"]["max"] == pytest.approx(7.5, abs=cut_m)
            assert record["size"] == {"height": 20, "width": 30}
        if record["metadata"] is not None:
            assert record["metadata"]["provenance"]["weights"] == "tiny"
    assert {"npz", "png16"} <= {json.loads(line)["format"] for line in run.stdout.splitlines()}


def test_metadata_are_printed(glpn: Glpn, files: list[str]) -> None:
    shown = glpn("info", "x.depth16.png").stdout.decode()
    for words in (
        "30 \N{MULTIPLICATION SIGN} 20 (width ",
        "x.depth16.png",
        "0.5 to 7.5 m",
        "values per meter  1000",
        "tiny",
        "approximate meters",
        "photo.jpg",
    ):
        assert words in shown


def test_other_files_are_called_foreign(glpn: Glpn, tmp_path: Path, photo: Path) -> None:
    shutil.copy(photo, tmp_path / "photo.png")
    (tmp_path / "a[red].txt").write_text("hello")
    run = glpn("info", "photo.png", "a[red].txt")
    assert run.returncode == 0
    assert b"a[red].txt\n  note   " in run.stdout
    for line in glpn("info", "photo.png", "a[red].txt", "--json").stdout.splitlines():
        record = json.loads(line)
        assert (record["status"], record["format"], record["depth_m"], record["metadata"]) == (
            "foreign",
            None,
            None,
            None,
        )
        assert record["note"]


def test_unreadable_files_are_failures(glpn: Glpn, files: list[str], tmp_path: Path) -> None:
    run = glpn("info", "gone.npz", "x.depth.npz", "--json")
    assert run.returncode == 7
    assert json.loads(run.stdout.splitlines()[0])["error"]["exit_code"] == 4
    assert glpn("info", "gone.npz").returncode == 4
    (tmp_path / "cut.npz").write_bytes((tmp_path / "x.depth.npz").read_bytes()[:-400])
    damaged = json.loads(glpn("info", "cut.npz", "--json").stdout)
    assert (damaged["depth_m"], damaged["metadata"]) == (None, None)
    assert "npz" in damaged["note"]
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.depth16.png").read_bytes()[:-40])
    assert glpn("info", "cut.png").returncode == 4


def test_a_missing_package_has_its_exit_code(glpn: Glpn, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    run = glpn("info", "x.depth.exr")
    assert run.returncode == 8
    assert b"pip install" in run.stderr


def altered(path: Path, depth_map: DepthMap, **changes: object) -> str:
    """Write a png16 file whose metadata are changed; return its name."""
    depth_map.save(path)
    with Image.open(path) as image:
        text = PngInfo()
        text.add_text("glpn", json.dumps(json.loads(image.info["glpn"]) | changes))
        image.save(path, pnginfo=text)
    return path.name


@pytest.mark.parametrize(
    "changes",
    [
        {"values_per_meter": 10**400},
        {"values_per_meter": float("nan")},
        {"values_per_meter": 0},
        {"values_per_meter": -5},
        {"values_per_meter": 1e300},
        {"camera": []},
        {"camera": {"focal_px": 10**400, "source": "x"}},
        {"camera": {"focal_px": float("nan"), "source": {"a": 1}}},
        {"provenance": {"source": {"a": [1]}, "weights": 5, "notes": 5}},
        {"provenance": {"network_size": "abc"}},
        {"provenance": {"anchors": {"a": 1}, "metric": [1]}},
    ],
    ids=str,
)
def test_altered_metadata_are_an_error_in_one_line(
    glpn: Glpn, tmp_path: Path, depth_map: DepthMap, changes: dict[str, object]
) -> None:
    name = altered(tmp_path / "x.depth16.png", depth_map, **changes)
    for arguments in (["info", name], ["info", name, "--json"], ["measure", name, "--json"]):
        run = glpn(*arguments)
        assert (run.returncode, run.stderr.count(b"error:")) == (4, 1), run.stderr
        assert b"invalid metadata" in run.stderr
        assert b"Traceback" not in run.stderr


def refuse_constant(name: str) -> None:
    pytest.fail(f"{name} is not JSON")


def test_json_is_valid_whatever_the_metadata(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    odd = {"mine": [float("nan"), {"a": float("-inf")}], "10e400": 10**400, "\ud800": "\0"}
    name = altered(tmp_path / "x.depth16.png", depth_map, **odd)
    run = glpn("info", name, "--json")
    assert run.returncode == 0, run.stderr
    metadata = json.loads(run.stdout, parse_constant=refuse_constant)["metadata"]
    assert metadata["mine"] == [None, {"a": None}]
    assert metadata["10e400"] == 10**400
    assert glpn("info", name).returncode == 0


def test_deeply_nested_metadata_are_none_of_ours(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    name = altered(tmp_path / "x.depth16.png", depth_map, x=json.loads("[" * 400 + "]" * 400))
    run = glpn("info", name, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["status"] == "foreign"

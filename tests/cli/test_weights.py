"""`glpn weights`: list, path, verify, remove and import."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from glpn_cli.files import file_sha256
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.checkpoint import write_checkpoint
from stand_in_hub import COMMIT, SMALL, random_glpn, to_authors_keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stand_in_hub import StandInHub

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def some_weights(glpn: Glpn, hub: StandInHub, tmp_path: Path) -> None:
    """A small GLPN imported as `mine`, and kitti downloaded."""
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {})
    assert glpn("weights", "import", "w", "--as", "mine").returncode == 0
    hub.publish("vinvino02/glpn-kitti")
    assert glpn("download-weights", "kitti").returncode == 0


def records(run: subprocess.CompletedProcess[bytes]) -> dict[str, dict[str, Any]]:
    return {record["name"]: record for record in map(json.loads, run.stdout.splitlines())}


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_the_list_shows_the_facts_of_all_weights(glpn: Glpn) -> None:
    run = glpn("weights", "list")
    assert (run.returncode, run.stderr) == (0, b"")
    lines = run.stdout.decode().splitlines()
    (kitti,) = (line for line in lines if line.startswith("kitti"))
    for fact in ("not installed", "245 MB", "meters", "80 m", "352x1216", "  8  ", "from a car"):
        assert fact in kitti
    (tiny,) = (line for line in lines if line.startswith("tiny"))
    assert "bundled" in tiny
    assert "approximate" in tiny
    assert any(line.startswith("  nyu, kitti: Apache-2.0") and "non-commercial" in line for line in lines)


@pytest.mark.usefixtures("some_weights")
def test_the_list_has_downloaded_and_imported_weights(glpn: Glpn, home: Path) -> None:
    lines = glpn("weights", "list").stdout.decode().splitlines()
    assert any(line.startswith("kitti  downloaded") for line in lines)
    assert any(line.startswith("mine   imported") and "unknown" in line for line in lines)
    listed = records(glpn("weights", "list", "--json"))
    assert list(listed) == ["tiny", "nyu", "kitti", "mine"]
    assert listed["kitti"] == {
        "name": "kitti",
        "status": "downloaded",
        "path": str(home / "weights" / "kitti.safetensors"),
        "size_bytes": (home / "weights" / "kitti.safetensors").stat().st_size,
        "source": "vinvino02/glpn-kitti",
        "revision": COMMIT,
        "license": CATALOG["kitti"].license,
        "domain": "from a car, to 80 m",
        "metric": True,
        "depth_limit_m": 80,
        "meters_per_unit": 8,
        "working_size": {"height": 352, "width": 1216},
    }
    assert (listed["nyu"]["status"], listed["nyu"]["path"]) == ("absent", None)
    assert (listed["mine"]["status"], listed["mine"]["metric"], listed["mine"]["domain"]) == ("imported", None, None)


@pytest.mark.usefixtures("some_weights")
def test_a_damaged_file_does_not_stop_the_list(glpn: Glpn, home: Path) -> None:
    (home / "weights" / "mine.safetensors").write_bytes(b"damage")
    assert b"damaged" in glpn("weights", "list").stdout
    assert records(glpn("weights", "list", "--json"))["mine"]["depth_limit_m"] is None


@pytest.mark.usefixtures("some_weights")
def test_the_path_is_the_only_thing_on_stdout(glpn: Glpn, home: Path) -> None:
    assert glpn("weights", "path", "kitti").stdout.decode() == f"{home / 'weights' / 'kitti.safetensors'}\n"
    assert glpn("weights", "path", "vinvino02/glpn-kitti").stdout == glpn("weights", "path", "kitti").stdout
    assert glpn("weights", "path", "tiny").stdout.decode().endswith("glpn-tiny.safetensors\n")


def test_the_path_of_missing_weights_is_an_error(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish("vinvino02/glpn-kitti")
    run = glpn("weights", "path", "kitti")
    assert (run.returncode, run.stdout) == (3, b"")
    assert b"glpn download-weights kitti" in run.stderr
    assert b"kitti" in glpn("weights", "path", "kity").stderr
    assert hub.asked == []


@pytest.mark.usefixtures("some_weights")
def test_verify_checks_one_several_or_all(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("weights", "verify", "kitti").stderr == b"kitti: intact\n"
    assert glpn("weights", "verify", "kitti", "tiny").stderr == b"kitti: intact\ntiny: intact\n"
    assert glpn("weights", "verify").stderr == b"tiny: intact\nkitti: intact\nmine: intact\n"
    assert b"readable" in glpn("weights", "verify", "./w").stderr
    checked = records(glpn("weights", "verify", "--json"))
    assert {record["status"] for record in checked.values()} == {"intact"}
    assert all(file_sha256(record["path"]) == record["sha256"] for record in checked.values())


@pytest.mark.usefixtures("some_weights")
def test_verify_finds_damage_and_continues(glpn: Glpn, home: Path) -> None:
    damage(home / "weights" / "kitti.safetensors")
    run = glpn("weights", "verify")
    assert run.returncode == 3
    assert b"tiny: intact" in run.stderr
    assert b"mine: intact" in run.stderr
    assert b"error: kitti: " in run.stderr
    assert b"hint: glpn download-weights kitti" in run.stderr
    checked = records(glpn("weights", "verify", "--json", "--quiet"))
    assert (checked["kitti"]["status"], checked["tiny"]["status"]) == ("damaged", "intact")
    assert checked["kitti"]["error"]["exit_code"] == 3
    assert "kitti" in checked["kitti"]["error"]["message"]
    assert glpn("weights", "verify", "mine").returncode == 0
    assert glpn("weights", "verify", "nyu").returncode == 3


@pytest.mark.usefixtures("some_weights")
def test_remove_deletes_stored_weights_only(glpn: Glpn, home: Path) -> None:
    assert glpn("weights", "remove", "kitti", "mine").returncode == 0
    assert not list((home / "weights").iterdir())
    run = glpn("weights", "remove", "kitti")
    assert run.returncode == 3
    assert b"'kitti'" in run.stderr
    assert glpn("weights", "remove", "tiny").returncode == 2
    assert glpn("weights", "path", "tiny").returncode == 0


def test_import_notes_an_unknown_scale(glpn: Glpn, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {})
    run = glpn("weights", "import", "w", "--as", "mine")
    assert (run.returncode, run.stdout) == (0, b"")
    assert run.stderr.count(b"note: ") == 1
    run = glpn("weights", "import", "w", "--as", "mine", "--meters-per-unit", "8")
    assert run.returncode == 3
    assert b"--overwrite" in run.stderr
    run = glpn("weights", "import", "w", "--as", "mine", "--meters-per-unit", "8", "--overwrite")
    assert run.returncode == 0
    assert b"note: " not in run.stderr
    assert records(glpn("weights", "list", "--json"))["mine"]["meters_per_unit"] == 8
    assert b"mine" in run.stderr
    assert b"80 m" in run.stderr


def test_import_reads_a_checkpoint_of_the_authors(glpn: Glpn, tmp_path: Path) -> None:
    torch.save(to_authors_keys(random_glpn()), tmp_path / "best.ckpt")
    (tmp_path / "config.json").write_text(json.dumps(SMALL.to_dict()))
    assert glpn("weights", "import", "best.ckpt", "--as", "kitti").returncode == 0
    assert records(glpn("weights", "list", "--json"))["kitti"]["meters_per_unit"] == 8


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["gone.bin", "--as", "mine"], 3),
        (["w", "--as", "tiny"], 2),
        (["w", "--as", "a b"], 2),
        (["w", "--as", "mine", "--meters-per-unit", "0"], 2),
        (["w"], 2),
    ],
)
def test_import_refuses_invalid_arguments(
    glpn: Glpn, tmp_path: Path, home: Path, arguments: list[str], code: int
) -> None:
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {})
    assert glpn("weights", "import", *arguments).returncode == code
    assert not (home / "weights").exists()


@pytest.mark.usefixtures("some_weights")
def test_imported_weights_predict(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    make_image("photo.png")
    run = glpn("predict", "photo.png", "--weights", "mine")
    assert run.returncode == 0, run.stderr
    assert b"(mine, " in run.stderr


@pytest.mark.parametrize(
    "arguments",
    [["weights", "list"], ["weights", "path", "tiny"], ["weights", "--help"], ["download-weights", "--help"]],
)
def test_inspecting_weights_imports_no_heavy_modules(arguments: list[str]) -> None:
    ending = "import sys; sys.stderr.write(' '.join({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    code = (
        f"import atexit, sys; atexit.register(lambda: exec({ending!r})); sys.argv = ['glpn', *{arguments!r}]\n"
        "from glpn_cli.cli.app import main\nmain()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")

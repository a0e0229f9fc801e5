"""`glpn doctor`: enough for a report, and nobody's name in it."""

from __future__ import annotations

import getpass
import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import glpn_cli
from glpn_cli import diagnosis

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import pytest

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


def test_it_says_versions_devices_weights_and_room(glpn: Glpn) -> None:
    run = glpn("doctor")
    assert run.returncode == 0
    said = run.stdout.decode()
    for words in (f"glpn      {glpn_cli.__version__}", platform.python_version(), "cpu: ", "tiny: bundled", "free"):
        assert words in said


def test_json_says_the_same(glpn: Glpn) -> None:
    said = json.loads(glpn("doctor", "--json").stdout)
    assert said["version"] == glpn_cli.__version__
    assert said["devices"][-1]["name"] == "cpu"
    assert {"tiny", "nyu", "kitti"} <= {row["name"] for row in said["weights"]}
    assert said["auto_weights"] == "tiny"


def test_it_names_no_person_machine_or_folder(glpn: Glpn, tmp_path: Path) -> None:
    home = tmp_path / "jane-doe"
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "jane--private.safetensors").write_bytes(b"broken")
    run = glpn("doctor", GLPN_HOME=str(home), GLPN_WEIGHTS="/home/jane/best.ckpt", HTTPS_PROXY="http://jane:pw@proxy")
    assert run.returncode == 0
    said = run.stdout.decode() + glpn("doctor", "--json", GLPN_HOME=str(home)).stdout.decode()
    assert "another: damaged" in said
    assert "GLPN_HOME" in said
    for secret in ("jane", str(tmp_path), str(Path.home()) + "/", platform.node()):
        assert secret not in said, secret
    if getpass.getuser() not in ("root", "user"):
        assert getpass.getuser() not in said


def test_a_broken_torch_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "glpn_cli.device", None)
    found = diagnosis.diagnose()
    assert found.devices == []
    assert any("torch cannot be used" in problem for problem in found.problems)


def test_paths_are_left_out_of_what_others_say() -> None:
    assert "jane" not in diagnosis._without_paths("/home/jane/x.so: cannot open C:\\Users\\jane\\torch.dll")
    assert "Smith" not in diagnosis._without_paths("cannot load C:\\Users\\John Smith\\x.dll, /home/john Smith/y: gone")

"""`glpn doctor`: enough for a bug report, without names, hosts or paths."""

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


def test_versions_devices_weights_and_space_are_shown(glpn: Glpn) -> None:
    run = glpn("doctor")
    assert run.returncode == 0
    rows = [line.split(maxsplit=1) for line in run.stdout.decode().splitlines()]
    assert ["glpn", glpn_cli.__version__] in rows
    shown = run.stdout.decode()
    assert all(text in shown for text in (platform.python_version(), "cpu: ", "tiny: bundled", "free"))


def test_json_has_the_same_facts(glpn: Glpn) -> None:
    said = json.loads(glpn("doctor", "--json").stdout)
    assert said["version"] == glpn_cli.__version__
    assert said["devices"][-1]["name"] == "cpu"
    assert {"tiny", "nyu", "kitti"} <= {row["name"] for row in said["weights"]}
    assert said["auto_weights"] == "tiny"


def test_no_names_hosts_or_paths_are_shown(glpn: Glpn, tmp_path: Path) -> None:
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


def test_a_broken_torch_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "glpn_cli.device", None)
    found = diagnosis.diagnose()
    assert found.devices == []
    assert any("torch" in problem for problem in found.problems)


def test_paths_are_removed_from_messages() -> None:
    assert "jane" not in diagnosis.without_paths("/home/jane/x.so: cannot open C:\\Users\\jane\\torch.dll")
    assert "Smith" not in diagnosis.without_paths("cannot load C:\\Users\\John Smith\\x.dll, /home/john Smith/y: gone")

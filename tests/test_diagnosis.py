from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING

from glpn_cli.diagnosis import diagnose, without_paths

if TYPE_CHECKING:
    import pytest


def test_only_user_extras_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "torch>=2",
        "not-installed-anywhere>=1",
        "OpenEXR>=3.5; extra == 'exr'",
        'onnx>=1.17; extra == "onnx"',
        "pytest>=8; extra == 'dev'",
        "atheris>=3.0; (sys_platform == 'linux') and extra == 'fuzz'",
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: requirements)
    found = diagnose()
    assert list(found.packages) == ["torch", "not-installed-anywhere"]
    assert list(found.extras) == ["OpenEXR", "onnx"]
    assert any("not-installed-anywhere" in problem for problem in found.problems)


def test_broken_torch_is_reported_as_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "glpn_cli.device", None)
    found = diagnose()
    assert found.devices == []
    assert any("torch" in problem for problem in found.problems)


def test_paths_are_removed_from_texts() -> None:
    for text, secret in (
        ("/home/jane/x.so: cannot open C:\\Users\\jane\\torch.dll", "jane"),
        ("cannot load C:\\Users\\John Smith\\x.dll, /home/john Smith/y: gone", "Smith"),
    ):
        assert secret not in without_paths(text)

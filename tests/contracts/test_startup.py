"""Talking about the program must not load what only working needs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"torch", "numpy", "PIL", "safetensors", "transformers", "huggingface_hub"}


def all_modules_after(code: str) -> set[str]:
    """Name the modules that are loaded after running code in a fresh interpreter."""
    ending = "import sys; sys.stderr.write('\\n' + ' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", f"import atexit\natexit.register(lambda: exec({ending!r}))\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return set(run.stderr.splitlines()[-1].split())


def modules_after(code: str) -> set[str]:
    """Name the top-level ones of them."""
    return {name.split(".")[0] for name in all_modules_after(code)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["predict", "--help"],
        ["batch", "--help"],
        ["bench", "--help"],
        ["measure", "--help"],
        ["doctor", "--help"],
        ["train", "--help"],
        ["scenes", "--help"],
        ["evaluate", "--help"],
        ["export", "--help"],
        ["predict"],
        ["nonsense"],
    ],
)
def test_talk_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; sys.argv = ['glpn', *{arguments!r}]\nfrom glpn_cli.cli.app import main\nmain()"
    assert not modules_after(code) & HEAVY


def test_a_missing_photo_is_reported_before_torch_is_loaded(tmp_path: object) -> None:
    code = (
        f"import sys; sys.argv = ['glpn', 'predict', '{tmp_path}/gone.jpg']\nfrom glpn_cli.cli.app import main\nmain()"
    )
    assert "torch" not in modules_after(code)


def test_a_command_does_not_load_the_others() -> None:
    code = "import sys; sys.argv = ['glpn', 'info', '--help']\nfrom glpn_cli.cli.app import main\nmain()"
    loaded = {name for name in all_modules_after(code) if name.startswith("glpn_cli.cli.commands.")}
    assert loaded == {"glpn_cli.cli.commands.info"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not modules_after("import glpn_cli; dir(glpn_cli); glpn_cli.GLPNError") & HEAVY


def test_torch_is_seen_when_it_is_loaded() -> None:
    assert "torch" in modules_after("import glpn_cli; glpn_cli.load")


def test_a_prediction_does_not_load_the_compiler_of_torch(photo: Path, tmp_path: Path) -> None:
    # It takes most of a second, and some harmless-looking calls bring it in.
    code = f"""
import sys
sys.argv = ["glpn", "predict", {str(photo)!r}, "-o", {str(tmp_path / "depth.png")!r}, "--weights", "tiny"]
from glpn_cli.cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(*(name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

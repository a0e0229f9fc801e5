"""Commands load heavy packages only when they compute, so that help and early errors are fast."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"torch", "numpy", "PIL", "safetensors", "transformers", "huggingface_hub"}


def loaded_modules(code: str) -> set[str]:
    """Return the names of all modules that are loaded after running code in a new interpreter."""
    ending = "import sys; sys.stderr.write('\\n' + ' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", f"import atexit\natexit.register(lambda: exec({ending!r}))\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return set(run.stderr.splitlines()[-1].split())


def loaded_packages(code: str) -> set[str]:
    """Return the names of all top-level modules that are loaded after running code in a new interpreter."""
    return {name.split(".")[0] for name in loaded_modules(code)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["predict", "--help"],
        ["batch", "--help"],
        ["video", "--help"],
        ["bench", "--help"],
        ["measure", "--help"],
        ["doctor", "--help"],
        ["train", "--help"],
        ["evaluate", "--help"],
        ["export", "--help"],
        ["predict"],
        ["nonsense"],
    ],
)
def test_help_and_usage_errors_load_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; sys.argv = ['glpn', *{arguments!r}]\nfrom glpn_cli.cli.app import main\nmain()"
    assert not loaded_packages(code) & HEAVY


def test_missing_image_is_reported_before_torch_is_loaded(tmp_path: Path) -> None:
    arguments = ["predict", str(tmp_path / "missing.jpg")]
    code = f"import sys; sys.argv = ['glpn', *{arguments!r}]\nfrom glpn_cli.cli.app import main\nmain()"
    assert "torch" not in loaded_packages(code)


def test_command_does_not_load_other_commands() -> None:
    code = "import sys; sys.argv = ['glpn', 'info', '--help']\nfrom glpn_cli.cli.app import main\nmain()"
    loaded = {name for name in loaded_modules(code) if name.startswith("glpn_cli.cli.commands.")}
    assert loaded == {"glpn_cli.cli.commands.info"}


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_packages("import glpn_cli; dir(glpn_cli); glpn_cli.GLPNError") & HEAVY


def test_prediction_does_not_load_torch_compiler(photo: Path, tmp_path: Path) -> None:
    # It takes most of a second to load, and some calls that look harmless load it.
    code = f"""
import sys
sys.argv = ["glpn", "predict", {str(photo)!r}, "-o", {str(tmp_path / "depth.png")!r}, "--weights", "tiny"]
from glpn_cli.cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    loaded = loaded_modules(code)
    assert (tmp_path / "depth.png").is_file()
    assert "torch" in loaded  # so the search of all tests here finds it
    assert not loaded & {"torch._dynamo", "torch._inductor", "sympy"}

"""What the documents promise is what the program does."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glpn_cli import errors
from glpn_cli.depth import Provenance
from glpn_cli.output.formats import FORMATS
from glpn_cli.values import Colormap

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


RAY_OPTIONS = {
    *("--head", "--address", "--node-ip-address", "--port", "--num-cpus", "--num-gpus", "--min-nodes", "--generate"),
    *("--include-dashboard", "--disable-usage-stats", "--node-manager-port", "--object-manager-port"),
    *("--runtime-env-agent-port", "--dashboard-agent-grpc-port", "--metrics-export-port", "--min-worker-port"),
    *("--max-worker-port", "--dashboard-port", "--ray-client-server-port"),
}
"""The options of Ray's commands that docs/scale.md names."""


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate_cli", ROOT / "tools" / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generator().page(), "run `make docs`"


def test_what_files_say_of_their_origin_is_documented() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| `provenance` |"))
    said = set(re.findall(r"`(\w+)`", row)) - {"provenance"}
    # "approximate" is found out on reading back, and never written.
    assert said == {item.name for item in dataclasses.fields(Provenance)} - {"approximate"}


@pytest.mark.ray  # it takes seconds, and changes with Ray only
def test_options_of_ray_exist() -> None:
    ray = Path(sys.executable).with_name("ray")
    known = set()
    for command in ("start", "symmetric-run", "get-auth-token"):
        shown = subprocess.run([ray, command, "--help"], capture_output=True, text=True, check=True).stdout
        known |= set(re.findall(r"(--[a-z-]+)", shown))
    assert known >= RAY_OPTIONS


def test_every_option_in_the_documents_exists() -> None:
    known = set(re.findall(r"`(--[a-z0-9-]+)`", generator().page())) | {
        "--version",
        "--help",
        "--install-completion",
        "--show-completion",
    }
    elsewhere = {
        "--index-url",
        "--extra-index-url",
        "--no-deps",
        "--nproc-per-node",
        "--standalone",
        "--array",
        "--gres",
        *("--nodes", "--ntasks", "--ntasks-per-node", "--nodelist", "--exclusive", "--ip-address"),
        *("--stdin", "--tty", "--selector"),
        *RAY_OPTIONS,
    }  # of pip, torchrun, Slurm, kubectl and Ray
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page.read_text(encoding="utf-8")))
        assert used <= known | elsewhere, page.name


def test_the_readme_lists_every_exit_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    raised = {getattr(errors, name).exit_code for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert listed == raised | {0, errors.INTERRUPTED_EXIT_CODE, errors.CLOSED_PIPE_EXIT_CODE}


def test_the_format_page_describes_every_format() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and "`NAME" in line]
    assert rows == [
        f"| `{row.name}` | `NAME{row.ending}` | {row.holds} | {row.reads_back} | {row.published} |"
        for row in FORMATS.values()
    ]
    for row in FORMATS.values():
        assert f"### `NAME{row.ending}` (`--format {row.name}`)" in page
    assert all(f"`{name}`" in page for name in Colormap)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_architecture_page_names_every_package_and_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^  (\w+)(?:/|\.py) ", page, flags=re.MULTILINE)) - {"__init__"}
    package = ROOT / "src" / "glpn_cli"
    packages = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in package.glob("*.py") if not path.stem.startswith("_")}
    assert listed == packages | modules


def test_the_python_examples_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes((ROOT / "examples" / "rocket.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLPN_WEIGHTS", raising=False)
    namespace: dict[str, Any] = {}
    exec(example, namespace)  # noqa: S102 - that it runs is the point
    assert namespace["depth"].meters.shape == (427, 640)
    assert list(tmp_path.glob("*.depth.*"))

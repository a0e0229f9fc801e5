"""The wheel contains all that a user needs, and works when installed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    page = {path.name for path in (ROOT / "src" / "glpn_cli" / "report" / "page").iterdir()}
    assert {"index.html", "report.css", "main.js"} < page
    assert {f"glpn_cli/report/page/{name}" for name in page} <= set(names)
    assert "glpn_cli/weights/glpn-tiny.safetensors" in names
    assert "glpn_cli/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"glpn_cli"}  # package and metadata, no recipes
    assert not [name for name in names if "test" in name or name.endswith(".pyc")]
    assert wheel.stat().st_size < 10_000_000


def test_installed_wheel_predicts(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", environment], check=True)
    # Dependencies come from the environment of the tests, glpn_cli must come from the wheel.
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    borrowed = Path(site) / "borrowed.pth"
    borrowed.write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    pip = [sys.executable, "-m", "pip", "--python", python]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel]
    subprocess.run(install, check=True, capture_output=True)
    glpn = python.with_name("glpn" + python.suffix)
    photo = ROOT / "examples" / "coffee.png"
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [glpn, "predict", photo, "-o", "depth.npy"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert np.load(tmp_path / "depth.npy").shape == (400, 600)
    location = subprocess.run(
        [python, "-c", "import glpn_cli; print(glpn_cli.__file__)"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(environment) in location

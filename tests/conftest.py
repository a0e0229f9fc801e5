"""Things that many tests need: pictures, depth maps, and the program itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import DepthMap, Provenance

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def photo() -> Path:
    """A real photo, 600 wide and 400 high."""
    return EXAMPLES / "coffee.png"


@pytest.fixture
def make_picture(tmp_path: Path) -> Callable[..., Path]:
    """Write a colourful picture of a given size into the test's folder."""

    def make(name: str = "photo.png", height: int = 48, width: int = 64, **save: object) -> Path:
        rows, columns = np.mgrid[0:height, 0:width]
        rgb = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb.astype(np.uint8)).save(path, **save)
        return path

    return make


@pytest.fixture
def depth_map() -> DepthMap:
    """Depth from 0.5 to 7.5 m with every field of its provenance filled."""
    metres = np.linspace(0.5, 7.5, 20 * 30, dtype=np.float32).reshape(20, 30)
    provenance = Provenance(
        source="photo.jpg",
        weights="tiny",
        weights_sha256="ab" * 32,
        metric=False,
        depth_limit_m=80.0,
        metres_per_unit=1.0,
        network_size=(96, 128),
        device="cpu",
        precision="float32",
        tool="glpn-cli 0",
        notes=("a note",),
    )
    return DepthMap(metres, provenance)


@pytest.fixture
def glpn(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the program as a user does, in the test's folder, without the environment's say in weights and colour."""

    def run(
        *arguments: str | Path, stdin: bytes | None = None, cwd: Path = tmp_path, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        kept = {name: value for name, value in os.environ.items() if name not in ("GLPN_WEIGHTS", "FORCE_COLOR")}
        return subprocess.run(
            [sys.executable, "-m", "glpn_cli", *map(str, arguments)],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            cwd=cwd,
            env={**kept, "NO_COLOR": "1", "COLUMNS": "120", **environment},
            check=False,
            timeout=120,
        )

    return run

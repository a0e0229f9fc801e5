"""`--tiles` as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from glpn_cli.weights.catalog import CATALOG

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


def test_predict_says_which_tiles_were_used(glpn: Glpn, photo: Path) -> None:
    run = glpn("predict", photo, "--tiles", "192x256", "--json", "-o", "a.npy", "-v")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert record["tile_size"] == {"height": 192, "width": 256}
    assert (*record["network_size"].values(),) == CATALOG["tiny"].card.working_size
    assert "tiles" in record["elapsed_ms"]
    assert b"and in tiles of 192x256" in run.stderr
    assert json.loads(glpn("predict", photo, "--json", "-o", "b.npy").stdout)["tile_size"] is None


def test_a_batch_remembers_its_tiles(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image("in/a.png", 200, 300)
    assert glpn("batch", "in", "--out", "out", "--tiles", "96x128").returncode == 0
    line = json.loads((tmp_path / "out" / "glpn-batch.jsonl").read_text())
    assert line["settings"]["tiles"] == "96x128"
    run = glpn("batch", "in", "--out", "out")
    assert run.returncode == 2
    assert b"tiles was 96x128 and is off" in run.stderr


@pytest.mark.parametrize(("tiles", "said"), [("100x128", b"the nearest is 96x128"), ("big", b"off, auto or a size")])
def test_tiles_that_make_no_sense_are_refused(glpn: Glpn, photo: Path, tiles: str, said: bytes) -> None:
    run = glpn("predict", photo, "--tiles", tiles)
    assert run.returncode == 2
    assert said in run.stderr

"""A folder of broken and hostile images through the whole command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, PngImagePlugin

from bad_images import bad_images

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import pytest

EVERY = 60
"""One image in so many of the corpus is used, because tests of the reader use all of it."""

UNIQUE = ("bomb", "float", "500", "strip-65535x1.png", "strip-1x65535.gif")


def test_every_bad_image_gets_a_record_or_depth(
    glpn: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    names = set()
    for index, (name, data) in enumerate(bad_images()):
        if index % EVERY == 0 or name.startswith(UNIQUE):
            (tmp_path / "in" / name).write_bytes(data)
            names.add(name)
    run = glpn("batch", "in", "--out", "out", "-w", "tiny", "--max-pixels", "1000000", "--input-size", "32x64")
    assert run.returncode == 7, run.stderr
    assert b"Traceback" not in run.stderr
    records = [json.loads(line) for line in (tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines()]
    assert {Path(record["source"]).name for record in records} == names
    done = [record for record in records if record["status"] == "done"]
    assert len(done) >= 10
    for record in records:
        assert record["exit_code"] == (0 if record["status"] == "done" else 4), record
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 2**30)  # by itself, Pillow refuses large color profiles
    for record in done:
        with Image.open(tmp_path / "out" / record["outputs"]["png"]) as depth, Image.open(record["source"]) as image:
            assert sorted(depth.size) == sorted(image.size)
    assert glpn("batch", "--verify", "--out", "out").returncode == 0

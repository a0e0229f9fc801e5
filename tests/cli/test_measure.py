"""`glpn measure`: distances of pixels and boxes, from photos and depth files, and anchors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glpn_cli

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from glpn_cli.depth import DepthMap

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


def record(run: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_a_depth_file_is_read(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npz")
    found = record(glpn("measure", "a.npz", "--at", "7,3", "--box", "2,5,12,9", "--json"))
    assert found["kind"] == "depth"
    pixel, box = found["measurements"]
    assert pixel["median_m"] == pytest.approx(float(depth_map.meters[3, 7]))
    part = depth_map.meters[5:9, 2:12]
    assert [box[name] for name in ("p10_m", "median_m", "p90_m")] == pytest.approx(np.percentile(part, [10, 50, 90]))
    assert (box["pixels"], box["known"]) == (40, 40)
    assert box["uncertainty_m"] == pytest.approx(float(np.median(part)) / 10)


def test_ignored_inference_options_get_a_note(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npz")
    plain = glpn("measure", "a.npz").stderr
    for options in (("--weights", "nyu"), ("--tta", "flip"), ("--input-size", "64x64")):
        run = glpn("measure", "a.npz", *options)
        assert run.returncode == 0, run.stderr
        assert run.stderr.count(b"note: a.npz: ") == plain.count(b"note: a.npz: ") + 1


def test_the_whole_image_is_measured_by_default(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npy")
    run = glpn("measure", "a.npy")
    assert run.returncode == 0
    head, row = run.stdout.decode().splitlines()
    assert head.split() == ["where", "meters", "p10", "p90", "pixels"]
    assert row.split() == ["whole", "image", "4.00", "1.20", "6.80", "600"]


@pytest.mark.parametrize(
    ("meters", "shown"), [(0.08714, "0.087"), (2.3456, "2.3"), (9.96, "10"), (12.34, "12"), (123.4, "120")]
)
def test_approximate_distances_are_rounded_and_marked(
    glpn: Glpn, tmp_path: Path, depth_map: DepthMap, meters: float, shown: str
) -> None:
    replace(depth_map, meters=np.full((2, 3), meters, np.float32), uncertainty_m=None).save(tmp_path / "a.npz")
    row = glpn("measure", "a.npz").stdout.decode().splitlines()[1]
    assert row.split() == ["whole", "image", "about", shown, shown, shown, "6"]
    measured = record(glpn("measure", "a.npz", "--json"))["measurements"][0]["median_m"]
    assert measured == pytest.approx(meters, rel=1e-6)


def test_a_photo_is_predicted(glpn: Glpn, tmp_path: Path, photo: Path) -> None:
    shutil.copy(photo, tmp_path / "coffee.png")
    found = record(glpn("measure", "coffee.png", "--at", "300,200", "--json"))
    assert found["kind"] == "image"
    meters = glpn_cli.load("tiny").predict(photo).meters
    assert found["measurements"][0]["median_m"] == pytest.approx(float(meters[200, 300]))
    assert glpn("measure", "-", "--at", "300,200", "--json", stdin=photo.read_bytes()).returncode == 0


def test_an_anchor_scales_the_depth(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npz")
    run = glpn("measure", "a.npz", "--at", "7,3", "--anchor", "7,3=2.4", "--json")
    found = record(run)
    assert found["measurements"][0]["median_m"] == pytest.approx(2.4)
    assert found["weights"]["metric"] == "anchored"
    assert b"known 2.4 m" in run.stderr
    assert b"now 2.40 m (+0.0%)" in run.stderr or b"now 2.40 m (-0.0%)" in run.stderr


def test_invalid_places_are_refused(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npz")
    for arguments in (("--at", "30,0"), ("--at", "x"), ("--box", "3,3,3,3"), ("--anchor", "7,3=0")):
        run = glpn("measure", "a.npz", *arguments)
        assert run.returncode == 2, arguments
        assert b"error: " in run.stderr


def test_other_files_are_refused(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    (tmp_path / "text.txt").write_text("hello")
    for name in ("gone.png", "text.txt"):
        run = glpn("measure", name)
        assert run.returncode == 4
        assert name.encode() in run.stderr
    depth_map.save(tmp_path / "a.ply")
    run = glpn("measure", "a.ply")
    assert run.returncode == 4
    assert b"a.ply" in run.stderr


def test_an_uncertainty_file_is_refused(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    make_image("a.png")
    assert glpn("predict", "a.png", "-f", "uncertainty", "--tta", "flip").returncode == 0
    run = glpn("measure", "a.uncertainty.tiff")
    assert run.returncode == 4
    assert b"a.uncertainty.tiff" in run.stderr

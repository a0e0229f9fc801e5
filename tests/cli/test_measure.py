"""`glpn measure`: meters of pixels and boxes, from photos and depth files, and known distances."""

from __future__ import annotations

import json
import shutil
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
    found = json.loads(run.stdout)
    assert isinstance(found, dict)
    return found


def test_a_depth_file_is_read_and_not_predicted(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npz")
    found = record(glpn("measure", "a.npz", "--at", "7,3", "--box", "2,5,12,9", "--json"))
    assert found["kind"] == "depth"
    pixel, box = found["measurements"]
    assert pixel["median_m"] == pytest.approx(float(depth_map.meters[3, 7]))
    part = depth_map.meters[5:9, 2:12]
    assert [box[name] for name in ("p10_m", "median_m", "p90_m")] == pytest.approx(np.percentile(part, [10, 50, 90]))
    assert (box["pixels"], box["known"]) == (40, 40)
    assert box["uncertainty_m"] == pytest.approx(float(np.median(part)) / 10)


def test_options_of_the_network_are_not_silently_ignored_with_a_depth_file(
    glpn: Glpn, tmp_path: Path, depth_map: DepthMap
) -> None:
    depth_map.save(tmp_path / "a.npz")
    assert b"do nothing" not in glpn("measure", "a.npz").stderr
    for options in (("--weights", "nyu"), ("--tta", "flip"), ("--input-size", "64x64")):
        run = glpn("measure", "a.npz", *options)
        assert run.returncode == 0, run.stderr
        assert b"a.npz: this is depth already, so the options of the network do nothing" in run.stderr


def test_without_a_place_the_whole_image_is_measured_in_a_table(
    glpn: Glpn, tmp_path: Path, depth_map: DepthMap
) -> None:
    depth_map.save(tmp_path / "a.npy")
    run = glpn("measure", "a.npy")
    assert run.returncode == 0
    head, row = run.stdout.decode().splitlines()
    assert head.split() == ["where", "meters", "p10", "p90", "pixels"]
    assert row.split() == ["whole", "image", "4.000", "1.200", "6.800", "600"]


def test_a_photo_is_predicted_as_predict_does(glpn: Glpn, tmp_path: Path, photo: Path) -> None:
    shutil.copy(photo, tmp_path / "coffee.png")
    found = record(glpn("measure", "coffee.png", "--at", "300,200", "--json"))
    assert found["kind"] == "image"
    meters = glpn_cli.load("tiny").predict(photo).meters
    assert found["measurements"][0]["median_m"] == pytest.approx(float(meters[200, 300]))
    assert glpn("measure", "-", "--at", "300,200", "--json", stdin=photo.read_bytes()).returncode == 0


def test_an_anchor_is_what_is_measured_then(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npz")
    run = glpn("measure", "a.npz", "--at", "7,3", "--anchor", "7,3=2.4", "--json")
    found = record(run)
    assert found["measurements"][0]["median_m"] == pytest.approx(2.4)
    assert found["weights"]["metric"] == "anchored"
    assert b"known 2.4 m" in run.stderr
    assert b"now 2.40 m (+0.0%)" in run.stderr or b"now 2.40 m (-0.0%)" in run.stderr


def test_places_that_are_none_are_refused(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "a.npz")
    for arguments in (("--at", "30,0"), ("--at", "x"), ("--box", "3,3,3,3"), ("--anchor", "7,3=0")):
        assert glpn("measure", "a.npz", *arguments).returncode == 2, arguments


def test_what_is_neither_image_nor_depth_says_so(glpn: Glpn, tmp_path: Path, depth_map: DepthMap) -> None:
    (tmp_path / "text.txt").write_text("hello")
    for name in ("gone.png", "text.txt"):
        assert glpn("measure", name).returncode == 4
    depth_map.save(tmp_path / "a.ply")
    run = glpn("measure", "a.ply")
    assert run.returncode == 4
    assert b"is a ply file" in run.stderr


def test_predict_rescales_to_anchors_and_says_what_is_left(glpn: Glpn, tmp_path: Path, photo: Path) -> None:
    shutil.copy(photo, tmp_path / "coffee.png")
    run = glpn("predict", "coffee.png", "-f", "npz", "--anchor", "300,200=0.4", "--json")
    assert run.returncode == 0
    said = json.loads(run.stdout)
    assert said["weights"]["metric"] == "anchored"
    assert said["anchors"][0]["residual_m"] == pytest.approx(0, abs=1e-6)
    back = glpn_cli.read(tmp_path / "coffee.depth.npz")
    assert back.meters[200, 300] == pytest.approx(0.4)
    assert back.provenance.anchors[0]["known_m"] == 0.4
    assert b"meters by known distances" in glpn("info", "coffee.depth.npz").stdout


def test_anchors_belong_to_one_image(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    make_image("a.png")
    make_image("b.png")
    run = glpn("predict", "a.png", "b.png", "--anchor", "3,3=2")
    assert run.returncode == 2
    assert b"one image" in run.stderr


def test_uncertainty_needs_two_answers_and_is_no_depth(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    make_image("a.png")
    assert glpn("predict", "a.png", "-f", "uncertainty").returncode == 2
    assert glpn("predict", "a.png", "-f", "uncertainty", "--tta", "flip").returncode == 0
    run = glpn("measure", "a.uncertainty.tiff")
    assert run.returncode == 4
    assert b"is an uncertainty file" in run.stderr

"""Notes on the depth of a run, anchors, and lists of images."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from glpn_cli.cli.console import Console
from glpn_cli.cli.results import DepthNotes, parse_anchors, print_anchors, read_image_list, record_of
from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import ImageError, InputError, UsageError
from glpn_cli.inference.plan import Task
from glpn_cli.inference.result import failed_result, note_depth
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings
from glpn_cli.weights.catalog import find_entry_beyond

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ASSUMED = Camera(500.0, "assumed: 55° horizontal")


def printed(
    depths: Sequence[DepthMap], capsys: pytest.CaptureFixture[str], *, formats: Sequence[str] = ("ply",), **output: Any
) -> str:
    notes = DepthNotes([FORMATS[name] for name in formats], OutputSettings(**output))
    rows = [FORMATS[name] for name in formats]
    for depth in depths:
        notes.add(note_depth(depth, rows=rows, output=OutputSettings(**output)))
    notes.print(Console())
    return " ".join(capsys.readouterr().err.split())


def photo(name: str = "a.jpg", *, far: float = 0.0, weights: str = "nyu", limit_m: float = 10.0) -> DepthMap:
    """Return a depth map of which a fraction is at the depth limit."""
    meters = np.full((10, 10), 2.0, np.float32)
    meters.ravel()[: round(far * 100)] = limit_m
    return DepthMap(meters, Provenance(source=name, weights=weights, depth_limit_m=limit_m), camera=ASSUMED)


def test_an_assumed_camera_matters_only_in_3d(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([photo()], capsys)
    assert all(part in text for part in ("a.jpg", "55° horizontal", "--fov-deg"))
    assert not printed([photo()], capsys, formats=["png", "npy"])


def test_a_known_camera_gets_no_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert not printed([DepthMap(photo().meters, camera=Camera(500.0, "focal_px 500"))], capsys)


def test_a_panorama_has_no_mesh_that_is_reduced(capsys: pytest.CaptureFixture[str]) -> None:
    large = np.full((500, 500), 2.0, np.float32)
    assert "--max-points" in printed([DepthMap(large, camera=Camera(500.0, "exif"))], capsys, formats=["glb"])
    panorama = Camera(80.0, "GPano", projection="equirectangular")
    assert not printed([DepthMap(large, camera=panorama)], capsys, formats=["glb"])


def test_many_images_get_one_line_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([photo("a.jpg", far=0.5), photo("b.jpg"), photo("c.jpg", far=0.3)], capsys)
    assert text.count("note:") == 2
    assert "3 of 3 images" in text
    assert "2 of 3 images" in text
    assert "nyu, 10 m" in text


def test_saturated_depth_names_weights_with_a_larger_limit(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([photo(far=0.43)], capsys, formats=["png"])
    assert all(part in text for part in ("43% of a.jpg", "nyu, 10 m", "--weights kitti", "80 m"))
    assert not printed([photo(far=0.1)], capsys, formats=["png"])


def test_depth_beyond_16_bits_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    far = [photo(name, far=fraction, weights="x", limit_m=70.0) for name, fraction in (("a.jpg", 0.15), ("b.jpg", 0.1))]
    text = printed([*far[:1], photo("c.jpg")], capsys, formats=["png16"])
    assert all(part in text for part in ("15% of a.jpg", "65.5", "--png16-scale 256"))
    text = printed([*far, photo("c.jpg")], capsys, formats=["png16"])
    assert text.count("note:") == 1
    assert "2 of 3 images" in text
    assert not printed(far, capsys, formats=["npy"])
    assert not printed(far, capsys, formats=["png16"], png16_scale=256)


def test_reduced_meshes_get_one_note(capsys: pytest.CaptureFixture[str]) -> None:
    large = DepthMap(np.full((500, 500), 2.0, np.float32), camera=Camera(500.0, "user"))
    text = printed([large, large], capsys, formats=["ply", "glb"])
    assert text.count("note:") == 1
    assert "--max-points" in text
    for settings in ({"formats": ["ply"]}, {"formats": ["glb"], "max_points": 1000}):
        assert not printed([large], capsys, **settings)  # type: ignore[arg-type]
    small = DepthMap(np.full((400, 500), 2.0, np.float32), camera=Camera(500.0, "user"))
    assert not printed([small], capsys, formats=["glb"])


def test_no_weights_are_named_if_none_reach_farther(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([photo(far=0.9, weights="kitti", limit_m=80.0)], capsys, formats=["png"])
    assert "kitti, 80 m" in text
    assert "--weights" not in text


def test_weights_with_a_larger_limit_are_metric() -> None:
    better = find_entry_beyond(10)
    assert better is not None
    assert better.card.name == "kitti"
    assert find_entry_beyond(80) is None


def test_anchors_belong_to_one_image() -> None:
    assert parse_anchors([], images=3) == []
    assert [(anchor.x, anchor.y) for anchor in parse_anchors(["3,4=2.5"])] == [(3, 4)]
    with pytest.raises(UsageError) as caught:
        parse_anchors(["3,4=2.5"], images=2)
    assert caught.value.setting == "anchor"


def test_anchors_are_printed_with_their_residual(capsys: pytest.CaptureFixture[str]) -> None:
    anchor = {"x": 3.0, "y": 4.0, "known_m": 2.0, "predicted_m": 1.5, "residual_m": 0.1}
    print_anchors(Console(), 1.3, [anchor])
    text = capsys.readouterr().err
    assert all(part in text for part in ("1.3", "3,4", "2 m", "1.50 m", "2.10 m", "+5.0%"))
    print_anchors(Console(), None, [])
    assert capsys.readouterr().err == ""


def test_a_list_comes_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_image_list(None, ["a.jpg"]) is None
    (tmp_path / "list").write_text("a.jpg\nb.jpg\n")
    for path in (str(tmp_path / "list"), "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.jpg\0b.jpg")))
        listed = read_image_list(path, [])
        assert listed is not None
        assert list(listed.entries) == ["a.jpg", "b.jpg"]
    with pytest.raises(UsageError):
        read_image_list("-", ["-"])
    with pytest.raises(InputError) as caught:
        read_image_list(str(tmp_path / "missing"), [])
    assert "missing" in str(caught.value)


def test_standard_input_as_list_must_not_be_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(UsageError):
        read_image_list("-", [])


def test_the_record_of_a_failure_has_flags() -> None:
    error = ImageError("a.png: too large", hint="`max_pixels` allows more")
    record = record_of(Console(), failed_result(Task("a.png"), error))
    assert record == {
        "source": "a.png",
        "status": "failed",
        "error": {"message": "a.png: too large", "hint": "--max-pixels allows more", "exit_code": 4},
    }

"""The table of formats: rules that hold for every row."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import glpn_cli
from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import DepthFileError, MissingPackageError, UsageError
from glpn_cli.output.formats import (
    FORMATS,
    Published,
    ReadsBack,
    check_settings,
    default_formats,
    find_formats,
    format_of_name,
)
from glpn_cli.output.reading import detect_format
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Scale

if TYPE_CHECKING:
    from pathlib import Path

READABLE = [name for name, row in FORMATS.items() if row.reads_back is not ReadsBack.NEVER]

TOLERANCE_M = {ReadsBack.METERS: {"png16": 0.5 / 1000}, ReadsBack.APPROXIMATE: {"png": 7.5 / 255, "disparity16": 0.08}}
"""Largest error of formats that round, for depth of 0.5 to 7.5 m and a limit of 80 m. A range cuts 1 % at each end."""


def test_rows_are_consistent() -> None:
    rows = list(FORMATS.values())
    for values in ({row.name for row in rows}, {row.ending for row in rows}):
        assert len(values) == len(rows)
    for row in rows:
        assert row.ending.endswith(row.suffix)
        assert {*row.settings} <= OutputSettings.__dataclass_fields__.keys()
        assert bool(row.unreadable_because) == (row.reads_back is ReadsBack.NEVER)
        codec = row.load_codec()
        assert callable(codec.encode)
        assert callable(codec.read_metadata)
        assert hasattr(codec, "decode") == (row.reads_back is not ReadsBack.NEVER)


@pytest.mark.parametrize("name", FORMATS)
def test_format_is_detected_by_content(name: str, depth_map: DepthMap) -> None:
    data = FORMATS[name].load_codec().encode(depth_map, OutputSettings())
    assert data.startswith(FORMATS[name].magic)
    assert detect_format(io.BytesIO(data)) is FORMATS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_ending_of_a_name_selects_the_format(name: str) -> None:
    assert format_of_name("x" + FORMATS[name].ending) is FORMATS[name]
    assert format_of_name("X" + FORMATS[name].ending.upper()) is FORMATS[name]
    assert FORMATS[name].may_be_called("x" + FORMATS[name].ending)
    assert FORMATS[name].may_be_called("plain" + FORMATS[name].suffix)


def test_old_ending_selects_the_format() -> None:
    assert format_of_name("x.color.png") is FORMATS["color"]
    assert not FORMATS["png"].may_be_called("x.color.png")


@pytest.mark.parametrize("settings", [{"legend": True}, {"side_by_side": True}, {"colormap": "turbo"}])
def test_a_setting_of_color_images_implies_them(settings: dict[str, object]) -> None:
    assert default_formats(OutputSettings(**settings)) == [FORMATS["color"]]  # type: ignore[arg-type]
    assert default_formats(OutputSettings(curve="inverse", near="bright")) == [FORMATS["png"]]  # type: ignore[arg-type]


def test_suffix_png_selects_the_gray_image() -> None:
    assert format_of_name("x.png") is FORMATS["png"]


def test_formats_are_found_by_name() -> None:
    assert [row.name for row in find_formats("npy")] == ["npy"]
    assert [row.name for row in find_formats(["PNG16, npz", "npz"])] == ["png16", "npz"]
    assert find_formats(()) == []


def test_unknown_suffix_is_refused(depth_map: DepthMap, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.jpg") as caught:
        depth_map.save(tmp_path / "x.jpg")
    assert ".png" in str(caught.value.hint)
    assert not list(tmp_path.iterdir())


def test_missing_package_is_refused_before_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.output.formats.find_spec", lambda _name: None)
    check_settings([FORMATS["png"]], OutputSettings())
    with pytest.raises(MissingPackageError, match="OpenEXR") as caught:
        check_settings([FORMATS["png"], FORMATS["exr"]], OutputSettings())
    assert caught.value.hint == "pip install OpenEXR"


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("name", FORMATS)
def test_files_read_back_as_the_table_states(name: str, scale: Scale, depth_map: DepthMap, tmp_path: Path) -> None:
    row = FORMATS[name]
    eightfold = replace(
        depth_map,
        provenance=replace(depth_map.provenance, meters_per_unit=8.0),
        camera=Camera(525.0, "file: c.yaml", focal_y_px=520.0, center_x_px=14.25, center_y_px=11.0),
        rgb=np.zeros((20, 30, 3), np.uint8),
    )
    settings = OutputSettings(scale=scale)
    path = tmp_path / ("x" + row.ending)
    if scale is Scale.PUBLISHED and row.published is Published.REFUSED:
        with pytest.raises(UsageError, match=name) as refused:
            eightfold.save(path, settings=settings)
        assert refused.value.setting == "scale"
        return
    eightfold.save(path, settings=settings)
    if row.reads_back is ReadsBack.NEVER:
        with pytest.raises(DepthFileError, match=name) as caught:
            glpn_cli.read(path)
        assert str(path) in caught.value.message
        assert row.unreadable_because in caught.value.message
        return
    back = glpn_cli.read(path)
    has_metadata = row.reads_back is not ReadsBack.VALUES
    factor = 8 if scale is Scale.PUBLISHED and not has_metadata else 1
    tolerance_m = TOLERANCE_M.get(row.reads_back, {}).get(name, 1e-6)
    assert np.abs(back.meters * factor - depth_map.meters).max() <= tolerance_m
    assert back.meters.dtype == np.float32
    approximate = row.reads_back is ReadsBack.APPROXIMATE
    expected = replace(eightfold.provenance, approximate=approximate) if has_metadata else Provenance()
    assert back.provenance == expected
    assert back.camera == (eightfold.camera if has_metadata else None)


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_deterministic(name: str, depth_map: DepthMap, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FORMATS[name].load_codec().encode(depth_map, OutputSettings())
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert FORMATS[name].load_codec().encode(depth_map, OutputSettings()) == first


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_names_and_notes_can_be_written(name: str, depth_map: DepthMap) -> None:
    odd = replace(depth_map.provenance, source="a\n\udcff\u2603[red].jpg", weights="\u00fc" * 300, notes=("\x1b[31m",))
    codec = FORMATS[name].load_codec()
    data = codec.encode(replace(depth_map, provenance=odd), OutputSettings())
    metadata = codec.read_metadata(io.BytesIO(data))
    assert (metadata is None) == (FORMATS[name].reads_back is ReadsBack.VALUES)
    if metadata is not None:
        assert Provenance.from_dict(metadata["provenance"]) == odd


# Point clouds and meshes need points, and the uncertainty file an uncertainty.
@pytest.mark.parametrize(
    "name", [name for name, row in FORMATS.items() if not (row.needs_camera or row.needs_uncertainty)]
)
def test_one_pixel_and_unknown_depth_can_be_written(name: str) -> None:
    codec = FORMATS[name].load_codec()
    for meters in (np.full((1, 1), 3.0), np.zeros((2, 3)), np.full((2, 3), np.nan)):
        assert codec.encode(DepthMap(meters.astype(np.float32)), OutputSettings(legend=True))


@pytest.mark.parametrize("name", READABLE)
def test_truncated_files_are_an_error(name: str, depth_map: DepthMap) -> None:
    codec = FORMATS[name].load_codec()
    data = codec.encode(depth_map, OutputSettings())
    for length in (len(FORMATS[name].magic[0]), len(data) // 2, len(data) - 60):
        with pytest.raises(DepthFileError, match="half"):
            codec.decode(data[:length], "half")

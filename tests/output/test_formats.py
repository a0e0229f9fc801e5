from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import glpn_cli
from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.output.formats import FORMATS, Published, ReadsBack, format_of_name
from glpn_cli.output.reading import recognize
from glpn_cli.settings import DepthRange, Near, Normalize, OutputSettings, Scale

if TYPE_CHECKING:
    from pathlib import Path

MAX = OutputSettings(Normalize.MAX)
MINMAX = OutputSettings(Normalize.MINMAX)

READABLE = [name for name, row in FORMATS.items() if row.reads_back is not ReadsBack.NEVER]


def gray(meters: np.ndarray, settings: OutputSettings = MAX) -> np.ndarray:
    data = FORMATS["png"].load_codec().encode(DepthMap(meters.astype(np.float32)), settings)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"
        return np.asarray(image)


def random_meters() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 9.7, (97, 131)).astype(np.float32)


def test_every_format_has_a_name_and_an_ending_of_its_own() -> None:
    rows = list(FORMATS.values())
    for values in ({row.name for row in rows}, {row.ending for row in rows}):
        assert len(values) == len(rows)
    assert all(row.ending.endswith(row.suffix) for row in rows)
    assert all(bool(row.unreadable_because) == (row.reads_back is ReadsBack.NEVER) for row in rows)


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_begins_with_the_magic_of_its_format_and_is_recognized(name: str, depth_map: DepthMap) -> None:
    data = FORMATS[name].load_codec().encode(depth_map, MAX)
    assert data.startswith(FORMATS[name].magic)
    assert recognize(io.BytesIO(data)) is FORMATS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_asks_for_a_format_by_its_ending(name: str) -> None:
    assert format_of_name("x" + FORMATS[name].ending) is FORMATS[name]
    assert format_of_name("X" + FORMATS[name].ending.upper()) is FORMATS[name]
    assert FORMATS[name].may_be_called("x" + FORMATS[name].ending)
    assert FORMATS[name].may_be_called("plain" + FORMATS[name].suffix)


def test_png_alone_is_the_gray_image() -> None:
    assert format_of_name("x.png") is FORMATS["png"]


def test_an_unknown_suffix_names_those_that_work() -> None:
    with pytest.raises(UsageError, match=r"\.jpg") as caught:
        format_of_name("x.jpg")
    assert ".png" in str(caught.value.hint)


def test_npy_holds_the_very_meters(depth_map: DepthMap) -> None:
    data = FORMATS["npy"].load_codec().encode(depth_map, MAX)
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, depth_map.meters)


def test_png_is_the_documented_formula_truncation_included() -> None:
    output = random_meters()
    documented = (output * 255 / np.max(output)).astype("uint8")
    np.testing.assert_array_equal(gray(output), documented)


def test_minmax_is_the_formula_of_the_pipeline() -> None:
    depth = random_meters() + np.float32(3)
    pipeline = ((depth - depth.min()) / (depth.max() - depth.min()) * 255).astype("uint8")
    np.testing.assert_array_equal(gray(depth, MINMAX), pipeline)


@pytest.mark.parametrize("settings", [MAX, MINMAX])
def test_a_map_of_zeros_is_black(settings: OutputSettings) -> None:
    assert gray(np.zeros((3, 4)), settings).max() == 0


def test_a_flat_map_is_safe_in_both_ways() -> None:
    assert gray(np.full((3, 4), 5.0), MAX).min() == 255
    assert gray(np.full((3, 4), 5.0), MINMAX).max() == 0


@pytest.mark.parametrize("settings", [MAX, MINMAX])
def test_a_png_says_what_it_means_and_is_read_back_within_one_step(
    depth_map: DepthMap, settings: OutputSettings
) -> None:
    codec = FORMATS["png"].load_codec()
    back = codec.decode(codec.encode(depth_map, settings), "x.png")
    step_m = (7.5 if settings is MAX else 7.0) / 255
    assert np.abs(back.meters - depth_map.meters).max() <= step_m
    assert back.provenance.approximate
    assert back.provenance.weights_sha256 == "ab" * 32
    assert back.provenance.notes == ("a note",)
    assert back.provenance.network_size == (96, 128)


def test_any_program_can_read_what_the_gray_values_mean(depth_map: DepthMap) -> None:
    with Image.open(io.BytesIO(FORMATS["png"].load_codec().encode(depth_map, MAX))) as image:
        assert "gray / 255 * 7.5 m" in image.info["Description"]


def test_compression_changes_the_size_of_a_png_and_nothing_in_it() -> None:
    codec = FORMATS["png"].load_codec()
    depth = DepthMap(np.tile(np.linspace(1, 9, 400, dtype=np.float32), (300, 1)))
    files = [codec.encode(depth, OutputSettings(png_compression=level)) for level in (0, 1, 9)]
    assert len(files[0]) > len(files[1]) > len(files[2])
    images = [codec.decode(data, "x").meters for data in files]
    assert all(np.array_equal(image, images[0]) for image in images)


# How far depth that was read back may be from what was written, of 0.5 to 7.5 m with a limit of 80 m.
TOLERANCE_M = {ReadsBack.METERS: {"png16": 0.5 / 256}, ReadsBack.APPROXIMATE: {"png": 7.5 / 255}}


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_reads_back_as_the_table_says(
    name: str, scale: Scale, depth_map: DepthMap, tmp_path: Path
) -> None:
    row = FORMATS[name]
    eightfold = replace(
        depth_map,
        provenance=replace(depth_map.provenance, meters_per_unit=8.0),
        camera=Camera(525.0, "--focal-px"),
        rgb=np.zeros((20, 30, 3), np.uint8),
    )
    settings = OutputSettings(scale=scale)
    path = tmp_path / ("x" + row.ending)
    if scale is Scale.PUBLISHED and row.published is Published.REFUSED:
        with pytest.raises(UsageError, match=f"--scale published.*{name}"):
            eightfold.save(path, settings=settings)
        return
    eightfold.save(path, settings=settings)
    if row.reads_back is ReadsBack.NEVER:
        with pytest.raises(DepthFileError, match=f"is an? {name} file") as caught:
            glpn_cli.read(path)
        assert row.unreadable_because in caught.value.message
        return
    back = glpn_cli.read(path)
    says_its_scale = row.reads_back is not ReadsBack.VALUES
    factor = 8 if scale is Scale.PUBLISHED and not says_its_scale else 1
    tolerance_m = TOLERANCE_M.get(row.reads_back, {}).get(name, 1e-6)
    assert np.abs(back.meters * factor - depth_map.meters).max() <= tolerance_m
    assert back.meters.dtype == np.float32
    approximate = row.reads_back is ReadsBack.APPROXIMATE
    expected = replace(eightfold.provenance, approximate=approximate) if says_its_scale else Provenance()
    assert back.provenance == expected
    assert back.camera == (eightfold.camera if says_its_scale else None)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_depth_gives_the_same_bytes(name: str, depth_map: DepthMap, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FORMATS[name].load_codec().encode(depth_map, MAX)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert FORMATS[name].load_codec().encode(depth_map, MAX) == first


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_names_and_notes_get_into_every_file(name: str, depth_map: DepthMap) -> None:
    odd = replace(depth_map.provenance, source="a\n\udcff\u2603[red].jpg", weights="\u00fc" * 300, notes=("\x1b[31m",))
    codec = FORMATS[name].load_codec()
    data = codec.encode(replace(depth_map, provenance=odd), MAX)
    facts = codec.read_facts(io.BytesIO(data))
    if facts is not None:
        assert Provenance.from_dict(facts["provenance"]) == odd


# A point cloud or a surface without a point is an error, and so is uncertainty that nobody estimated.
@pytest.mark.parametrize(
    "name", [name for name, row in FORMATS.items() if not (row.needs_camera or row.needs_uncertainty)]
)
def test_a_single_pixel_and_a_map_without_known_depth_get_into_every_file(name: str) -> None:
    codec = FORMATS[name].load_codec()
    for meters in (np.full((1, 1), 3.0), np.zeros((2, 3)), np.full((2, 3), np.nan)):
        assert codec.encode(DepthMap(meters.astype(np.float32)), OutputSettings(legend=True))


def test_the_published_scale_of_unknown_weights_is_meters(depth_map: DepthMap) -> None:
    npy, published = FORMATS["npy"].load_codec(), OutputSettings(scale=Scale.PUBLISHED)
    unknown = DepthMap(depth_map.meters)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy.encode(unknown, published))), depth_map.meters)


def test_a_png_says_which_scale_its_range_is_in(depth_map: DepthMap) -> None:
    eightfold = DepthMap(depth_map.meters, replace(depth_map.provenance, meters_per_unit=8.0))
    with Image.open(
        io.BytesIO(FORMATS["png"].load_codec().encode(eightfold, OutputSettings(scale=Scale.PUBLISHED)))
    ) as x:
        facts = json.loads(x.info["glpn"])
    assert (facts["scale"], facts["high"], facts["meters_per_unit"]) == ("published", 7.5 / 8, 8.0)


@pytest.mark.parametrize("near", [None, *Near])
@pytest.mark.parametrize("scale", Scale)
def test_a_png_with_a_range_spans_it_and_reads_back(depth_map: DepthMap, near: Near | None, scale: Scale) -> None:
    eightfold = DepthMap(depth_map.meters, replace(depth_map.provenance, meters_per_unit=8.0))
    settings = OutputSettings(range=DepthRange.parse("2:6"), near=near, scale=scale)
    codec = FORMATS["png"].load_codec()
    data = codec.encode(eightfold, settings)
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image).astype(int)
    nearest, farthest = (255, 0) if near is Near.BRIGHT else (0, 255)
    assert (pixels[depth_map.meters <= 2] == nearest).all()
    assert (pixels[depth_map.meters >= 6] == farthest).all()
    assert np.abs(codec.decode(data, "x").meters - np.clip(depth_map.meters, 2, 6)).max() <= 4 / 255


@pytest.mark.parametrize("name", READABLE)
def test_a_truncated_file_is_an_error_not_depth(name: str, depth_map: DepthMap) -> None:
    codec = FORMATS[name].load_codec()
    data = codec.encode(depth_map, MAX)
    for length in (len(FORMATS[name].magic[0]), len(data) // 2, len(data) - 60):
        with pytest.raises(DepthFileError, match="cut"):
            codec.decode(data[:length], "cut")


def test_a_png_of_somebody_else_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    with pytest.raises(DepthFileError, match="does not say"):
        FORMATS["png"].load_codec().decode(buffer.getvalue(), "x.png")


@pytest.mark.parametrize("array", [np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), np.int32), np.zeros((0, 3))])
def test_an_npy_of_something_else_is_refused(array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    with pytest.raises(DepthFileError, match="not depth"):
        FORMATS["npy"].load_codec().decode(buffer.getvalue(), "x.npy")


def test_an_npy_that_needs_pickle_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DepthFileError):
        FORMATS["npy"].load_codec().decode(buffer.getvalue(), "x.npy")


def test_float64_meters_of_others_become_float32() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.full((2, 3), 1.5))
    assert FORMATS["npy"].load_codec().decode(buffer.getvalue(), "x").meters.dtype == np.float32


def test_provenance_survives_a_newer_field() -> None:
    known = Provenance(weights="tiny", metric=False)
    assert Provenance.from_dict({**known.to_dict(), "invented_later": 1}) == known


def test_a_depth_map_is_two_dimensional_float32() -> None:
    for wrong in (np.zeros((2, 3)), np.zeros((1, 2, 3), np.float32), np.zeros((0, 3), np.float32)):
        with pytest.raises(ValueError, match="float32"):
            glpn_cli.DepthMap(wrong)


def test_what_comes_with_depth_has_its_shape() -> None:
    meters = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="rgb must be"):
        DepthMap(meters, rgb=np.zeros((3, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="uncertainty_m must be"):
        DepthMap(meters, uncertainty_m=np.zeros((2, 3)))


def test_a_camera_is_kept_by_formats_with_room_for_text(depth_map: DepthMap) -> None:
    seen = replace(depth_map, camera=Camera(525.0, "--focal-px"))
    codec = FORMATS["png"].load_codec()
    assert codec.decode(codec.encode(seen, MAX), "x").camera == seen.camera
    assert codec.decode(codec.encode(depth_map, MAX), "x").camera is None

"""Depth maps, provenance and cameras."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import Camera, DepthMap, Provenance, is_known
from glpn_cli.errors import OutputError, OutputExistsError, UsageError
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Scale

if TYPE_CHECKING:
    from pathlib import Path


def with_image(depth: DepthMap) -> DepthMap:
    rgb = np.random.default_rng(0).integers(0, 256, (*depth.shape, 3), np.uint8)
    return replace(depth, rgb=rgb)


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


def test_depth_map_must_be_two_dimensional_float32() -> None:
    for wrong in (np.zeros((2, 3)), np.zeros((1, 2, 3), np.float32), np.zeros((0, 3), np.float32)):
        with pytest.raises(ValueError, match="float32"):
            DepthMap(wrong)


def test_image_and_uncertainty_must_have_the_shape_of_depth() -> None:
    meters = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="rgb"):
        DepthMap(meters, rgb=np.zeros((3, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="uncertainty_m"):
        DepthMap(meters, uncertainty_m=np.zeros((2, 3)))


def test_the_old_name_of_meters_still_works(depth_map: DepthMap) -> None:
    assert depth_map.metres is depth_map.meters


def test_known_depth_is_finite_and_positive() -> None:
    assert is_known(np.float32([0, -1, np.nan, np.inf, 0.1])).tolist() == [False, False, False, False, True]


def test_saturated_fraction_counts_pixels_near_the_depth_limit() -> None:
    meters = np.array([[9.4, 9.6, 10, 1]], np.float32)
    assert DepthMap(meters, Provenance(depth_limit_m=10.0)).saturated_fraction == 0.5
    assert DepthMap(meters).saturated_fraction == 0


def test_published_scale_divides_by_the_factor_of_the_weights() -> None:
    meters = np.full((1, 2), 4, np.float32)
    depth = DepthMap(meters, Provenance(meters_per_unit=8.0))
    assert depth.in_scale(Scale.PUBLISHED).tolist() == [[0.5, 0.5]]
    assert depth.in_scale(Scale.METERS) is meters
    assert DepthMap(meters).in_scale(Scale.PUBLISHED) is meters


def test_save_replaces_a_file_only_with_overwrite(tmp_path: Path, depth_map: DepthMap) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match=r"x\.npy"):
        depth_map.save(path)
    assert path.read_bytes() == b"precious"
    depth_map.save(path, overwrite=True)
    np.testing.assert_array_equal(np.load(path), depth_map.meters)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.npy"]


def test_dictionaries_of_newer_versions_are_read() -> None:
    provenance = Provenance(weights="tiny", metric=False, network_size=(96, 128), notes=("a note",))
    assert Provenance.from_dict({**provenance.to_dict(), "network_size": [96, 128], "new": 1}) == provenance
    camera = Camera(525.0, "EXIF: focal length and sensor resolution")
    back = Camera.from_dict({**camera.to_dict((4, 7)), "new": 1})
    assert back == replace(camera, center_x_px=3.0, center_y_px=1.5)


def test_camera_has_square_pixels_and_its_center_by_default() -> None:
    camera = Camera(525.0, "user")
    assert camera.focal_y_px == 525
    assert camera.center_px((480, 640)) == (319.5, 239.5)
    completed = DepthMap(np.ones((480, 640), np.float32), camera=camera).camera
    assert completed == replace(camera, center_x_px=319.5, center_y_px=239.5)
    assert completed.completed((10, 10)) is completed


def test_camera_as_json_has_the_names_of_other_programs() -> None:
    camera = Camera(525.0, "file: c.yaml", focal_y_px=520.0, center_x_px=310.0)
    values = camera.to_dict((480, 640))
    names = ("fx", "fy", "cx", "cy", "width", "height", "focal_px", "source")
    assert [values[name] for name in names] == [525, 520, 310, 239.5, 640, 480, 525, "file: c.yaml"]
    assert "projection" not in values
    assert Camera.from_dict(values) == replace(camera, center_y_px=239.5)


def test_camera_of_version_0_1_is_read() -> None:
    assert Camera.from_dict({"focal_px": 525.0, "source": "x"}) == Camera(525.0, "x")


def test_projection_of_a_panorama_is_stored() -> None:
    camera = Camera(100.0, "GPano", projection="equirectangular", center_x_px=1.0, center_y_px=2.0)
    assert Camera.from_dict(camera.to_dict((4, 8))) == camera


@pytest.mark.parametrize(
    "values", [(0.0,), (-1.0,), (np.nan,), (1.0, np.inf), (1.0, 1.0, np.nan), (1.0, 1.0, 0, -np.inf)]
)
def test_impossible_cameras_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Camera(values[0], "x", *values[1:])


# As an array and as text


def test_a_depth_map_is_an_array_for_numpy(depth_map: DepthMap) -> None:
    assert np.asarray(depth_map) is depth_map.meters
    assert np.array(depth_map) is not depth_map.meters
    assert np.asarray(depth_map, np.float64).dtype == np.float64
    assert np.median(depth_map) == np.median(depth_map.meters)  # type: ignore[call-overload]
    assert not np.shares_memory(depth_map.__array__(copy=True), depth_map.meters)
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        assert np.asarray(depth_map, copy=False) is depth_map.meters
        with pytest.raises(ValueError, match="copy"):
            depth_map.__array__(np.float64, copy=False)


def test_sizes(depth_map: DepthMap) -> None:
    assert depth_map.shape == depth_map.meters.shape == (20, 30)
    assert (depth_map.width, depth_map.height) == (30, 20)


def test_representation_is_short(depth_map: DepthMap) -> None:
    def shown(**changes: Any) -> str:
        return repr(replace(depth_map, provenance=replace(depth_map.provenance, **changes)))

    assert repr(depth_map) == "DepthMap 30x20, 0.50–7.50 m, tiny (approximate)"  # noqa: RUF001 - a range
    assert shown(metric="anchored").endswith(" m, tiny (anchored)")
    assert shown(weights="nyu", metric=True).endswith(" m, nyu")
    assert shown(weights="nyu", metric=None).endswith(" m, nyu")
    assert shown(weights=None, metric=None).endswith(" m")
    meters = np.float32([[0, np.nan, 0.0123, 2]])
    assert repr(DepthMap(meters)) == "DepthMap 4x1, 0.012–2.00 m"  # noqa: RUF001 - a range
    assert repr(DepthMap(meters[:, :2])) == "DepthMap 2x1, no known depth"


def test_depth_maps_can_be_pickled(depth_map: DepthMap) -> None:
    again = pickle.loads(pickle.dumps(depth_map))  # noqa: S301 - our own
    np.testing.assert_array_equal(again.meters, depth_map.meters)
    assert again.provenance == depth_map.provenance


# Images and files


def test_image_is_that_of_the_color_format(depth_map: DepthMap) -> None:
    depth = with_image(depth_map)
    assert depth.image().size == (30, 20)
    for keywords in ({}, {"colormap": "magma", "range": "1:3"}, {"legend": True, "side_by_side": True}):
        image = depth.image(**keywords)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), pixels_of(depth.encode("color", **keywords)))
    assert depth.image(legend=True).height > 20
    assert depth.image(side_by_side=True).width == 60


def test_image_beside_the_photo_needs_the_photo(depth_map: DepthMap) -> None:
    with pytest.raises(UsageError) as caught:
        depth_map.image(side_by_side=True)
    assert caught.value.setting == "side_by_side"
    assert "`keep_rgb=True`" in str(caught.value.hint)


@pytest.mark.parametrize(
    "shape", [(1, 1), (20, 30), (1500, 2100), (1, 5000), (5000, 1)], ids=lambda shape: "x".join(map(str, shape))
)
def test_a_notebook_shows_a_small_image(shape: tuple[int, int]) -> None:
    meters = np.linspace(1, 9, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    image = pixels_of(DepthMap(meters, Provenance(weights="tiny", metric=False))._repr_png_())
    height, width, _ = image.shape
    assert height > min(shape[0], round(shape[0] * 800 / max(shape)))  # with the legend
    assert height <= 1000
    assert min(width, 800) >= min(shape[1], round(shape[1] * 800 / max(shape)))
    assert width <= 1000


def test_a_notebook_shows_unknown_depth() -> None:
    assert pixels_of(DepthMap(np.zeros((4, 4), np.float32))._repr_png_()).size


def test_encode_returns_the_bytes_that_save_writes(tmp_path: Path, depth_map: DepthMap) -> None:
    for name, format_name, keywords in (
        ("a.npy", "npy", {}),
        ("a.npz", "NPZ", {"scale": "meters"}),
        ("a.depth16.png", "png16", {}),
        ("a.color.png", "color", {"colormap": "gray", "legend": True}),
        ("a.ply", "ply", {"max_points": 100}),
    ):
        depth_map.save(tmp_path / name, **keywords)
        assert (tmp_path / name).read_bytes() == depth_map.encode(format_name, **keywords)


def test_save_takes_settings_and_keywords(tmp_path: Path, depth_map: DepthMap) -> None:
    shared = OutputSettings(colormap="magma", legend=True)  # type: ignore[arg-type]  # text is converted
    depth_map.save(tmp_path / "a.color.png", settings=shared)
    assert (tmp_path / "a.color.png").read_bytes() == depth_map.encode("color", colormap="magma", legend=True)
    depth_map.save(tmp_path / "a.color.png", settings=shared, overwrite=True, legend=False)
    assert (tmp_path / "a.color.png").read_bytes() == depth_map.encode("color", colormap="magma")
    depth_map.save(tmp_path / "a.npy", settings=shared)  # shared settings may not affect every file


def test_save_names_the_format_if_the_file_name_does_not(tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "plain.png", format="png16")
    assert (tmp_path / "plain.png").read_bytes() == depth_map.encode("png16")
    depth_map.save(tmp_path / "none", format="npy")
    np.testing.assert_array_equal(np.load(tmp_path / "none"), depth_map.meters)
    for name, format_name in (("a.npy", "png16"), ("a.depth16.png", "color"), ("a.npy", "npy,npz"), ("a.npy", "np")):
        with pytest.raises(UsageError) as caught:
            depth_map.save(tmp_path / name, format=format_name)
        assert caught.value.setting == "format"
    assert not (tmp_path / "a.npy").exists()


def test_save_does_not_expand_the_home_folder(
    tmp_path: Path, depth_map: DepthMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="~"):
        depth_map.save("~/a.npy")
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize("method", ["image", "encode", "save", "points"])
def test_wrong_keywords_are_named_with_the_closest_one(method: str, depth_map: DepthMap) -> None:
    positional = {"encode": ["npy"], "save": ["never.npy"]}.get(method, [])
    with pytest.raises(TypeError, match=r"edge_filtre.*edge_filter"):
        getattr(depth_map, method)(*positional, edge_filtre=1)
    with pytest.raises(TypeError, match="zzz"):
        getattr(depth_map, method)(*positional, zzz=1)


@pytest.mark.parametrize(
    ("method", "arguments", "keywords", "setting"),
    [
        ("image", [], {"colormap": "trubo"}, "colormap"),
        ("image", [], {"range": "9:1"}, "range"),
        ("image", [], {"max_points": 7}, "max_points"),
        ("encode", ["npy"], {"legend": True}, "legend"),
        ("encode", ["png"], {"normalize": "minmax", "range": "0:1"}, None),
        ("encode", ["pgn"], {}, "format"),
        ("save", ["a.npy"], {"colormap": "magma"}, "colormap"),
        ("save", ["a.xyz"], {}, None),
        ("points", [], {"max_points": -1}, "max_points"),
        ("points", [], {"colormap": "magma"}, "colormap"),
        ("measure", [(1, 2)], {"box": (0, 0, 1, 1)}, None),
    ],
)
def test_invalid_settings_are_usage_errors(
    method: str, arguments: list[Any], keywords: dict[str, Any], setting: str | None, depth_map: DepthMap
) -> None:
    with pytest.raises(UsageError) as caught:
        getattr(depth_map, method)(*arguments, **keywords)
    assert caught.value.setting == setting


# Measurements and points


def test_measure_takes_a_pixel_a_box_or_the_whole_image(depth_map: DepthMap) -> None:
    pixel = depth_map.measure((29, 19))
    assert (pixel.median_m, pixel.pixels) == (7.5, 1)
    assert pixel == depth_map.measure(at="29,19")
    assert depth_map.measure(box=(0, 0, 30, 10)).pixels == 300
    whole = depth_map.measure()
    assert (whole.pixels, whole.median_m) == (600, pytest.approx(4))
    assert whole.uncertainty_m == pytest.approx(0.4)


def test_distance_needs_both_pixels(depth_map: DepthMap) -> None:
    depth = replace(depth_map, meters=np.full((20, 30), 2, np.float32), camera=Camera(10.0, "test"))
    assert depth.distance((5, 5), (10, 5)) == pytest.approx(1)
    with pytest.raises(UsageError, match="30 wide"):
        depth.distance((5, 5), (30, 5))


def test_anchored_scales_to_known_distances(depth_map: DepthMap) -> None:
    before_m = float(depth_map.meters[3, 7])
    scaled = depth_map.anchored((7, 3, 2 * before_m), f"8,3={2 * float(depth_map.meters[3, 8])!r}")
    np.testing.assert_allclose(scaled.meters, 2 * depth_map.meters, rtol=1e-6)
    assert scaled.provenance.metric == "anchored"
    assert len(scaled.provenance.anchors) == 2
    assert depth_map.anchored() is depth_map


def test_points_are_those_of_ply(depth_map: DepthMap) -> None:
    depth = replace(with_image(depth_map), meters=np.full((20, 30), 2, np.float32), camera=Camera(10.0, "test"))
    xyz, rgb = depth.points()
    assert (xyz.shape, xyz.dtype) == ((600, 3), np.float32)
    assert rgb is not None
    assert (rgb.shape, rgb.dtype) == ((600, 3), np.uint8)
    np.testing.assert_allclose(xyz[0], [-2.9, 1.9, -2], rtol=1e-6)  # the top left pixel: left, up, ahead
    np.testing.assert_array_equal(rgb.reshape(20, 30, 3), depth.rgb)
    assert len(depth.points(max_points=150).xyz) == 150
    assert depth_map.points().rgb is None


def test_points_without_depth_are_left_out(depth_map: DepthMap) -> None:
    meters = np.full((20, 30), 2, np.float32)
    meters[0, 0], meters[0, 1] = 0, 79.9  # at the depth limit of the weights
    depth = replace(with_image(depth_map), meters=meters)
    cloud = depth.points(edge_filter=0)
    assert len(cloud.xyz) == 598
    assert cloud.rgb is not None
    assert depth.rgb is not None
    np.testing.assert_array_equal(cloud.rgb[0], depth.rgb[0, 2])
    assert len(depth.points(edge_filter=0, valid_range="0.1:100").xyz) == 599

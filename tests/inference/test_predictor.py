from __future__ import annotations

import asyncio
import copy
import io
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import glpn_cli
from glpn_cli.device import Runtime, choose_runtime
from glpn_cli.errors import DeviceError, GLPNError, ImageError, WeightsError
from glpn_cli.image.upsampling import LocalRange
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.load import load_weights
from glpn_cli.inference.network import LoadedWeights
from glpn_cli.inference.predictor import Predictor
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.settings import PredictionSettings
from glpn_cli.values import Precision
from glpn_cli.weights.catalog import CATALOG, WeightsCard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKING_SIZE = CATALOG["tiny"].card.working_size


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return glpn_cli.load("tiny")


def make_network(**config: Any) -> GLPNForDepthEstimation:
    """Build a small network with random weights."""
    torch.manual_seed(0)
    small = {"hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4], "depths": [1] * 4}
    return GLPNForDepthEstimation(GLPNConfig(**small, decoder_hidden_size=8, **config)).eval()


def make_predictor(
    card: WeightsCard,
    input_size: str | None = None,
    network: GLPNForDepthEstimation | None = None,
    tiles: str = "off",
) -> Predictor:
    weights = LoadedWeights(network or make_network(), card, sha256=lambda: "0" * 64)
    return Predictor(weights, choose_runtime("cpu"), settings(input_size=input_size, tiles=tiles))


def settings(**values: Any) -> PredictionSettings:
    return PredictionSettings(**values)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [(64, 32), (101, 131), (240, 320)])
def test_number_of_threads_does_not_change_bits(size: tuple[int, int], precision: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    before = torch.get_num_threads()
    try:
        found = [
            glpn_cli.load("tiny", input_size="native", threads=threads, precision=precision).predict(image).meters
            for threads in (1, 2)
        ]
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_every_kind_of_input_gives_the_same_depth(tiny: Predictor, photo: Path) -> None:
    with Image.open(photo) as image:
        image.load()
    from_path = tiny.predict(photo)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    file = io.BytesIO(photo.read_bytes())
    for given in (str(photo), photo.read_bytes(), image, np.asarray(image), np.asarray(image) / 255, tensor, file):
        np.testing.assert_array_equal(tiny.predict(given).meters, from_path.meters)


def test_depth_has_the_size_of_the_image_and_provenance(tiny: Predictor, photo: Path) -> None:
    depth = tiny.predict(photo)
    assert (depth.meters.shape, depth.meters.dtype) == ((400, 600), np.float32)
    facts = depth.provenance
    assert facts.source is not None
    assert Path(facts.source).name == "coffee.png"
    assert (facts.weights, facts.metric, facts.depth_limit_m, facts.meters_per_unit) == ("tiny", False, 80.0, 1.0)
    assert (facts.network_size, facts.device, facts.precision) == (WORKING_SIZE, "cpu", "float32")
    assert facts.tool == f"glpn-cli {glpn_cli.__version__}"
    assert facts.weights_sha256 == tiny.weights_sha256


def test_depth_is_resized_then_scaled_then_clipped(photo: Path) -> None:
    network = make_network(max_depth=10)
    network.head.head[2].weight.data *= 20_000  # depth over the whole range, so that bicubic overshoots
    predictor = make_predictor(WeightsCard("x", depth_limit_m=40.0, meters_per_unit=8.0), "native", network)
    with Image.open(photo) as image:
        seen = image.resize((576, 384), Image.Resampling.BILINEAR)
    pixel_values = torch.from_numpy(np.asarray(seen) / np.float32(255)).permute(2, 0, 1)[None]
    with torch.no_grad():
        published = predictor.engine(pixel_values)
    whole = torch.nn.functional.interpolate(published[None], (400, 600), mode="bicubic", align_corners=False)[0, 0]
    assert float(whole.max()) * 8 > 40.0
    assert float(whole.min()) < 0.0
    limited = LocalRange.around(published[0]).clip(whole.numpy().copy())
    assert limited.min() > float(whole.min())
    meters = predictor.predict(photo).meters
    np.testing.assert_allclose(meters, np.clip(limited * 8, 0, 40), atol=1e-3)


@pytest.mark.parametrize(
    ("input_size", "working", "image", "seen"),
    [
        ("native", (480, 640), (427, 640), (416, 640)),
        ("native", (480, 640), (31, 700), (32, 672)),
        ("model", (96, 128), (480, 640), (96, 128)),
        ("model", (96, 128), (640, 480), (128, 96)),
        ("model", (96, 128), (375, 1242), (64, 192)),
        ("model", (480, 640), (3000, 4000), (480, 640)),
        ("model", (480, 640), (48, 64), (480, 640)),
        ("model", (96, 128), (10, 60000), (32, 8576)),
        ("64x320", (480, 640), (427, 640), (64, 320)),
    ],
)
def test_size_of_the_network_input(
    input_size: str, working: tuple[int, int], image: tuple[int, int], seen: tuple[int, int]
) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0, working_size=working), input_size)
    assert predictor.network_size(*image) == seen


def test_weights_set_the_default_input_size() -> None:
    assert make_predictor(WeightsCard("x", 10.0)).input_size.mode == "native"
    assert make_predictor(WeightsCard("x", 10.0, shrink=True)).input_size.mode == "model"
    assert make_predictor(WeightsCard("x", 10.0, shrink=True), "native").input_size.mode == "native"


def test_an_image_of_one_pixel_has_depth(tiny: Predictor) -> None:
    depth = tiny.predict(np.full((1, 1, 3), 90, np.uint8))
    assert depth.meters.shape == (1, 1)
    assert len(depth.provenance.notes) == 1
    assert "32" in depth.provenance.notes[0]


def test_far_larger_native_images_get_a_note() -> None:
    card = WeightsCard("x", 10.0, working_size=(64, 64))
    large, fair = np.zeros((160, 160, 3), np.uint8), np.zeros((128, 128, 3), np.uint8)
    (note,) = make_predictor(card).predict(large).provenance.notes
    assert "`input_size='model'`" in note
    assert not make_predictor(card).predict(fair).provenance.notes
    assert not make_predictor(card, "model").predict(large).provenance.notes


def test_overflow_is_an_error() -> None:
    network = make_network()
    network.head.head[2].bias.data.fill_(float("nan"))
    predictor = make_predictor(WeightsCard("x", 10.0), network=network)
    with pytest.raises(DeviceError, match=r"x\.jpg.*float32"):
        predictor.predict(np.zeros((32, 32, 3), np.uint8), name="x.jpg")


def test_out_of_memory_names_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    monkeypatch.setattr(predictor, "engine", lambda _: torch.empty(2**60))
    with pytest.raises(DeviceError, match=r"x\.jpg") as caught:
        predictor.predict(np.zeros((32, 32, 3), np.uint8), name="x.jpg")
    assert "model" in str(caught.value.hint)


def test_every_stage_is_timed(tiny: Predictor, photo: Path) -> None:
    stopwatch = Stopwatch()
    tiny.predict(photo, stopwatch=stopwatch)
    assert list(stopwatch.elapsed_s) == ["decode", "preprocess", "network", "upsample"]
    before = dict(stopwatch.elapsed_s)
    tiny.predict(photo, stopwatch=stopwatch)
    assert all(stopwatch.elapsed_s[stage] > before[stage] for stage in before)


def test_a_broken_image_is_named(tiny: Predictor) -> None:
    with pytest.raises(ImageError, match="stdin"):
        tiny.predict(b"no image", name="stdin")


def test_saved_weights_keep_their_facts(tmp_path: Path) -> None:
    load_weights("tiny").network.save_pretrained(tmp_path / "mine")
    again = glpn_cli.load(tmp_path / "mine")
    assert again.card == WeightsCard("mine", 80.0, 1.0, WORKING_SIZE, metric=False, shrink=True)


def test_a_photo_is_read_upright(tiny: Predictor, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = make_image("turned.jpg", 48, 64, exif=exif)
    assert tiny.predict(turned).meters.shape == (64, 48)
    assert tmp_path in turned.parents


def test_a_stack_of_images_gives_each_its_own_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    random = np.random.default_rng(0)
    prepared = [predictor.prepare(random.integers(0, 256, (64, 96, 3), np.uint8)) for _ in range(3)]
    expected = [predictor.run([image])[0] for image in prepared]
    engine, batches = predictor.engine, []

    def count(pixel_values: torch.Tensor) -> torch.Tensor:
        batches.append(len(pixel_values))
        return engine(pixel_values)

    monkeypatch.setattr(predictor, "engine", count)
    monkeypatch.setattr(predictor, "runtime", Runtime(torch.device("mps"), Precision.FLOAT32))  # not a CPU, it seems
    for one, other in zip(predictor.run(prepared), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert batches == [3]


def test_groups_do_not_change_bits_on_a_cpu() -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    random = np.random.default_rng(0)
    prepared = [predictor.prepare(random.integers(0, 256, (64, 96, 3), np.uint8)) for _ in range(3)]
    for one, image in zip(predictor.run(prepared), prepared, strict=True):
        assert torch.equal(one, predictor.run([image])[0])


def test_the_image_is_stored_only_on_request(photo: Path) -> None:
    weights = load_weights("tiny")
    with Image.open(photo) as image:
        rgb = np.asarray(image)
    stored = Predictor(weights, choose_runtime("cpu"), settings(keep_rgb=True)).predict(photo)
    np.testing.assert_array_equal(stored.rgb, rgb)
    assert Predictor(weights, choose_runtime("cpu")).predict(photo).rgb is None


@pytest.mark.parametrize("tiles", ["auto", "480x640", "416x608"])
def test_an_image_of_one_tile_has_no_tiles(photo: Path, tiles: str) -> None:
    card = WeightsCard("x", 10.0, working_size=(384, 576))
    alone = make_predictor(card).predict(photo)
    tiled = make_predictor(card, tiles=tiles).predict(photo)
    np.testing.assert_array_equal(tiled.meters, alone.meters)
    assert tiled.provenance == alone.provenance
    assert tiled.provenance.tile_size is None


@pytest.mark.parametrize("size", [(97, 131), (33, 400), (400, 33), (65, 64)])
def test_tiles_of_odd_sizes(size: tuple[int, int]) -> None:
    network = make_network(max_depth=10)
    network.head.head[2].weight.data *= 20_000  # depth beyond the limits
    predictor = make_predictor(
        WeightsCard("x", 40.0, meters_per_unit=4.0, working_size=(64, 64)), "native", network, "64x64"
    )
    depth = predictor.predict(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    assert depth.meters.shape == size
    assert np.isfinite(depth.meters).all()
    assert (depth.meters.min(), depth.meters.max()) >= (0, 0)
    assert depth.meters.max() <= 40
    assert depth.provenance.tile_size == (min(64, size[0]), min(64, size[1]))
    assert depth.provenance.network_size is not None
    assert max(depth.provenance.network_size) <= 256
    assert depth.rgb is None


def test_tiles_add_detail_and_preserve_the_whole(tiny: Predictor, photo: Path) -> None:
    whole = tiny.predict(photo).meters
    stopwatch = Stopwatch()
    tiled = glpn_cli.load("tiny", tiles="96x128").predict(photo, stopwatch=stopwatch).meters
    assert "tiles" in stopwatch.elapsed_s
    assert 0.8 < np.median(tiled / whole) < 1.25

    def steepness(meters: np.ndarray) -> float:
        return float(np.abs(np.diff(np.log(meters), axis=1)).mean())

    assert steepness(tiled) > 1.2 * steepness(whole)


def test_tiles_in_a_group_equal_predict() -> None:
    predictor = make_predictor(WeightsCard("x", 10.0, working_size=(64, 64)), tiles="64x64")
    random = np.random.default_rng(0)
    prepared = [predictor.prepare(random.integers(0, 256, (100, 96, 3), np.uint8)) for _ in range(2)]
    for one, image in zip(predictor.run(prepared), prepared, strict=True):
        assert image.rgb is not None
        np.testing.assert_array_equal(predictor.finish(image, one).meters, predictor.predict(image.rgb).meters)


def test_images_with_tiles_get_no_note_on_size() -> None:
    card = WeightsCard("x", 10.0, working_size=(64, 64))
    assert not make_predictor(card, tiles="auto").predict(np.zeros((160, 160, 3), np.uint8)).provenance.notes


def mirror(photo: Path) -> np.ndarray:
    with Image.open(photo) as image:
        return np.asarray(image.convert("RGB"))[:, ::-1]


def test_flip_averages_and_estimates_uncertainty(photo: Path) -> None:
    network = make_network(max_depth=10)
    network.head.head[2].weight.data *= 300
    card = WeightsCard("x", depth_limit_m=10.0)
    image = np.ascontiguousarray(mirror(photo)[8:392, 12:588])
    weights = LoadedWeights(network, card, lambda: "0")
    plain = Predictor(weights, choose_runtime("cpu"), settings(input_size="384x576"))
    both = Predictor(weights, choose_runtime("cpu"), settings(input_size="384x576", tta="flip"))
    straight = plain.predict(image).meters
    turned = plain.predict(np.ascontiguousarray(image[:, ::-1])).meters[:, ::-1]
    assert np.abs(straight - turned).max() > 0.05
    depth = both.predict(image)
    np.testing.assert_allclose(depth.meters, (straight + turned) / 2, atol=1e-4)
    assert depth.uncertainty_m is not None
    np.testing.assert_allclose(depth.uncertainty_m, np.abs(straight - turned) / 2, atol=1e-4)
    assert depth.provenance.tta == "flip"
    assert plain.predict(image).uncertainty_m is None
    assert plain.predict(image).provenance.tta is None


def test_flip_makes_mirrored_images_symmetric(photo: Path) -> None:
    flipping = glpn_cli.load("tiny", tta="flip")
    np.testing.assert_allclose(
        flipping.predict(np.ascontiguousarray(mirror(photo))).meters, flipping.predict(photo).meters[:, ::-1], atol=2e-3
    )


def test_tiles_are_flipped_too(photo: Path) -> None:
    with Image.open(photo) as image:
        given = np.asarray(image.convert("RGB").resize((640, 480)))  # tiles of 288 are symmetric in it
    turned = np.ascontiguousarray(given[:, ::-1])

    def apart(tta: str) -> float:
        predictor = glpn_cli.load("tiny", tiles="288x288", tta=tta)
        depth, other = predictor.predict(given), predictor.predict(turned)
        assert depth.provenance.tile_size == (288, 288)
        assert (depth.uncertainty_m is None) == (tta == "none")
        return float(np.abs(depth.meters - other.meters[:, ::-1]).max())

    assert apart("flip") < 0.01
    assert apart("none") > 0.1


def test_grouped_images_are_flipped_one_by_one(photo: Path) -> None:
    flipping = glpn_cli.load("tiny", tta="flip")
    prepared = [flipping.prepare(photo), flipping.prepare(np.ascontiguousarray(mirror(photo)))]
    assert [tuple(answer.shape) for answer in flipping.run(prepared)] == [(2, *WORKING_SIZE)] * 2


def test_sharp_edges_follow_the_setting_then_the_card() -> None:
    for on in (False, True):
        weights = LoadedWeights(make_network(), WeightsCard("x", 10.0, sharp_edges=on), lambda: "0")
        assert Predictor(weights, choose_runtime("cpu")).sharp_edges is on
        assert Predictor(weights, choose_runtime("cpu"), settings(sharp_edges=not on)).sharp_edges is not on


@pytest.mark.parametrize("options", [{}, {"tta": "flip"}, {"tiles": "96x128"}, {"tiles": "96x128", "tta": "flip"}])
def test_sharp_edges_are_metric_and_recorded(photo: Path, options: dict[str, Any]) -> None:
    with Image.open(photo) as image:
        small = np.asarray(image.convert("RGB").resize((300, 200)))  # has few tiles
    plain = glpn_cli.load("tiny", sharp_edges=False, **options).predict(small)
    sharp = glpn_cli.load("tiny", sharp_edges=True, **options).predict(small)
    assert (plain.provenance.sharp_edges, sharp.provenance.sharp_edges) == (False, True)
    assert "sharp_edges" not in plain.provenance.to_dict()
    assert sharp.rgb is None
    assert np.median(sharp.meters) == pytest.approx(np.median(plain.meters), rel=0.02)
    assert plain.meters.min() * 0.95 <= sharp.meters.min()
    assert sharp.meters.max() <= plain.meters.max() * 1.05
    assert 0.005 < np.mean(np.abs(sharp.meters / plain.meters - 1)) < 0.1
    if plain.uncertainty_m is not None:
        np.testing.assert_array_equal(sharp.uncertainty_m, plain.uncertainty_m)


def test_sharp_edges_of_grouped_images_use_their_own_image(photo: Path) -> None:
    predictor = glpn_cli.load("tiny", sharp_edges=True)
    given = [photo, np.ascontiguousarray(mirror(photo))]
    prepared = [predictor.prepare(image) for image in given]
    for image, one, predicted in zip(given, prepared, predictor.run(prepared), strict=True):
        np.testing.assert_array_equal(predictor.finish(one, predicted).meters, predictor.predict(image).meters)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (33, 2)])
def test_sharp_edges_of_tiny_images(size: tuple[int, int]) -> None:
    depth = glpn_cli.load("tiny", sharp_edges=True).predict(np.full((*size, 3), 90, np.uint8))
    assert depth.meters.shape == size
    assert np.isfinite(depth.meters).all()


def test_camera_from_settings_then_exif_then_assumption(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side: stored 60 wide and 40 high, upright 40 wide
    exif.get_ifd(0x8769)[0xA405] = 50
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (60, 40)).save(tmp_path / "b.jpg")
    tiny = glpn_cli.load("tiny")
    turned = tiny.predict(tmp_path / "a.jpg")
    assert turned.meters.shape == (60, 40)
    assert turned.camera is not None
    assert turned.camera.focal_px == pytest.approx(60 * 50 / 36)
    assumed = tiny.predict(tmp_path / "b.jpg").camera
    assert assumed is not None
    assert assumed.is_assumed
    given = glpn_cli.load("tiny", fov_deg=90).predict(tmp_path / "a.jpg").camera
    assert given is not None
    assert given.focal_px == pytest.approx(20)


@pytest.mark.parametrize(
    ("config", "input_size", "expected"),
    [
        ({}, None, (96, 128)),
        ({"sr_ratios": [8] * 4}, None, (256, 256)),
        ({"sr_ratios": [8] * 4}, "288x64", (288, 256)),
        ({"strides": [8, 2, 2, 2], "patch_sizes": [9, 3, 3, 3], "sr_ratios": [1] * 4}, None, (128, 128)),
    ],
    ids=str,
)
def test_unusual_architectures_see_a_size_that_they_take(
    config: dict[str, Any], input_size: str | None, expected: tuple[int, int]
) -> None:
    card = WeightsCard("mine", depth_limit_m=10.0)
    predictor = make_predictor(card, input_size, make_network(**config))
    depth = predictor.predict(np.full((127, 129, 3), 90, np.uint8))
    assert depth.meters.shape == (127, 129)
    assert depth.provenance.network_size == expected
    assert any("architecture" in note for note in depth.provenance.notes) == bool(config)


def test_tiles_of_unusual_architectures_have_a_size_that_they_take() -> None:
    card = WeightsCard("mine", depth_limit_m=10.0, working_size=(32, 32))
    predictor = make_predictor(card, None, make_network(sr_ratios=[8] * 4), tiles="64x64")
    prepared = predictor.prepare(np.zeros((100, 90, 3), np.uint8))
    assert prepared.grid is not None
    assert prepared.grid.network_size == (256, 256)
    assert predictor.predict(np.zeros((100, 90, 3), np.uint8)).meters.shape == (100, 90)


# Several images


def noise(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]


def test_a_list_gives_a_list_in_its_order(make_image: Callable[..., Path]) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    images: list[Any] = [*noise(3), make_image("a.png"), str(make_image("b.png", 40, 90)), *noise(2, (33, 50))]
    images.append(io.BytesIO(Path(images[3]).read_bytes()))
    expected = [predictor.predict(image) for image in images]
    images[-1].seek(0)
    depths = predictor.predict(images)
    assert isinstance(depths, list)
    for depth, alone in zip(depths, expected, strict=True):
        np.testing.assert_array_equal(depth.meters, alone.meters)
        assert depth.provenance == alone.provenance
    assert depths[3].provenance.source == "a.png"
    assert depths[0].provenance.source is None
    assert predictor.predict([]) == []
    assert len(predictor.predict(tuple(images[:2]))) == 2


def test_an_iterator_gives_an_iterator_that_reads_only_a_few_ahead() -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    (image,) = noise(1)
    given = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal given
        while True:
            given += 1
            yield image

    depths = predictor.predict(endless())
    assert given == 0
    np.testing.assert_array_equal(next(depths).meters, predictor.predict(image).meters)
    assert given < 20
    depths.close()  # type: ignore[attr-defined]


def test_an_iterator_may_reuse_its_array_and_close_its_files(photo: Path) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    images = noise(6)

    def frames() -> Iterator[Any]:
        frame = np.empty_like(images[0])
        for image in images:
            frame[...] = image
            yield frame
        with photo.open("rb") as file:
            yield file
        with Image.open(photo) as image:
            yield image

    depths = list(predictor.predict(frames()))
    for depth, image in zip(depths, [*images, photo, photo], strict=True):
        np.testing.assert_array_equal(depth.meters, predictor.predict(image).meters)


def test_a_failed_image_raises_at_its_turn(make_image: Callable[..., Path]) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    broken = make_image("broken.jpg")
    broken.write_bytes(b"no image")
    images = [*noise(2), broken, *noise(1)]
    depths = predictor.predict(iter(images))
    next(depths)
    next(depths)
    with pytest.raises(ImageError, match=r"broken\.jpg") as caught:
        next(depths)
    assert "image 3" in caught.value.__notes__[-1]
    assert list(depths) == []
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        predictor.predict(images)


def test_errors_may_take_the_place_of_depth(make_image: Callable[..., Path]) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    images: list[Any] = [b"no image", *noise(1), None, io.BytesIO(), np.zeros((4, 4, 9), np.uint8), *noise(1)]
    for results in (
        predictor.predict(images, return_exceptions=True),
        list(predictor.predict(iter(images), return_exceptions=True)),
    ):
        assert [isinstance(result, GLPNError) for result in results] == [True, False, True, True, True, False]
        assert all(str(result).startswith("the image: ") for result in results if isinstance(result, GLPNError))


def test_an_error_of_the_iterator_is_raised_unchanged() -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))

    def interrupted() -> Iterator[np.ndarray]:
        yield from noise(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(predictor.predict(interrupted()))


def test_arguments_for_one_image_are_refused_for_several() -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    with pytest.raises(TypeError, match="name"):
        predictor.predict(noise(2), name="x")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="return_exceptions"):
        predictor.predict(noise(1)[0], return_exceptions=True)  # type: ignore[call-overload]
    for wrong in ({"a": 1}, 7, None):
        with pytest.raises(ImageError, match=type(wrong).__name__):
            predictor.predict(wrong)  # type: ignore[call-overload]


def test_several_images_leave_the_threads_of_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = make_predictor(WeightsCard("x", 10.0))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: pytest.fail("changed"))
    assert len(predictor.predict(noise(8))) == 8


# Threads, tasks and processes


def test_four_threads_get_the_same_bits() -> None:
    tiny = glpn_cli.load("tiny", input_size="native")
    images = [*noise(4), *noise(4, (90, 40))]
    alone = [tiny.predict(image).meters for image in images]
    with ThreadPoolExecutor(4) as pool:
        for depth, expected in zip(pool.map(tiny.predict, images * 3), alone * 3, strict=True):
            np.testing.assert_array_equal(depth.meters, expected)


def test_asynchronous_code_uses_a_thread(tiny: Predictor) -> None:
    images = noise(3)

    async def predict_all() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(tiny.predict, image) for image in images))

    for depth, image in zip(asyncio.run(predict_all()), images, strict=True):
        np.testing.assert_array_equal(depth.meters, tiny.predict(image).meters)


def test_other_processes_get_a_predictor(tiny: Predictor) -> None:
    images = noise(2)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        depths = list(pool.map(tiny.predict, images))
    for depth, image in zip(depths, images, strict=True):
        np.testing.assert_array_equal(depth.meters, tiny.predict(image).meters)


def test_a_pickle_has_the_settings_and_no_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_weights("tiny").network.save_pretrained(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    predictor = glpn_cli.load("mine/", tta="flip", fov_deg=70)
    data = pickle.dumps(predictor)
    assert len(data) < 10_000
    monkeypatch.chdir("/")
    again = pickle.loads(data)  # noqa: S301 - our own
    assert (again.card, again.settings, again.runtime) == (predictor.card, predictor.settings, predictor.runtime)
    (image,) = noise(1)
    np.testing.assert_array_equal(again.predict(image).meters, predictor.predict(image).meters)
    assert repr(copy.deepcopy(predictor)) == repr(predictor)


def test_a_pickle_of_weights_that_changed_is_refused(tmp_path: Path) -> None:
    network = load_weights("tiny").network
    network.save_pretrained(tmp_path / "mine")
    data = pickle.dumps(glpn_cli.load(tmp_path / "mine"))
    make_network().save_pretrained(tmp_path / "mine")
    with pytest.raises(WeightsError, match="mine"):
        pickle.loads(data)  # noqa: S301 - our own


def test_a_network_without_a_file_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="file"):
        pickle.dumps(make_predictor(WeightsCard("x", 10.0)))


def test_representation_shows_what_was_chosen() -> None:
    assert repr(make_predictor(WeightsCard("x", 10.0))) == "Predictor(weights='x', device='cpu', precision='float32')"
    predictor = glpn_cli.load("tiny", tta="flip", fov_deg=70, tiles="64x96", keep_rgb=True)
    assert repr(predictor) == (
        "Predictor(weights='tiny', device='cpu', precision='float32', tiles='64x96', tta='flip', fov_deg=70.0, "
        "keep_rgb=True)"
    )


# Canonical depth

CANONICAL = WeightsCard("c", depth_limit_m=10.0, working_size=(64, 96), metric=False, canonical_depth=True)


def depth_with(card: WeightsCard, tiles: str = "off", **camera: Any) -> np.ndarray[Any, Any]:
    """Return the depth of one image of 120x160, predicted for a camera."""
    weights = LoadedWeights(make_network(), card, sha256=lambda: "0" * 64)
    predictor = Predictor(weights, choose_runtime("cpu"), settings(tiles=tiles, **camera))
    rgb = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    return predictor.predict(rgb).meters


@pytest.mark.parametrize("tiles", ["off", "64x96"])
def test_canonical_depth_is_scaled_by_the_known_focal_length(tiles: str) -> None:
    plain = depth_with(CANONICAL, tiles)
    scaled = depth_with(CANONICAL, tiles, focal_px=0.5 * np.sqrt(120 * 160))
    np.testing.assert_allclose(scaled, plain * 0.5, rtol=1e-5)
    long = depth_with(CANONICAL, tiles, focal_px=1e6)
    assert long.max() == pytest.approx(10.0)  # the limit


def test_an_assumed_camera_does_not_scale_canonical_depth() -> None:
    other = WeightsCard("c", depth_limit_m=10.0, working_size=(64, 96), metric=False)
    np.testing.assert_array_equal(depth_with(CANONICAL), depth_with(other))


def test_other_weights_ignore_the_focal_length() -> None:
    other = WeightsCard("c", depth_limit_m=10.0, working_size=(64, 96), metric=False)
    np.testing.assert_array_equal(depth_with(other), depth_with(other, fov_deg=90))

"""The engine says what the readable network says: in every architecture, size, precision and form of operations."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import glpn_cli.weights
from glpn_cli.device import Runtime, choose_runtime
from glpn_cli.image.processor import to_pixel_values
from glpn_cli.image.reading import read_image
from glpn_cli.inference.engine import engine as engine_module
from glpn_cli.inference.engine.engine import Engine, GraphCache, packed_operations_work
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

EXACT = 1e-5  # of the range of depth
HALF = 5e-3  # mean relative error of trained weights in half precision; of several photos, one alone may have more
ROOT = Path(__file__).parents[3]

# One row or column of patches, squares, very wide, very tall, and sides that are rounded up to multiples of 32.
SIZES = [(32, 32), (32, 224), (224, 32), (64, 96), (96, 64), (29, 61), (93, 62), (125, 190)]


def cpu(precision: str = "float32") -> Runtime:
    return choose_runtime("cpu", precision)


def with_activation(
    network: GLPNForDepthEstimation, activation: str | Callable[[Tensor], Tensor]
) -> GLPNForDepthEstimation:
    """Give a network with the same weights and another activation."""
    changed = GLPNForDepthEstimation(GLPNConfig(**network.config.to_dict() | {"hidden_act": activation}))
    changed.load_state_dict(network.state_dict(), strict=False)  # an activation may have weights of its own
    return changed.eval()


@torch.no_grad()
def error(engine: Engine, network: GLPNForDepthEstimation, images: Tensor) -> float:
    """Give the largest difference as a share of the range of depth."""
    wanted = network(images).predicted_depth
    found = engine(images)
    assert found.shape == wanted.shape
    assert found.dtype == torch.float32
    return ((found - wanted).abs().max() / network.config.max_depth).item()


@torch.no_grad()
def mean_relative_error(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).abs() / wanted).mean().item()


@pytest.fixture
def tiny(build_pair: Callable[..., Any]) -> GLPNForDepthEstimation:
    network: GLPNForDepthEstimation = build_pair("tiny").ours
    return network


@pytest.fixture(scope="module")
def trained() -> GLPNForDepthEstimation:
    """The only trained weights that are always here."""
    return GLPNForDepthEstimation.from_pretrained(Path(glpn_cli.weights.__file__).with_name("glpn-tiny.safetensors"))


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    """Real photos from five cameras."""
    paths = [ROOT / "examples" / "coffee.png", *sorted((ROOT / "tests" / "data" / "pairs").rglob("*.jpg"))]
    return [read_image(path).rgb for path in paths]


def images_of(photos: list[NDArray[np.uint8]], size: tuple[int, int]) -> Tensor:
    return torch.cat([to_pixel_values(photo, size) for photo in photos])


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("architecture", ["tiny", "default"])
def test_the_engine_is_the_network_at_every_size(
    architecture: str,
    size: tuple[int, int],
    packed: bool,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
) -> None:
    network = build_pair(architecture).ours
    assert error(Engine(network, cpu(), packed=packed), network, draw_images(2, *size)) <= EXACT


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
def test_the_engine_is_the_published_network(
    packed: bool, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = build_pair("published").ours
    engine = Engine(network, cpu(), packed=packed)
    for size in [(64, 96), (160, 32)]:
        assert error(engine, network, draw_images(1, *size)) <= EXACT


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("strip_bytes", [1, 5_000, 40_000, 2**40], ids=["rows", "small", "large", "whole"])
@pytest.mark.parametrize("size", [(32, 64), (96, 125), (160, 64)], ids=str)
def test_strips_of_any_height_change_nothing(
    size: tuple[int, int],
    strip_bytes: int,
    packed: bool,
    tiny: GLPNForDepthEstimation,
    draw_images: Callable[..., Tensor],
) -> None:
    engine = Engine(tiny, cpu(), packed=packed, strip_bytes=strip_bytes)
    assert error(engine, tiny, draw_images(1, *size)) <= EXACT


@pytest.mark.parametrize("strip_bytes", [1, 40_000, 2**40])
def test_a_batch_that_runs_as_one_is_the_network_too(
    strip_bytes: int, tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    engine = Engine(tiny, cpu(), packed=False, strip_bytes=strip_bytes)
    images = draw_images(3, 96, 64)
    with torch.inference_mode():
        found, wanted = engine._forward(images), tiny(images).predicted_depth
    assert ((found - wanted).abs().max() / tiny.config.max_depth).item() <= EXACT


def test_on_a_cpu_a_image_has_the_same_bits_in_any_company(
    tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    engine, images = Engine(tiny, cpu()), draw_images(3, 64, 64)
    assert torch.equal(engine(images)[1:2], engine(images[1:2]))


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("activation", ["gelu", "relu", "selu", "gelu_new"])
def test_every_activation_is_the_network_s(
    activation: str, packed: bool, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = with_activation(build_pair("tiny").ours, activation)
    assert error(Engine(network, cpu(), packed=packed), network, draw_images(1, 64, 96)) <= EXACT


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
def test_a_function_that_looks_at_the_whole_map_is_an_activation_too(
    packed: bool, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    def against_the_mean(x: Tensor) -> Tensor:
        return torch.tanh(x - x.mean(dim=(1, 2), keepdim=True))

    network = with_activation(build_pair("tiny").ours, against_the_mean)
    assert error(Engine(network, cpu(), packed=packed, strip_bytes=1), network, draw_images(1, 64, 96)) <= EXACT


def test_an_activation_with_weights_survives_that_the_network_is_consumed(
    build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = with_activation(build_pair("tiny").ours, nn.PReLU(init=0.3))
    images = draw_images(1, 64, 64)
    with torch.no_grad():
        wanted = network(images).predicted_depth
    found = Engine(network, cpu(), consume=True)(images)
    assert ((found - wanted).abs().max() / network.config.max_depth).item() <= EXACT


@pytest.mark.parametrize("index", range(-4, 4))
def test_every_output_of_the_decoder_can_become_depth(
    index: int, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = build_pair("tiny", head_in_index=index).ours
    engine = Engine(network, cpu())
    for size in [(32, 32), (64, 160)]:
        assert error(engine, network, draw_images(2, *size)) <= EXACT


def test_the_range_and_the_output_may_change_after_building(
    tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    engine = Engine(tiny, cpu())
    tiny.config.max_depth, tiny.config.head_in_index = 3.5, 1
    assert error(engine, tiny, draw_images(1, 64, 64)) <= EXACT


@pytest.mark.parametrize(
    "changes",
    [
        {"sr_ratios": [1, 1, 1, 1]},
        {"sr_ratios": [3, 5, 2, 2]},  # sides that leave remainders
        {"patch_sizes": [7, 5, 3, 3], "strides": [2, 2, 2, 2]},
        {"num_channels": 5},
        {"decoder_hidden_size": 24},  # another stage needs no convolution
        {"decoder_hidden_size": 7},
        {"mlp_ratios": [1, 2, 1, 3]},
    ],
    ids=str,
)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
def test_the_engine_follows_any_configuration(
    changes: dict[str, Any], packed: bool, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = build_pair("tiny", **changes).ours
    images = draw_images(1, 96, 160, channels=network.config.num_channels)
    assert error(Engine(network, cpu(), packed=packed), network, images) <= EXACT


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_engine_follows_any_number_of_stages(
    stages: int, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    names = ("depths", "sr_ratios", "hidden_sizes", "patch_sizes", "strides", "num_attention_heads", "mlp_ratios")
    config = build_pair("tiny").ours.config
    fewer = {name: getattr(config, name)[:stages] for name in names}
    network = build_pair("tiny", num_encoder_blocks=stages, **fewer).ours
    assert error(Engine(network, cpu()), network, draw_images(1, 64, 96)) <= EXACT


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_with_trained_weights(
    precision: str, packed: bool, trained: GLPNForDepthEstimation, photos: list[NDArray[np.uint8]]
) -> None:
    pixel_values = images_of(photos, (96, 128))
    runtime = Runtime(torch.device("cpu"), Precision(precision))
    if packed and not packed_operations_work(runtime.dtype):
        pytest.skip(f"no packed operations in {precision} on this CPU")
    found = Engine(trained, runtime, packed=packed)(pixel_values)
    with torch.no_grad():
        assert mean_relative_error(found, trained(pixel_values).predicted_depth) <= HALF


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("strip_bytes", [1, 40_000, 2**40], ids=["rows", "large", "whole"])
@pytest.mark.parametrize("size", [(32, 224), (192, 64), (96, 320)], ids=str)
def test_half_precision_is_near_at_every_shape_and_strip_height(
    size: tuple[int, int],
    strip_bytes: int,
    packed: bool,
    trained: GLPNForDepthEstimation,
    photos: list[NDArray[np.uint8]],
) -> None:
    pixel_values = images_of(photos, size)
    runtime = Runtime(torch.device("cpu"), Precision.BFLOAT16)
    if packed and not packed_operations_work(runtime.dtype):
        pytest.skip("no packed operations in bfloat16 on this CPU")
    found = Engine(trained, runtime, packed=packed, strip_bytes=strip_bytes)(pixel_values)
    with torch.no_grad():
        error = mean_relative_error(found, trained(pixel_values).predicted_depth)
    assert error <= 2 * HALF  # of squeezed photos, which no network has learnt


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
@pytest.mark.parametrize(
    ("precision", "most"), [("float32", 1e-5), ("tf32", 5e-3), ("bfloat16", HALF), ("float16", HALF)]
)
def test_a_gpu_gives_what_the_network_gives_as_it_is_and_recorded(
    precision: str, most: float, trained: GLPNForDepthEstimation, photos: list[NDArray[np.uint8]]
) -> None:
    runtime = choose_runtime("cuda", precision)
    engine = Engine(trained, runtime)
    for size in [(96, 128), (32, 224), (96, 128)]:
        pixel_values = images_of(photos, size)
        with torch.no_grad():
            wanted = trained(pixel_values).predicted_depth
        for _ in range(3):  # as it is, recorded, replayed
            with runtime.products():
                found = engine(pixel_values).cpu()
            assert mean_relative_error(found, wanted) <= most
    assert isinstance(engine._forward_or_graph, GraphCache)
    assert all(found is not None and found[0] != engine._forward for found in engine._forward_or_graph._passes.values())


def test_bfloat16_is_nearer_than_the_network_in_bfloat16(
    build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network, images = build_pair("default").ours, draw_images(2, 224, 224)
    found = Engine(network, cpu("bfloat16"))(images)
    with torch.no_grad():
        wanted = network(images).predicted_depth
        plain = copy.deepcopy(network).bfloat16()(images.bfloat16()).predicted_depth.float()
    assert mean_relative_error(found, wanted) < mean_relative_error(plain, wanted)


def test_the_network_is_left_as_it_is(tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]) -> None:
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    Engine(tiny, cpu(), strip_bytes=1)(draw_images(1, 64, 64))
    assert all(torch.equal(before[key], value) for key, value in tiny.state_dict().items())


def test_the_engine_holds_weights_of_its_own(tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]) -> None:
    images = draw_images(1, 64, 64)
    for packed in (True, False):
        engine = Engine(tiny, cpu(), packed=packed)
        before = engine(images)
        kept = copy.deepcopy(tiny.state_dict())
        with torch.no_grad():
            for parameter in tiny.parameters():
                parameter.zero_()
        assert torch.equal(engine(images), before)
        tiny.load_state_dict(kept)


def test_a_consumed_network_has_no_tensors_left(
    tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    images = draw_images(1, 64, 64)
    with torch.no_grad():
        wanted = tiny(images).predicted_depth
    engine = Engine(tiny, cpu(), consume=True)
    assert {tensor.device.type for tensor in tiny.state_dict().values()} == {"meta"}
    assert ((engine(images) - wanted).abs().max() / tiny.config.max_depth).item() <= EXACT


def test_building_draws_no_random_numbers(tiny: GLPNForDepthEstimation) -> None:
    before = torch.get_rng_state()
    Engine(tiny, cpu())
    assert torch.equal(torch.get_rng_state(), before)


def test_training_mode_makes_no_difference(build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]) -> None:
    rates = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5, "drop_path_rate": 0.5}
    network, images = build_pair("tiny", **rates).ours, draw_images(1, 64, 64)
    calm = Engine(network, cpu())(images)
    assert torch.equal(Engine(network.train(), cpu())(images), calm)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [((1, 3, 40, 64), "double back"), ((1, 4, 64, 64), "must be"), ((3, 64, 64), "must be"), ((1, 3, 16, 16), "small")],
    ids=str,
)
def test_what_the_network_refuses_the_engine_refuses(
    shape: tuple[int, ...], problem: str, tiny: GLPNForDepthEstimation
) -> None:
    engine = Engine(tiny, cpu())
    with pytest.raises(ValueError, match=problem):
        engine(torch.zeros(shape))


def test_packed_operations_are_used_on_a_cpu_that_has_them(
    tiny: GLPNForDepthEstimation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there in (True, False):
        monkeypatch.setattr(engine_module, "packed_operations_work", lambda _dtype, there=there: there)
        assert Engine(tiny, cpu()).target.packed is there


def test_graphs_are_for_cuda_only(tiny: GLPNForDepthEstimation) -> None:
    assert not isinstance(Engine(tiny, cpu())._forward_or_graph, GraphCache)

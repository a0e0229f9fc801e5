"""The engine matches the readable network: for every architecture, size, precision and form of the operations."""

from __future__ import annotations

import copy
import functools
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import glpn_cli.weights
from glpn_cli.device import Runtime, choose_runtime
from glpn_cli.errors import DeviceError, MissingPackageError
from glpn_cli.image.preprocessing import to_pixel_values
from glpn_cli.image.reading import read_image
from glpn_cli.inference.engine import engine as engine_module
from glpn_cli.inference.engine.engine import Engine, GraphCache, packed_operations_work
from glpn_cli.inference.openvino.engine import OpenvinoEngine
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.values import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

EXACT = 1e-5  # largest difference as a fraction of the depth range
HALF = 5e-3  # mean relative error of trained weights in half precision, over several photos
ROOT = Path(__file__).parents[3]

# One row or column of patches, square, very wide, very tall, and sides that are rounded up to multiples of 32.
SIZES = [(32, 32), (32, 224), (224, 32), (64, 96), (96, 64), (29, 61), (93, 62), (125, 190)]


FORMS = ["packed", "public", "openvino"]
each_form = pytest.mark.parametrize("form", FORMS)


def build(form: str, network: GLPNForDepthEstimation, runtime: Runtime | None = None) -> Callable[[Tensor], Tensor]:
    """Return an engine: torch's with packed or public operations, or that of OpenVINO."""
    runtime = runtime or cpu()
    if form == "openvino":
        try:
            return OpenvinoEngine(network, runtime)
        except (DeviceError, MissingPackageError) as error:
            pytest.skip(str(error))
    if form == "packed" and not packed_operations_work(runtime.dtype):
        pytest.skip(f"no packed operations in {runtime.precision} on this machine")
    return Engine(network, runtime, packed=form == "packed")


def cpu(precision: str = "float32") -> Runtime:
    return choose_runtime("cpu", precision)


def with_activation(
    network: GLPNForDepthEstimation, activation: str | Callable[[Tensor], Tensor]
) -> GLPNForDepthEstimation:
    """Return a network with the same weights and another activation."""
    changed = GLPNForDepthEstimation(GLPNConfig(**network.config.to_dict() | {"hidden_act": activation}))
    changed.load_state_dict(network.state_dict(), strict=False)  # an activation may have weights, too
    return changed.eval()


@torch.no_grad()
def error(engine: Callable[[Tensor], Tensor], network: GLPNForDepthEstimation, images: Tensor) -> float:
    """Return the largest difference as a fraction of the depth range."""
    expected = network(images).predicted_depth
    found = engine(images)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    return ((found - expected).abs().max() / network.config.max_depth).item()


@torch.no_grad()
def mean_relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs() / expected).mean().item()


@pytest.fixture
def tiny(build_pair: Callable[..., Any]) -> GLPNForDepthEstimation:
    network: GLPNForDepthEstimation = build_pair("tiny").ours
    return network


@pytest.fixture(scope="module")
def trained() -> GLPNForDepthEstimation:
    """The bundled weights: the only trained weights that are always available."""
    return GLPNForDepthEstimation.from_pretrained(Path(glpn_cli.weights.__file__).with_name("glpn-tiny.safetensors"))


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    """Real photos from five cameras."""
    paths = [ROOT / "examples" / "coffee.png", *sorted((ROOT / "tests" / "data" / "pairs").rglob("*.jpg"))]
    return [read_image(path).rgb for path in paths]


def images_of(photos: list[NDArray[np.uint8]], size: tuple[int, int]) -> Tensor:
    return torch.cat([to_pixel_values(photo, size) for photo in photos])


@pytest.fixture(scope="module")
def exact_depth(
    trained: GLPNForDepthEstimation, photos: list[NDArray[np.uint8]]
) -> Callable[[tuple[int, int]], tuple[Tensor, Tensor]]:
    """Return a function that returns some photos at a size, and their depth by the network in float32; cached."""

    @functools.cache
    def predict(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        pixel_values = images_of(photos[::3], size)
        with torch.no_grad():
            return pixel_values, trained(pixel_values).predicted_depth

    return predict


# OpenVINO compiles for every size, so it only gets all of them with the tiny architecture.
EVERY_SIZE = [
    (architecture, size, form)
    for architecture in ("tiny", "default")
    for form in FORMS
    for size in (SIZES if (architecture, form) != ("default", "openvino") else SIZES[-1:])
]


@pytest.mark.parametrize(("architecture", "size", "form"), EVERY_SIZE, ids=str)
def test_every_size(
    architecture: str,
    size: tuple[int, int],
    form: str,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
) -> None:
    network = build_pair(architecture).ours
    assert error(build(form, network), network, draw_images(2, *size)) <= EXACT


@each_form
def test_published_architecture(form: str, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]) -> None:
    network = build_pair("published").ours
    engine = build(form, network)
    for size in [(64, 96), (160, 32)][: 1 if form == "openvino" else 2]:
        assert error(engine, network, draw_images(1, *size)) <= EXACT


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("strip_bytes", [1, 5_000, 40_000, 2**40], ids=["rows", "small", "large", "whole"])
@pytest.mark.parametrize("size", [(32, 64), (96, 125), (160, 64)], ids=str)
def test_strip_height_does_not_change_depth(
    size: tuple[int, int],
    strip_bytes: int,
    packed: bool,
    tiny: GLPNForDepthEstimation,
    draw_images: Callable[..., Tensor],
) -> None:
    engine = Engine(tiny, cpu(), packed=packed, strip_bytes=strip_bytes)
    assert error(engine, tiny, draw_images(1, *size)) <= EXACT


@pytest.mark.parametrize("strip_bytes", [1, 40_000, 2**40])
def test_batch_in_one_pass(strip_bytes: int, tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]) -> None:
    engine = Engine(tiny, cpu(), packed=False, strip_bytes=strip_bytes)
    images = draw_images(3, 96, 64)
    with torch.inference_mode():
        found, expected = engine._forward(images), tiny(images).predicted_depth
    assert ((found - expected).abs().max() / tiny.config.max_depth).item() <= EXACT


@each_form
def test_image_is_bit_exact_in_any_cpu_batch(
    form: str, tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    engine, images = build(form, tiny), draw_images(3, 64, 64)
    assert torch.equal(engine(images)[1:2], engine(images[1:2]))


@each_form
@pytest.mark.parametrize("activation", ["gelu", "relu", "selu", "gelu_new", "quick_gelu", "hardswish", "linear"])
def test_every_activation(
    activation: str, form: str, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = with_activation(build_pair("tiny").ours, activation)
    assert error(build(form, network), network, draw_images(1, 64, 96)) <= EXACT


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
def test_activation_that_depends_on_whole_map(
    packed: bool, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    def relative_to_mean(x: Tensor) -> Tensor:
        return torch.tanh(x - x.mean(dim=(1, 2), keepdim=True))

    network = with_activation(build_pair("tiny").ours, relative_to_mean)
    assert error(Engine(network, cpu(), packed=packed, strip_bytes=1), network, draw_images(1, 64, 96)) <= EXACT


def test_activation_with_weights_survives_consume(
    build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = with_activation(build_pair("tiny").ours, nn.PReLU(init=0.3))
    images = draw_images(1, 64, 64)
    with torch.no_grad():
        expected = network(images).predicted_depth
    found = Engine(network, cpu(), consume=True)(images)
    assert ((found - expected).abs().max() / network.config.max_depth).item() <= EXACT


def test_activation_with_weights_of_its_own_in_every_layer(
    build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = with_activation(build_pair("tiny").ours, "prelu")
    slopes = [parameter for name, parameter in network.named_parameters() if "intermediate_act_fn" in name]
    assert len(slopes) == 5
    with torch.no_grad():
        for index, slope in enumerate(slopes):
            slope.fill_(0.2 * index)
        images = draw_images(1, 64, 64)
        expected = network(images).predicted_depth
    found = Engine(network, cpu(), consume=True)(images)
    assert ((found - expected).abs().max() / network.config.max_depth).item() <= EXACT


@pytest.mark.parametrize("form", ["packed", "openvino"])
@pytest.mark.parametrize("index", range(-4, 4))
def test_every_head_index(
    index: int, form: str, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = build_pair("tiny", head_in_index=index).ours
    engine = build(form, network)
    for size in [(32, 32), (64, 160)]:
        assert error(engine, network, draw_images(2, *size)) <= EXACT


def test_max_depth_and_head_index_may_change_later(
    tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    engine = Engine(tiny, cpu())
    tiny.config.max_depth, tiny.config.head_in_index = 3.5, 1
    assert error(engine, tiny, draw_images(1, 64, 64)) <= EXACT


@pytest.mark.parametrize(
    "changes",
    [
        {"sr_ratios": [1, 1, 1, 1]},
        {"sr_ratios": [3, 5, 2, 2]},  # sides that are not multiples of the ratio
        {"patch_sizes": [7, 5, 3, 3], "strides": [2, 2, 2, 2]},
        {"num_channels": 5},
        {"decoder_hidden_size": 24},  # another stage has no projection
        {"decoder_hidden_size": 7},
        {"mlp_ratios": [1, 2, 1, 3]},
    ],
    ids=str,
)
@each_form
def test_unusual_configurations(
    changes: dict[str, Any], form: str, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network = build_pair("tiny", **changes).ours
    images = draw_images(1, 96, 160, channels=network.config.num_channels)
    assert error(build(form, network), network, images) <= EXACT


@pytest.mark.parametrize("form", ["packed", "openvino"])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_fewer_stages(
    stages: int, form: str, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    names = ("depths", "sr_ratios", "hidden_sizes", "patch_sizes", "strides", "num_attention_heads", "mlp_ratios")
    config = build_pair("tiny").ours.config
    fewer = {name: getattr(config, name)[:stages] for name in names}
    network = build_pair("tiny", num_encoder_blocks=stages, **fewer).ours
    assert error(build(form, network), network, draw_images(1, 64, 96)) <= EXACT


@each_form
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_with_trained_weights(
    precision: str, form: str, trained: GLPNForDepthEstimation, photos: list[NDArray[np.uint8]]
) -> None:
    pixel_values = images_of(photos, (96, 128))
    runtime = Runtime(torch.device("cpu"), Precision(precision))
    found = build(form, trained, runtime)(pixel_values)
    with torch.no_grad():
        assert mean_relative_error(found, trained(pixel_values).predicted_depth) <= HALF


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("strip_bytes", [1, 40_000, 2**40], ids=["rows", "large", "whole"])
@pytest.mark.parametrize("size", [(32, 224), (192, 64), (96, 320)], ids=str)
def test_half_precision_at_every_shape_and_strip_height(
    size: tuple[int, int],
    strip_bytes: int,
    packed: bool,
    trained: GLPNForDepthEstimation,
    exact_depth: Callable[[tuple[int, int]], tuple[Tensor, Tensor]],
) -> None:
    pixel_values, expected = exact_depth(size)
    runtime = Runtime(torch.device("cpu"), Precision.BFLOAT16)
    if packed and not packed_operations_work(runtime.dtype):
        pytest.skip("no packed operations in bfloat16 on this machine")
    found = Engine(trained, runtime, packed=packed, strip_bytes=strip_bytes)(pixel_values)
    assert mean_relative_error(found, expected) <= 2 * HALF  # distorted photos are unlike the training images


@pytest.mark.parametrize("size", [(32, 224), (192, 64), (96, 320)], ids=str)
def test_half_precision_at_every_shape_by_openvino(
    size: tuple[int, int],
    trained: GLPNForDepthEstimation,
    exact_depth: Callable[[tuple[int, int]], tuple[Tensor, Tensor]],
) -> None:
    pixel_values, expected = exact_depth(size)
    found = build("openvino", trained, Runtime(torch.device("cpu"), Precision.BFLOAT16))(pixel_values)
    assert mean_relative_error(found, expected) <= 2 * HALF


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("precision", "most"), [("float32", 1e-5), ("tf32", 5e-3), ("bfloat16", HALF), ("float16", HALF)]
)
def test_gpu_with_and_without_graphs(
    precision: str, most: float, trained: GLPNForDepthEstimation, photos: list[NDArray[np.uint8]]
) -> None:
    runtime = choose_runtime("cuda", precision)
    engine = Engine(trained, runtime)
    for size in [(96, 128), (32, 224), (96, 128)]:
        pixel_values = images_of(photos, size)
        with torch.no_grad():
            expected = trained(pixel_values).predicted_depth
        for _ in range(3):  # without a graph, recorded, replayed
            with runtime.products():
                found = engine(pixel_values).cpu()
            assert mean_relative_error(found, expected) <= most
    assert engine.graphs is not None
    assert engine.graphs.recorded_shapes == engine.graphs.shapes != []


def test_bfloat16_is_more_accurate_than_network_in_bfloat16(
    build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    network, images = build_pair("default").ours, draw_images(2, 224, 224)
    found = Engine(network, cpu("bfloat16"))(images)
    with torch.no_grad():
        expected = network(images).predicted_depth
        plain = copy.deepcopy(network).bfloat16()(images.bfloat16()).predicted_depth.float()
    assert mean_relative_error(found, expected) < mean_relative_error(plain, expected)


def test_network_is_not_changed(tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]) -> None:
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    Engine(tiny, cpu(), strip_bytes=1)(draw_images(1, 64, 64))
    assert all(torch.equal(before[key], value) for key, value in tiny.state_dict().items())


def test_engine_copies_weights(tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]) -> None:
    images = draw_images(1, 64, 64)
    for packed in (True, False):
        engine = Engine(tiny, cpu(), packed=packed)
        before = engine(images)
        saved = copy.deepcopy(tiny.state_dict())
        with torch.no_grad():
            for parameter in tiny.parameters():
                parameter.zero_()
        assert torch.equal(engine(images), before)
        tiny.load_state_dict(saved)


def test_consumed_network_has_no_tensors(tiny: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]) -> None:
    images = draw_images(1, 64, 64)
    with torch.no_grad():
        expected = tiny(images).predicted_depth
    engine = Engine(tiny, cpu(), consume=True)
    assert {tensor.device.type for tensor in tiny.state_dict().values()} == {"meta"}
    assert ((engine(images) - expected).abs().max() / tiny.config.max_depth).item() <= EXACT


def test_building_leaves_random_state_unchanged(tiny: GLPNForDepthEstimation) -> None:
    before = torch.get_rng_state()
    Engine(tiny, cpu())
    assert torch.equal(torch.get_rng_state(), before)


def test_training_mode_has_no_effect(build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]) -> None:
    rates = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5, "drop_path_rate": 0.5}
    network, images = build_pair("tiny", **rates).ours, draw_images(1, 64, 64)
    in_eval_mode = Engine(network, cpu())(images)
    assert torch.equal(Engine(network.train(), cpu())(images), in_eval_mode)


@pytest.mark.parametrize("shape", [(1, 3, 40, 64), (1, 4, 64, 64), (3, 64, 64), (1, 3, 16, 16)], ids=str)
def test_invalid_input_raises_error_of_network(shape: tuple[int, ...], tiny: GLPNForDepthEstimation) -> None:
    with pytest.raises(ValueError, match="pixel_values") as expected:
        tiny(torch.zeros(shape))
    with pytest.raises(ValueError, match="pixel_values") as raised:
        Engine(tiny, cpu())(torch.zeros(shape))
    assert str(raised.value) == str(expected.value)


def test_packed_operations_are_used_if_they_work(tiny: GLPNForDepthEstimation, monkeypatch: pytest.MonkeyPatch) -> None:
    for work in (True, False):
        monkeypatch.setattr(engine_module, "packed_operations_work", lambda _dtype, work=work: work)
        assert Engine(tiny, cpu()).target.packed is work


def test_cpu_has_no_graphs(tiny: GLPNForDepthEstimation) -> None:
    assert Engine(tiny, cpu()).graphs is None


class FakeRecorder:
    """Replaces CUDA: notes which lengths are recorded and how often each is replayed."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def __call__(self, run: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
        self.recorded.append(len(example))

        def replay(x: Tensor) -> Tensor:
            assert len(x) == len(example)
            self.replayed.append(len(x))
            return run(x)

        return replay


def double(x: Tensor) -> Tensor:
    return 2 * x


def test_shape_is_recorded_at_second_use() -> None:
    recorder = FakeRecorder()
    cache = GraphCache(double, recorder)
    for length in (3, 4, 3, 3, 4):
        assert torch.equal(cache(torch.ones(length)), torch.full((length,), 2.0))
    assert recorder.recorded == [3, 4]
    assert recorder.replayed == [3, 3, 4]


def test_least_recently_used_graphs_are_dropped() -> None:
    recorder = FakeRecorder()
    cache = GraphCache(double, recorder)
    for length in (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 9, 10, 1, 2, 3):
        cache(torch.ones(length))
    assert recorder.recorded == [1, 2]  # 3 was dropped when 9 came
    assert recorder.replayed == [1, 2, 1, 2]
    assert len(cache.shapes) == 8
    assert cache.recorded_shapes == [(1,), (2,)]


def test_failed_recording_is_not_repeated() -> None:
    attempts = []

    def fail(_run: object, _example: Tensor) -> Callable[[Tensor], Tensor]:
        attempts.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    cache = GraphCache(double, fail)
    for _ in range(4):
        assert torch.equal(cache(torch.ones(2)), torch.full((2,), 2.0))
    assert len(attempts) == 1
    assert cache.recorded_shapes == []


def test_graph_retains_tensors_that_it_uses() -> None:
    tensors = {0: torch.ones(1)}
    reference = weakref.ref(tensors[0])
    cache = GraphCache(double, FakeRecorder(), retained=lambda: list(tensors.values()))
    for _ in range(2):
        cache(torch.ones(1))
    tensors.clear()
    assert reference() is not None
    for length in range(2, 11):
        cache(torch.ones(length))
    assert reference() is None


def test_out_of_memory_drops_graphs_and_retries() -> None:
    def double_in_little_memory(x: Tensor) -> Tensor:
        if len(x) == 5 and (1,) in cache.recorded_shapes:
            raise torch.OutOfMemoryError
        return 2 * x

    cache = GraphCache(double_in_little_memory, FakeRecorder())
    for length in (1, 1, 5):
        assert torch.equal(cache(torch.ones(length)), torch.full((length,), 2.0))
    assert cache.shapes == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_replayed_graph_returns_copies_of_correct_results() -> None:
    cache = GraphCache(double)
    images = [torch.full((1, 3, 4, 4), float(value), device="cuda") for value in range(4)]
    results = [cache(image) for image in images]
    assert cache.recorded_shapes == [(1, 3, 4, 4)]
    for image, result in zip(images, results, strict=True):
        assert torch.equal(result, 2 * image)

"""Parity with transformers on the same random weights, within the rounding errors of float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.activations import ACT2FN

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 1e-5
SIZES = [(1, 64, 64), (3, 64, 128), (2, 128, 64), (1, 93, 125), (1, 62, 95)]  # accepted without resizing
ARCHITECTURES = ["tiny", "default", "published"]

# A constant that is added to every key cancels in the softmax; one before a BatchNorm cancels in the batch mean.
ZERO_GRADIENTS = ("key.bias",)
ZERO_GRADIENTS_IN_TRAINING = (*ZERO_GRADIENTS, "convolutional_layer1.0.bias", "convolutional_layer2.0.bias")


def _random_labels(config: GLPNConfig, height: int, width: int, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    labels = torch.rand(batch, height, width, generator=generator) * config.max_depth
    return labels * (torch.rand(labels.shape, generator=generator) > 0.3)


def _gradients(model: Any, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model(images, labels=labels).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def _worst(ours: dict[str, Tensor], theirs: dict[str, Tensor], zeros: tuple[str, ...]) -> float:
    """Return the largest relative difference of the gradients; for those in `zeros`, relative to the largest one."""
    assert ours.keys() == theirs.keys()
    sizes = {name: gradient.abs().max().item() for name, gradient in theirs.items()}
    largest = max(sizes.values())
    hidden = [name for name, size in sizes.items() if size < 1e-5 * largest and not name.endswith(zeros)]
    assert not hidden, "the weights of this test hide parts of the network"
    return max(
        (gradient - theirs[name]).abs().max().item() / (largest if name.endswith(zeros) else sizes[name])
        for name, gradient in ours.items()
    )


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_outputs_match_transformers(
    architecture: str,
    shape: tuple[int, int, int],
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    batch, height, width = shape
    pair, images = build_pair(architecture), draw_images(batch, height, width)
    labels = _random_labels(pair.ours.config, -height // 32 * -32, -width // 32 * -32, batch)
    with torch.no_grad():
        theirs = pair.theirs(images, labels, output_attentions=True, output_hidden_states=True)
        explicit = pair.ours(images, labels, output_attentions=True, output_hidden_states=True)
        fused = pair.ours(images, labels, output_attentions=False, output_hidden_states=True)
    used = theirs.predicted_depth.max() - theirs.predicted_depth.min()
    assert used > 0.6 * pair.ours.config.max_depth
    for ours in (explicit, fused):
        assert difference(ours.predicted_depth, theirs.predicted_depth) < BOUND
        assert difference(ours.loss, theirs.loss) < BOUND
        assert difference(ours.hidden_states, theirs.hidden_states) < BOUND
    assert len(explicit.attentions) == sum(pair.ours.config.depths)
    assert difference(explicit.attentions, theirs.attentions) < BOUND
    assert fused.attentions is None


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_match_transformers(
    architecture: str, build_pair: Callable[..., Any], draw_images: Callable[..., Tensor], *, training: bool
) -> None:
    pair, images = build_pair(architecture), draw_images(2, 64, 96)
    labels = _random_labels(pair.ours.config, 64, 96, 2)
    ours = _gradients(pair.ours.train(training), images, labels)
    theirs = _gradients(pair.theirs.train(training), images, labels)
    assert _worst(ours, theirs, ZERO_GRADIENTS_IN_TRAINING if training else ZERO_GRADIENTS) < BOUND


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_mode_matches_transformers_with_batch_statistics(
    architecture: str,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    pair, images = build_pair(architecture), draw_images(3, 64, 96)
    before = {name: buffer.clone() for name, buffer in pair.ours.named_buffers()}
    with torch.no_grad():
        for _ in range(2):
            depth = pair.ours.train()(images).predicted_depth
            expected = pair.theirs.train()(images).predicted_depth
    assert expected.max() - expected.min() > 0.6 * pair.ours.config.max_depth
    assert difference(depth, expected) < BOUND
    moved, theirs = dict(pair.ours.named_buffers()), dict(pair.theirs.named_buffers())
    assert len(moved) == 18
    for name, buffer in moved.items():
        assert not torch.equal(buffer, before[name]), name
        assert difference(buffer, theirs[name]) < BOUND, name


def test_dropout_with_the_same_seed_matches_transformers(
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    rates = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3, "drop_path_rate": 0.5}
    pair, images = build_pair("tiny", **rates), draw_images(4, 64, 96)
    depths = []
    for network in (pair.ours, pair.theirs, pair.ours):
        torch.manual_seed(len(depths) // 2)
        depths.append(network.train()(images).predicted_depth.detach())
    assert difference(depths[0], depths[1]) < BOUND
    assert difference(depths[2], depths[1]) > 0.1


@pytest.mark.parametrize("activation", ["gelu", "relu", "selu", "gelu_new"])
def test_every_activation_matches_transformers(
    activation: str,
    monkeypatch: pytest.MonkeyPatch,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    monkeypatch.setitem(ACT2FN, "selu", torch.nn.SELU)  # documented there, but missing
    pair, images = build_pair("tiny", hidden_act=activation), draw_images(2, 64, 96)
    with torch.no_grad():
        expected = pair.theirs(images).predicted_depth
        assert difference(pair.ours(images).predicted_depth, expected) < BOUND
        others = {"gelu", "relu", "selu", "gelu_new"} - {activation}
        for other in others:
            model = GLPNForDepthEstimation(GLPNConfig.from_dict(pair.ours.config.to_dict() | {"hidden_act": other}))
            model.load_state_dict(pair.ours.state_dict())
            assert difference(model.eval()(images).predicted_depth, expected) > 3 * BOUND


@pytest.mark.parametrize(
    "changes",
    [
        {"num_channels": 1},
        {"num_channels": 4},
        {"patch_sizes": [3, 3, 3, 3], "strides": [2, 2, 2, 2]},
        {"sr_ratios": [1, 1, 1, 1]},
        {"sr_ratios": [3, 5, 3, 2]},  # none divides the sides of its stage, so rows and columns remain
        {"max_depth": 1},
        {"decoder_hidden_size": 7},
    ],
    ids=str,
)
def test_other_architectures_match_transformers(
    changes: dict[str, Any],
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    pair = build_pair("tiny", **changes)
    images = draw_images(2, 128, 160, channels=pair.ours.config.num_channels)
    with torch.no_grad():
        ours = pair.ours(images, output_hidden_states=True)
        theirs = pair.theirs(images, output_hidden_states=True)
    assert difference(ours.hidden_states, theirs.hidden_states) < BOUND
    assert difference(ours.predicted_depth, theirs.predicted_depth) < BOUND


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_other_numbers_of_stages_match_transformers(
    stages: int,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    lists = {
        "depths": [1, 2, 1, 1, 1],
        "sr_ratios": [8, 4, 2, 1, 1],
        "hidden_sizes": [8, 16, 24, 32, 40],
        "patch_sizes": [7, 3, 3, 3, 3],
        "strides": [4, 2, 2, 2, 2],
        "num_attention_heads": [1, 2, 3, 4, 5],
        "mlp_ratios": [2, 4, 3, 2, 2],
    }
    changes = {name: values[:stages] for name, values in lists.items()}
    pair, images = build_pair("tiny", num_encoder_blocks=stages, **changes), draw_images(2, 64, 128)
    with torch.no_grad():
        ours, theirs = pair.ours(images), pair.theirs(images)
    assert ours.predicted_depth.shape == (2, 64, 128)
    assert difference(ours.predicted_depth, theirs.predicted_depth) < BOUND


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_state_dicts_load_strictly_both_ways(architecture: str, build_pair: Callable[..., Any]) -> None:
    pair = build_pair(architecture)
    ours, theirs = pair.ours.state_dict(), pair.theirs.state_dict()
    assert list(ours) == list(theirs)
    assert {name: (x.shape, x.dtype) for name, x in ours.items()} == {n: (x.shape, x.dtype) for n, x in theirs.items()}
    assert len(ours) == {"tiny": 188, "default": 250, "published": 972}[architecture]
    pair.ours.load_state_dict(theirs, strict=True)
    pair.theirs.load_state_dict(ours, strict=True)


def test_encoder_keys_match_transformers(architectures: dict[str, Any]) -> None:
    with torch.device("meta"):
        ours = GLPNModel(GLPNConfig(**architectures["published"]))
    theirs = transformers.GLPNModel(transformers.GLPNConfig(**architectures["tiny"]))
    assert len(ours.state_dict()) == 972 - 6 - 3 * 16 - 4
    assert list(GLPNModel(GLPNConfig(**architectures["tiny"])).state_dict()) == list(theirs.state_dict())


def test_published_architecture_has_the_published_parameter_count(architectures: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = GLPNForDepthEstimation(GLPNConfig(**architectures["published"]))
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_220_903
    assert sum(parameter.numel() for parameter in model.decoder.parameters()) == 340_710


@pytest.mark.parametrize("architecture", ["tiny", "default"])
def test_every_branch_affects_the_depth_in_these_tests(
    architecture: str,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    network, images = build_pair(architecture).theirs, draw_images(1, 96, 128)
    ends = (".attention", ".mlp", ".dwconv", ".sr", ".convolution", ".fusion", ".convolutional_layer3")
    branches = {name: module for name, module in network.named_modules() if name.endswith(ends)}
    with torch.no_grad():
        depth = network(images).predicted_depth
        for name, module in branches.items():
            hook = module.register_forward_hook(lambda _module, _args, result: _silence(result))
            assert difference(network(images).predicted_depth, depth) > 1000 * BOUND, name
            hook.remove()
    assert len(branches) >= 25


def _silence(result: Any) -> Any:
    return (torch.zeros_like(result[0]), *result[1:]) if isinstance(result, tuple) else torch.zeros_like(result)

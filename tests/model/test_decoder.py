from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.decoder import Decoder, DepthHead, SelectiveFeatureFusion

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("hidden_sizes", "identities"),
    [
        ([64, 128, 320, 512], [False, False, False, True]),  # the published networks
        ([32, 64, 160, 256], [False, False, True, False]),  # the defaults
        ([64, 64, 160, 64], [True, False, True, True]),
        ([32, 128, 160, 256], [False, False, False, False]),
    ],
)
def test_stage_with_the_decoders_channels_is_not_projected(hidden_sizes: list[int], identities: list[bool]) -> None:
    decoder = Decoder(GLPNConfig(hidden_sizes=hidden_sizes))
    assert [isinstance(stage.convolution, nn.Identity) for stage in decoder.stages] == identities


def test_first_stage_does_not_fuse() -> None:
    stages = Decoder(GLPNConfig()).stages
    assert [stage.fusion is None for stage in stages] == [True, False, False, False]


def test_outputs_double_and_the_last_has_image_size() -> None:
    decoder = Decoder(GLPNConfig()).eval()
    shapes = [(32, 24, 40), (64, 12, 20), (160, 6, 10), (256, 3, 5)]
    decoded = decoder([torch.rand(2, *shape) for shape in shapes])
    assert [tuple(x.shape) for x in decoded] == [
        (2, 64, 6, 10),
        (2, 64, 12, 20),
        (2, 64, 24, 40),
        (2, 64, 96, 160),
    ]


def test_first_fusion_weight_is_of_the_local_features() -> None:
    fusion = SelectiveFeatureFusion(4).eval()
    nn.init.zeros_(fusion.convolutional_layer3.weight)
    fusion.convolutional_layer3.bias.data = torch.tensor([100.0, -100.0])  # all of the first, none of the second
    local, coarser = torch.rand(1, 4, 5, 6), torch.rand(1, 4, 5, 6)
    assert torch.equal(fusion(local, coarser), local)


@pytest.mark.parametrize("index", range(-4, 4))
def test_every_head_in_index_matches_transformers(
    index: int,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    pair, images = build_pair("tiny", head_in_index=index), draw_images(2, 96, 160)
    with torch.no_grad():
        depth, expected = pair.ours(images).predicted_depth, pair.theirs(images).predicted_depth
    factor = {0: 16, 1: 8, 2: 4, 3: 1}[index % 4]
    assert depth.shape == (2, 96 // factor, 160 // factor)
    assert difference(depth, expected) < 1e-5


def _with_logit(head: DepthHead, logit: float) -> DepthHead:
    nn.init.zeros_(head.head[2].weight)
    nn.init.constant_(head.head[2].bias, logit)
    return head


def test_depth_is_between_zero_and_max_depth() -> None:
    head, decoded = DepthHead(GLPNConfig(max_depth=80)), [torch.rand(2, 64, 4, 6)]
    depths = [_with_logit(head, logit)(decoded) for logit in (-200.0, 0.0, 200.0)]
    assert [depth.unique().tolist() for depth in depths] == [[0], [40], [80]]
    assert {tuple(depth.shape) for depth in depths} == {(2, 4, 6)}


def test_change_of_max_depth_takes_effect() -> None:
    config = GLPNConfig(max_depth=10)
    head = _with_logit(DepthHead(config), 0.0)
    config.max_depth = 7.5
    assert head([torch.rand(1, 64, 2, 2)]).unique().tolist() == [3.75]

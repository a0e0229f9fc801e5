from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.decoder import Decoder, SelectiveFeatureFusion

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
def test_a_stage_that_has_the_decoders_channels_is_not_convolved(
    hidden_sizes: list[int], identities: list[bool]
) -> None:
    decoder = Decoder(GLPNConfig(hidden_sizes=hidden_sizes))
    assert [isinstance(stage.convolution, nn.Identity) for stage in decoder.stages] == identities


def test_the_first_stage_has_nothing_to_fuse() -> None:
    stages = Decoder(GLPNConfig()).stages
    assert [stage.fusion is None for stage in stages] == [True, False, False, False]


def test_each_output_doubles_and_the_last_is_the_images_size() -> None:
    decoder = Decoder(GLPNConfig()).eval()
    shapes = [(32, 24, 40), (64, 12, 20), (160, 6, 10), (256, 3, 5)]
    decoded = decoder([torch.rand(2, *shape) for shape in shapes])
    assert [tuple(x.shape) for x in decoded] == [
        (2, 64, 6, 10),
        (2, 64, 12, 20),
        (2, 64, 24, 40),
        (2, 64, 96, 160),
    ]


def test_the_shares_of_a_fusion_belong_to_the_local_map_first() -> None:
    fusion = SelectiveFeatureFusion(4).eval()
    nn.init.zeros_(fusion.convolutional_layer3.weight)
    fusion.convolutional_layer3.bias.data = torch.tensor([100.0, -100.0])  # all of the first, none of the second
    local, overall = torch.rand(1, 4, 5, 6), torch.rand(1, 4, 5, 6)
    assert torch.equal(fusion(local, overall), local)


@pytest.mark.parametrize("index", range(-4, 4))
def test_every_choice_of_the_heads_input_gives_the_depth_of_transformers(
    index: int,
    build_pair: Callable[..., Any],
    draw_images: Callable[..., Tensor],
    difference: Callable[..., float],
) -> None:
    pair, images = build_pair("tiny", head_in_index=index), draw_images(2, 96, 160)
    with torch.no_grad():
        depth, expected = pair.ours(images).predicted_depth, pair.theirs(images).predicted_depth
    shrunk = {0: 16, 1: 8, 2: 4, 3: 1}[index % 4]
    assert depth.shape == (2, 96 // shrunk, 160 // shrunk)
    assert difference(depth, expected) < 1e-5

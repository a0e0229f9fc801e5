from __future__ import annotations

import torch

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.decoder import DepthHead


def _with_logit(head: DepthHead, logit: float) -> DepthHead:
    torch.nn.init.zeros_(head.head[2].weight)
    torch.nn.init.constant_(head.head[2].bias, logit)
    return head


def test_depth_lies_between_zero_and_the_largest_depth() -> None:
    head, decoded = DepthHead(GLPNConfig(max_depth=80)), [torch.rand(2, 64, 4, 6)]
    depths = [_with_logit(head, logit)(decoded) for logit in (-200.0, 0.0, 200.0)]
    assert [depth.unique().tolist() for depth in depths] == [[0], [40], [80]]
    assert {tuple(depth.shape) for depth in depths} == {(2, 4, 6)}


def test_a_change_of_the_largest_depth_counts_at_once() -> None:
    config = GLPNConfig(max_depth=10)
    head = _with_logit(DepthHead(config), 0.0)
    config.max_depth = 7.5
    assert head([torch.rand(1, 64, 2, 2)]).unique().tolist() == [3.75]

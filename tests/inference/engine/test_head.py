from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.decoder import Head, doubled_rows, doubling, fold_norm, row_mixture
from glpn_cli.inference.engine.operations import Target


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("places", [1, 2, 5])
def test_doubling_is_the_decoder_s_upsampling(places: int, factor: int) -> None:
    values = torch.rand(places, dtype=torch.float64)
    wanted = values[None, None, :, None]
    for _ in range(factor // 2):
        wanted = functional.interpolate(wanted, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(doubling(places, factor) @ values, wanted[0, 0, :, 0])


def test_a_row_between_others_is_mixed_from_its_neighbors_alone() -> None:
    alone = row_mixture(1, 4, above=True, below=True)
    among = row_mixture(3, 4, above=True, below=True)
    assert torch.equal(among[4:8, 3:12], alone)
    assert among[4:8, :3].eq(0).all()
    assert among[4:8, 12:].eq(0).all()


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("budget", [1, 3_000, 2**40])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (5, 1), (7, 4)], ids=str)
def test_the_head_is_upsampling_and_two_convolutions(size: tuple[int, int], budget: int, factor: int) -> None:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1)).double()
    small = torch.randn(2, 6, *size, dtype=torch.float64)
    wanted = small
    for _ in range(factor // 2):
        wanted = functional.interpolate(wanted, scale_factor=2, mode="bilinear")
    wanted = head(wanted)[:, 0]
    target = Target(
        torch.device("cpu"), torch.float32, packed=False, strip_bytes=budget, tile_bytes=budget, table_bytes=budget
    )
    with torch.inference_mode():
        fast = Head(head, target)
        for images in (small, small[:1]):
            found = fast(images.float().contiguous(memory_format=torch.channels_last), factor)
            torch.testing.assert_close(found.double(), wanted[: len(images)], rtol=0, atol=3e-6)


@pytest.mark.parametrize("rows", [(0, 10), (0, 1), (3, 4), (3, 10), (2, 7), (9, 10)], ids=str)
def test_some_rows_of_a_doubled_map_are_those_of_the_whole(rows: tuple[int, int]) -> None:
    small = torch.rand(2, 3, 5, 4)
    whole = functional.interpolate(small, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(doubled_rows(small, *rows), whole[:, :, rows[0] : rows[1]])


def test_a_folded_norm_is_the_norm() -> None:
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval()
    norm.running_mean.normal_()  # type: ignore[union-attr]
    norm.running_var.uniform_(0.1, 2)  # type: ignore[union-attr]
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    image = torch.rand(1, 3, 6, 6)
    with torch.no_grad():
        folded = functional.conv2d(image, *fold_norm(convolution, norm))
        torch.testing.assert_close(folded, norm(convolution(image)))

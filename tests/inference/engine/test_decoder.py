from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.decoder import (
    DepthHead,
    fold_batch_norm,
    row_matrix,
    upsample_rows,
    upsampling_matrix,
)
from glpn_cli.inference.engine.operations import Target


@pytest.mark.parametrize("rows", [(0, 10), (0, 1), (3, 4), (3, 10), (2, 7), (9, 10)], ids=str)
def test_upsampled_rows_match_whole_map(rows: tuple[int, int]) -> None:
    small = torch.rand(2, 3, 5, 4)
    whole = functional.interpolate(small, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(upsample_rows(small, *rows), whole[:, :, rows[0] : rows[1]])


def test_folded_batch_norm_matches_batch_norm() -> None:
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval()
    norm.running_mean.normal_()  # type: ignore[union-attr]
    norm.running_var.uniform_(0.1, 2)  # type: ignore[union-attr]
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    image = torch.rand(1, 3, 6, 6)
    with torch.no_grad():
        folded = functional.conv2d(image, *fold_batch_norm(convolution, norm))
        torch.testing.assert_close(folded, norm(convolution(image)))


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_upsampling_matrix_matches_bilinear_upsampling(length: int, factor: int) -> None:
    values = torch.rand(length, dtype=torch.float64)
    expected = values[None, None, :, None]
    for _ in range(factor // 2):
        expected = functional.interpolate(expected, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(upsampling_matrix(length, factor) @ values, expected[0, 0, :, 0])


def test_inner_row_depends_on_its_neighbors_only() -> None:
    alone = row_matrix(1, 4, above=True, below=True)
    among = row_matrix(3, 4, above=True, below=True)
    assert torch.equal(among[4:8, 3:12], alone)
    assert among[4:8, :3].eq(0).all()
    assert among[4:8, 12:].eq(0).all()


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("limit_bytes", [1, 3_000, 2**40])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (5, 1), (7, 4)], ids=str)
def test_head_matches_upsampling_and_convolutions(size: tuple[int, int], limit_bytes: int, factor: int) -> None:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1)).double()
    small = torch.randn(2, 6, *size, dtype=torch.float64)
    expected = small
    for _ in range(factor // 2):
        expected = functional.interpolate(expected, scale_factor=2, mode="bilinear")
    expected = head(expected)[:, 0]
    limits = {"strip_bytes": limit_bytes, "cache_bytes": limit_bytes, "scores_bytes": limit_bytes}
    target = Target(torch.device("cpu"), torch.float32, packed=False, **limits)
    with torch.inference_mode():
        fast = DepthHead(head, target)
        for images in (small, small[:1]):
            found = fast(images.float().contiguous(memory_format=torch.channels_last), factor)
            torch.testing.assert_close(found.double(), expected[: len(images)], rtol=0, atol=3e-6)


def test_threads_may_share_a_head() -> None:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    limits = {"strip_bytes": 200, "cache_bytes": 200, "scores_bytes": 200}
    with torch.inference_mode():
        fast = DepthHead(head, Target(torch.device("cpu"), torch.float32, packed=False, **limits))
    maps = [torch.randn(1, 4, height, 3) for height in range(1, 60)]  # more sizes than matrices are stored

    def compute(index: int) -> torch.Tensor:
        with torch.inference_mode():
            return fast(maps[index].contiguous(memory_format=torch.channels_last), 4)

    alone = [compute(index) for index in range(len(maps))]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(compute, [*range(len(maps))] * 3), alone * 3, strict=True):
            assert torch.equal(found, expected)

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from glpn_cli.inference import tiles as module
from glpn_cli.inference.tiles import TileGrid, align_tile, merge_tiles
from glpn_cli.values import Tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

GRIDS = [
    TileGrid((97, 131), (64, 96), (64, 96)),
    TileGrid((300, 400), (96, 128), (96, 128)),
    TileGrid((33, 700), (33, 64), (32, 64)),
    TileGrid((65, 65), (64, 64), (64, 64)),
    TileGrid((1000, 32), (32, 32), (32, 32)),
    TileGrid((170, 225), (96, 128), (96, 128)),  # three tiles overlap in the center
]


def scene(size: tuple[int, int]) -> NDArray[np.float32]:
    """A smooth room of 1 to 9 m with a box in it."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / np.maximum(size, 2)[:, None, None]
    depth = 5 + 3 * np.sin(3 * x + y) + np.cos(5 * y)
    depth[(abs(x - 0.55) < 0.2) & (abs(y - 0.5) < 0.2)] = 1.5
    return depth.astype(np.float32)


def shrink(depth: NDArray[np.float32], size: tuple[int, int]) -> torch.Tensor:
    """Resize depth as if it were predicted at a smaller size."""
    return torch.nn.functional.interpolate(torch.from_numpy(depth)[None, None], size, mode="area")[0]


def merge_with_errors(
    depth: NDArray[np.float32], grid: TileGrid, error: Callable[[int, tuple[int, ...]], object]
) -> NDArray[np.float32]:
    """Merge tiles that predict the depth times an error, a function of tile index and size."""
    image = np.stack([depth, depth, depth], axis=-1)  # `predict` finds the depth in the pixels
    count = 0

    def predict(parts: Sequence[NDArray[np.float32]]) -> list[torch.Tensor]:
        nonlocal count
        predictions = []
        for part in parts:
            assert np.shares_memory(part, image)
            wrong = np.ascontiguousarray(part[..., 0] * error(count, part.shape[:2]))
            predictions.append(shrink(wrong.astype(np.float32), grid.network_size))
            count += 1
        return predictions

    result = merge_tiles(image, shrink(depth, (24, 32)), grid, predict=predict)  # type: ignore[arg-type]
    rows, columns = grid.shape
    assert count == rows * columns
    return result


def seam_strength(depth: NDArray[np.float32], grid: TileGrid) -> float:
    """How much steeper the log depth is at tile borders than elsewhere: about 1 without seams."""
    steps = np.abs(np.diff(np.log(depth), axis=1))
    borders = sorted(
        {column for tile in grid.tiles() for column in (tile.left - 1, tile.right - 1)} - {-1, grid.size[1] - 1}
    )
    # A quantile over the rows ignores single pixels, but not edges as long as a tile.
    profile = np.quantile(steps, 0.75, axis=0)
    return float(profile[borders].max() / np.quantile(profile, 0.9))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_weights_sum_to_one_at_every_pixel(grid: TileGrid) -> None:
    total = np.zeros(grid.size, np.float32)
    for tile in grid.tiles():
        rows, columns = tile.weights
        tile.crop(total)[...] += rows * columns
        assert tile.size == grid.tile_size
    np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_neighbors_overlap_by_a_quarter(grid: TileGrid) -> None:
    lefts = sorted({tile.left for tile in grid.tiles()})
    assert lefts[0] == 0
    assert lefts[-1] + grid.tile_size[1] == grid.size[1]
    assert all(right - left <= 0.75 * grid.tile_size[1] + 1 for left, right in itertools.pairwise(lefts))


@pytest.mark.parametrize(
    ("size", "tiles", "working_size", "expected"),
    [
        ((3000, 4000), "off", (480, 640), None),
        ((480, 640), "auto", (480, 640), None),
        ((900, 1200), "auto", (480, 640), None),
        ((1500, 2000), "auto", (480, 640), ((480, 640), (480, 640))),
        ((6000, 8000), "auto", (480, 640), ((1500, 2000), (480, 640))),
        ((400, 12000), "auto", (96, 2880), ((100, 3000), (96, 2880))),
        ((480, 640), "480x640", (480, 640), None),
        ((100, 2000), "480x640", (128, 2560), ((100, 640), (96, 640))),
        ((481, 640), "480x640", (480, 640), ((480, 640), (480, 640))),
    ],
)
def test_grid_follows_setting_and_working_size(
    size: tuple[int, int],
    tiles: str,
    working_size: tuple[int, int],
    expected: tuple[tuple[int, int], tuple[int, int]] | None,
) -> None:
    grid = TileGrid.choose(size, Tiles.parse(tiles), working_size)
    assert (None if grid is None else (grid.tile_size, grid.network_size)) == expected


def test_correct_tiles_give_correct_depth() -> None:
    grid = TileGrid((300, 400), (96, 128), (96, 128))
    truth = scene(grid.size)
    result = merge_with_errors(truth, grid, lambda *_: 1.0)
    np.testing.assert_allclose(np.median(np.abs(result / truth - 1)), 0, atol=0.003)


def test_alignment_corrects_scale_of_each_tile() -> None:
    grid = TileGrid((300, 400), (96, 128), (96, 128))
    truth = scene(grid.size)
    scales = np.random.default_rng(0).uniform(0.3, 3, 100)
    result = merge_with_errors(truth, grid, lambda index, _: scales[index])
    assert np.median(np.abs(result / truth - 1)) < 0.01
    assert np.quantile(np.abs(result / truth - 1), 0.9) < 0.05


def test_alignment_corrects_tilt() -> None:
    y, x = np.mgrid[0:96, 0:128].astype(np.float32) / 100
    truth = torch.from_numpy(scene((96, 128)))[None]
    tilted = truth * torch.from_numpy(2 * np.exp(0.4 * x - 0.3 * y))
    whole_log = shrink(truth[0].numpy(), (12, 16)).log()[None]
    error = (align_tile(tilted, whole_log) / truth - 1).abs()
    assert float(error.median()) < 0.01
    assert float((tilted / truth - 1).abs().median()) > 0.5


def bump(index: int, size: tuple[int, ...]) -> NDArray[np.float64]:
    """An error that no plane corrects, different in every tile."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    return 1.5 ** np.sin(index) * np.exp(0.3 * np.cos(index) * (x**2 + y**2))


def test_disagreeing_tiles_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = TileGrid((300, 400), (96, 128), (96, 128))
    truth = np.full(grid.size, 4, np.float32) + scene(grid.size) / 1000
    assert seam_strength(merge_with_errors(truth, grid, bump), grid) < 1.2
    # The measure detects seams: the same tiles, with each ending where the next begins.
    monkeypatch.setattr(module, "_ramp", lambda length: (np.arange(length) >= length // 2).astype(float))
    with_seams = merge_with_errors(truth, grid, bump)
    steps = np.quantile(np.abs(np.diff(np.log(with_seams), axis=1)), 0.75, axis=0)
    assert steps.max() / np.quantile(steps, 0.9) > 5

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from glpn_cli.inference import tiles as module
from glpn_cli.inference.tiles import TileGrid, align_tile, merge_tiles
from glpn_cli.settings import Tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

GRIDS = [
    TileGrid((97, 131), (64, 96), (64, 96)),
    TileGrid((300, 400), (96, 128), (96, 128)),
    TileGrid((33, 700), (33, 64), (32, 64)),
    TileGrid((65, 65), (64, 64), (64, 64)),
    TileGrid((1000, 32), (32, 32), (32, 32)),
    TileGrid((170, 225), (96, 128), (96, 128)),  # three tiles overlap in the middle
]


def scene(size: tuple[int, int]) -> NDArray[np.float32]:
    """A smooth room of 1 to 9 m with a box in it."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / np.maximum(size, 2)[:, None, None]
    depth = 5 + 3 * np.sin(3 * x + y) + np.cos(5 * y)
    depth[(abs(x - 0.55) < 0.2) & (abs(y - 0.5) < 0.2)] = 1.5
    return depth.astype(np.float32)


def as_whole(depth: NDArray[np.float32], size: tuple[int, int]) -> torch.Tensor:
    """What the whole image's depth looks like when it was seen small."""
    return torch.nn.functional.interpolate(torch.from_numpy(depth)[None, None], size, mode="area")[0]


def merged(
    depth: NDArray[np.float32], grid: TileGrid, error: Callable[[int, tuple[int, ...]], object]
) -> NDArray[np.float32]:
    """Merge tiles that see the truth with an error of their own."""
    # The depth travels as the first two channels of a "image".
    coded = np.stack([depth, depth, depth], axis=-1)
    count = 0

    def predict(parts: Sequence[NDArray[np.float32]]) -> list[torch.Tensor]:
        nonlocal count
        answers = []
        for part in parts:
            assert np.shares_memory(part, coded)
            wrong = np.ascontiguousarray(part[..., 0] * error(count, part.shape[:2]))
            answers.append(as_whole(wrong.astype(np.float32), grid.seen_size))
            count += 1
        return answers

    result = merge_tiles(coded, as_whole(depth, (24, 32)), grid, predict=predict)  # type: ignore[arg-type]
    rows, columns = grid.shape
    assert count == rows * columns
    return result


def seam(depth: NDArray[np.float32], grid: TileGrid) -> float:
    """How much steeper the log depth is where tiles begin and end than it is elsewhere: about 1 without seams."""
    steps = np.abs(np.diff(np.log(depth), axis=1))
    borders = sorted(
        {column for tile in grid.tiles() for column in (tile.left - 1, tile.right - 1)} - {-1, grid.size[1] - 1}
    )
    # An average over rows hides single pixels and shows edges as long as a tile.
    profile = np.quantile(steps, 0.75, axis=0)
    return float(profile[borders].max() / np.quantile(profile, 0.9))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_weights_add_up_to_one_in_every_pixel(grid: TileGrid) -> None:
    total = np.zeros(grid.size, np.float32)
    for tile in grid.tiles():
        rows, columns = tile.weights
        tile.cut(total)[...] += rows * columns
        assert (tile.bottom - tile.top, tile.right - tile.left) == grid.tile_size
    np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_neighbors_share_a_quarter_at_least(grid: TileGrid) -> None:
    lefts = sorted({tile.left for tile in grid.tiles()})
    assert lefts[0] == 0
    assert lefts[-1] + grid.tile_size[1] == grid.size[1]
    assert all(right - left <= 0.75 * grid.tile_size[1] + 1 for left, right in itertools.pairwise(lefts))


@pytest.mark.parametrize(
    ("size", "tiles", "working", "expected"),
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
def test_what_is_cut_and_how(
    size: tuple[int, int],
    tiles: str,
    working: tuple[int, int],
    expected: tuple[tuple[int, int], tuple[int, int]] | None,
) -> None:
    grid = TileGrid.of(size, Tiles.parse(tiles), working)
    assert (None if grid is None else (grid.tile_size, grid.seen_size)) == expected


def test_tiles_that_are_right_give_the_truth() -> None:
    grid = TileGrid((300, 400), (96, 128), (96, 128))
    truth = scene(grid.size)
    np.testing.assert_allclose(np.median(np.abs(merged(truth, grid, lambda *_: 1.0) / truth - 1)), 0, atol=0.003)


def test_alignment_undoes_the_scale_that_each_tile_has_to_itself() -> None:
    grid = TileGrid((300, 400), (96, 128), (96, 128))
    truth = scene(grid.size)
    scales = np.random.default_rng(0).uniform(0.3, 3, 100)
    result = merged(truth, grid, lambda index, _: scales[index])
    assert np.median(np.abs(result / truth - 1)) < 0.01
    assert np.quantile(np.abs(result / truth - 1), 0.9) < 0.05


def test_alignment_undoes_a_tilt() -> None:
    y, x = np.mgrid[0:96, 0:128].astype(np.float32) / 100
    truth = torch.from_numpy(scene((96, 128)))[None]
    tilted = truth * torch.from_numpy(2 * np.exp(0.4 * x - 0.3 * y))
    whole_log = as_whole(truth[0].numpy(), (12, 16)).log()[None]
    off = (align_tile(tilted, whole_log) / truth - 1).abs()
    assert float(off.median()) < 0.01
    assert float((tilted / truth - 1).abs().median()) > 0.5


def bump(index: int, size: tuple[int, ...]) -> NDArray[np.float64]:
    """An error that no plane undoes, another one in every tile."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    return 1.5 ** np.sin(index) * np.exp(0.3 * np.cos(index) * (x**2 + y**2))


def test_there_is_no_seam_where_tiles_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = TileGrid((300, 400), (96, 128), (96, 128))
    truth = np.full(grid.size, 4, np.float32) + scene(grid.size) / 1000
    assert seam(merged(truth, grid, bump), grid) < 1.2
    # The measure sees what is there: the same tiles, one ending where the next begins.
    monkeypatch.setattr(module, "_fade", lambda length: (np.arange(length) >= length // 2).astype(float))
    borders = merged(truth, grid, bump)
    steps = np.quantile(np.abs(np.diff(np.log(borders), axis=1)), 0.75, axis=0)
    assert steps.max() / np.quantile(steps, 0.9) > 5

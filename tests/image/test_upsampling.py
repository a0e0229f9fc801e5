from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional

from glpn_cli.image import upsampling as module
from glpn_cli.image.upsampling import LocalRange, resize_bicubic, upsample, upsample_guided

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES = [(24, 32), (33, 70), (50, 97), (96, 128), (12, 200), (16, 20), (1, 1), (1, 90)]


def surroundings(depth: torch.Tensor, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the smallest and largest of the 4x4 pixels that bicubic interpolation reads, pixel by pixel."""
    values = depth.numpy()

    def read(position: int, length: int, small: int) -> slice:
        first = int(np.floor((position + 0.5) * small / length - 0.5)) - 1
        return slice(max(first, 0), first + 4)

    rows, columns = ([read(at, size[axis], values.shape[axis]) for at in range(size[axis])] for axis in (0, 1))
    low = [[values[row, column].min() for column in columns] for row in rows]
    high = [[values[row, column].max() for column in columns] for row in rows]
    return np.array(low), np.array(high)


@pytest.mark.parametrize("size", SIZES)
def test_bicubic_where_it_does_not_overshoot_and_else_the_nearest_depth_read(size: tuple[int, int]) -> None:
    depth = torch.rand(24, 32, generator=torch.Generator().manual_seed(size[0])) * 9
    reference = functional.interpolate(depth[None, None], size, mode="bicubic", align_corners=False)[0, 0].numpy()
    low, high = surroundings(depth, size)
    result = upsample(depth, size)
    inside = (low <= reference) & (reference <= high)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[inside], reference[inside])
    np.testing.assert_array_equal(result[reference < low], low[reference < low])
    np.testing.assert_array_equal(result[reference > high], high[reference > high])
    assert np.mean(inside) > 0.8
    if size == (96, 128):
        assert np.mean(inside) < 0.99  # the comparison means something


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2)])
def test_maps_smaller_than_the_interpolation_reads(shape: tuple[int, int]) -> None:
    depth = torch.rand(shape)
    result = upsample(depth, (9, 11))
    assert depth.min() <= result.min()
    assert result.max() <= depth.max()


def test_hard_edges_have_no_depth_that_was_not_predicted() -> None:
    depth = torch.full((32, 32), 1.35)
    depth[:, 16:] = 9.9
    raw = resize_bicubic(depth[None], (320, 320))[0]
    assert raw.min() < 1
    assert raw.max() > 10
    result = upsample(depth, (320, 320))
    assert (result.min(), result.max()) == (np.float32(1.35), np.float32(9.9))


def test_flat_depth_stays_exactly_flat() -> None:
    assert np.unique(upsample(torch.full((24, 32), 0.1), (301, 407))).tolist() == [np.float32(0.1)]


def test_factor_and_limit_apply_after_interpolation() -> None:
    depth = torch.rand(24, 32) * 12
    expected = np.clip(upsample(depth, (50, 70)) * np.float32(7.3), 0, 50)
    result = upsample(depth, (50, 70), factor=7.3, limit=50)
    np.testing.assert_array_equal(result, expected)
    assert result.max() == 50


def test_range_of_a_larger_reach_contains_that_of_a_smaller_one() -> None:
    depth = torch.rand(24, 32)
    narrow, wide = LocalRange.around(depth, reach=2), LocalRange.around(depth, reach=6)
    assert narrow.low.shape == wide.high.shape == (25, 33)
    assert (wide.low <= narrow.low).all()
    assert (narrow.high <= wide.high).all()


# With the image as a guide


def noise(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """An image of strong texture, (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def two_surfaces(size: tuple[int, int], edge: float = 0.5) -> NDArray[np.uint8]:
    """An image of a dark surface to the left of a bright one, with some texture."""
    image = np.where(np.arange(size[1])[None, :, None] < edge * size[1], 60, 190) + noise(size) // 16
    return image.astype(np.uint8)


def slope(size: tuple[int, int], near: float = 2.0, far: float = 4.0, width_px: int = 6) -> torch.Tensor:
    """Depth as a network predicts it: near at the left, far at the right, and a slope between them."""
    position = (torch.arange(size[1]) + 0.5 - size[1] / 2) / width_px
    return (near + (far - near) * (position + 0.5).clamp(0, 1)).expand(size).contiguous()


@pytest.mark.parametrize("size", [*SIZES, (400, 300)])
def test_flat_depth_stays_flat_under_any_texture(size: tuple[int, int]) -> None:
    result = upsample_guided(torch.full((24, 32), 3.7), noise(size))
    assert (result.shape, result.dtype) == (size, np.float32)
    assert np.unique(result).tolist() == [np.float32(3.7)]


def test_edges_become_as_steep_as_those_of_the_image() -> None:
    depth, image = slope((48, 64)), two_surfaces((240, 320))
    plain, sharp = upsample(depth, (240, 320)), upsample_guided(depth, image)

    def width_px(result: NDArray[np.float32]) -> float:
        """Return how many columns are neither near nor far."""
        return float(np.mean((result > 2.3) & (result < 3.7))) * 320

    assert width_px(plain) > 15
    assert width_px(sharp) < 4
    np.testing.assert_allclose(sharp[:, :150], 2, rtol=0.1)
    np.testing.assert_allclose(sharp[:, 170:], 4, rtol=0.1)


def test_edges_of_the_image_without_edges_of_depth_change_nothing() -> None:
    plane = torch.linspace(2, 3, 48)[:, None].expand(48, 64).contiguous()
    plain, sharp = upsample(plane, (240, 320)), upsample_guided(plane, two_surfaces((240, 320)))
    np.testing.assert_allclose(sharp, plain, rtol=0.03)


def test_depth_stays_in_the_range_around_each_pixel() -> None:
    depth = torch.rand(24, 32, generator=torch.Generator().manual_seed(1)) * 9 + 0.5
    result = upsample_guided(depth, noise((120, 160)))
    cell = LocalRange.around(depth, module._WINDOW_REACH)
    np.testing.assert_array_equal(cell.clip(result.copy()), result)


def test_guided_depth_is_metric_and_repeatable() -> None:
    rng = torch.Generator().manual_seed(2)
    depth = functional.avg_pool2d(torch.rand(1, 60, 76, generator=rng) * 8, 13, 1)[0] + 0.5
    image = noise((240, 320))
    result = upsample_guided(depth, image)
    assert np.median(result) == pytest.approx(np.median(upsample(depth, (240, 320))), rel=0.01)
    np.testing.assert_array_equal(upsample_guided(depth, image), result)
    np.testing.assert_allclose(upsample_guided(4 * depth, image), 4 * result, rtol=1e-4)
    np.testing.assert_allclose(upsample_guided(depth, image, factor=8), 8 * result, rtol=1e-6)
    limit = float(np.median(result))
    np.testing.assert_allclose(upsample_guided(depth, image, limit=limit), np.minimum(result, limit), rtol=1e-6)


def test_strips_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    depth, image = slope((24, 32)), two_surfaces((97, 131))
    whole = upsample_guided(depth, image)
    monkeypatch.setattr(module, "_STRIP_PIXELS", 300)
    np.testing.assert_allclose(upsample_guided(depth, image), whole, rtol=1e-5)


def test_depth_of_zero_and_at_the_limit() -> None:
    depth = slope((24, 32), near=0.0, far=80.0)
    result = upsample_guided(depth, two_surfaces((97, 131)), limit=80)
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 80
    assert np.unique(upsample_guided(torch.zeros(24, 32), noise((97, 131)))).tolist() == [0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 1)])
def test_smallest_maps_are_guided(shape: tuple[int, int]) -> None:
    depth = torch.rand(shape) + 1
    result = upsample_guided(depth, noise((9, 11)))
    assert depth.min() <= result.min()
    assert result.max() <= depth.max()

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from clips import scene
from glpn_cli.video.cuts import CUT_MISMATCH, Kind, classify, mismatch
from glpn_cli.video.flow import estimate_flow, resize_flow, shrink_for_flow, warp
from glpn_cli.video.steadying import LOOK_AHEAD, Steadier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SIZE = 64, 96


def pixels(index: int, *, step_px: int = 1, seed: int = 0) -> Tensor:
    image = scene(index, *SIZE, step_px=step_px, seed=seed)
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255


def small(index: int, *, step_px: int = 1, seed: int = 0) -> Tensor:
    return shrink_for_flow(pixels(index, step_px=step_px, seed=seed))


def steady(images: Sequence[Tensor], views: Sequence[Tensor]) -> tuple[list[Tensor], Steadier[int]]:
    steadier: Steadier[int] = Steadier()
    found = [row for index in range(len(images)) for row in steadier.push(index, images[index], views[index])]
    found += steadier.flush()
    assert [index for index, _ in found] == list(range(len(images)))
    return [depth for _, depth in found], steadier


def flat(depth_m: float) -> Tensor:
    return torch.full((1, *SIZE), depth_m)


# Flow


@pytest.mark.parametrize("step_px", [0, 1, 3, 7])
def test_flow_finds_the_motion(step_px: int) -> None:
    flow = estimate_flow(small(1, step_px=step_px), small(0, step_px=step_px))
    inner = flow[0, :, 12:-12, 16:-16]
    assert abs(float(inner[0].median()) - step_px) < 0.15 + 0.05 * step_px
    assert abs(float(inner[1].median())) < 0.15


def test_flow_ignores_a_change_of_exposure() -> None:
    flow = estimate_flow(small(3) * 0.6 + 0.1, small(0))
    assert abs(float(flow[0, 0, 12:-12, 16:-16].median()) - 3) < 0.3


def test_warped_image_is_where_its_content_is() -> None:
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0] = 4
    moved, inside = warp(pixels(0), flow)
    assert torch.allclose(moved[..., :-4], pixels(4)[..., :-4], atol=1e-4)
    assert inside[..., :-4].all()
    assert not inside[..., -3:].any()


def test_flow_is_scaled_with_its_size() -> None:
    flow = resize_flow(torch.ones(1, 2, 10, 20), (30, 40))
    assert torch.allclose(flow[:, 0], torch.tensor(2.0))
    assert torch.allclose(flow[:, 1], torch.tensor(3.0))


# Cuts


def test_cut_flash_and_motion_are_told_apart() -> None:
    here, next_one, later = small(0, step_px=2), small(1, step_px=2), small(2, step_px=2)
    other = [small(index, seed=5) for index in range(3)]
    flash = torch.ones_like(here)
    assert classify(here, next_one, [later])[0] is Kind.FOLLOWS
    assert classify(here, 0.3 * next_one + 0.05, [])[0] is Kind.FOLLOWS  # exposure
    assert classify(here, other[0], other[1:])[0] is Kind.CUT
    assert classify(here, flash, [next_one, later])[0] is Kind.FLASH
    assert classify(here, flash, [flash, later])[0] is Kind.FLASH
    assert classify(here, flash, [])[0] is Kind.CUT


def test_noise_in_black_frames_is_no_cut() -> None:
    noise = [torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(seed)) * 2 / 255 for seed in (0, 1)]
    assert mismatch(noise[0], noise[1], torch.zeros(1, 2, *SIZE)) < CUT_MISMATCH


# Depth


def test_flicker_of_the_scale_is_removed() -> None:
    scales = np.exp(np.random.default_rng(0).normal(0, 0.1, 40))
    depths, _ = steady([pixels(index) for index in range(40)], [flat(2.0 * scale) for scale in scales])
    before = np.abs(np.diff(np.log(scales))).mean()
    after = np.abs(np.diff([float(depth.log().mean()) for depth in depths])).mean()
    assert after < 0.25 * before


def test_steady_approach_is_kept() -> None:
    expected = [4.0 * 0.97**index for index in range(40)]
    depths, _ = steady([pixels(index) for index in range(40)], [flat(depth_m) for depth_m in expected])
    assert np.allclose([float(depth.median()) for depth in depths], expected, rtol=1e-3)


def test_pixels_follow_the_motion() -> None:
    noise = torch.Generator().manual_seed(0)
    step = torch.where(torch.arange(SIZE[1] + 60) < 70, 2.0, 3.0).expand(SIZE[0], -1)
    true = [step[None, :, index : index + SIZE[1]] for index in range(30)]
    noisy = [depth * torch.exp(0.03 * torch.randn(depth.shape, generator=noise)) for depth in true]
    depths, _ = steady([pixels(index) for index in range(30)], noisy)

    def error(found: Sequence[Tensor]) -> float:
        return float(np.mean([float((one / two).log().abs().mean()) for one, two in zip(found, true, strict=True)]))

    assert error(depths) < 0.7 * error(noisy)


def test_cut_starts_over_and_changes_nothing_before() -> None:
    first = [pixels(index) for index in range(12)]
    second = [pixels(index, seed=5) for index in range(12)]
    near, far = [flat(1.0 + 0.01 * (index % 2)) for index in range(12)], [flat(20.0)] * 12
    together, steadier = steady(first + second, near + far)
    alone, _ = steady(first, near)
    assert steadier.cuts == 1
    assert all(torch.equal(one, two) for one, two in zip(together[:12], alone, strict=True))
    assert all(torch.allclose(depth, flat(20.0), rtol=1e-4) for depth in together[12:])


def test_flash_starts_nothing_over() -> None:
    images = [pixels(index) for index in range(24)]
    images[11] = torch.ones_like(images[11])
    views = [flat(2.0)] * 24
    views[11] = flat(9.0)
    depths, steadier = steady(images, views)
    assert steadier.cuts == 0
    assert all(torch.allclose(depth, flat(2.0), rtol=1e-3) for depth in depths)


def test_both_views_get_the_same_factor() -> None:
    views = [torch.cat([flat(2.0 + 0.2 * (index % 2)), flat(3.0 + 0.3 * (index % 2))]) for index in range(14)]
    depths, _ = steady([pixels(index) for index in range(14)], views)
    for depth, given in zip(depths, views, strict=True):
        assert depth.shape == given.shape
        assert torch.allclose(depth[1] / depth[0], given[1] / given[0], rtol=1e-5)


@pytest.mark.parametrize("stop", [1, 7, 20])
def test_restored_state_continues_bit_for_bit(stop: int) -> None:
    images = [pixels(index, seed=index // 15) for index in range(30)]
    images[18] = torch.ones_like(images[18])
    views = [flat(2.0 + 0.1 * (index % 3)) + images[index].mean(dim=1) for index in range(30)]
    whole, _ = steady(images, views)
    first: Steadier[int] = Steadier()
    for index in range(stop + LOOK_AHEAD):
        for _ in first.push(index, images[index], views[index]):
            pass
    second: Steadier[int] = Steadier()
    second.restore(first.state())
    rest = [row for index in range(stop, 30) for row in second.push(index, images[index], views[index])]
    rest += second.flush()
    assert [index for index, _ in rest] == list(range(stop, 30))
    assert all(torch.equal(depth, whole[index]) for index, depth in rest)


def test_frames_of_another_size_are_refused() -> None:
    steadier: Steadier[int] = Steadier()
    list(steadier.push(0, pixels(0), flat(1.0)))
    with pytest.raises(ValueError, match="size"):
        list(steadier.push(1, pixels(0)[..., :64], flat(1.0)))

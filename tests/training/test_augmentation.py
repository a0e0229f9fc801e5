from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glpn_cli.data.sample import Sample
from glpn_cli.errors import InputError
from glpn_cli.training.augmentation import augment, change_colors, cut_depth
from glpn_cli.training.settings import NATIVE_CROP, Photometric, TrainSettings

PLAIN = TrainSettings(data=("x",), flip=0, cut_depth=0, photometric=Photometric.NONE, crop=NATIVE_CROP)


def sample(height: int = 60, width: int = 80) -> Sample:
    """Return a sample whose colors are its rows and columns, and whose depth is 1 m plus 1 cm per column."""
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack([rows, columns, rows * 0 + 7], -1).astype(np.uint8)
    return Sample("s", rgb, (1 + columns / 100).astype(np.float32), (height, width))


def test_a_native_crop_aligns_pixels_and_depth() -> None:
    tops = set()
    for seed in range(20):
        augmented = augment(sample(), (32, 64), np.random.default_rng(seed), PLAIN, limit_m=10)
        assert augmented.rgb.shape == (32, 64, 3)
        np.testing.assert_allclose(augmented.meters, 1 + augmented.rgb[..., 1] / 100, rtol=1e-6)
        assert (np.diff(augmented.rgb[:, 0, 0].astype(int)) == 1).all()
        tops.add(int(augmented.rgb[0, 0, 0]))
    assert min(tops) >= 0
    assert max(tops) <= 28
    assert len(tops) > 8


def test_mirroring_applies_to_image_and_depth() -> None:
    augmented = augment(sample(), (60, 80), np.random.default_rng(0), replace(PLAIN, flip=1), limit_m=10)
    assert augmented.rgb[0, 0, 1] == 79
    np.testing.assert_allclose(augmented.meters, 1 + augmented.rgb[..., 1] / 100, rtol=1e-6)


def test_resized_crops_do_not_interpolate_depth() -> None:
    step = sample()
    meters = np.where(step.meters > 1.4, 5, 1).astype(np.float32)
    step = Sample("s", step.rgb, meters, (60, 80))
    for seed in range(10):
        augmented = augment(step, (64, 96), np.random.default_rng(seed), replace(PLAIN, crop=(0.5, 0.9)), limit_m=10)
        assert augmented.rgb.shape == (64, 96, 3)
        assert set(np.unique(augmented.meters)) <= {1.0, 5.0}
        # Right of the step in the colors, depth is far too.
        clear = np.abs(augmented.rgb[..., 1].astype(float) - 40.5) > 2
        assert ((augmented.meters == 5) == (augmented.rgb[..., 1] > 40))[clear].all()


def test_crops_scale_canonical_depth_but_not_the_sky() -> None:
    plain = sample()
    meters = plain.meters.copy()
    meters[:, :10], meters[:, 10:20] = np.inf, 0
    partly = Sample("s", plain.rgb, meters, (60, 80))
    canonical = replace(PLAIN, crop=(0.5, 0.5), canonical_depth=True)
    augmented = augment(partly, (32, 64), np.random.default_rng(0), canonical, limit_m=10)
    fraction = np.sqrt(20 * 40 / (60 * 80))  # half of the largest window of this shape
    usual = augment(partly, (32, 64), np.random.default_rng(0), replace(canonical, canonical_depth=False), limit_m=10)
    known = (usual.meters > 0) & (usual.meters < 10)
    assert known.any()
    np.testing.assert_allclose(augmented.meters[known], usual.meters[known] * fraction, rtol=1e-6)
    np.testing.assert_array_equal(augmented.meters[~known], usual.meters[~known])
    assert augmented.meters.dtype == np.float32


def test_native_crops_scale_canonical_depth() -> None:
    canonical = replace(PLAIN, canonical_depth=True)
    augmented = augment(sample(), (32, 64), np.random.default_rng(0), canonical, limit_m=10)
    fraction = np.sqrt(32 * 64 / (60 * 80))
    np.testing.assert_allclose(augmented.meters, (1 + augmented.rgb[..., 1] / 100) * fraction, rtol=1e-6)


def test_depth_is_limited_and_unknown_depth_stays_unknown() -> None:
    meters = np.full((60, 80), np.inf, np.float32)
    meters[:20], meters[20:40] = 0, np.nan
    augmented = augment(
        Sample("s", sample().rgb, meters, (60, 80)), (60, 80), np.random.default_rng(0), PLAIN, limit_m=12
    )
    assert (augmented.meters[:40] == 0).all()
    assert (augmented.meters[40:] == 12).all()


def test_a_sample_smaller_than_its_crop_is_named() -> None:
    with pytest.raises(InputError, match=r"^s: 60x80 .* 64x64"):
        augment(sample(), (64, 64), np.random.default_rng(0), PLAIN, limit_m=10)


def test_cut_depth_shows_scaled_depth_in_a_vertical_strip() -> None:
    one = sample()
    meters = np.linspace(0, 7.2, 60 * 80, dtype=np.float32).reshape(60, 80)
    widths = []
    for seed in range(300):
        pasted = cut_depth(one.rgb, meters, np.random.default_rng(seed), coverage=0.75)
        changed = (pasted != one.rgb).any((0, 2)).nonzero()[0]
        assert (np.diff(changed) == 1).all()
        strip = pasted[:, changed[0] : changed[-1] + 1]
        expected = (meters[:, changed[0] : changed[-1] + 1] * (255 / 7.2)).astype(int)
        assert np.abs(strip - expected[..., None]).max() <= 1
        assert len(changed) <= max(1, 0.75 * (80 - changed[0]))
        widths.append(len(changed))
    assert max(widths) > 45
    assert np.median(widths) < 25  # it starts anywhere, so it is mostly short
    assert one.rgb[0, 3, 1] == 3  # the sample itself is unchanged


def test_cut_depth_has_its_probability() -> None:
    flat = Sample("s", np.zeros((8, 40, 3), np.uint8), np.ones((8, 40), np.float32), (8, 40))
    shown = [
        augment(flat, (8, 40), np.random.default_rng(seed), replace(PLAIN, cut_depth=0.25), limit_m=10).rgb.any()
        for seed in range(800)
    ]
    assert 0.2 < np.mean(shown) < 0.3


@pytest.mark.parametrize("photometric", [Photometric.PAPER, Photometric.STRONG])
def test_colors_change_randomly_and_stay_8_bit(photometric: Photometric) -> None:
    rgb = np.full((16, 16, 3), (200, 120, 60), np.uint8)
    augmented = [change_colors(rgb, np.random.default_rng(seed), photometric) for seed in range(200)]
    assert all(one.dtype == np.uint8 and one.shape == rgb.shape for one in augmented)
    means = np.array([one.mean((0, 1)) for one in augmented])
    assert (means.std(0) > 8).all()
    assert abs(means.mean() - rgb.mean()) < 12
    if photometric is Photometric.PAPER:
        assert (np.abs(means.mean(0) - rgb[0, 0]) < 25).all()
    unchanged = sum(np.array_equal(one, rgb) for one in augmented)
    assert 200 * 0.02 < unchanged < 200 * 0.3 if photometric is Photometric.PAPER else unchanged < 20


def test_strong_changes_include_grayscale_and_uneven_light() -> None:
    rgb = np.full((32, 48, 3), (200, 120, 60), np.uint8)
    augmented = [
        change_colors(rgb, np.random.default_rng(seed), Photometric.STRONG).astype(float) for seed in range(400)
    ]
    spread = np.array([np.abs(one[..., 0] - one[..., 2]).mean() for one in augmented])
    assert 0.1 < (spread < 3).mean() < 0.4
    halves = np.array([abs(one[:, :24].mean() - one[:, 24:].mean()) for one in augmented])
    assert 0.15 < (halves > 5).mean() < 0.4


def test_the_papers_colors_stay_within_its_ranges() -> None:
    gray = np.full((4, 4, 3), 128, np.uint8)
    values = [change_colors(gray, np.random.default_rng(seed), Photometric.PAPER).max() for seed in range(500)]
    # Contrast and brightness reach 0.5·1.2 + 0.2, gamma 0.8 lifts that, value adds 20.
    assert max(values) <= ((128 / 255 * 1.2 + 0.2) ** 0.8) * 255 + 22
    assert max(values) > 200
    assert np.array_equal(change_colors(gray, np.random.default_rng(0), Photometric.NONE), gray)

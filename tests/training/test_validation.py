from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import glpn_cli
from glpn_cli.data.sample import Sample
from glpn_cli.data.settings import Crop
from glpn_cli.errors import ImageError, InputError
from glpn_cli.metrics import METRICS, compute_metrics
from glpn_cli.training.datasets import ValidationSet
from glpn_cli.training.initialization import create_network
from glpn_cli.training.validation import ALIGNED_PREFIX, check_samples, validate
from glpn_cli.weights.catalog import WeightsCard
from glpn_cli.weights.checkpoint import write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from glpn_cli.training.settings import TrainSettings

CARD = WeightsCard("w", depth_limit_m=10.0, working_size=(32, 64), metric=False, shrink=True)
CPU = torch.device("cpu")


class Constant(nn.Module):
    """Predicts one depth everywhere."""

    def __init__(self, depth: float) -> None:
        super().__init__()
        self.depth = depth
        self.sizes: list[tuple[int, int]] = []

    def forward(self, pixels: torch.Tensor) -> Any:
        self.sizes.append((pixels.shape[2], pixels.shape[3]))
        return type("Output", (), {"predicted_depth": torch.full((1, *pixels.shape[2:]), self.depth)})


def sample(meters: float, *, size: tuple[int, int] = (40, 80), known: float = 1.0) -> Sample:
    """Return a sample of one depth whose first columns are known, as a fraction of the width."""
    depth = np.full(size, meters, np.float32)
    depth[:, round(known * size[1]) :] = 0
    return Sample("s", np.zeros((*size, 3), np.uint8), depth, size)


def run(network: nn.Module, samples: Sequence[Sample], card: WeightsCard = CARD, **of_set: Any) -> dict[str, float]:
    return validate(network, card, [ValidationSet("x", samples, **of_set)], CPU)  # type: ignore[arg-type]


def test_metrics_are_plain_and_scale_aligned() -> None:
    metrics = run(Constant(3.0), [sample(2.0)])
    assert list(metrics) == [*METRICS, *(ALIGNED_PREFIX + name for name in METRICS)]
    assert metrics["abs_rel"] == pytest.approx(0.5)
    assert metrics["aligned_abs_rel"] == pytest.approx(0.0, abs=1e-6)


def test_every_image_has_the_same_weight() -> None:
    metrics = run(Constant(3.0), [sample(2.0, known=0.1), sample(3.0), sample(2.0, known=0.0)])
    assert metrics["abs_rel"] == pytest.approx(0.25)  # the third has no known pixel


def test_output_is_converted_to_meters_and_limited() -> None:
    assert run(Constant(1.0), [sample(8.0)], replace(CARD, meters_per_unit=8.0))["abs_rel"] == pytest.approx(
        0, abs=1e-6
    )
    assert run(Constant(50.0), [sample(5.0)])["abs_rel"] == pytest.approx(1.0)  # 10 m


def test_ground_truth_beyond_the_limits_is_ignored() -> None:
    near_and_far = [sample(2.0), sample(6.0)]
    assert run(Constant(2.0), near_and_far, cap_m=5.0)["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert run(Constant(2.0), near_and_far)["abs_rel"] == pytest.approx((0 + 4 / 6) / 2)
    assert run(Constant(2.0), [sample(2.0), sample(60.0)], cap_m=80.0)["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_only_the_crop_counts() -> None:
    image = sample(2.0, size=(480, 640))
    image.meters[:45] = 6.0  # above the crop of NYU
    assert run(Constant(2.0), [image])["abs_rel"] > 0.01
    assert run(Constant(2.0), [image], crop=Crop.NYU)["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_the_input_size_is_that_of_prediction() -> None:
    network = Constant(2.0)
    run(network, [sample(2.0, size=(100, 200))])
    run(network, [sample(2.0, size=(100, 200))], replace(CARD, shrink=False))
    assert network.sizes == [(32, 64), (96, 192)]


def test_predictions_are_those_of_the_saved_weights(settings: TrainSettings, tmp_path: Path) -> None:
    initial = create_network(settings, "small")
    network, card = initial.network.eval(), initial.card
    rgb = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)
    image = Sample("s", rgb, np.full((48, 60), 2.0, np.float32), (48, 60))
    write_checkpoint(tmp_path / "w", network.config, network.state_dict(), card.to_metadata())
    predicted = glpn_cli.load(tmp_path / "w", device="cpu").predict(rgb).meters
    expected = compute_metrics(predicted.ravel(), image.meters.ravel())
    found = run(network, [image], card)
    assert {name: found[name] for name in METRICS} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("samples", [[], [sample(0.0)], [sample(20.0)]], ids=["none", "unknown", "beyond"])
def test_no_known_pixel_is_an_error(samples: list[Sample]) -> None:
    with pytest.raises(InputError) as raised:
        run(Constant(2.0), samples)
    assert "`validation`" in str(raised.value.hint)


def test_samples_are_checked_before_training() -> None:
    class Broken(list[Sample]):
        def __iter__(self) -> Any:
            raise ImageError("b.jpg: is damaged")

    check_samples([], CARD)
    check_samples([ValidationSet("x", [sample(0.0), sample(2.0)])], CARD)
    with pytest.raises(InputError):
        check_samples([ValidationSet("x", [sample(0.0)])], CARD)
    with pytest.raises(ImageError, match=r"b\.jpg"):
        check_samples([ValidationSet("x", Broken())], CARD)

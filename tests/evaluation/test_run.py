from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.layouts import Split, find_samples
from glpn_cli.errors import InputError, UsageError
from glpn_cli.evaluation.run import Column, Evaluation, Failure, protocol_for
from glpn_cli.metrics import measure
from glpn_cli.settings import Align, Crop, DataSettings, EvaluationSettings

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.data.sample import Sample, SampleFiles, Samples


class Scaled:
    """Says the true depth, times something, and more of it to the right."""

    def __init__(self, label: str, factor: float) -> None:
        self.label, self._factor = label, factor

    def predict(self, sample: Sample, files: SampleFiles) -> np.ndarray:  # noqa: ARG002 - a source gets both
        tilt = np.linspace(0.8, 1.2, sample.meters.shape[1], dtype=np.float32)
        return np.where(sample.meters > 0, sample.meters, 3) * np.float32(self._factor) * tilt


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Five images, of which the last has no known depth."""
    chance = np.random.default_rng(0)
    for index in range(5):
        units = chance.integers(500, 9000, (12, 20)).astype(np.uint16)
        units[:, :3] = 0
        Image.fromarray(np.zeros((12, 20, 3), np.uint8)).save(tmp_path / f"{index}.jpg")
        Image.fromarray(units if index < 4 else units * 0).save(tmp_path / f"{index}.png")
    return find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)


def run(samples: Samples, *factors: float, **settings: object) -> Evaluation:
    chosen = EvaluationSettings(resamples=200, **settings)  # type: ignore[arg-type]
    sources = [Scaled(f"times {factor}", factor) for factor in factors]
    evaluation = Evaluation(samples, sources, protocol_for("folder", chosen), chosen)
    list(evaluation.run())
    evaluation.finish()
    return evaluation


def test_figures_are_means_over_images_and_not_over_pixels(samples: Samples) -> None:
    evaluation = run(samples, 1.3)
    expected = []
    for sample in samples[:4]:
        known = sample.meters > 0
        predicted = Scaled("", 1.3).predict(sample, samples.files[0])
        expected.append(measure(predicted[known], sample.meters[known])["rmse"])
    figure = evaluation.figures()[Column("times 1.3")]["rmse"]
    assert figure.mean == pytest.approx(np.mean(expected))
    assert figure.interval is not None
    assert figure.interval.low < figure.mean < figure.interval.high


def test_a_image_without_truth_is_a_failure_and_stops_nothing(samples: Samples) -> None:
    evaluation = run(samples, 1.0)
    assert [image.name for image in evaluation.images] == ["0", "1", "2", "3"]
    assert evaluation.failures == [Failure("4", "4: no pixel has a true depth that counts", None, 4)]


def test_aligned_figures_stand_beside_the_unaligned_ones(samples: Samples) -> None:
    for align in Align:
        figures = run(samples, 0.5, align=align).figures()
        assert list(figures) == [Column("times 0.5"), Column("times 0.5", align)]
        plain, aligned = figures.values()
        assert plain["abs_rel"].mean > 0.4
        assert aligned["abs_rel"].mean < 0.15
        assert aligned["silog_kitti"].mean == pytest.approx(plain["silog_kitti"].mean)


def test_baselines_are_measured_on_the_same_pixels(samples: Samples) -> None:
    evaluation = run(samples, 1.0, baselines=True)
    figures = evaluation.figures()
    constant = [
        measure(np.full((sample.meters > 0).sum(), np.median(known)), known)["abs_rel"]
        for sample in samples[:4]
        for known in [sample.meters[sample.meters > 0]]
    ]
    assert figures[Column("median")]["abs_rel"].mean == pytest.approx(np.mean(constant))
    assert figures[Column("ramp")]["abs_rel"].mean <= figures[Column("median")]["abs_rel"].mean
    assert evaluation.ramp is not None


def test_a_image_that_a_list_has_twice_counts_twice(samples: Samples) -> None:
    twice = replace(samples, files=(*samples.files, samples.files[0]))
    evaluation = run(twice, 1.0, baselines=True)
    assert len(evaluation.images) == 5
    assert all(Column("ramp") in image.scores for image in evaluation.images)


def test_a_image_of_another_size_than_the_first_is_a_failure_of_its_own(tmp_path: Path) -> None:
    for index, size in enumerate([(480, 640), (12, 20), (480, 640)]):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / f"{index}.jpg")
        Image.fromarray(np.full(size, 2000, np.uint16)).save(tmp_path / f"{index}.png")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)
    evaluation = run(samples, 1.0, crop=Crop.NYU)
    assert [failure.name for failure in evaluation.failures] == ["1"]
    assert [image.name for image in evaluation.images] == ["0", "2"]


def test_differences_are_of_the_same_images_and_the_same_kind(samples: Samples) -> None:
    evaluation = run(samples, 1.0, 1.5, baselines=True, align=Align.MEDIAN)
    compared = {(str(item.ours), str(item.theirs)): item.figures["abs_rel"] for item in evaluation.differences()}
    assert list(compared) == [
        ("times 1.0", "times 1.5"),
        ("times 1.0, median aligned", "times 1.5, median aligned"),
        ("times 1.0, median aligned", "median"),
        ("times 1.0, median aligned", "ramp"),
    ]
    plain = compared["times 1.0", "times 1.5"]
    figures = evaluation.figures()
    assert plain.mean == pytest.approx(
        figures[Column("times 1.0")]["abs_rel"].mean - figures[Column("times 1.5")]["abs_rel"].mean
    )
    assert plain.interval is not None
    assert plain.interval.excludes_zero
    same = compared["times 1.0, median aligned", "times 1.5, median aligned"]
    assert same.mean == pytest.approx(0, abs=1e-6)


def test_the_protocol_of_the_data_is_the_default_and_the_user_has_the_last_word() -> None:
    assert protocol_for("nyu", EvaluationSettings()).cap_m == 10.0
    assert protocol_for("nyu", EvaluationSettings()).crop is Crop.NYU
    assert protocol_for("kitti", EvaluationSettings()).cap_m == 80.0
    assert protocol_for("kitti", EvaluationSettings()).crop is Crop.GARG
    changed = protocol_for("kitti", EvaluationSettings(crop=Crop.EIGEN, cap_m=50.0))
    assert (changed.crop, changed.cap_m) == (Crop.EIGEN, 50.0)


def test_what_makes_no_sense_for_any_image_ends_it_at_once(samples: Samples) -> None:
    with pytest.raises(UsageError, match="made for 480x640"):
        run(samples, 1.0, crop=Crop.NYU)
    with pytest.raises(UsageError, match="called alike"):
        run(samples, 1.0, 1.0)


def test_no_image_at_all_is_an_error(samples: Samples) -> None:
    with pytest.raises(InputError, match="none of 1"):
        run(samples[4:], 1.0)


def test_no_resamples_are_no_intervals(samples: Samples) -> None:
    chosen = EvaluationSettings(resamples=0)
    evaluation = Evaluation(samples, [Scaled("a", 1.1)], protocol_for("folder", chosen), chosen)
    list(evaluation.run())
    assert evaluation.figures()[Column("a")]["d1"].interval is None

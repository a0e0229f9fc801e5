from __future__ import annotations

import io

import numpy as np
from PIL import Image

from glpn_cli.data.sample import Sample
from glpn_cli.data.settings import Crop
from glpn_cli.evaluation.figure import WorstImages, draw_figure, resize_sparse
from glpn_cli.evaluation.scores import EvaluationProtocol, GroundTruth
from glpn_cli.evaluation.statistics import DepthProfile

PROTOCOL = EvaluationProtocol(Crop.NONE, 10.0, None)


def make_sample(name: str) -> Sample:
    meters = np.zeros((30, 600), np.float32)
    meters[::5, ::7] = 4.0  # sparse, as from a LiDAR
    return Sample(name, np.full((30, 600, 3), 200, np.uint8), meters, (30, 600))


def offer(worst: WorstImages, sample: Sample, *, factor: float = 1.0, abs_rel: float = 0.0) -> None:
    truth = GroundTruth.of(sample, PROTOCOL)
    worst.offer(sample, sample.meters * np.float32(factor), truth, {"abs_rel": abs_rel, "d1": 0.0})


def test_worst_images_are_sorted() -> None:
    worst = WorstImages(2)
    for name, error in (("good", 0.1), ("awful", 0.9), ("bad", 0.5), ("fair", 0.3)):
        offer(worst, make_sample(name), abs_rel=error)
    assert [row.caption.split()[0] for row in worst.rows] == ["awful", "bad"]
    assert worst.draw().height > 2 * 14


def test_sparse_depth_stays_visible_when_reduced() -> None:
    meters = make_sample("a").meters
    small = resize_sparse(np.where(meters > 0, meters, np.nan), (10, 100))
    assert np.isfinite(small).mean() > 0.4  # 3 percent of the original pixels
    assert set(small[np.isfinite(small)]) == {4.0}


def test_enlarging_repeats_values() -> None:
    values = np.array([[1.0, np.nan]])
    assert resize_sparse(values, (2, 4))[:, :2].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert np.isnan(resize_sparse(values, (2, 4))[:, 2:]).all()


def test_tall_image_has_limited_height() -> None:
    worst = WorstImages()
    offer(worst, Sample("strip", np.zeros((900, 16, 3), np.uint8), np.full((900, 16), 2, np.float32), (900, 16)))
    assert worst.draw().height < 800


def test_flat_wall_is_neither_black_nor_white() -> None:
    worst = WorstImages()
    sample = make_sample("a")
    sample.meters[:] = 4.0
    offer(worst, sample, factor=2.0)
    _, truth, predicted, error = (np.asarray(tile) for tile in worst.rows[0].tiles)
    assert 0 < truth.min() == truth.max() < 255
    assert (predicted == 255).all()
    assert (error == (255, 255, 0)).all()


def test_figure_is_png_with_error_as_line() -> None:
    profile = DepthProfile(10.0)
    truth = np.linspace(0.5, 9, 500)
    profile.add(truth, {"a name, näive": truth * 1.2, "other": truth * 3})
    worst = WorstImages()
    offer(worst, make_sample("\udcff broken [red]\nname"), factor=2.0, abs_rel=1.0)
    with Image.open(io.BytesIO(draw_figure("title", profile, worst.draw()))) as image:
        pixels = np.asarray(image)
    assert image.format == "PNG"
    blue = (pixels == (0, 114, 178)).all(axis=2)
    plot = blue[90:380, 60:]
    assert plot.any(axis=0).sum() > 800  # from the left to the right
    rows = np.nonzero(plot)[0]
    assert np.ptp(rows) < 12  # the error is the same at every depth
    yellow = (pixels == (255, 255, 0)).all(axis=2)
    assert yellow.any()  # twice the depth is beyond the error scale

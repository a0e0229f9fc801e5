from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.sample import Sample, SampleFiles, Samples
from glpn_cli.evaluation.figure import DepthProfile, WorstImages, _shrunk, draw_figure
from glpn_cli.evaluation.run import Evaluation, Protocol, Truth
from glpn_cli.settings import Crop, EvaluationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROTOCOL = Protocol(Crop.NONE, 10.0, None)


def sample(name: str) -> Sample:
    meters = np.zeros((30, 600), np.float32)
    meters[::5, ::7] = 4.0  # sparse, as from a LiDAR
    return Sample(name, np.full((30, 600, 3), 200, np.uint8), meters, (30, 600))


def test_the_worst_images_are_kept_and_the_worst_is_first() -> None:
    worst = WorstImages(keep=2)
    for name, error in (("good", 0.1), ("awful", 0.9), ("bad", 0.5), ("fair", 0.3)):
        given = sample(name)
        worst.offer(given, given.meters, Truth.of(given, PROTOCOL), {"abs_rel": error, "d1": 0.0})
    captions = [row.caption.split()[0] for _, _, row in sorted(worst._heap, reverse=True)]
    assert captions == ["awful", "bad"]
    assert worst.draw().height > 2 * 14


def test_sparse_depth_stays_visible_when_it_is_made_smaller() -> None:
    known = np.where(sample("a").meters > 0, sample("a").meters, np.nan)
    small = _shrunk(known, (10, 100))
    assert np.isfinite(small).mean() > 0.4  # of 3 percent
    assert set(small[np.isfinite(small)]) == {4.0}


def test_a_prediction_that_is_no_depth_is_drawn_as_it_is_measured() -> None:
    given = sample("a")
    given.meters[:] = 4.0
    broken = np.full_like(given.meters, np.nan)
    samples = Samples((SampleFiles("a", Path("a.jpg"), Path("a.png"), Path("a.jpg")),), 1000.0, kb_crop=False)

    class Broken:
        label = "broken"

        def predict(self, *_: object) -> NDArray[np.float32]:
            return broken

    worst = WorstImages()
    evaluation = Evaluation(samples, [Broken()], PROTOCOL, EvaluationSettings(), worst=worst)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Samples, "__getitem__", lambda *_: given)
        list(evaluation.run())
    ((_, _, row),) = worst._heap
    _, true, predicted, error = (np.asarray(tile) for tile in row.tiles)
    assert (error == (255, 255, 0)).all()
    assert (predicted == 0).all()
    assert (true > 0).all()  # a wall is neither black nor white


def test_a_image_that_is_a_strip_does_not_fill_a_scroll() -> None:
    strip = Sample("strip", np.zeros((900, 16, 3), np.uint8), np.full((900, 16), 2, np.float32), (900, 16))
    worst = WorstImages()
    worst.offer(strip, strip.meters, Truth.of(strip, PROTOCOL), {"abs_rel": 0.0, "d1": 1.0})
    assert worst.draw().height < 800


def test_the_figure_is_a_png_that_shows_error_as_a_line(tmp_path: object) -> None:
    profile = DepthProfile(10.0)
    true = np.linspace(0.5, 9, 500)
    profile.add(true, {"a name, näive": true * 1.2, "other": true * 3})
    worst = WorstImages()
    given = sample("\udcff broken [red]\nname")
    worst.offer(given, given.meters * 2, Truth.of(given, PROTOCOL), {"abs_rel": 1.0, "d1": 0.0})
    with Image.open(io.BytesIO(draw_figure("title", profile, worst.draw()))) as image:
        pixels = np.asarray(image)
    assert image.format == "PNG"
    blue = (pixels == (0, 114, 178)).all(axis=2)
    plot = blue[90:380, 60:]
    assert plot.any(axis=0).sum() > 800  # from one side to the other
    rows = np.nonzero(plot)[0]
    assert np.ptp(rows) < 12  # the error is the same everywhere
    yellow = (pixels == (255, 255, 0)).all(axis=2)
    assert yellow.any()  # twice the depth is an error beyond the scale

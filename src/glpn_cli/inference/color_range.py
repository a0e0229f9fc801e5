"""One range of depth for all images of a run, so that their colors can be compared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.errors import GLPNError
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.run import open_source
from glpn_cli.settings import DepthRange, RangeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from glpn_cli.depth import DepthMap
    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings

SAMPLE_SIZE = 16
"""Number of images whose depth is predicted to choose the range."""


def needs_range(formats: Iterable[DepthFormat], output: OutputSettings) -> bool:
    """Return whether a run writes images whose colors or grays span a range.

    A format with `normalize` spans a range only if one is set.
    """
    return any(
        "range" in row.settings and (output.range is not None or "normalize" not in row.settings) for row in formats
    )


def measure_run_range(
    predictor: Predictor,
    sample: Iterable[Source],
    output: OutputSettings,
    *,
    advance: Callable[[], None] = lambda: None,
) -> tuple[tuple[float, float], int]:
    """Choose the range of a run.

    A range in meters is used as it is. For percentiles the depth of the sample is predicted; each image counts the
    same, and unusable images are skipped. The ends are rounded outward to three digits, so that the same images always
    give the same range.

    Args:
        predictor: predicts the sample.
        sample: images, from `spread_sample`.
        output: the settings, with the range that was asked for.
        advance: is called after each image of the sample.

    Returns:
        Nearest and farthest depth in meters, and the number of images that were measured.
    """
    asked = output.range or DepthRange.parse("auto")
    if asked.mode is RangeMode.FIXED:
        return (asked.low, asked.high), 0
    depths = list(_predict_usable(predictor, sample, advance)) if asked.mode is RangeMode.PERCENTILES else []
    if not depths:
        return (0.0, predictor.card.depth_limit_m), 0
    from glpn_cli.output.color import measure_range

    low_m, high_m = measure_range(depths, asked)
    return (_rounded(low_m, math.floor), _rounded(high_m, math.ceil)), len(depths)


def spread_sample(images: Sequence[Source]) -> list[Source]:
    """Return a few images, evenly spread over all."""
    count = min(SAMPLE_SIZE, len(images))
    return [images[(2 * index + 1) * len(images) // (2 * count)] for index in range(count)]


def _predict_usable(predictor: Predictor, images: Iterable[Source], advance: Callable[[], None]) -> Iterator[DepthMap]:
    from glpn_cli.output.color import subsample_depth

    for image in images:
        try:
            opened, name = open_source(image, stopwatch=Stopwatch())
            yield subsample_depth(predictor.predict(opened, name=name))
        except GLPNError:
            continue  # it is reported when its turn comes
        finally:
            advance()


def _rounded(value: float, to_whole: Callable[[float], int]) -> float:
    if value <= 0:
        return 0.0
    digits = 2 - math.floor(math.log10(value))
    scaled = value * 10.0**digits
    whole = round(scaled) if math.isclose(scaled, round(scaled), rel_tol=1e-6) else to_whole(scaled)
    return round(whole / 10.0**digits, max(0, digits))

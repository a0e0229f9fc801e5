"""One range of depth for all images of a run, so that their colors can be compared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.errors import GLPNError
from glpn_cli.inference.source import open_source
from glpn_cli.inference.stopwatch import Stopwatch
from glpn_cli.output.ranges import measure_range, thin_out
from glpn_cli.settings.output import DepthRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from glpn_cli.depth import DepthMap
    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings.output import OutputSettings

__all__ = ["SAMPLE_SIZE", "is_range_needed", "measure_run_range", "spread_sample"]

SAMPLE_SIZE = 16
"""How many images are looked at beforehand: enough for percentiles, and soon done."""


def is_range_needed(formats: Iterable[DepthFormat], settings: OutputSettings) -> bool:
    """Tell whether a run writes images whose colors or grays stand for a range."""
    names = {row.name for row in formats}
    return "color" in names or ("png" in names and settings.range is not None)


def measure_run_range(
    predictor: Predictor,
    sample: Iterable[Source],
    settings: OutputSettings,
    *,
    advance: Callable[[], None] = lambda: None,
) -> tuple[tuple[float, float], int]:
    """Settle the range of a run.

    Meters are taken as they are. For percentiles the depth of the sample is predicted beforehand; each image counts
    the same, and those that cannot be used are passed over. The ends are rounded outwards to three digits, so that the
    same images give the same range.

    Args:
        predictor: computes.
        sample: what to look at, from `spread_sample`.
        settings: what the user asked for.
        advance: is called after each image that was looked at.

    Returns:
        Nearest and farthest depth in meters, and how many images were looked at.
    """
    asked = settings.range or DepthRange.parse("auto")
    if asked.mode == "fixed":
        return (asked.low, asked.high), 0
    if asked.mode == "model":
        return (0.0, predictor.card.depth_limit_m), 0
    depths = list(_predictable(predictor, sample, advance))
    if not depths:
        return (0.0, predictor.card.depth_limit_m), 0
    low_m, high_m = measure_range(depths, asked)
    return (_rounded(low_m, math.floor), _rounded(high_m, math.ceil)), len(depths)


def spread_sample(images: Sequence[Source]) -> list[Source]:
    """Take some images, evenly spread over all."""
    count = min(SAMPLE_SIZE, len(images))
    return [images[(2 * index + 1) * len(images) // (2 * count)] for index in range(count)]


def _predictable(predictor: Predictor, images: Iterable[Source], advance: Callable[[], None]) -> Iterator[DepthMap]:
    for image in images:
        try:
            opened, name = open_source(image, stopwatch=Stopwatch())
            yield thin_out(predictor.predict(opened, name=name))
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

"""What decides the contents of a batch's outputs, as its manifest says it, and whether that is still so.

One range of depth for all images of a run, so that their colors can be compared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import GLPNError
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.source import open_source
from glpn_cli.output.color import measure_range, thin_out
from glpn_cli.settings import DepthRange, Tta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from glpn_cli.depth import DepthMap
    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.manifest import Record
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings


RANGE_M = "range_m"

"""What the manifest calls the range of the run."""


def made_how(formats: Sequence[DepthFormat], settings: OutputSettings, predictor: Predictor) -> dict[str, Any]:
    """Give everything that decides what is in the outputs, but for what the range of the run comes to."""
    how: dict[str, Any] = {
        "format": sorted(row.name for row in formats),  # their order means nothing
        "normalize": str(settings.normalize),
        "scale": str(settings.scale),
        "weights_sha256": predictor.weights_sha256,
        "input_size": str(predictor.input_size),
        "tiles": str(predictor.tiles),
        "precision": str(predictor.runtime.precision),
    } | settings.that_differ()
    if predictor.tta is not Tta.NONE:
        how["tta"] = str(predictor.tta)
    if any(row.needs_camera for row in formats):
        how["camera"] = str(predictor.camera)
    return how


def changed_settings(records: Iterable[Record], now: Mapping[str, Any]) -> str:
    """Say how the outputs that are there were made in another way; empty if they were not."""
    for record in records:
        changes = [
            f"{name.replace('_', '-')} was {before} and is {after}"
            for name in dict.fromkeys([*now, *record.settings])
            if record.is_done
            and name != RANGE_M
            and (before := record.settings.get(name, "left out")) != (after := now.get(name, "left out"))
        ]
        if changes:
            return "; ".join(changes)
    return ""


def range_of_before(records: Iterable[Record]) -> tuple[float, float] | None:
    """Give the range that the images that are done have, so that the others get the same."""
    for record in records:
        ends = record.settings.get(RANGE_M)
        if record.is_done and isinstance(ends, list) and len(ends) == 2:
            return float(ends[0]), float(ends[1])
    return None


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

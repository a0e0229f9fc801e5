"""One range of depth for all images of a run, so that their colors can be compared."""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from glpn_cli.errors import GLPNError, OutputError, OutputExistsError
from glpn_cli.files import read_json, write_together
from glpn_cli.image.discovery import STDIN
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.plan import MemoryImage
from glpn_cli.inference.remote import RemotePredictor
from glpn_cli.inference.run import open_source
from glpn_cli.output.formats import spans_range
from glpn_cli.values import DepthRange, RangeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.progress import BatchProgress
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings

_DIGEST_DIGITS = 12

_Image = TypeVar("_Image")

SAMPLE_SIZE = 16
"""Number of images whose depth is predicted to choose the range."""


def shares_range(formats: Iterable[DepthFormat], output: OutputSettings) -> bool:
    """Return whether all images that are written span the same range, which the settings or the run determine."""
    is_same = output.range_m is not None or (
        output.range is not None and output.range.mode is not RangeMode.PERCENTILES
    )
    return is_same and spans_range(formats, output)


def choose_run_range(
    predictor: Predictor | RemotePredictor,
    sources: Iterable[Source | str | MemoryImage],
    output: OutputSettings,
    progress: BatchProgress,
) -> tuple[float, float]:
    """Return the range that all images of a run share, meters: the one that is set, or one that suits most images.

    Args:
        predictor: predicts a sample of the images.
        sources: all images of the run. Only files and URLs can be in the sample.
        output: settings for which `shares_range` is true.
        progress: is notified of what happens.
    """
    if output.range_m is not None:
        return output.range_m
    sample = spread_sample(
        [source for source in sources if not isinstance(source, str | MemoryImage) and source is not STDIN]
    )
    if output.range is None or output.range.mode is not RangeMode.RUN:
        sample = []
    if sample:
        progress.start("color range", len(sample))
    try:
        (low_m, high_m), measured = measure_run_range(predictor, sample, output, advance=progress.advance)
    finally:
        if sample:
            progress.stop()
    source = f" (from a sample of {measured})" if measured else ""
    progress.info(f"color range of all images: {low_m:g} to {high_m:g} m{source}")
    return low_m, high_m


def share_range(
    folder: Path, settings: dict[str, Any], choose: Callable[[], tuple[float, float]]
) -> tuple[float, float]:
    """Return the range that all shards of a batch share, meters: that of the first one that chooses.

    Args:
        folder: the output folder; a hidden file there has the range.
        settings: what determines the content of the outputs; others have another range.
        choose: chooses the range.

    Raises:
        OutputError: the file is damaged, or the file system refuses.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_DIGEST_DIGITS]
    path = folder / f".glpn-batch.range-{digest}.json"
    if not path.exists():
        low_m, high_m = choose()
        with suppress(OutputExistsError):  # another shard was faster
            write_together([(path, json.dumps({"range_m": [low_m, high_m]}).encode())], overwrite=False)
    try:
        low_m, high_m = map(float, read_json(path, OutputError)["range_m"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path}: is not a range", hint="remove the file") from error
    return low_m, high_m


def measure_run_range(
    predictor: Predictor | RemotePredictor,
    sample: Iterable[Source],
    output: OutputSettings,
    *,
    advance: Callable[[], None] = lambda: None,
) -> tuple[tuple[float, float], int]:
    """Choose the range of a run.

    A range in meters, or that of the model, is used as it is. Else the depth of the sample is predicted, and the range
    spans those of its images; see `join_ranges`. Unusable images are skipped. The ends are rounded outward to three
    digits, so that the same images always give the same range.

    Args:
        predictor: predicts the sample.
        sample: images, from `spread_sample`.
        output: the settings, with the range that was asked for.
        advance: is called after each image of the sample.

    Returns:
        Nearest and farthest depth in meters, and the number of images that were measured.
    """
    asked = output.range or DepthRange.parse("run")
    if asked.mode is RangeMode.FIXED:
        return (asked.low, asked.high), 0
    ranges = list(_measure(predictor, sample, advance)) if asked.mode is RangeMode.RUN else []
    if not ranges:
        return (0.0, predictor.card.depth_limit_m), 0
    low_m, high_m = join_ranges(ranges)
    return (_rounded(low_m, math.floor), _rounded(high_m, math.ceil)), len(ranges)


def join_ranges(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the range that spans those of several images, apart from outliers such as a few images with sky.

    The near ends and the far ends are judged by themselves, as logarithms. An end is an outlier if it lies outside of
    the quartiles by more than 1.5 times their distance and by more than a factor of 2. Up to a quarter of the images
    can thus not stretch the range.

    Args:
        ranges: nearest and farthest depth of each image, meters, above 0; at least one.

    Source: the fences of Tukey's box plots (Exploratory Data Analysis, 1977); the factor keeps the ends of a run whose
    images are nearly alike.
    """
    import numpy as np

    ends = np.log(np.array(ranges, np.float64))
    first, third = np.quantile(ends, (0.25, 0.75), axis=0)
    reach = np.maximum(1.5 * (third - first), math.log(2))
    usual = (ends >= first - reach) & (ends <= third + reach)
    return math.exp(ends[usual[:, 0], 0].min()), math.exp(ends[usual[:, 1], 1].max())


def spread_sample(images: Sequence[_Image]) -> list[_Image]:
    """Return a few images, evenly spread over all."""
    count = min(SAMPLE_SIZE, len(images))
    return [images[(2 * index + 1) * len(images) // (2 * count)] for index in range(count)]


def measure_usable(predictor: Predictor, images: Iterable[Source]) -> Iterator[tuple[float, float] | None]:
    """Yield the range of each image, meters; None for those that cannot be read and those without known depth."""
    from glpn_cli.depth import is_known
    from glpn_cli.output.color import measure_range

    for image in images:
        try:
            opened, name = open_source(image, stopwatch=Stopwatch())
            depth = predictor.predict(opened, name=name)
            yield measure_range(depth, DepthRange.parse("auto")) if is_known(depth.meters).any() else None
        except GLPNError:
            yield None  # it is reported when its turn comes


def _measure(
    predictor: Predictor | RemotePredictor, images: Iterable[Source], advance: Callable[[], None]
) -> Iterator[tuple[float, float]]:
    """Yield the range of each usable image, meters."""
    ranges = predictor.measure(images) if isinstance(predictor, RemotePredictor) else measure_usable(predictor, images)
    for range_m in ranges:
        advance()
        if range_m is not None:
            yield range_m


def _rounded(value: float, to_whole: Callable[[float], int]) -> float:
    if value <= 0:
        return 0.0
    digits = 2 - math.floor(math.log10(value))
    scaled = value * 10.0**digits
    whole = round(scaled) if math.isclose(scaled, round(scaled), rel_tol=1e-6) else to_whole(scaled)
    return round(whole / 10.0**digits, max(0, digits))

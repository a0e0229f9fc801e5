"""What determines the content of outputs, as the manifest of a batch and the metadata of a file record it."""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from glpn_cli._version import __version__
from glpn_cli.output.formats import FORMATS, spans_range
from glpn_cli.values import Colormap, Curve, Normalize, RangeMode, Tta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glpn_cli.geometry.measure import Anchor
    from glpn_cli.inference.facts import PredictorFacts
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings

RANGE_M = "range_m"
"""The key of the range that all images share. It follows from other settings or the images, so a different range is
not a changed setting."""

_UNSET = "unset"

_WITHOUT_EFFECT = frozenset(
    {"weights", "device", "engine", "threads", "max_pixels", "offline", "keep_rgb", "png_compression"}
)
"""Settings that do not determine what is in a file. The weights count by their SHA-256, not by their name. Engines, as
devices, differ in the last digits of one precision."""

_PLAIN_NAMES = {"weights_sha256": "the SHA-256 of the weights"}
"""Entries of a fingerprint that are not settings."""


def fingerprint(
    formats: Sequence[DepthFormat], output: OutputSettings, predictor: Predictor | PredictorFacts
) -> dict[str, Any]:
    """Return the settings and weights that determine what is in the outputs, without the range of the run.

    Args:
        formats: the formats that are written.
        output: numbers and colors of the files.
        predictor: its weights, sizes and precision count.
    """
    values: dict[str, Any] = {
        "format": sorted(row.name for row in formats),  # the order is irrelevant
        "normalize": str(output.normalize or Normalize.MAX),
        "scale": str(output.scale),
        "weights_sha256": predictor.weights_sha256,
        "input_size": str(predictor.input_size),
        "tiles": str(predictor.settings.tiles),
        "precision": str(predictor.runtime.precision),
    } | {name: value for name, value in output.changed().items() if name != "png16_scale"}
    if values.get("colormap") == Colormap.TURBO:
        del values["colormap"]  # the default, also if it is set
    if spans_range(formats, output):
        has_colors = any("normalize" not in row.settings and "range" in row.settings for row in formats)
        values["curve"] = str(output.curve or (Curve.INVERSE if has_colors else Curve.LINEAR))
    if predictor.config_sha256 is not None:
        values["config_sha256"] = predictor.config_sha256
    if predictor.settings.tta is not Tta.NONE:
        values["tta"] = str(predictor.settings.tta)
    if predictor.settings.stretch:
        values["stretch"] = "True"
    if predictor.sharp_edges:
        values["sharp_edges"] = "True"
    if predictor.card.canonical_depth or any(row.needs_camera for row in formats):
        values["camera"] = str(predictor.calibration or predictor.settings.camera_settings)
    if any(row.name == "png16" for row in formats):
        values |= _png16_scale(output, predictor.card.depth_limit_m)
    return values


def _png16_scale(output: OutputSettings, limit_m: float | None) -> dict[str, str]:
    """Return the scale of png16, unless it is the one that version 0.1 chose from the depth limit of the weights.

    Manifests of that version do not have it, so a run with the scale of then resumes, and another is refused.
    """
    of_then = 1000 if limit_m is not None and limit_m <= 65 else 256
    return {} if output.png16_scale == of_then else {"png16_scale": f"{output.png16_scale:g}"}


def file_fingerprint(
    row: DepthFormat, output: OutputSettings, predictor: Predictor, anchors: Sequence[Anchor] = ()
) -> str:
    """Return a digest of everything but the image that determines what is in a file, for its metadata.

    All settings count unless they are known to have no effect, and so does the version of the program: two equal
    digests of one image mean equal contents, up to the last digits that differ between devices.

    Args:
        row: the format of the file.
        output: numbers and colors of the files.
        predictor: its weights, sizes and precision count.
        anchors: known distances.
    """
    of_other_formats = {name for other in FORMATS.values() for name in other.settings} - set(row.settings)
    values: dict[str, Any] = {
        item.name: str(getattr(settings, item.name))
        for settings in (predictor.settings, output)
        for item in fields(settings)
        if item.name not in _WITHOUT_EFFECT | of_other_formats
    }
    values |= {
        "version": __version__,
        "format": row.name,
        "weights_sha256": predictor.weights_sha256,
        "config_sha256": predictor.config_sha256,
        "camera": str(predictor.calibration or predictor.settings.camera_settings),
        "input_size": str(predictor.input_size),
        "sharp_edges": predictor.sharp_edges,
        "precision": str(predictor.runtime.precision),
        "anchors": [asdict(anchor) for anchor in anchors],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def changed_settings(records: Iterable[Record], now: Mapping[str, Any]) -> str:
    """Return how the settings of finished images differ from the current ones, in one line; empty if they do not.

    Args:
        records: what earlier runs wrote.
        now: the fingerprint of this run.
    """
    for record in records:
        settings = _with_curve(record.settings)
        changes = [
            f"{_PLAIN_NAMES.get(name, f'`{name}`')} was {before}, now {after}"
            for name in dict.fromkeys([*now, *settings])
            if record.is_done
            and name != RANGE_M
            and (before := settings.get(name, _UNSET)) != (after := now.get(name, _UNSET))
        ]
        if changes:
            return "; ".join(changes)
    return ""


def previous_range(records: Iterable[Record]) -> tuple[float, float] | None:
    """Return the range of the finished images, meters, so that the others get the same."""
    for record in records:
        ends = record.settings.get(RANGE_M)
        if record.is_done and isinstance(ends, list) and len(ends) == 2:
            with suppress(TypeError, ValueError, OverflowError):  # of an edited manifest
                low_m, high_m = map(float, ends)
                if 0 <= low_m <= high_m < math.inf:
                    return low_m, high_m
    return None


def _with_curve(settings: dict[str, Any]) -> dict[str, Any]:
    """Return recorded settings in the terms of today.

    Earlier versions had no curve: colors were linear in meters, and the images of a run shared their range, also in
    percentiles. Return the settings that give the same today.
    """
    formats = settings.get("format")
    spanned = isinstance(formats, list) and ("color" in formats or "png" in formats)
    if not spanned or RANGE_M not in settings or "curve" in settings:
        return settings
    asked = str(settings.get("range", "auto"))
    shared = {"range": str(RangeMode.RUN)} if asked == "auto" or asked.startswith("p") else {}
    return settings | {"curve": str(Curve.LINEAR)} | shared

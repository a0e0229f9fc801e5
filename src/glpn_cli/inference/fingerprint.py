"""What determines the content of a batch's outputs, as its manifest records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glpn_cli.settings import Normalize, Tta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glpn_cli.inference.manifest import Record
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings

RANGE_M = "range_m"
"""The key of the run's range. It follows from the images, so a different range is not a changed setting."""

_UNSET = "unset"


def fingerprint(formats: Sequence[DepthFormat], output: OutputSettings, predictor: Predictor) -> dict[str, Any]:
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
    } | output.changed()
    if predictor.settings.tta is not Tta.NONE:
        values["tta"] = str(predictor.settings.tta)
    if predictor.sharp_edges:
        values["sharp_edges"] = "True"
    if any(row.needs_camera for row in formats):
        values["camera"] = str(predictor.settings.camera)
    return values


def changed_settings(records: Iterable[Record], now: Mapping[str, Any]) -> str:
    """Return how the settings of finished images differ from the current ones, in one line; empty if they do not.

    Args:
        records: what earlier runs wrote.
        now: the fingerprint of this run.
    """
    for record in records:
        changes = [
            f"`{name}` was {before}, now {after}"
            for name in dict.fromkeys([*now, *record.settings])
            if record.is_done
            and name != RANGE_M
            and (before := record.settings.get(name, _UNSET)) != (after := now.get(name, _UNSET))
        ]
        if changes:
            return "; ".join(changes)
    return ""


def previous_range(records: Iterable[Record]) -> tuple[float, float] | None:
    """Return the range of the finished images, meters, so that the others get the same."""
    for record in records:
        ends = record.settings.get(RANGE_M)
        if record.is_done and isinstance(ends, list) and len(ends) == 2:
            return float(ends[0]), float(ends[1])
    return None

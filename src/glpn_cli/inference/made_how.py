"""What decides the contents of a batch's outputs, as its manifest says it, and whether that is still so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glpn_cli.settings.prediction import Tta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glpn_cli.inference.manifest import Record
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings.output import OutputSettings

__all__ = ["RANGE_M", "changed_settings", "made_how", "range_of_before"]

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

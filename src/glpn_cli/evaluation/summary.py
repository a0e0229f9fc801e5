"""What an evaluation came to, ready for JSON; docs/evaluation.md lists the fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glpn_cli.evaluation.run import Evaluation, Figure

__all__ = ["summarize"]


def summarize(evaluation: Evaluation, data: str) -> dict[str, Any]:
    """Give everything but the images.

    Args:
        evaluation: finished, or without an image that could be measured.
        data: as the user named it.
    """
    predictions: dict[str, Any] = {}
    for column, figures in evaluation.figures().items():
        entry = predictions.setdefault(column.label, {})
        entry[str(column.align or "unaligned")] = _numbers(figures)
    settings, protocol = evaluation.settings, evaluation.protocol
    return {
        "status": "summary",
        "data": data,
        "images": len(evaluation.images),
        "failed": len(evaluation.failures),
        "crop": str(protocol.crop),
        "cap_m": protocol.cap_m,
        "align": None if protocol.align is None else str(protocol.align),
        "confidence_percent": settings.confidence_percent if settings.resamples else None,
        "resamples": settings.resamples,
        "seed": settings.seed,
        "ramp": evaluation.ramp,
        "predictions": predictions,
        "differences": [
            {
                "ours": item.ours.label,
                "theirs": item.theirs.label,
                "align": None if item.ours.align is None else str(item.ours.align),
                "figures": _numbers(item.figures),
            }
            for item in evaluation.differences()
        ],
        "by_depth": evaluation.profile.to_rows(),
    }


def _numbers(figures: dict[str, Figure]) -> dict[str, dict[str, float]]:
    return {
        name: {"mean": figure.mean}
        | ({} if figure.interval is None else {"low": figure.interval.low, "high": figure.interval.high})
        for name, figure in figures.items()
    }

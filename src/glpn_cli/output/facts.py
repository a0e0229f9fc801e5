"""What a file says of itself: one dictionary that every format with room for text carries as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from glpn_cli.depth import Camera, Provenance
from glpn_cli.settings import Scale

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap

__all__ = ["KEYWORD", "camera_of", "facts_from_json", "facts_to_json", "provenance_of", "state_facts"]

KEYWORD = "glpn"
"""The name under which a format with named texts carries the facts."""


def state_facts(format_name: str, depth: DepthMap, scale: Scale = Scale.METRES, **particular: Any) -> dict[str, Any]:
    """State what is in a file and where it came from.

    Args:
        format_name: of `FORMATS`.
        depth: what is being written.
        scale: of the numbers in the file.
        **particular: what only this format has to say, ready for JSON.

    Returns:
        `format`, `scale`, `metres_per_unit` (the factor from the file's numbers to metres), what is particular,
        `camera` if there is one, and `provenance`.
    """
    published = depth.provenance.metres_per_unit if scale is Scale.PUBLISHED else None
    return {
        "format": format_name,
        "scale": str(scale),
        "metres_per_unit": published or 1.0,
        **particular,
        **({} if depth.camera is None else {"camera": depth.camera.to_dict()}),
        "provenance": depth.provenance.to_dict(),
    }


def facts_to_json(facts: dict[str, Any]) -> str:
    """Write facts as ASCII text."""
    return json.dumps(facts)


def facts_from_json(text: object) -> dict[str, Any] | None:
    """Read what `facts_to_json` wrote; None for anything else."""
    try:
        facts = json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("provenance"), dict) else None


def provenance_of(facts: dict[str, Any], *, approximate: bool = False) -> Provenance:
    """Give the provenance that facts state.

    Raises:
        TypeError: somebody edited them.
    """
    known = dict(facts["provenance"])
    return Provenance.from_dict(known | {"approximate": True} if approximate else known)


def camera_of(facts: dict[str, Any]) -> Camera | None:
    """Give the camera that facts state.

    Raises:
        KeyError, TypeError, ValueError: somebody edited them.
    """
    return Camera.from_dict(facts["camera"]) if "camera" in facts else None

"""What a file says of itself: one dictionary that every format with room for text carries as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import DepthFileError
from glpn_cli.files import modernize
from glpn_cli.settings import Scale

KEYWORD = "glpn"
"""The name under which a format with named texts carries the facts."""


def state_facts(format_name: str, depth: DepthMap, scale: Scale = Scale.METERS, **particular: Any) -> dict[str, Any]:
    """State what is in a file and where it came from.

    Args:
        format_name: of `FORMATS`.
        depth: what is being written.
        scale: of the numbers in the file.
        **particular: what only this format has to say, ready for JSON.

    Returns:
        `format`, `scale`, `meters_per_unit` (the factor from the file's numbers to meters), what is particular,
        `camera` if there is one, and `provenance`.
    """
    published = depth.provenance.meters_per_unit if scale is Scale.PUBLISHED else None
    return {
        "format": format_name,
        "scale": str(scale),
        "meters_per_unit": published or 1.0,
        **particular,
        **({} if depth.camera is None else {"camera": depth.camera.to_dict()}),
        "provenance": depth.provenance.to_dict(),
    }


def origin(depth: DepthMap) -> str:
    """Say in a line for people what depth this is: of what, by which weights."""
    known = depth.provenance
    of_what = f" of {known.source}" if known.source else ""
    by_what = f" by the weights {known.weights}" if known.weights else ""
    digest = f" (sha256 {known.weights_sha256})" if known.weights_sha256 else ""
    roughly = ", approximate" if known.metric is False else ""
    # A file name may hold halves of characters and line ends, which no text field takes.
    return f"depth{of_what}{by_what}{digest}{roughly}".encode("utf-8", "replace").decode().replace("\n", " ")


def depth_from_facts(
    values: np.ndarray, facts: dict[str, Any], name: str, *, uncertainty: np.ndarray | None = None
) -> DepthMap:
    """Turn the numbers of a file into depth, as its facts say.

    Args:
        values: (H, W) floating point, in the file's scale.
        facts: what the file says of itself.
        name: of the file, for messages.
        uncertainty: likewise, if there is any.

    Raises:
        DepthFileError: they do not fit each other.
    """
    if any(array is not None and array.dtype.kind != "f" for array in (values, uncertainty)):
        raise DepthFileError(f"{name}: holds {values.dtype}, not depth", hint="depth is floating point")
    try:
        factor = np.float32(facts["meters_per_unit"])
        return DepthMap(
            np.ascontiguousarray(values, np.float32) * factor,
            provenance_of(facts),
            camera=camera_of(facts),
            uncertainty_m=None if uncertainty is None else np.ascontiguousarray(uncertainty, np.float32) * factor,
        )
    except (KeyError, TypeError, ValueError) as error:  # somebody edited the file
        raise DepthFileError(f"{name}: what it says of its numbers makes no sense") from error


def facts_to_json(facts: dict[str, Any]) -> str:
    """Write facts as ASCII text."""
    return json.dumps(facts)


def facts_from_json(text: object) -> dict[str, Any] | None:
    """Read what `facts_to_json` wrote; None for anything else."""
    try:
        facts = modernize(json.loads(text)) if isinstance(text, str | bytes) else None
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

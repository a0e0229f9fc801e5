"""The npz format: depth with all that is known of it, for numpy."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.errors import DepthFileError
from glpn_cli.output.facts import depth_from_facts, facts_from_json, facts_to_json, state_facts

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings


_FACTS, _DEPTH, _UNCERTAINTY = "metadata", "depth", "uncertainty"


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into an npz file: `metadata` (JSON), `depth` (H, W) float32 and, where there is one, `uncertainty`."""
    facts = state_facts("npz", depth, settings.scale)
    arrays: dict[str, Any] = {_FACTS: np.array(facts_to_json(facts)), _DEPTH: depth.in_scale(settings.scale)}
    if depth.uncertainty_m is not None:
        arrays[_UNCERTAINTY] = depth.uncertainty_m / np.float32(facts["meters_per_unit"])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def decode(data: bytes, name: str) -> DepthMap:
    """Read depth, uncertainty and provenance back.

    Raises:
        DepthFileError: the file is damaged, or none of ours.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            text = str(arrays[_FACTS]) if _FACTS in arrays else ""
            depth = arrays.get(_DEPTH)
            uncertainty = arrays.get(_UNCERTAINTY)
    except Exception as error:  # a broken zip or a garbled header makes the parsers raise anything
        raise DepthFileError(f"{name}: is a damaged npz file") from error
    facts = facts_from_json(text)
    if depth is None or facts is None:
        raise DepthFileError(f"{name}: is no npz file of glpn", hint="those hold 'depth' and 'metadata'")
    return depth_from_facts(depth, facts, name, uncertainty=uncertainty)


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:
    """Give what the file says of itself, without reading the depth."""
    try:
        with np.load(stream, allow_pickle=False) as arrays:
            return facts_from_json(str(arrays[_FACTS]))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it says nothing
        return None

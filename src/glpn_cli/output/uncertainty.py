"""The uncertainty format: by how much the network's answers differ, as float32 meters in a TIFF."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from glpn_cli.errors import UsageError
from glpn_cli.output import tiff
from glpn_cli.output.facts import origin, state_facts
from glpn_cli.output.tiff import describe

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings


read_facts = tiff.read_facts


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:  # noqa: ARG001 - meters in any case
    """Turn the uncertainty of depth into an uncompressed 32-bit floating-point TIFF, meters.

    Raises:
        UsageError: nobody estimated it.
    """
    if depth.uncertainty_m is None:
        raise UsageError("nobody estimated how uncertain this depth is", hint="predict with --tta flip")
    facts = state_facts("uncertainty", depth, unit="meter")
    tags = describe(depth, f"half the difference of two answers, meters; {origin(depth)}", facts)
    buffer = io.BytesIO()
    Image.fromarray(depth.uncertainty_m).save(buffer, "TIFF", tiffinfo=tags)
    return buffer.getvalue()

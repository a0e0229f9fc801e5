"""PNG files that say what their pixels mean: what the formats that are PNGs have in common."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from glpn_cli.errors import DepthFileError
from glpn_cli.output.facts import KEYWORD, facts_from_json, facts_to_json

if TYPE_CHECKING:
    from numpy.typing import NDArray


_KINDS = {"1": "black and white", "L": "8-bit grays", "I;16": "16-bit values", "I": "16-bit values"}
_HINT = "only PNGs of glpn do"
_HINTS = {"16-bit values": "data sets mostly have thousandths of a meter (NYU Depth V2) or 256ths (KITTI)"}


def write_png(pixels: NDArray[Any], facts: dict[str, Any], description: str, *, compression: int) -> bytes:
    """Turn pixels into a PNG with its facts in front of them.

    Args:
        pixels: (H, W) uint8 or uint16, or (H, W, 3) uint8.
        facts: for programs.
        description: the same for people, one line.
        compression: 0 (none) to 9 (smallest).
    """
    text = PngInfo()
    text.add_text(KEYWORD, facts_to_json(facts))
    text.add_text("Description", description)
    text.add_text("Software", facts["provenance"].get("tool", "glpn-cli"))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=text, compress_level=compression)
    return buffer.getvalue()


def open_png(data: bytes, name: str) -> tuple[NDArray[Any], dict[str, Any]]:
    """Read the pixels and the facts of one of our PNGs.

    Raises:
        DepthFileError: it is damaged, or nobody's we know.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            facts, kind = facts_from_json(image.info.get(KEYWORD)), _KINDS.get(image.mode, "colors")
            pixels = np.asarray(image)
    except Exception as error:  # Pillow raises whatever its parsers raise
        raise DepthFileError(f"{name}: is a damaged PNG") from error
    if facts is None:
        raise DepthFileError(f"{name}: holds {kind} and does not say what they mean", hint=_HINTS.get(kind, _HINT))
    return pixels, facts


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:
    """Give what a PNG of ours says of itself, from the text in front of its pixels."""
    try:
        with Image.open(stream, formats=["PNG"]) as image:
            return facts_from_json(image.info.get(KEYWORD))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it says nothing
        return None

"""The png format: 8-bit grey to look at, which says in its text what its grey values mean."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from glpn_cli.depth import DepthMap, Provenance
from glpn_cli.errors import DepthFileError
from glpn_cli.settings import Normalize, Scale

if TYPE_CHECKING:
    from glpn_cli.settings import OutputSettings

__all__ = ["MAGIC", "decode", "encode", "is_ours"]

MAGIC = b"\x89PNG\r\n\x1a\n"

_KEYWORD = "glpn"
_WHITE = 255


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into an 8-bit grey PNG; near is dark.

    "max" is the documented formula, `255·depth/max(depth)` truncated; "minmax" that of transformers' pipeline.
    A flat map, where either would divide by zero, is black.

    Source: transformers v4.37.2 documentation of GLPNForDepthEstimation; v4.46 depth-estimation pipeline.
    """
    values = depth.in_scale(settings.scale)
    high = float(values.max())
    low = float(values.min()) if settings.normalize is Normalize.MINMAX else 0.0
    if high <= low:
        grey = np.zeros(values.shape, np.uint8)
    elif settings.normalize is Normalize.MAX:
        grey = (values * _WHITE / np.float32(high)).astype(np.uint8)
    else:
        # The order of the operations is the pipeline's: another one rounds other pixels down.
        grey = ((values - np.float32(low)) / np.float32(high - low) * _WHITE).astype(np.uint8)
    metres_per_unit = 1.0
    if settings.scale is Scale.PUBLISHED:
        metres_per_unit = depth.provenance.metres_per_unit or 1.0
    facts = {
        "kind": "view",
        "scale": str(settings.scale),
        "metres_per_unit": metres_per_unit,
        "low": low,
        "high": high,
        "normalize": str(settings.normalize),
        "provenance": depth.provenance.to_dict(),
    }
    low_m, span_m = low * metres_per_unit, (high - low) * metres_per_unit
    text = PngInfo()
    text.add_text(_KEYWORD, json.dumps(facts))
    text.add_text("Description", f"depth to look at: about {low_m:.6g} m + grey / 255 * {span_m:.6g} m")
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", pnginfo=text, compress_level=settings.png_compression)
    return buffer.getvalue()


def decode(data: bytes, name: str) -> DepthMap:
    """Read depth back from one of our pictures, to within one of its 255 steps.

    A grey value stands for the middle of what it was truncated from, but white for the farthest depth itself.

    Raises:
        DepthFileError: the file is damaged, or no picture of ours.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            facts = _facts(image)
            grey = np.asarray(image)
    except Exception as error:  # Pillow raises whatever its parsers raise
        raise DepthFileError(f"{name}: is a damaged PNG") from error
    if facts is None:
        raise DepthFileError(f"{name}: does not say what its grey values mean", hint="only PNGs of glpn do")
    try:
        low, high, metres_per_unit = (float(facts[name]) for name in ("low", "high", "metres_per_unit"))
        provenance = Provenance.from_dict({**facts["provenance"], "approximate": True})
        steps = np.minimum(grey.astype(np.float32) + np.float32(0.5), _WHITE)
        values = np.float32(low) + steps * np.float32((high - low) / _WHITE)
        return DepthMap(values * np.float32(metres_per_unit), provenance)
    except (KeyError, TypeError, ValueError) as error:  # somebody edited the text
        raise DepthFileError(f"{name}: what it says of its grey values makes no sense") from error


def is_ours(path: str) -> bool:
    """Tell whether a file is a picture of depth that this program wrote."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return _facts(image) is not None
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not ours
        return False


def _facts(image: Image.Image) -> dict[str, Any] | None:
    text = image.info.get(_KEYWORD)  # in front of the pixels, so opening the file is enough
    return json.loads(text) if isinstance(text, str) else None

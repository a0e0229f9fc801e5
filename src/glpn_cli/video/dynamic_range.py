"""High dynamic range to ordinary images: PQ and HLG in BT.2020 become 8-bit sRGB, as the network was trained on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PQ, HLG = "PQ", "HLG"
HDR_CURVES = {16: PQ, 18: HLG}
"""The transfer curves of high dynamic range, by their number in H.273."""

WHITE_NITS = 203.0
"""The brightness of a white page. Source: ITU-R BT.2408, HDR reference white."""

_PEAK_NITS = 1000.0
_KNEE = 0.7
"""Up to this fraction of white, brightness stays as it is; what is above is compressed up to the peak."""

_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # Source: ITU-R BT.2087

_LEVELS = 4096
"""Steps of the tables: finer than 10 bits of a video, and than 8 bits of the result."""


def to_sdr(rgb: NDArray[np.uint16], curve: str) -> NDArray[np.uint8]:
    """Return a high dynamic range image as an ordinary one.

    Args:
        rgb: (H, W, 3) uint16, BT.2020 primaries, on the curve.
        curve: `PQ` or `HLG`.

    Returns:
        (H, W, 3) uint8, sRGB, in [0, 255]. Highlights above white are compressed, colors outside sRGB are clipped.
    """
    light = _linear_table(curve)[rgb >> 4]  # white is 1
    if curve == HLG:
        # The scene's light becomes the display's. Source: ITU-R BT.2100, table 5, a display of 1000 nits.
        luminance = light @ np.array([0.2627, 0.678, 0.0593], np.float32)
        light *= (np.maximum(luminance, 1e-6) ** np.float32(0.2))[..., None] * np.float32(_PEAK_NITS / WHITE_NITS)
    light = np.maximum(light @ _BT2020_TO_BT709.T, np.float32(0))
    brightest = light.max(axis=-1, keepdims=True)
    light *= _compress(brightest) / np.maximum(brightest, np.float32(1e-6))
    steps = np.rint(np.clip(light, 0, 1) * np.float32(_LEVELS - 1)).astype(np.uint16)
    encoded: NDArray[np.uint8] = _srgb_table()[steps]
    return encoded


def _compress(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return brightness in [0, 1]: unchanged up to the knee, then ever flatter up to the peak."""
    peak = _PEAK_NITS / WHITE_NITS
    place = np.clip((light - _KNEE) / (peak - _KNEE), 0, 1)
    slope = (peak - _KNEE) / (1 - _KNEE)  # the curve has no bend at the knee
    bent = _KNEE + (1 - _KNEE) * (1 - (1 - place) ** np.float32(slope))
    result: NDArray[np.float32] = np.where(light < _KNEE, light, bent).astype(np.float32)
    return result


@cache
def _linear_table(curve: str) -> NDArray[np.float32]:
    """Return (4096,) float32: the light of each code, where white is 1 (PQ), or that of the scene in [0, 1] (HLG)."""
    code = np.linspace(0, 1, _LEVELS, dtype=np.float64)
    if curve == PQ:  # Source: SMPTE ST 2084
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        light = 10_000 / WHITE_NITS * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:  # Source: ITU-R BT.2100, table 5
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return light.astype(np.float32)


@cache
def _srgb_table() -> NDArray[np.uint8]:
    """Return (4096,) uint8: the sRGB code of light in [0, 1]. Source: IEC 61966-2-1."""
    light = np.linspace(0, 1, _LEVELS)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table: NDArray[np.uint8] = np.rint(255 * code).astype(np.uint8)
    return table

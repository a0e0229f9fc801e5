"""The colors of depth: tables in an image beside this file, one row each, written by docs/make_colormaps.py."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.settings.output import Colormap

__all__ = ["color_of_unknown", "color_table"]

_FILE = "colormaps.png"
_FOR_UNKNOWN = ((128, 128, 128), (255, 255, 255), (0, 0, 0), (255, 0, 255))
_FAR_ENOUGH = 60.0


@cache
def color_table(name: Colormap) -> NDArray[np.uint8]:
    """Give the colors of a map.

    Returns:
        (256, 3) uint8, sRGB, from the dark or cold end to the bright or warm one.
    """
    with files("glpn_cli.output").joinpath(_FILE).open("rb") as stream, Image.open(stream) as image:
        row = list(json.loads(image.info["maps"])).index(name)
        table: NDArray[np.uint8] = np.array(image)[row]
    table.flags.writeable = False
    return table


def color_of_unknown(name: Colormap) -> tuple[int, int, int]:
    """Give the color of unknown depth: the plainest one that is far from all colors of a map."""
    table = color_table(name).astype(np.float64)
    distances = {color: float(np.linalg.norm(table - color, axis=1).min()) for color in _FOR_UNKNOWN}
    return next(
        (color for color in _FOR_UNKNOWN if distances[color] >= _FAR_ENOUGH), max(distances, key=distances.__getitem__)
    )

"""Write src/glpn_cli/output/colormaps.png from the tables of the package cmap: `python docs/make_colormaps.py`.

One row of 256 colors for each map, from dark or cold to bright or warm. The text of the PNG lists the names, and
where each map comes from under which license.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from cmap import Colormap
from PIL import Image
from PIL.PngImagePlugin import PngInfo

FILE = Path(__file__).parents[1] / "src" / "glpn_cli" / "output" / "colormaps.png"

SOURCES = {
    "turbo": "google:turbo",
    "magma": "bids:magma",
    "inferno": "bids:inferno",
    "plasma": "bids:plasma",
    "viridis": "bids:viridis",
    "cividis": "cividis:cividis",
    "batlow": "crameri:batlow",
    "spectral": "colorbrewer:spectral_r",  # the warm end last
    "gray": "matlab:gray",
}


def table(name: str) -> np.ndarray:
    """Give (256, 3) uint8, sRGB."""
    return np.rint(Colormap(SOURCES[name]).lut(256)[:, :3] * 255).astype(np.uint8)


def origins() -> dict[str, dict[str, str]]:
    """Say where each map comes from."""
    maps = {name: Colormap(source) for name, source in SOURCES.items()}
    return {
        name: {"map": SOURCES[name], "license": _license(item), "source": (item.info and item.info.source) or ""}
        for name, item in maps.items()
    }


def _license(item: Colormap) -> str:
    """Say the license; a ramp of grays has none, because it is no work."""
    terms = str(item.info.license) if item.info else "UNKNOWN"
    return "none needed" if terms == "UNKNOWN" and item.name == "matlab:gray" else terms


if __name__ == "__main__":
    text = PngInfo()
    text.add_text("maps", json.dumps(origins()))
    Image.fromarray(np.stack([table(name) for name in SOURCES])).save(FILE, pnginfo=text, optimize=True)

"""Generate src/glpn_cli/output/colormaps.png from the package cmap: `python tools/make_colormaps.py`.

The image has one row of 256 colors per colormap, from dark or cold to bright or warm. A text chunk of the PNG lists the
names with the origin and the license of each colormap.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from cmap import Colormap
from PIL import Image
from PIL.PngImagePlugin import PngInfo

FILE = Path(__file__).resolve().parents[1] / "src" / "glpn_cli" / "output" / "colormaps.png"

SOURCES = {
    "turbo": "google:turbo",
    "magma": "bids:magma",
    "inferno": "bids:inferno",
    "plasma": "bids:plasma",
    "viridis": "bids:viridis",
    "cividis": "cividis:cividis",
    "batlow": "crameri:batlow",
    "spectral": "colorbrewer:spectral_r",  # reversed, so that it ends warm
    "gray": "matlab:gray",
}


def table(name: str) -> np.ndarray:
    """Return the colors of a map, (256, 3) uint8, sRGB."""
    return np.rint(Colormap(SOURCES[name]).lut(256)[:, :3] * 255).astype(np.uint8)


def origins() -> dict[str, dict[str, str]]:
    """Return name, license and source of each map."""
    maps = {name: Colormap(source) for name, source in SOURCES.items()}
    return {
        name: {"map": SOURCES[name], "license": _license(item), "source": (item.info and item.info.source) or ""}
        for name, item in maps.items()
    }


def _license(item: Colormap) -> str:
    """Return the license; a gray ramp needs none, because it is not a creative work."""
    terms = str(item.info.license) if item.info else "UNKNOWN"
    return "none needed" if terms == "UNKNOWN" and item.name == "matlab:gray" else terms


if __name__ == "__main__":
    text = PngInfo()
    text.add_text("maps", json.dumps(origins()))
    Image.fromarray(np.stack([table(name) for name in SOURCES])).save(FILE, pnginfo=text, optimize=True)

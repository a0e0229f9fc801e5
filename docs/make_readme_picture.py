"""Put a photo beside the depth picture that the tool makes of it, for the README: `make picture`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

import glpn_cli

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "coffee.png"
PICTURE = ROOT / "docs" / "images" / "photo-and-depth.jpg"
HEIGHT_PX = 320
GAP_PX = 8


def main() -> None:
    """Predict, and paste the two side by side at one height."""
    with TemporaryDirectory() as folder:
        depth_path = Path(folder) / "photo.depth.png"
        glpn_cli.load("tiny").predict(PHOTO).save(depth_path)
        panels = []
        for path in (PHOTO, depth_path):
            with Image.open(path) as image:
                width_px = image.width * HEIGHT_PX // image.height
                panels.append(image.convert("RGB").resize((width_px, HEIGHT_PX)))
    sheet = Image.new("RGB", (sum(panel.width for panel in panels) + GAP_PX, HEIGHT_PX), "white")
    sheet.paste(panels[0], (0, 0))
    sheet.paste(panels[1], (panels[0].width + GAP_PX, 0))
    sheet.save(PICTURE, quality=88)


if __name__ == "__main__":
    main()

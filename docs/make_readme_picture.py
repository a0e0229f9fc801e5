"""Put a photo beside the depth picture that the tool makes of it, for the README: `make picture`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

import glpn_cli
from glpn_cli.settings.output import OutputSettings

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "coffee.png"
PICTURE = ROOT / "docs" / "images" / "photo-and-depth.jpg"
WIDTH_PX = 968


def main() -> None:
    """Do what `--format color --side-by-side --legend` does, and make the file small."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photo.color.png"
        depth = glpn_cli.load("tiny", keep_rgb=True).predict(PHOTO)
        depth.save(path, settings=OutputSettings(side_by_side=True, legend=True))
        with Image.open(path) as image:
            height_px = round(image.height * WIDTH_PX / image.width)
            image.convert("RGB").resize((WIDTH_PX, height_px), Image.Resampling.LANCZOS).save(PICTURE, quality=88)


if __name__ == "__main__":
    main()

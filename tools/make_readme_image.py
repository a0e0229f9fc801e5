"""Generate the images of the README and of the model card, photos next to their depth: `make image`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from PIL import Image

import glpn_cli
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from glpn_cli.inference.predictor import Predictor

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
IMAGES = ROOT / "docs" / "images"
WIDTH_PX = 968
SAMPLE_HEIGHT_PX = 158
SAMPLES = ("coffee.png", "cat.png", "rocket.jpg", "astronaut.png")


def main() -> None:
    """Write both images."""
    predictor = glpn_cli.load("tiny", keep_rgb=True)
    with TemporaryDirectory() as folder:
        readme = draw(predictor, EXAMPLES / "coffee.png", Path(folder), legend=True)
        height_px = round(readme.height * WIDTH_PX / readme.width)
        save(readme.resize((WIDTH_PX, height_px), Image.Resampling.LANCZOS), "photo-and-depth.jpg")
        save(rows([draw(predictor, EXAMPLES / name, Path(folder)) for name in SAMPLES]), "tiny-samples.jpg")


def draw(predictor: Predictor, photo: Path, folder: Path, *, legend: bool = False) -> Image.Image:
    """Return the output of `--format color --side-by-side`, optionally with `--legend`."""
    path = folder / f"{photo.stem}.depth-color.png"
    settings = OutputSettings(side_by_side=True, legend=legend)
    predictor.predict(photo).save(path, settings=settings, overwrite=True)
    with Image.open(path) as image:
        return image.convert("RGB")


def rows(pairs: list[Image.Image]) -> Image.Image:
    """Return an image with the pairs in rows of its width."""
    sized = [pair.resize((round(pair.width * SAMPLE_HEIGHT_PX / pair.height), SAMPLE_HEIGHT_PX)) for pair in pairs]
    sheet = Image.new("RGB", (WIDTH_PX, 2000), "white")
    x = y = 0
    for pair in sized:
        if x and x + pair.width > WIDTH_PX:
            x, y = 0, y + SAMPLE_HEIGHT_PX + 8
        sheet.paste(pair, (x, y))
        x += pair.width + 8
    return sheet.crop((0, 0, WIDTH_PX, y + SAMPLE_HEIGHT_PX))


def save(image: Image.Image, name: str) -> None:
    """Write an image into docs/images."""
    image.save(IMAGES / name, quality=88)


if __name__ == "__main__":
    main()

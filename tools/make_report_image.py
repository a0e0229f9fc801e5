"""Generate the image of docs/report.md, screenshots of a report of the examples: `make image`. Needs a browser."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

import glpn_cli

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
SHOWN = "coffee.png"
WINDOW = {"width": 1240, "height": 640}
WIDTH_PX = 1240
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Write the image."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        photos, out = Path(folder) / "shots", Path(folder) / "depths"
        shutil.copytree(ROOT / "examples", photos)
        (photos / "empty.jpg").touch()
        glpn_cli.run_batch(photos, out, weights="tiny", report=True)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=WINDOW, color_scheme="light", device_scale_factor=2)
        page.goto((out / "index.html").as_uri())
        page.wait_for_selector(".pair canvas")
        page.wait_for_timeout(2500)
        overview = shoot(page)
        page.click(f'.card:has-text("{SHOWN}") a')
        page.wait_for_selector("#depth")
        page.wait_for_timeout(2500)
        page.mouse.move(WINDOW["width"] * 0.6, WINDOW["height"] * 0.45)
        large = shoot(page)
        browser.close()
    sheet = Image.new("RGB", (WIDTH_PX, overview.height + large.height + 12), "#c8c8c8")
    sheet.paste(overview, (0, 0))
    sheet.paste(large, (0, overview.height + 12))
    sheet.save(ROOT / "docs" / "images" / "report.jpg", quality=85)


def shoot(page: Page) -> Image.Image:
    """Return the window at the width of the image."""
    with Image.open(io.BytesIO(page.screenshot())) as image:
        height_px = round(image.height * WIDTH_PX / image.width)
        return image.convert("RGB").resize((WIDTH_PX, height_px), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()

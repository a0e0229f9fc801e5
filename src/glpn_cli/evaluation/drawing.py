"""Paper, ink and type of the figures. Pillow draws them, so that a figure needs no further package."""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw, ImageFont

__all__ = ["COLORS", "GRAY", "INK", "MARGIN_PX", "PAGE_WIDTH_PX", "blank_page", "draw_text", "text_height"]

PAGE_WIDTH_PX = 1200
MARGIN_PX = 16
INK = (30, 30, 30)
GRAY = (120, 120, 120)
COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))
"""For lines: those of Okabe and Ito, which people who confuse colors can tell apart."""

_PAPER = (255, 255, 255)
_TEXT_PX = 15


def blank_page(height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Give an empty page of the usual width, and what draws on it."""
    page = Image.new("RGB", (PAGE_WIDTH_PX, height), _PAPER)
    return page, ImageDraw.Draw(page)


def draw_text(
    draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, color: tuple[int, int, int] = INK
) -> float:
    """Write a line; what the font cannot show, such as a broken file name, becomes question marks.

    Returns:
        Its width in pixels.
    """
    text = "".join(character if character.isprintable() else "?" for character in text)
    text = text.encode("latin-1", "replace").decode("latin-1")
    draw.text(corner, text, fill=color, font=_font())
    return draw.textlength(text, font=_font())


def text_height() -> int:
    """Give the height of a line in pixels."""
    return _TEXT_PX + 5


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_PX)

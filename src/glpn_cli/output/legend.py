"""A bar of colors with meters, below an image of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SMALLEST_FONT_PX = 11
_FONT_SHARE = 0.025
_LONGEST_CAPTION = 48
_PAPER, _INK, _EDGE = (255, 255, 255), (24, 24, 24), (150, 150, 150)
_NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TITLE = "depth in meters"


@dataclass(frozen=True, slots=True, eq=False)
class Legend:
    """What a legend says.

    Attributes:
        colors: (256, 3) uint8, sRGB, from near to far.
        low_m: the depth of the first color.
        high_m: the depth of the last color.
        is_nearer: whether the image has depth before the first color.
        is_farther: whether the image has depth beyond the last color.
        unknown: the color of unknown depth, if the image has any.
        caption: the weights.
    """

    colors: NDArray[np.uint8]
    low_m: float
    high_m: float
    is_nearer: bool = False
    is_farther: bool = False
    unknown: tuple[int, int, int] | None = None
    caption: str = ""


def draw_legend(image: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """Put a strip with the legend below an image.

    The image itself stays as it is, at the top. A narrow one gets white at both sides, so that the words fit.

    Args:
        image: (H, W, 3) uint8.
        legend: what to say.

    Returns:
        (H + strip, max(W, what the words need), 3) uint8.
    """
    height, width = image.shape[:2]
    strip = _Strip(legend, width, font_px=max(_SMALLEST_FONT_PX, round(_FONT_SHARE * math.sqrt(height * width))))
    canvas = Image.new("RGB", (strip.width, height + strip.height), _PAPER)
    canvas.paste(Image.fromarray(image), ((strip.width - width) // 2, 0))
    canvas.paste(strip.draw(), (0, height))
    return np.asarray(canvas)


def tick_values(low: float, high: float, *, at_most: int) -> list[float]:
    """Give round numbers between two ends, as many as there may be, evenly spaced by 1, 2, 2.5 or 5 times a ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / max(1, at_most)))
    for step in (nice * power * ten for ten in (1, 10) for nice in _NICE_STEPS):
        first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
        if last - first < at_most:
            return [index * step for index in range(first, last + 1)]
    return []


class _Strip:
    """The strip: a title and the caption in one line, the bar, ticks and their numbers."""

    def __init__(self, legend: Legend, image_width: int, *, font_px: int) -> None:
        self._legend = legend
        self._font = ImageFont.load_default(size=font_px)
        self._em = font_px
        self._margin = font_px
        self._title = [_printable(text) for text in (_TITLE, _shortened(legend.caption)) if text]
        self._unknown = "unknown" if legend.unknown else ""
        needed = [*map(self._text_width, self._title)]
        self.width = max(image_width, round(max(needed) + 2 * self._margin), 9 * font_px)
        # Title and caption share a line where there is room for both, with the key of unknown depth between.
        together = sum(needed) + (self._text_width(self._unknown) + 3 * font_px if self._unknown else 0)
        self._is_one_line = together + (len(needed) + 1) * 1.5 * self._margin <= self.width
        self._lines = 1 if self._is_one_line else len(self._title) + bool(self._unknown)
        self._line_px = round(1.35 * font_px)
        self.height = round(0.6 * font_px) + self._lines * self._line_px + round(3.4 * font_px)

    def draw(self) -> Image.Image:
        """Draw everything, (height, width) of the strip."""
        strip = Image.new("RGB", (self.width, self.height), _PAPER)
        draw = ImageDraw.Draw(strip)
        self._draw_title(draw)
        top = round(0.8 * self._em) + self._lines * self._line_px
        self._draw_bar(strip, top, top + round(1.1 * self._em))
        self._draw_ticks(draw, top + round(1.1 * self._em))
        return strip

    def _draw_title(self, draw: ImageDraw.ImageDraw) -> None:
        y = round(0.6 * self._em)
        if self._is_one_line:
            draw.text((self._margin, y), self._title[0], _INK, self._font)
            right = self.width - self._margin
            for text in self._title[1:]:
                draw.text((right, y), text, _INK, self._font, anchor="ra")
            if self._unknown:
                self._draw_key(draw, round(self._margin + self._text_width(self._title[0]) + 1.5 * self._em), y)
            return
        for line, text in enumerate(self._title):
            draw.text((self._margin, y + line * self._line_px), text, _INK, self._font)
        if self._unknown:
            self._draw_key(draw, self._margin, y + len(self._title) * self._line_px)

    def _draw_key(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        """Say which color is unknown depth."""
        side = round(0.9 * self._em)
        draw.rectangle((x, y, x + side, y + side), self._legend.unknown, outline=_INK)
        draw.text((x + side + 0.5 * self._em, y), self._unknown, _INK, self._font)

    def _draw_bar(self, strip: Image.Image, top: int, bottom: int) -> None:
        """Draw the colors, with a point at an end that stands for everything beyond it."""
        left, right = self._bar_ends
        steps = np.linspace(0, 255, max(2, right - left)).round().astype(np.uint8)
        row = self._legend.colors[steps][np.newaxis]
        strip.paste(Image.fromarray(np.repeat(row, bottom - top, axis=0)), (left, top))
        draw = ImageDraw.Draw(strip)
        middle, point = (top + bottom - 1) // 2, self._point
        near, far = (tuple(map(int, self._legend.colors[index])) for index in (0, 255))
        left_end = [(left, bottom - 1), (left - point, middle), (left, top)] if self._legend.is_nearer else []
        right_end = [(right, top), (right + point, middle), (right, bottom - 1)] if self._legend.is_farther else []
        for end, color in ((left_end, near), (right_end, far)):
            if end:
                draw.polygon(end, color)
        outline = [
            *(left_end or [(left, bottom - 1), (left, top)]),
            *(right_end or [(right, top), (right, bottom - 1)]),
        ]
        draw.polygon(outline, outline=_EDGE, width=max(1, self._em // 16))

    def _draw_ticks(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        left, right = self._bar_ends
        length, thick = round(0.35 * self._em), max(1, self._em // 12)
        for value, text in self._ticks():
            share = (value - self._legend.low_m) / (self._legend.high_m - self._legend.low_m)
            x = round(left + share * (right - 1 - left))
            draw.rectangle((x - thick // 2, top, x - thick // 2 + thick - 1, top + length), _INK)
            half = self._text_width(text) / 2
            middle = min(max(x, half + 1), self.width - half - 1)
            draw.text((middle, top + length + 0.25 * self._em), text, _INK, self._font, anchor="ma")

    def _ticks(self) -> list[tuple[float, str]]:
        """Choose as many round numbers as can stand beside each other."""
        left, right = self._bar_ends
        low, high = self._legend.low_m, self._legend.high_m
        for at_most in range(9, 0, -1):
            values = tick_values(low, high, at_most=at_most)
            step = values[1] - values[0] if len(values) > 1 else high - low
            decimals = max(0, next((n for n in range(6) if math.isclose(round(step, n), step, rel_tol=1e-6)), 6))
            if len(values) == 1:
                decimals = max(0, 1 - math.floor(math.log10(max(values[0], 1e-6))))
            texts = [f"{value:.{decimals}f}" for value in values]
            room = step / (high - low) * (right - left)
            if values and (len(values) == 1 or max(map(self._text_width, texts)) + 0.8 * self._em <= room):
                return list(zip(values, texts, strict=True))
        return []

    @property
    def _point(self) -> int:
        return round(0.8 * self._em)

    @property
    def _bar_ends(self) -> tuple[int, int]:
        return self._margin + self._point // 2, self.width - self._margin - self._point // 2

    def _text_width(self, text: str) -> float:
        return float(self._font.getlength(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CAPTION else text[: _LONGEST_CAPTION - 3] + "..."


def _printable(text: str) -> str:
    """Keep what the built-in font has."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)

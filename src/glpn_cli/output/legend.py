"""The legend of a colored image: a strip below it with a color bar, ticks in meters and a caption."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glpn_cli.output.color import curve_fraction
from glpn_cli.values import Curve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


_MIN_FONT_PX = 11
_RELATIVE_FONT_SIZE = 0.025
_MAX_CAPTION_LENGTH = 48
_BACKGROUND, _TEXT_COLOR, _OUTLINE_COLOR = (255, 255, 255), (24, 24, 24), (150, 150, 150)
_ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TITLE = "depth in meters"

_TICK_DISTANCE = 0.095
"""Least distance of two ticks on a curve, as a fraction of the bar: at most eleven ticks."""

_ENOUGH_TICKS, _LARGEST_GAP = 5, 0.3
"""With so many ticks and no larger gap, as a fraction of the bar, less round numbers are left out."""

_LAST_DIGITS = ((5,), (2, 4, 6, 8), (1, 3, 7, 9))
_ONLY_DIGITS = ((1, 2, 5), (3,), (4, 6, 8), (7, 9))
"""Digits from round to less round: the last one of a number with several, and that of a number with one."""
_MAX_DIGITS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Legend:
    """The contents of a legend.

    Attributes:
        colors: (256, 3) uint8, sRGB, from near to far.
        low_m: the depth of the first color.
        high_m: the depth of the last color.
        curve: the quantity that the colors in between are linear in.
        is_nearer: whether the image contains depth nearer than `low_m`.
        is_farther: whether the image contains depth farther than `high_m`.
        unknown: the color of unknown depth, sRGB; None if the image has none.
        caption: the name of the weights.
    """

    colors: NDArray[np.uint8]
    low_m: float
    high_m: float
    curve: Curve = Curve.LINEAR
    is_nearer: bool = False
    is_farther: bool = False
    unknown: tuple[int, int, int] | None = None
    caption: str = ""


def draw_legend(image: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """Return an image with its legend below.

    The pixels of the image do not change. An image that is narrower than the text gets white margins.

    Args:
        image: (H, W, 3) uint8, sRGB.
        legend: the contents of the legend.

    Returns:
        (H + strip height, max(W, text width), 3) uint8, sRGB.
    """
    height, width = image.shape[:2]
    strip = _Strip(legend, width, font_px=max(_MIN_FONT_PX, round(_RELATIVE_FONT_SIZE * math.sqrt(height * width))))
    canvas = Image.new("RGB", (strip.width, height + strip.height), _BACKGROUND)
    canvas.paste(Image.fromarray(image), ((strip.width - width) // 2, 0))
    canvas.paste(strip.draw(), (0, height))
    return np.asarray(canvas)


def tick_values(low: float, high: float, *, at_most: int) -> list[float]:
    """Return evenly spaced round numbers in a range: the most that are allowed, 1, 2, 2.5 or 5 times 10^n apart."""
    power = 10.0 ** math.floor(math.log10((high - low) / max(1, at_most)))
    for step in (factor * power * decade for decade in (1, 10) for factor in _ROUND_STEPS):
        first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
        if last - first < at_most:
            return [index * step for index in range(first, last + 1)]
    return []


def curve_ticks(low: float, high: float, curve: Curve, *, label_size: float) -> list[float]:
    """Return round numbers that are well spaced on a curve, sorted. Rounder ones take precedence.

    Args:
        low: the start of the range, above 0.
        high: its end.
        curve: places the numbers.
        label_size: room for one character of a label, as a fraction of the bar.
    """
    placed: list[tuple[float, float, float]] = []  # position, half of the label's width, number
    for digits in range(1, _MAX_DIGITS + 1):
        count = 0
        for last_digits in _ONLY_DIGITS if digits == 1 else _LAST_DIGITS:
            if digits > 1 and last_digits != _LAST_DIGITS[0] and _are_enough([position for position, *_ in placed]):
                break
            values = list(_round_numbers(low, high, digits, last_digits))
            positions = curve_fraction(np.array(values, np.float32), low, high, curve)
            for value, position in zip(values, positions.tolist(), strict=True):
                half = (len(_to_text(value)) + 1.5) * label_size / 2
                if all(abs(position - other) >= max(_TICK_DISTANCE, half + width) for other, width, _ in placed):
                    placed.append((position, half, value))
            count += len(values)
        # If a hundred numbers leave no room for two labels, longer ones do not either.
        if (digits >= 2 and len(placed) >= 2) or count > 100:
            break
    return sorted(value for _, _, value in placed)


def _are_enough(positions: list[float]) -> bool:
    ends = [0.0, *sorted(positions), 1.0]
    return len(positions) >= _ENOUGH_TICKS and float(np.diff(ends).max()) <= _LARGEST_GAP


def _round_numbers(low: float, high: float, digits: int, last_digits: tuple[int, ...]) -> Iterator[float]:
    """Yield the numbers in a range that have so many significant digits and end in one of some digits."""
    for decade in range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1):
        power = decade - digits + 1
        first = max(math.ceil(low / 10.0**power - 1e-6), 10 ** (digits - 1))
        last = min(math.floor(high / 10.0**power + 1e-6), 10**digits - 1)
        yield from (float(f"{number}e{power}") for number in range(first, last + 1) if number % 10 in last_digits)


def _to_text(value: float) -> str:
    return f"{value:.{_MAX_DIGITS}g}"


class _Strip:
    """The strip: title and caption, in one line if they fit, then the color bar, the ticks and their values."""

    def __init__(self, legend: Legend, image_width: int, *, font_px: int) -> None:
        self._legend = legend
        self._font = ImageFont.load_default(size=font_px)
        self._em = font_px
        self._margin = font_px
        self._texts = [_to_ascii(text) for text in (_TITLE, _shorten(legend.caption)) if text]
        self._unknown = "unknown" if legend.unknown else ""
        widths = [*map(self._text_width, self._texts)]
        self.width = max(image_width, round(max(widths) + 2 * self._margin), 9 * font_px)
        # Title and caption share a line if both fit, with the key of unknown depth between them.
        one_line_px = sum(widths) + (self._text_width(self._unknown) + 3 * font_px if self._unknown else 0)
        self._is_one_line = one_line_px + (len(widths) + 1) * 1.5 * self._margin <= self.width
        self._lines = 1 if self._is_one_line else len(self._texts) + bool(self._unknown)
        self._line_px = round(1.35 * font_px)
        self.height = round(0.6 * font_px) + self._lines * self._line_px + round(3.4 * font_px)

    def draw(self) -> Image.Image:
        """Return the strip."""
        strip = Image.new("RGB", (self.width, self.height), _BACKGROUND)
        draw = ImageDraw.Draw(strip)
        self._draw_texts(draw)
        top = round(0.8 * self._em) + self._lines * self._line_px
        self._draw_bar(strip, top, top + round(1.1 * self._em))
        self._draw_ticks(draw, top + round(1.1 * self._em))
        return strip

    def _draw_texts(self, draw: ImageDraw.ImageDraw) -> None:
        y = round(0.6 * self._em)
        if self._is_one_line:
            draw.text((self._margin, y), self._texts[0], _TEXT_COLOR, self._font)
            right = self.width - self._margin
            for text in self._texts[1:]:
                draw.text((right, y), text, _TEXT_COLOR, self._font, anchor="ra")
            if self._unknown:
                self._draw_key(draw, round(self._margin + self._text_width(self._texts[0]) + 1.5 * self._em), y)
            return
        for line, text in enumerate(self._texts):
            draw.text((self._margin, y + line * self._line_px), text, _TEXT_COLOR, self._font)
        if self._unknown:
            self._draw_key(draw, self._margin, y + len(self._texts) * self._line_px)

    def _draw_key(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        side = round(0.9 * self._em)
        draw.rectangle((x, y, x + side, y + side), self._legend.unknown, outline=_TEXT_COLOR)
        draw.text((x + side + 0.5 * self._em, y), self._unknown, _TEXT_COLOR, self._font)

    def _draw_bar(self, strip: Image.Image, top: int, bottom: int) -> None:
        """Draw the colors. An end is pointed if there is depth beyond it."""
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
        draw.polygon(outline, outline=_OUTLINE_COLOR, width=max(1, self._em // 16))

    def _draw_ticks(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        left, right = self._bar_ends
        length, thick = round(0.35 * self._em), max(1, self._em // 12)
        low, high, curve = self._legend.low_m, self._legend.high_m, self._legend.curve
        for value, text in self._ticks():
            fraction = float(curve_fraction(np.array([value], np.float32), low, high, curve)[0])
            x = round(left + fraction * (right - 1 - left))
            draw.rectangle((x - thick // 2, top, x - thick // 2 + thick - 1, top + length), _TEXT_COLOR)
            half = self._text_width(text) / 2
            middle = min(max(x, half + 1), self.width - half - 1)
            draw.text((middle, top + length + 0.25 * self._em), text, _TEXT_COLOR, self._font, anchor="ma")

    def _ticks(self) -> list[tuple[float, str]]:
        """Return ticks and their texts, as many as fit beside each other."""
        left, right = self._bar_ends
        low, high = self._legend.low_m, self._legend.high_m
        if self._legend.curve is not Curve.LINEAR:
            label_size = self._text_width("0") / (right - left)
            values = curve_ticks(low, high, self._legend.curve, label_size=label_size)
            return [(value, _to_text(value)) for value in values]
        for at_most in range(9, 0, -1):
            values = tick_values(low, high, at_most=at_most)
            step = values[1] - values[0] if len(values) > 1 else high - low
            decimals = max(0, next((n for n in range(6) if math.isclose(round(step, n), step, rel_tol=1e-6)), 6))
            if len(values) == 1:
                decimals = max(0, 1 - math.floor(math.log10(max(values[0], 1e-6))))
            texts = [f"{value:.{decimals}f}" for value in values]
            space = step / (high - low) * (right - left)
            if values and (len(values) == 1 or max(map(self._text_width, texts)) + 0.8 * self._em <= space):
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


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_CAPTION_LENGTH else text[: _MAX_CAPTION_LENGTH - 3] + "..."


def _to_ascii(text: str) -> str:
    """Replace characters that the built-in font does not have."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)

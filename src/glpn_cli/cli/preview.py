"""`--preview`: depth in the terminal, two pixels in each character, with a scale in meters beneath."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from glpn_cli.depth import DepthMap, is_known
from glpn_cli.output.color import (
    color_curve,
    colorize,
    curve_fraction,
    curve_meters,
    near_first_table,
    resolve_range,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from glpn_cli.cli.console import Console
    from glpn_cli.settings import OutputSettings
    from glpn_cli.values import Curve


_HALF_BLOCK = "▀"
_SHADES, _ASCII_SHADES = "█▓▒░ ", "@%#*+=-:. "
_TICKS = 4
_LEAST_COLUMNS = 24
_ROWS_BESIDE = 4
"""Rows left for the scale and messages, so that the top of the image does not scroll away."""


def show_preview(console: Console, depth: DepthMap, settings: OutputSettings) -> None:
    """Draw depth on standard error, with the size and colors that the terminal allows."""
    for line in draw_preview(
        depth,
        settings,
        columns=console.width,
        rows=max(1, console.height - _ROWS_BESIDE),
        colors=console.has_colors,
        blocks=console.has_blocks,
    ):
        console.draw(line)


def draw_preview(
    depth: DepthMap, settings: OutputSettings, *, columns: int, rows: int, colors: bool = True, blocks: bool = True
) -> list[Text]:
    """Return depth as lines of text.

    Args:
        depth: the depth map.
        settings: range, curve, color map and near, as for color images.
        columns: the largest width.
        rows: the largest height, without the scale.
        colors: False draws with shades; nearer is denser.
        blocks: False draws with ASCII only, for terminals that cannot show block characters.
    """
    curve = color_curve(settings)
    low_m, high_m = resolve_range(depth, settings, curve)
    height, width = depth.meters.shape
    # A character is twice as high as wide. In color it shows two pixels, one above the other, in shades one.
    zoom = min(columns / width, 2 * rows / height)
    across, down = max(1, round(width * zoom)), max(1, round(height * zoom / 2))
    if colors and blocks:
        pixels = colorize(_resize(depth, 2 * down, across), settings, low_m, high_m)
        lines = [_half_blocks(pixels[row], pixels[row + 1]) for row in range(0, 2 * down, 2)]
    else:
        shades = _SHADES if blocks else _ASCII_SHADES
        small = _resize(depth, down, across).meters
        fractions = curve_fraction(np.where(small > 0, small, np.float32(high_m)), low_m, high_m, curve)
        lines = [Text("".join(_shades(*row, shades))) for row in zip(fractions, small > 0, strict=True)]
    bar = _bar(settings, max(across, min(columns, _LEAST_COLUMNS)), colors=colors, blocks=blocks)
    return [*lines, bar, _ticks(low_m, high_m, curve, len(bar))]


def _resize(depth: DepthMap, height: int, width: int) -> DepthMap:
    """Return depth at another size: means of the known pixels, or unknown where most are."""
    known = is_known(depth.meters)
    fraction = _shrink(known.astype(np.float32), height, width)
    meters = _shrink(np.where(known, depth.meters, np.float32(0)), height, width)
    return DepthMap(
        np.where(fraction >= 0.5, meters / np.maximum(fraction, 1e-6), 0).astype(np.float32), depth.provenance
    )


def _shrink(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    return np.array(Image.fromarray(values).resize((width, height), Image.Resampling.BOX), np.float32)


def _half_blocks(upper: NDArray[np.uint8], lower: NDArray[np.uint8]) -> Text:
    line = Text(no_wrap=True)
    for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
        line.append(_HALF_BLOCK, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
    return line


def _shades(fractions: NDArray[np.float32], known: NDArray[np.bool_], shades: str) -> Iterator[str]:
    for fraction, is_known_pixel in zip(fractions.tolist(), known.tolist(), strict=True):
        yield shades[round(fraction * (len(shades) - 1))] if is_known_pixel else "?"


def _bar(settings: OutputSettings, columns: int, *, colors: bool, blocks: bool) -> Text:
    """Return the colors or shades from near to far."""
    fractions = np.linspace(0, 1, columns)
    if colors and blocks:
        row = near_first_table(settings)[np.rint(fractions * 255).astype(int)]
        return _half_blocks(row, row)
    shades = _SHADES if blocks else _ASCII_SHADES
    return Text("".join(shades[round(fraction * (len(shades) - 1))] for fraction in fractions))


def _ticks(low_m: float, high_m: float, curve: Curve, columns: int) -> Text:
    """Return the meters below the bar, from its left end to its right end."""
    values = curve_meters(np.linspace(0, 1, _TICKS, dtype=np.float32), low_m, high_m, curve)
    labels = [f"{value:.3g}" for value in values.tolist()]
    labels[-1] += " m"
    line = ""
    for tick, label in enumerate(labels):
        at = round((columns - 1) * tick / (_TICKS - 1)) - (len(label) - 1) * tick // (_TICKS - 1)
        line += " " * (max(at, len(line) + bool(line)) - len(line)) + label
    return Text(line, no_wrap=True)

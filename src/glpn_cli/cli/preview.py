"""`--preview`: depth in the terminal, two pixels in each character, with a scale in meters beneath."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from glpn_cli.depth import DepthMap, is_known
from glpn_cli.output.color import colorize, near_first_table, resolve_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from glpn_cli.cli.console import Console
    from glpn_cli.settings import OutputSettings


_HALF_BLOCK = "▀"
_SHADES, _ASCII_SHADES = "█▓▒░ ", "@%#*+=-:. "
_TICKS = 4
_LEAST_COLUMNS = 24
_ROWS_BESIDE = 4
"""Left for the scale and what is said, so that an image does not scroll its own top away."""


def show_preview(console: Console, depth: DepthMap, settings: OutputSettings) -> None:
    """Draw depth on standard error, as large and as colorful as the terminal allows."""
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
    """Draw depth as lines of text.

    Args:
        depth: what is drawn.
        settings: range, color map and near, as for colored images.
        columns: at most so wide.
        rows: at most so high, without the scale.
        colors: False draws with shades: the denser, the nearer.
        blocks: False draws with ASCII alone, for terminals that cannot show more.
    """
    low_m, high_m = resolve_range(depth, settings)
    height, width = depth.meters.shape
    # A character is twice as high as wide: in color its halves are two pixels, in shades it is one of two rows.
    zoom = min(columns / width, 2 * rows / height)
    across, down = max(1, round(width * zoom)), max(1, round(height * zoom / 2))
    if colors and blocks:
        pixels = colorize(_resize(depth, 2 * down, across), settings, low_m, high_m)
        lines = [_half_blocks(pixels[row], pixels[row + 1]) for row in range(0, 2 * down, 2)]
    else:
        shades = _SHADES if blocks else _ASCII_SHADES
        small = _resize(depth, down, across).meters
        lines = [Text("".join(_shade(row, shades, low_m, high_m))) for row in small]
    bar = _bar(settings, max(across, min(columns, _LEAST_COLUMNS)), colors=colors, blocks=blocks)
    return [*lines, bar, _ticks(low_m, high_m, len(bar))]


def _resize(depth: DepthMap, height: int, width: int) -> DepthMap:
    """Make depth smaller by means over what is known, or larger."""
    known = is_known(depth.meters)
    share = _shrink(known.astype(np.float32), height, width)
    meters = _shrink(np.where(known, depth.meters, np.float32(0)), height, width)
    return DepthMap(np.where(share >= 0.5, meters / np.maximum(share, 1e-6), 0).astype(np.float32), depth.provenance)


def _shrink(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    return np.array(Image.fromarray(values).resize((width, height), Image.Resampling.BOX), np.float32)


def _half_blocks(upper: NDArray[np.uint8], lower: NDArray[np.uint8]) -> Text:
    line = Text(no_wrap=True)
    for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
        line.append(_HALF_BLOCK, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
    return line


def _shade(meters: NDArray[np.float32], shades: str, low_m: float, high_m: float) -> Iterator[str]:
    for value in meters:
        share = min(max((float(value) - low_m) / (high_m - low_m), 0.0), 1.0)
        yield "?" if value <= 0 else shades[round(share * (len(shades) - 1))]


def _bar(settings: OutputSettings, columns: int, *, colors: bool, blocks: bool) -> Text:
    """Draw what near and far look like, from left to right."""
    shares = np.linspace(0, 1, columns)
    if colors and blocks:
        row = near_first_table(settings)[np.rint(shares * 255).astype(int)]
        return _half_blocks(row, row)
    shades = _SHADES if blocks else _ASCII_SHADES
    return Text("".join(shades[round(share * (len(shades) - 1))] for share in shares))


def _ticks(low_m: float, high_m: float, columns: int) -> Text:
    """Write the meters below the bar, the first at its beginning and the last at its end."""
    labels = [f"{low_m + (high_m - low_m) * tick / (_TICKS - 1):.3g}" for tick in range(_TICKS)]
    labels[-1] += " m"
    line = ""
    for tick, label in enumerate(labels):
        at = round((columns - 1) * tick / (_TICKS - 1)) - (len(label) - 1) * tick // (_TICKS - 1)
        line += " " * (max(at, len(line) + bool(line)) - len(line)) + label
    return Text(line, no_wrap=True)

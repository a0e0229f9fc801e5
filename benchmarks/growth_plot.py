"""Plot time and memory over size, in colors that are readable on white and on black."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

INK = "#808890"
COLORS = {"float32": "#2f86d6", "bfloat16": "#d9772b", "tiny": "#2a9d6f"}
PLOTS = (("seconds", "time, s", 1.0), ("peak_bytes", "memory, GB", 1e9))


def draw(cases: dict[str, Any], file: Path) -> None:
    """Write the figure: pixels on top, folders below, time on the left, memory on the right."""
    lines: list[tuple[str, dict[str, list[tuple[float, dict[str, Any]]]]]] = []
    if "pixels" in cases:
        found = {
            precision: [(row["height"] * row["width"] / 1e6, row) for row in rows]
            for precision, rows in cases["pixels"]["precisions"].items()
        }
        lines.append(("megapixels of an image", found))
    if "folder" in cases:
        lines.append(("images in a folder", {"tiny": [(row["images"], row) for row in cases["folder"]["folders"]]}))
    file.parent.mkdir(parents=True, exist_ok=True)
    style = {"svg.fonttype": "none", "svg.hashsalt": "growth", "font.family": "sans-serif", "font.size": 9}
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.2, 2.7 * len(lines)), layout="constrained")
        for row, (label, found) in zip(figure.subplots(len(lines), 2, squeeze=False), lines, strict=True):
            for axes, (key, title, unit) in zip(row, PLOTS, strict=True):
                for name, points in found.items():
                    x, y = [at for at, _ in points], [measured[key] / unit for _, measured in points]
                    axes.plot(x, y, "o-", color=COLORS[name], markersize=4, linewidth=1.6, label=name)
                style_axes(axes, label, title, x, is_time=key == "seconds")
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})


def style_axes(axes: Axes, label: str, title: str, ticks: list[float], *, is_time: bool) -> None:
    """Set scales, ticks and labels: time is logarithmic, memory linear from zero."""
    axes.set_xscale("log")
    axes.set_xticks(ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}" if value < 10 else f"{value:.0f}"))
    if is_time:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    axes.set_xlabel(label, color=INK)
    axes.set_title(title, color=INK, loc="left", fontsize=9)
    axes.tick_params(which="both", colors=INK)
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    axes.legend(frameon=False, labelcolor=INK)

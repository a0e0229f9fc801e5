"""`--preview`: depth in the terminal."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console as RichConsole

from glpn_cli.cli.preview import draw_preview
from glpn_cli.depth import DepthMap
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Colormap, Curve, DepthRange

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

SETTINGS = OutputSettings(range=DepthRange.parse("1:5"), colormap=Colormap.GRAY)
LINEAR = OutputSettings(range=DepthRange.parse("1:5"), colormap=Colormap.GRAY, curve=Curve.LINEAR)


def ramp(height: int = 60, width: int = 80) -> DepthMap:
    """Near at the left, far at the right."""
    return DepthMap(np.tile(np.linspace(1, 5, width, dtype=np.float32), (height, 1)))


@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60), (10, 400), (400, 10), (1, 1)])
@pytest.mark.parametrize("colors", [True, False])
def test_the_drawing_fits_the_terminal(height: int, width: int, colors: bool) -> None:
    lines = draw_preview(ramp(height, width), SETTINGS, columns=70, rows=20, colors=colors)
    image = lines[:-2]
    assert 1 <= len(image) <= 20
    assert {len(line) for line in image} == {len(image[0])}
    assert len(image[0]) <= 70
    assert all(len(line) <= 70 for line in lines)
    if (height, width) == (60, 80):
        assert len(image[0]) / (2 * len(image)) == pytest.approx(80 / 60, rel=0.05)


def test_the_scale_spans_the_range() -> None:
    *_, bar, ticks = draw_preview(ramp(), LINEAR, columns=60, rows=20, colors=False)
    assert ticks.plain.split() == ["1", "2.33", "3.67", "5", "m"]
    assert len(ticks) == len(bar)
    assert bar.plain[0] == "█"
    assert bar.plain[-1] == " "


def test_the_preview_is_even_in_inverse_depth_by_default() -> None:
    *_, ticks = draw_preview(ramp(), SETTINGS, columns=60, rows=20, colors=False)
    assert ticks.plain.split() == ["1", "1.36", "2.14", "5", "m"]
    inverse, linear = (
        draw_preview(ramp(), settings, columns=40, rows=20, colors=False)[0].plain for settings in (SETTINGS, LINEAR)
    )
    assert inverse.count("█") < linear.count("█")
    assert inverse.count(" ") > linear.count(" ")


def test_near_is_dense_and_unknown_a_question_mark() -> None:
    depth = ramp()
    depth.meters[:30] = 0
    upper, *_, lower = draw_preview(depth, SETTINGS, columns=40, rows=20, colors=False, blocks=False)[:-2]
    assert set(upper.plain) == {"?"}
    assert lower.plain[0] == "@"
    assert lower.plain[-1] == " "


def test_a_colored_character_is_two_pixels() -> None:
    line = draw_preview(ramp(), SETTINGS, columns=40, rows=40)[0]
    screen = RichConsole(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80)
    screen.print(line)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "38;2;2" in shown  # near, bright
    assert ";48;2;" in shown
    assert shown.count("▀") == 40


def test_predict_draws_on_standard_error(glpn: Glpn, tmp_path: Path, photo: Path) -> None:
    shutil.copy(photo, tmp_path / "coffee.png")
    run = glpn("predict", "coffee.png", "-o", "-", "--preview")
    assert run.returncode == 0
    assert run.stdout.startswith(b"\x89PNG")
    assert run.stderr.decode().splitlines()[-1].endswith(" m")
    assert max(map(len, run.stderr.decode().splitlines()[2:])) <= 120
    assert b"\x1b" not in run.stderr
    quiet = glpn("predict", "coffee.png", "-o", "x.png", "--preview", "--quiet")
    assert quiet.stderr == b""

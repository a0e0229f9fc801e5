"""The colors that a page offers: those of the color format, from near to far."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from glpn_cli.output.color import table_from_near
from glpn_cli.settings.output import Colormap

if TYPE_CHECKING:
    from glpn_cli.settings.output import OutputSettings

__all__ = ["palettes_for"]


def palettes_for(settings: OutputSettings) -> dict[str, str]:
    """Give each map's 256 colors, red, green, blue, near first, as base64.

    Args:
        settings: say what near looks like.
    """
    return {
        str(name): base64.b64encode(table_from_near(replace(settings, colormap=name)).tobytes()).decode("ascii")
        for name in Colormap
    }

"""How the program talks."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ColorPolicy"]


class ColorPolicy(StrEnum):
    """When the terminal output is colored."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"

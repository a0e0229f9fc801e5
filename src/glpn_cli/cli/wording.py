"""Numbers as a person would say them."""

from __future__ import annotations

_MINUTE_S = 60
_HOUR_S = 3600


def say_duration(seconds: float) -> str:
    """Give a duration in the unit that fits."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h"


def say_bytes(count: float) -> str:
    """Give an amount of data in the unit that fits, of a thousand each."""
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"

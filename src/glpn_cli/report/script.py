"""Data as scripts, because a page that is opened from disk may load those and nothing else."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["to_script"]


def to_script(function: str, *values: Any) -> bytes:
    r"""Write a script that hands values to a function of the page.

    Everything that is not ASCII is escaped, broken Unicode of file names too, and so is `<`: whoever pastes the script
    into a page cannot end it or begin another with a name such as `</script>`.

    Args:
        function: of the page's `glpn` object.
        values: what JSON can hold, without NaN.
    """
    written = ", ".join(
        json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c") for value in values
    )
    return f"glpn.{function}({written});\n".encode("ascii")

"""`--anchor`: known distances as the command line has them, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.cli.console import Console
    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.measure import Anchor


def parse_anchors(texts: Sequence[str] | None, *, images: int = 1) -> list[Anchor]:
    """Read anchors, which belong to one image.

    Raises:
        UsageError: one cannot be read, or there are several images.
    """
    if not texts:
        return []
    from glpn_cli.geometry.measure import Anchor

    if images != 1:
        raise UsageError(f"--anchor names a pixel of one image, and there are {images}", hint="predict them one by one")
    return [Anchor.parse(text) for text in texts]


def say_anchors(console: Console, depth: DepthMap) -> None:
    """Tell what the depth was multiplied by, and what is left at each anchor."""
    facts = depth.provenance
    if not facts.anchors:
        return
    console.say(f"depth times {facts.anchor_factor:.4g}, by known distances:")
    for anchor in facts.anchors:
        known_m, residual_m = anchor["known_m"], anchor["residual_m"]
        console.say(
            f"  {anchor['x']:g},{anchor['y']:g}: known {known_m:g} m, predicted {anchor['predicted_m']:.2f} m, "
            f"now {known_m + residual_m:.2f} m ({residual_m / known_m:+.1%})"
        )

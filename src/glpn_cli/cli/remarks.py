"""What a run has to say once about all its images: cameras that were assumed, depth at the limit of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glpn_cli.settings import ASSUMED_FOV_DEG, MUCH_SATURATED_SHARE
from glpn_cli.weights.catalog import find_farther_sighted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glpn_cli.cli.console import Console
    from glpn_cli.depth import DepthMap
    from glpn_cli.output.formats import DepthFormat


class Remarks:
    """Collects remarks over a run, for its end."""

    def __init__(self, rows: Iterable[DepthFormat]) -> None:
        """Take the formats that are written; only some depend on a camera."""
        self._on_cameras = any(row.needs_camera for row in rows)
        self._seen = 0
        self._assumed: list[tuple[str, str]] = []
        self._saturated: list[tuple[str, str, float, float]] = []

    def take(self, depth: DepthMap) -> None:
        """Look at the depth of an image, as the network gave it."""
        self._seen += 1
        facts = depth.provenance
        name = facts.source or "the image"
        if self._on_cameras and depth.camera is not None and depth.camera.is_assumed:
            self._assumed.append((name, depth.camera.source.removeprefix("assumed: ")))
        share = depth.saturated_share
        if facts.depth_limit_m is not None and share > MUCH_SATURATED_SHARE:
            self._saturated.append((name, facts.weights or "these weights", facts.depth_limit_m, share))

    def say(self, console: Console) -> None:
        """Tell what there was, each kind in one line."""
        if self._assumed:
            name, assumption = self._assumed[0]
            who = f"{name} says"
            if len(self._assumed) > 1:
                who = f"{len(self._assumed)} of {self._seen} images say"
                assumption = f"{ASSUMED_FOV_DEG:g}° along the long side"
            console.note(
                f"{who} nothing of the lens; {assumption} is assumed for points in space "
                "(--fov-deg, --focal-px and --focal-mm-35 say better)"
            )
        if self._saturated:
            name, weights, limit_m, share = self._saturated[0]
            if len(self._saturated) == 1:
                who = f"{share:.0%} of {name} lies"
            else:
                who = f"much of {len(self._saturated)} of {self._seen} images lies"
            console.note(f"{who} at the limit of {weights}, {limit_m:g} m, and may be any farther; {_advice(limit_m)}")


def _advice(limit_m: float) -> str:
    better = find_farther_sighted(limit_m)
    if better is None:
        return "no weights of the catalog see farther"
    return f"--weights {better.card.name} sees {better.card.depth_limit_m:g} m far (made for images {better.domain})"

"""What the report says of the run as a whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glpn_cli import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.settings.output import OutputSettings

__all__ = ["RunFacts", "describe_run"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """How the depth of a run was made.

    Attributes:
        title: what the run is called.
        lines: what else there is to know, as pairs of a label and a text.
        depth_limit_m: the largest depth that the weights can give.
        metric: whether the weights were trained to give meters; None where nobody knows.
        meters_per_unit: the factor from numbers in the published scale to meters.
        colors: how the page shows depth at first.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    depth_limit_m: float
    metric: bool | None
    meters_per_unit: float
    colors: OutputSettings


def describe_run(
    predictor: Predictor, folders: Sequence[str], settings: dict[str, Any], colors: OutputSettings
) -> RunFacts:
    """Describe a run.

    Args:
        predictor: computed it, or would have.
        folders: of images, as the user named them.
        settings: what decides the contents of the outputs, as in the manifest.
        colors: of the colored outputs, which the page has too.
    """
    card = predictor.card
    names = [os.path.basename(os.path.abspath(folder)) or folder for folder in folders]
    trust = {True: "true meters", False: "approximate meters", None: "meters of unknown quality"}[card.metric]
    own = [
        ("Weights", f"{card.name}, {trust} up to {card.depth_limit_m:g} m"),
        ("Computed on", f"{predictor.runtime.device} in {predictor.runtime.precision}"),
    ]
    others = [
        (name.replace("_", " ").capitalize().replace("sha256", "SHA-256"), _say(value))
        for name, value in settings.items()
        if name != "precision"
    ]
    return RunFacts(
        title=", ".join(names),
        lines=(*own, *others, ("Program", f"glpn-cli {__version__}")),
        depth_limit_m=card.depth_limit_m,
        metric=card.metric,
        meters_per_unit=card.meters_per_unit,
        colors=colors,
    )


def _say(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

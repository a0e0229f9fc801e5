"""What is known of a network and its settings, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from glpn_cli._version import __version__

if TYPE_CHECKING:
    from glpn_cli.geometry.calibration import Calibration
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.settings import PredictionSettings
    from glpn_cli.values import InputSize, Precision
    from glpn_cli.weights.catalog import WeightsCard


@dataclass(frozen=True)
class RuntimeFacts:
    """Where a network runs.

    Attributes:
        device: name of the device, or of several.
        precision: number format.
    """

    device: str
    precision: Precision


@dataclass
class PredictorFacts:
    """The attributes of a `Predictor` in another process that describe it; they have the same names there.

    Attributes:
        card: the facts that turn the network's output into meters.
        weights_sha256: of the weights file.
        config_sha256: of the configuration, if it is another one than in the weights file; else None.
        weights_chosen: False if "auto" fell back to these weights.
        runtime: device and precision.
        settings: how images become depth.
        calibration: the intrinsics in the file that the settings name, or None.
        usable_sides: the smallest side of the network's input, and the step to the next, pixels.
        parameters: number of the network's parameters.
        input_size: size of the network's input.
        sharp_edges: whether to align the edges of depth with those of the image.
        notes: what the user should know of the weights.
        version: of this program.
    """

    card: WeightsCard
    weights_sha256: str
    config_sha256: str | None
    weights_chosen: bool
    runtime: RuntimeFacts
    settings: PredictionSettings
    calibration: Calibration | None
    usable_sides: tuple[int, int]
    parameters: int
    input_size: InputSize
    sharp_edges: bool
    notes: tuple[str, ...] = ()
    version: str = __version__

    @classmethod
    def of(cls, predictor: Predictor, notes: tuple[str, ...] = ()) -> Self:
        """Return the facts of a predictor of this process."""
        return cls(
            card=predictor.card,
            weights_sha256=predictor.weights_sha256,
            config_sha256=predictor.config_sha256,
            weights_chosen=predictor.weights_chosen,
            runtime=RuntimeFacts(predictor.runtime.name, predictor.runtime.precision),
            settings=predictor.settings,
            calibration=predictor.calibration,
            usable_sides=predictor.usable_sides,
            parameters=predictor.parameters,
            input_size=predictor.input_size,
            sharp_edges=predictor.sharp_edges,
            notes=notes,
        )

    def differences(self, other: PredictorFacts) -> str:
        """Return what another process has that would give other outputs, in words; empty if there is nothing."""
        names = {"version": "glpn-cli", "weights_sha256": "weights", "config_sha256": "configuration"}
        return ", ".join(
            f"{name} {getattr(self, key)} and {getattr(other, key)}"
            for key, name in names.items()
            if getattr(self, key) != getattr(other, key)
        )

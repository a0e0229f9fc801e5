"""Clips and predictors for the tests of videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clips import scene, write_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from glpn_cli.inference.predictor import Predictor


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """14 frames of a moving texture, with half a second of sound."""
    return write_clip(tmp_path / "clip.mp4", [scene(index) for index in range(14)], sound_s=0.5, bf="0")


@pytest.fixture
def small_predictor(shared_engine: Callable[..., Predictor]) -> Callable[..., Predictor]:
    """Return a function that loads the bundled weights with a small network input."""
    from glpn_cli.settings import PredictionSettings

    def load(**settings: Any) -> Predictor:
        return shared_engine(PredictionSettings(**{"weights": "tiny", "input_size": "64x64"} | settings))

    return load

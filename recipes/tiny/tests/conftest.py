"""Settings of all tests of the recipe."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import pytest

from scenes import store, textures

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

# Test processes and the programs that they start share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_procedural_textures = functools.cache(textures.build_atlas)


@pytest.fixture(autouse=True)
def shared_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the textures of a seed once, because that takes seconds."""

    def build_atlas(seed: int, images: Sequence[NDArray[np.uint8]]) -> textures.Atlas:
        return textures.build_atlas(seed, images) if images else _procedural_textures(seed)

    monkeypatch.setattr(store, "build_atlas", build_atlas)

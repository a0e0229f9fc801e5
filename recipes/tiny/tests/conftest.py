"""Settings of all tests of the recipe."""

from __future__ import annotations

import os

import pytest

from scenes import textures

# Test processes and the programs that they start share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def few_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    """One texture per family of surfaces, because drawing all of them takes seconds."""
    monkeypatch.setattr(textures, "_PER_FAMILY", 1)

"""How long each stage of a prediction took."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Stopwatch"]


class Stopwatch:
    """Collects seconds by stage; a stage that runs again adds up.

    Attributes:
        elapsed_s: seconds by stage, in the order in which the stages began.
    """

    def __init__(self) -> None:
        self.elapsed_s: dict[str, float] = {}

    @property
    def total_s(self) -> float:
        """Seconds of all stages together."""
        return sum(self.elapsed_s.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.elapsed_s[name] = self.elapsed_s.get(name, 0.0) + time.perf_counter() - start_s

"""Being told to stop, between two steps and never within one."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Stop", "stop_asked_for"]


class Stop:
    """Whether it is time to stop, and why.

    Attributes:
        interrupted: by the user or the system.
    """

    def __init__(self, max_minutes: float) -> None:
        """Begin to count the time; 0 minutes are no limit."""
        self.interrupted = False
        self._until_s = time.monotonic() + 60 * max_minutes if max_minutes else float("inf")

    @property
    def asked_for(self) -> bool:
        """Whether to stop after this step."""
        return self.interrupted or time.monotonic() >= self._until_s


@contextmanager
def stop_asked_for(max_minutes: float) -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM within the block into a wish; the second one is obeyed at once."""
    stop = Stop(max_minutes)

    def on_signal(number: int, frame: Any) -> None:
        del number, frame
        if stop.interrupted:
            raise KeyboardInterrupt
        stop.interrupted = True

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

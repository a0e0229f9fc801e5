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


_IMPATIENCE_S = 2.0


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
    """Turn Ctrl-C and SIGTERM within the block into a wish; another Ctrl-C some seconds later is obeyed at once.

    One wish may come as several signals: a terminal sends Ctrl-C to all processes, and `torchrun` passes it on.
    """
    stop = Stop(max_minutes)
    asked_at_s = 0.0

    def on_signal(number: int, frame: Any) -> None:
        nonlocal asked_at_s
        del frame
        now_s = time.monotonic()
        if not stop.interrupted:
            stop.interrupted, asked_at_s = True, now_s
        elif number == signal.SIGINT and now_s - asked_at_s > _IMPATIENCE_S:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

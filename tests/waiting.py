"""Waiting for events instead of for time, so that tests do not depend on the load of the machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

HANG_S = 600.0
"""When a test gives up. Only a process that hangs takes this long, however busy the machine is."""


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a condition is true.

    Args:
        condition: is called every few milliseconds.
        process: the process that makes it true; if it ends first, the test fails.
    """
    deadline_s = time.monotonic() + HANG_S
    while not condition():
        has_ended = process is not None and process.poll() is not None
        if has_ended and not condition():
            raise AssertionError(f"the process ended with exit code {process.returncode} before the event")
        assert time.monotonic() < deadline_s, "the event did not happen"
        time.sleep(0.002)

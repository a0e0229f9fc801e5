"""Trying again: what may pass is waited for, within bounds."""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, TypeVar

from glpn_cli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.settings.weights import DownloadSettings
    from glpn_cli.weights.watcher import Watcher

__all__ = ["PassingFaultError", "persist"]

Result = TypeVar("Result")


class PassingFaultError(Exception):
    """Something went wrong that may be right in a moment.

    Attributes:
        reason: one line.
        hint: what to do about it if it does not pass, or None.
        wait_s: how long the other side asked to be left alone, or None.
    """

    def __init__(self, reason: str, *, hint: str | None = None, wait_s: float | None = None) -> None:
        """Keep the parts."""
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.wait_s = wait_s


def persist(
    attempt: Callable[[], Result],
    *,
    settings: DownloadSettings,
    watcher: Watcher,
    done_bytes: Callable[[], int] = int,
) -> Result:
    """Attempt something until it succeeds, or until it has failed too often without getting on.

    Args:
        attempt: raises `PassingFaultError` for what may pass; anything else ends it.
        settings: how often and how long.
        watcher: is told of every wait.
        done_bytes: how far the attempts have come together.

    Raises:
        WeightsError: with the reason of the last fault.
    """
    failures, reached_bytes = 0, done_bytes()
    while True:
        try:
            return attempt()
        except PassingFaultError as fault:
            if done_bytes() - reached_bytes >= settings.progress_bytes:
                failures = 0
            failures, reached_bytes = failures + 1, done_bytes()
            wait_s = settings.first_wait_s * 2 ** (failures - 1) if fault.wait_s is None else fault.wait_s
            if failures >= settings.attempts or wait_s > settings.longest_wait_s:
                raise WeightsError(fault.reason, hint=fault.hint) from fault
            watcher.note(f"{fault.reason}; trying again in {wait_s:g} s")
            sleep(wait_s)

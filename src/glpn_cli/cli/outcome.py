"""What several images came to, as one exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from glpn_cli.errors import PartialFailureError

if TYPE_CHECKING:
    from collections.abc import Sequence


def conclude(total: int, failure_codes: Sequence[int]) -> None:
    """End the command according to the failures of its images, which have been reported.

    Args:
        total: how many images there were.
        failure_codes: the exit code of each that failed.

    Raises:
        PartialFailureError: some failed, or all for different reasons.
        typer.Exit: all failed for the same reason, with its code.
    """
    if not failure_codes:
        return
    if len(failure_codes) == total and len(set(failure_codes)) == 1:
        raise typer.Exit(failure_codes[0])
    raise PartialFailureError(f"{len(failure_codes)} of {total} failed")

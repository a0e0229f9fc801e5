"""Where weights are, and how patiently they are fetched."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HOME_VARIABLE", "RANDOM_WEIGHTS", "WEIGHTS_VARIABLE", "DownloadSettings"]

RANDOM_WEIGHTS = "random"
"""What `glpn bench` calls the published architecture without its weights."""


WEIGHTS_VARIABLE = "GLPN_WEIGHTS"
"""The environment variable that `auto` weights look at first."""


HOME_VARIABLE = "GLPN_HOME"
"""The environment variable that says where downloaded and imported weights are kept."""


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How long a download keeps trying.

    Attributes:
        attempts: how often in a row without progress.
        first_wait_s: before the second attempt; doubled before each further one.
        longest_wait_s: longer ones are left to the user, also where the server asks for them.
        progress_bytes: what has to arrive for a fault to count as the first one again.
        connect_timeout_s: for a connection, and for an answer about a file.
        silence_timeout_s: a connection that brings nothing for so long counts as cut.
    """

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    progress_bytes: int = 2**20
    connect_timeout_s: float = 10.0
    silence_timeout_s: float = 30.0

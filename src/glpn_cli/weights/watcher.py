"""What the arrival of weights tells whoever waits for it."""

from __future__ import annotations

__all__ = ["QUIET", "Watcher"]


class Watcher:
    """Is told what goes on while weights arrive; this one keeps it to itself."""

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """Hear that bytes will come, some of which may be here from an earlier run."""

    def advance(self, done_bytes: int) -> None:
        """Hear how many bytes are here; fewer than before if it had to start again."""

    def end(self) -> None:
        """Hear that no more bytes will come, whether all are here or not."""

    def note(self, text: str) -> None:
        """Hear something that the user may wonder about, such as a wait."""


QUIET = Watcher()
"""Nobody waits."""

"""The progress callback of a batch; apart from it, because every command imports the display that implements it."""

from __future__ import annotations


class BatchProgress:
    """What a batch reports while it runs; this one reports nothing."""

    def start(self, what: str, total: int) -> None:
        """Report the start of a stage.

        Args:
            what: "color range" (predicts a sample), "report" (adds images of earlier runs), or "depth".
            total: number of images of the stage.
        """

    def expect(self, total: int) -> None:
        """Report a better estimate of the number of images of the stage."""

    def advance(self) -> None:
        """Report one finished image of the stage."""

    def stop(self) -> None:
        """Report the end of the stage."""

    def info(self, text: str) -> None:
        """Report a fact about the run."""

    def detail(self, text: str) -> None:
        """Report something that only an interested user wants to know."""

    def note(self, text: str) -> None:
        """Report something that the user may not expect."""

"""What the program says: talk to stderr, data to stdout, every error in one line and a hint."""

from __future__ import annotations

import io
import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console as RichConsole
from rich.progress import Progress, ProgressColumn
from rich.text import Text

from glpn_cli.errors import GLPNError, ReaderGoneError
from glpn_cli.settings import ColorPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table


_PIPED_TABLE_WIDTH = 160


class Console:
    """The only place that prints.

    User text, such as a file name, is never read as markup, and what a terminal would obey is shown escaped.
    """

    def __init__(
        self,
        *,
        color: ColorPolicy = ColorPolicy.AUTO,
        quiet: bool = False,
        verbose: bool = False,
        debug: bool = False,
    ) -> None:
        """Take the choices of the command line; NO_COLOR, FORCE_COLOR and TERM are rich's business."""
        self._quiet = quiet
        self._verbose = verbose
        self._debug = debug
        always = "standard" if os.environ.get("TERM", "").lower() in ("dumb", "unknown") else "auto"
        systems = {ColorPolicy.NEVER: None, ColorPolicy.ALWAYS: always, ColorPolicy.AUTO: "auto"}
        self._stderr = _Talk(
            stderr=True,
            soft_wrap=True,
            highlight=False,
            force_terminal=True if color is ColorPolicy.ALWAYS else None,
            no_color=None if color is ColorPolicy.AUTO else color is ColorPolicy.NEVER,
            color_system=systems[color],  # type: ignore[arg-type]  # rich names its systems one by one
        )

    def say(self, text: str, *, style: str = "") -> None:
        """Tell what was done, unless quiet."""
        if not self._quiet:
            self._print(Text(printable(text), style=style))

    def detail(self, text: str) -> None:
        """Tell more, if verbose."""
        if self._verbose:
            self.say(text, style="dim")

    def note(self, text: str, *, about: str = "") -> None:
        """Tell something that the user may not expect, unless quiet."""
        if not self._quiet:
            self._print(self._labeled("note", "yellow", f"{about}: {text}" if about else text))

    def error(self, error: GLPNError) -> None:
        """Tell what went wrong, even if quiet; with --debug also where."""
        if self._debug:
            for line in "".join(traceback.format_exception(error)).splitlines():
                self._print(Text(printable(line), style="dim"))
        self.failure(error.message, error.hint)

    def failure(self, message: str, hint: str | None = None) -> None:
        """Tell what went wrong, even if quiet."""
        self._print(self._labeled("error", "bold red", message))
        if hint:
            self._print(self._labeled("hint", "cyan", hint))

    def data(self, line: str) -> None:
        """Print one line of data on stdout.

        Raises:
            ReaderGoneError: nobody reads it.
        """
        try:
            data = line.encode(errors="surrogateescape")  # as a path is whose name is no text
        except UnicodeEncodeError:
            data = line.encode(errors="replace")
        self.raw_data(data + b"\n")

    def raw_data(self, data: bytes) -> None:
        """Write bytes to stdout, at once.

        Raises:
            ReaderGoneError: they cannot be written.
        """
        if sys.stdout is None:
            raise ReaderGoneError("standard output: is closed")
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            # What is still buffered would fail again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ReaderGoneError(f"standard output: cannot be written: {error.strerror or error}") from error

    def table(self, table: Table) -> None:
        """Print a table, which is data, on stdout.

        Raises:
            ReaderGoneError: nobody reads it.
        """
        piped = sys.stdout is None or not sys.stdout.isatty()
        drawn = io.StringIO()  # rich would write to standard output itself, and fail in its own way
        RichConsole(
            file=drawn,
            force_terminal=not piped,
            markup=False,
            soft_wrap=piped,
            highlight=False,
            width=_PIPED_TABLE_WIDTH if piped else None,
        ).print(table)
        self.raw_data(drawn.getvalue().encode(errors="replace"))

    @property
    def has_terminal(self) -> bool:
        """Whether talk goes to a terminal that can be drawn on, and is wanted."""
        return self._stderr.is_terminal and not self._quiet

    @property
    def width(self) -> int:
        """How many characters fit beside each other on standard error."""
        return self._stderr.width

    @property
    def height(self) -> int:
        """How many lines fit below each other."""
        return self._stderr.height

    @property
    def has_colors(self) -> bool:
        """Whether what is said may be colored."""
        return self._stderr.color_system is not None and not self._stderr.no_color

    @property
    def has_blocks(self) -> bool:
        """Whether half blocks and shades can be written, which ASCII and some older encodings cannot."""
        try:
            "▀█▓▒░".encode(self._stderr.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def draw(self, line: Text) -> None:
        """Print a line of an image on standard error, unless quiet."""
        if not self._quiet:
            self._stderr.print(line, no_wrap=True, overflow="crop", crop=True)

    def bar(self, *columns: ProgressColumn) -> Progress:
        """Give a progress bar below what is said, to be entered; it vanishes when it is left."""
        return Progress(*columns, console=self._stderr, transient=True, disable=not self.has_terminal)

    @contextmanager
    def errors_reported(self) -> Iterator[None]:
        """Turn an error of ours within the block into its line and its exit code; bugs pass through."""
        try:
            yield
        except GLPNError as error:
            self.error(error)
            raise typer.Exit(error.exit_code) from error

    @staticmethod
    def _labeled(label: str, style: str, text: str) -> Text:
        return Text.assemble((f"{label}:", style), " ", printable(text))

    def _print(self, text: Text) -> None:
        self._stderr.print(text)


class _Talk(RichConsole):
    """Standard error as rich draws on it; if it cannot be written to, there is nobody to tell, and work goes on."""

    def on_broken_pipe(self) -> None:
        """Go on; rich would end the program."""

    def _write_buffer(self) -> None:
        try:
            super()._write_buffer()
        except OSError:
            self._buffer.clear()


def printable(text: str) -> str:
    r"""Escape what a terminal would obey or cannot show: control characters, direction marks, broken Unicode."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )

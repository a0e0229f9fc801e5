"""The only module that prints: messages to standard error, data to standard output.

An error is one line and perhaps a hint. Settings in backquotes, as errors name them, are shown as flags.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.progress import Progress, ProgressColumn
from rich.text import Text

from glpn_cli.cli.options import all_flags
from glpn_cli.errors import CLOSED_PIPE_EXIT_CODE, GLPNError, OutputError, PartialFailureError, ReaderGoneError
from glpn_cli.files import dump_json, os_reason
from glpn_cli.settings import LoggingSettings
from glpn_cli.values import ColorPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table

_PIPED_TABLE_WIDTH = 160
_FALLBACK_WIDTH = 80
_CLOSED_PIPE = {errno.EPIPE, errno.ESHUTDOWN} | ({errno.EINVAL} if os.name == "nt" else set())
_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_DEFAULT_LOGGING = LoggingSettings()
_FLAGS = all_flags()


class Console:
    """Prints messages and data.

    Text from users, such as file names, is never read as markup, and control characters in it are escaped.
    """

    def __init__(self, logging: LoggingSettings = _DEFAULT_LOGGING, flags: Mapping[str, str] | None = None) -> None:
        """Store the settings; rich itself honors NO_COLOR, FORCE_COLOR and TERM.

        Args:
            logging: what is printed, and in color or not.
            flags: the command's own flags by setting, where they differ from those of other commands.
        """
        self._logging = logging
        self._own_flags = flags or {}
        always = "standard" if os.environ.get("TERM", "").lower() in ("dumb", "unknown") else "auto"
        systems = {ColorPolicy.NEVER: None, ColorPolicy.ALWAYS: always, ColorPolicy.AUTO: "auto"}
        color = logging.color
        self._stderr = _Stderr(
            stderr=True,
            highlight=False,
            force_terminal=True if color is ColorPolicy.ALWAYS else None,
            no_color=None if color is ColorPolicy.AUTO else color is ColorPolicy.NEVER,
            color_system=systems[color],  # type: ignore[arg-type]  # rich names its systems one by one
        )
        if self._stderr.width < 1:  # COLUMNS=0
            self._stderr.width = _FALLBACK_WIDTH

    # Messages

    def info(self, text: str, *, style: str = "") -> None:
        """Print a message, unless quiet."""
        if not self._logging.quiet:
            self._print(Text(printable(self.in_flags(text)), style=style))

    def detail(self, text: str) -> None:
        """Print a message, if verbose."""
        if self._logging.verbose:
            self.info(text, style="dim")

    def note(self, text: str, *, about: str = "") -> None:
        """Print something that the user may not expect, unless quiet."""
        if not self._logging.quiet:
            self._print(self._labeled("note", "yellow", f"{about}: {text}" if about else text))

    def warn(self, text: str) -> None:
        """Print that a run ended early, unless quiet."""
        self.info(text, style="yellow")

    def error(self, error: GLPNError) -> None:
        """Print an error, even if quiet; with --debug also its traceback."""
        self.trace(error)
        self.failure(error.message, error.hint)

    def trace(self, error: GLPNError) -> None:
        """Print the traceback of an error that is reported elsewhere, if debugging."""
        if self._logging.debug:
            for line in "".join(traceback.format_exception(error)).splitlines():
                self._print(Text(printable(line), style="dim"))

    def failure(self, message: str, hint: str | None = None) -> None:
        """Print the message and the hint of an error, even if quiet."""
        self._print(self._labeled("error", "bold red", message))
        if hint:
            self._print(self._labeled("hint", "cyan", hint))

    def failures(self, failures: list[tuple[str, str | None]], *, at_most: int = 20, where: str = "") -> None:
        """Print the first of several errors; a hint that many share is printed once."""
        last_hint = None
        for message, hint in failures[:at_most]:
            self.failure(message, None if hint == last_hint else hint)
            last_hint = hint
        if len(failures) > at_most:
            self.info(f"and {len(failures) - at_most} more{where}")

    @contextmanager
    def errors_reported(self) -> Iterator[None]:
        """Turn a `GLPNError` of the block into a message and its exit code; bugs pass through.

        A closed pipe, as of `| head -1`, is no error: the reader has what it wants.
        """
        try:
            yield
        except ReaderGoneError as error:
            raise typer.Exit(CLOSED_PIPE_EXIT_CODE) from error
        except GLPNError as error:
            self.error(error)
            raise typer.Exit(error.exit_code) from error

    def in_flags(self, text: str) -> str:
        """Return a text with its settings, such as `tta='flip'`, as flags: --tta flip."""

        def flag(match: re.Match[str]) -> str:
            known = self._own_flags.get(match[1]) or _FLAGS.get(match[1])
            if known is None:
                return match[0]
            value = (match[2] or "").strip("'\"")
            return f"{known} {value}" if value and value != "True" else known

        return _SETTING.sub(flag, text)

    def error_record(self, error: GLPNError) -> dict[str, Any]:
        """Return an error for a JSON record, with its settings as flags."""
        return {
            "message": self.in_flags(error.message),
            "hint": None if error.hint is None else self.in_flags(error.hint),
            "exit_code": error.exit_code,
        }

    # Data

    def data(self, line: str) -> None:
        """Print a line of data.

        Raises:
            ReaderGoneError: the reader of standard output has closed it.
            OutputError: standard output cannot be written.
        """
        try:
            data = line.encode(errors="surrogateescape")  # a path may be undecodable
        except UnicodeEncodeError:
            data = line.encode(errors="replace")
        self.raw_data(data + b"\n")

    def record(self, values: Any) -> None:
        """Print values as a line of JSON.

        Raises:
            ReaderGoneError: the reader of standard output has closed it.
            OutputError: standard output cannot be written.
        """
        self.data(dump_json(values))

    def raw_data(self, data: bytes) -> None:
        """Write bytes to standard output at once.

        Raises:
            ReaderGoneError: the reader of standard output has closed it.
            OutputError: standard output is closed, or cannot be written.
        """
        if sys.stdout is None:
            raise OutputError("standard output: is closed")
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            # What is still buffered would fail again when the interpreter exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            kind = ReaderGoneError if error.errno in _CLOSED_PIPE else OutputError
            raise kind(f"standard output: cannot be written: {os_reason(error)}") from error

    def table(self, table: Table) -> None:
        """Print a table on standard output.

        Raises:
            ReaderGoneError: the reader of standard output has closed it.
            OutputError: standard output cannot be written.
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

    # The terminal

    @property
    def has_terminal(self) -> bool:
        """Whether messages go to a terminal that can show a progress bar, and are wanted."""
        return self._stderr.is_terminal and not self._logging.quiet

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._stderr.width

    @property
    def height(self) -> int:
        """Rows of the terminal."""
        return self._stderr.height

    @property
    def has_colors(self) -> bool:
        """Whether messages may be colored."""
        return self._stderr.color_system is not None and not self._stderr.no_color

    @property
    def has_blocks(self) -> bool:
        """Whether half blocks and shades can be written; ASCII and some older encodings cannot."""
        try:
            "▀█▓▒░".encode(self._stderr.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    @staticmethod
    def can_print(text: str) -> bool:
        """Return whether a text can be written to standard output; a pipe gets UTF-8."""
        if sys.stdout is None or not sys.stdout.isatty():
            return True
        try:
            text.encode(sys.stdout.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def draw(self, line: Text) -> None:
        """Print a line of a drawing on standard error, unless quiet."""
        if not self._logging.quiet:
            self._stderr.print(line, no_wrap=True, overflow="crop", crop=True)

    def bar(self, *columns: ProgressColumn) -> Progress:
        """Return a progress bar below the messages; it disappears when it stops."""
        return Progress(*columns, console=self._stderr, transient=True, disable=not self.has_terminal)

    def _labeled(self, label: str, style: str, text: str) -> Text:
        return Text.assemble((f"{label}:", style), " ", printable(self.in_flags(text)))

    def _print(self, text: Text) -> None:
        # A pipe gets one line for each message, a terminal lines that break between words.
        if self._stderr.is_terminal:
            lines = _break_between_words(text, self._stderr.width)
            self._stderr.print(Text("\n").join(lines), no_wrap=True, overflow="ignore", crop=False)
        else:
            self._stderr.print(text, soft_wrap=True)


class _Stderr(RichConsole):
    """Standard error; if it cannot be written, messages are dropped and work continues."""

    def on_broken_pipe(self) -> None:
        """Do nothing; rich would end the program."""

    def _write_buffer(self) -> None:
        try:
            super()._write_buffer()
        except OSError:
            self._buffer.clear()


def _break_between_words(text: Text, width: int) -> Iterator[Text]:
    """Yield the lines of a text; unlike rich's own wrapping it never breaks a long word, such as a path."""
    start = end = 0
    for word in re.finditer(r"\s*(\S+)", text.plain):
        if end and cell_len(text.plain[start : word.end()]) > width:
            yield text[start:end]
            start = word.start(1)
        end = word.end()
    yield text[start:end]


def printable(text: str) -> str:
    r"""Escape control characters, direction marks and broken Unicode."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def format_duration(seconds: float) -> str:
    """Return a duration in the unit that fits."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def format_bytes(count: float) -> str:
    """Return an amount of data in the decimal unit that fits."""
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def format_size(size: tuple[Any, ...] | None) -> str:
    """Return (height, width) as "HxW"."""
    return "x".join(str(side) for side in size or ())


def conclude(total: int, failure_codes: list[int]) -> None:
    """Exit according to the failures of several inputs, which have been printed.

    Args:
        total: number of inputs.
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

"""The table of commands, and the entry point."""

from __future__ import annotations

import difflib
import os
import re
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from glpn_cli.cli.command import HelpGroup, add_command, print_version
from glpn_cli.cli.console import Console
from glpn_cli.cli.process import Interrupts
from glpn_cli.convert import closest_hint
from glpn_cli.errors import INTERRUPTED_EXIT_CODE

_COMMANDS = (
    "predict",
    "batch",
    "video",
    "info",
    "measure",
    "download-weights",
    "weights",
    "evaluate",
    "train",
    "export",
    "bench",
    "doctor",
)
"""In the order of the help. Each is a function, or a group of commands, in the module of its name."""

_UsageError: Any = typer.BadParameter.__mro__[1]  # Typer's own copy of Click has no public name for it


class _App(HelpGroup):
    """The program; its commands are listed in the order of the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return sorted(super().list_commands(ctx), key=_COMMANDS.index)


def build_app(only: str | None = None) -> typer.Typer:
    """Return the program.

    Args:
        only: the command that will run; importing all others takes 0.05 s. None, or an unknown name, gives all.
    """
    app = typer.Typer(
        name="glpn",
        cls=_App,
        help="Depth maps in meters from ordinary photos.",
        epilog="Run `glpn COMMAND --help` for the options of a command. `glpn photo.jpg` is short for "
        "`glpn predict photo.jpg`.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # a bug shows Python's own traceback
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name in [only] if only in _COMMANDS else _COMMANDS:
        function = name.replace("-", "_")
        add_command(app, getattr(import_module(f"glpn_cli.cli.commands.{function}"), function))
    return app


def _global_options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Depth maps in meters from ordinary photos."""


def main() -> None:
    """Run the command line and exit; SIGTERM ends it as cleanly as Ctrl-C does."""
    if sys.stderr is None:  # closed by the parent process
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    # Pillow warns about odd EXIF and TIFF tags; what matters of an image is in our own notes.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Messages of the Hub's client; what matters of a download is in our own.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    interrupts = Interrupts()
    try:
        interrupts.install()
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED_EXIT_CODE
    except BaseException:  # other libraries turn an interrupt into errors of their own
        if not interrupts.received:
            raise
        code = INTERRUPTED_EXIT_CODE
    sys.exit(interrupts.exit_code(code))


def _run(words: list[str]) -> int:
    """Run a command line and return its exit code."""
    arguments = _with_command(words)
    app = build_app(arguments[0] if arguments else None)
    try:
        return int(app(arguments, standalone_mode=False, prog_name="glpn") or 0)
    except typer.Abort:
        return 1
    except _UsageError as error:
        _print_usage_error(error)
        return int(error.exit_code)


def _with_command(arguments: list[str]) -> list[str]:
    """Return the arguments with the command: `glpn photo.jpg` is `glpn predict photo.jpg`."""
    if arguments and arguments[0] not in _COMMANDS and _means_images(arguments[0]):
        return ["predict", *arguments]
    return arguments


def _means_images(word: str) -> bool:
    """Return whether a word that is no command means images: a file, a folder, a pattern, a URL, standard input.

    A file that does not exist counts if it has the suffix of an image, so that the error is about the file.
    """
    if not word or (word.startswith("-") and word != "-"):
        return False
    from glpn_cli.image.folder import is_image_name

    is_url = word.lower().startswith(("http://", "https://", "file://"))
    is_pattern = any(character in word for character in "*?[")
    return word == "-" or is_url or is_pattern or os.path.lexists(word) or is_image_name(word)


def _print_usage_error(error: Any) -> None:
    """Print an error of Typer in the look of our own, with the closest valid name."""
    context, message = error.ctx, error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
        typer.echo(message, err=True)
        return
    # Typer adds suggestions to some messages; they are our hint.
    message = re.split(r"\.? \(?(?:Did you mean|Possible)", message)[0].rstrip(".")
    message = re.sub(r"('--[\w-]+')(?: / '[^']*')+", r"\1", message)  # of several names the documented one
    path = "glpn" if context is None else context.command_path
    close = _closest_options(error)
    hint = f"did you mean {close[0]}?" if close else None
    others = _commands_with(str(getattr(error, "option_name", None) or ""))
    if others and getattr(error, "possibilities", None) is not None:
        hint = f"it is an option of {', '.join(others)}; {path} --help"
    message = re.sub(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", r"unexpected argument: \1", message)
    unknown = re.fullmatch(r"No such command '(.*)'", message)
    if unknown and context is not None:
        hint = closest_hint(unknown[1], context.command.list_commands(context))
    file = next((text for text in sys.argv[1:] if text.startswith("-") and Path(text).exists()), None)
    if file is not None and getattr(error, "option_name", None):
        hint = f"to name the file, write ./{file}"
    Console().failure(message[:1].lower() + message[1:], hint or f"{path} --help")


def _commands_with(flag: str) -> list[str]:
    """Return the commands that have an option."""
    commands: dict[str, Any] = getattr(typer.main.get_command(build_app()), "commands", {})
    return [name for name in _COMMANDS if any(flag in parameter.opts for parameter in commands[name].params)]


def _closest_options(error: Any) -> list[str]:
    """Return the options whose name resembles an unknown one; Click also counts the dashes that all have."""
    names = {name.lstrip("-"): name for name in getattr(error, "possibilities", None) or ()}
    unknown = str(getattr(error, "option_name", None) or "").lstrip("-")
    return [names[name] for name in difflib.get_close_matches(unknown, names, 1)]

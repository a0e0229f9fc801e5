"""The command table and the way in."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from importlib import import_module
from pathlib import Path

import typer

from glpn_cli.cli.command_help import BriefCommand
from glpn_cli.cli.options.talk import Version

_COMMANDS = (
    "predict",
    "batch",
    "info",
    "measure",
    "bench",
    "train",
    "scenes",
    "evaluate",
    "export",
    "download-weights",
    "doctor",
    "weights",
)
"""In the order of the help; each is a function, or a Typer of its own, in the module of its name."""


def build_app(only: str | None = None) -> typer.Typer:
    """Build the program.

    Args:
        only: the one command that is going to run; importing all the others takes a twentieth of a second. None, or the
            name of no command, gives all.
    """
    app = typer.Typer(
        name="glpn",
        help="Depth maps in meters from ordinary photos.",
        epilog="glpn predict photo.jpg writes photo.depth.png beside the photo.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # a bug shows Python's own traceback
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options_of_glpn)
    for name in [only] if only in _COMMANDS else _COMMANDS:
        function = name.replace("-", "_")
        command = getattr(import_module(f"glpn_cli.cli.commands.{function}"), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command)
        else:
            app.command(cls=BriefCommand)(command)
    return app


def _options_of_glpn(*, version: Version = False) -> None:
    """Depth maps in meters from ordinary photos."""


def main() -> None:
    """Run the command line; SIGTERM ends it as cleanly as Ctrl-C does."""
    if sys.stderr is None:  # closed by whoever started us; talk goes nowhere then
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    # Pillow's remarks on odd EXIF and TIFF tags; what matters of an image we say ourselves.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # What the client of the Hub would print by itself; what matters of a download we say ourselves.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    for name in ("SIGTERM", "SIGBREAK"):  # the second is Ctrl-Break, which only Windows has
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    build_app(sys.argv[1] if len(sys.argv) > 1 else None)()

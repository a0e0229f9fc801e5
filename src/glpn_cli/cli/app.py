"""The command table and the way in."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from glpn_cli import __version__
from glpn_cli.cli.commands.predict import predict

__all__ = ["app", "main"]

app = typer.Typer(
    name="glpn",
    help="Depth maps in metres from ordinary photos.",
    epilog="glpn predict photo.jpg writes photo.depth.png beside the photo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug shows Python's own traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(predict)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"glpn {__version__}")
        raise typer.Exit


@app.callback()
def options_of_glpn(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Depth maps in metres from ordinary photos."""


def main() -> None:
    """Run the command line; SIGTERM ends it as cleanly as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()

"""The command table and the way in."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

import typer

from glpn_cli.cli.command_help import BriefCommand
from glpn_cli.cli.commands.batch import batch
from glpn_cli.cli.commands.bench import bench
from glpn_cli.cli.commands.doctor import doctor
from glpn_cli.cli.commands.download_weights import download_weights
from glpn_cli.cli.commands.evaluate import evaluate
from glpn_cli.cli.commands.export import export
from glpn_cli.cli.commands.info import info
from glpn_cli.cli.commands.measure import measure
from glpn_cli.cli.commands.predict import predict
from glpn_cli.cli.commands.scenes import scenes
from glpn_cli.cli.commands.train import train
from glpn_cli.cli.commands.weights import app as weights
from glpn_cli.cli.options.talk import Version  # noqa: TC001 - Typer reads the annotations when the program runs

__all__ = ["app", "main"]

app = typer.Typer(
    name="glpn",
    help="Depth maps in metres from ordinary photos.",
    epilog="glpn predict photo.jpg writes photo.depth.png beside the photo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug shows Python's own traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=BriefCommand)(predict)
app.command(cls=BriefCommand)(batch)
app.command(cls=BriefCommand)(info)
app.command(cls=BriefCommand)(measure)
app.command(cls=BriefCommand)(bench)
app.command(cls=BriefCommand)(train)
app.command(cls=BriefCommand)(scenes)
app.command(cls=BriefCommand)(evaluate)
app.command(cls=BriefCommand)(export)
app.command(cls=BriefCommand)(download_weights)
app.command(cls=BriefCommand)(doctor)
app.add_typer(weights)


@app.callback()
def options_of_glpn(*, version: Version = False) -> None:
    """Depth maps in metres from ordinary photos."""


def main() -> None:
    """Run the command line; SIGTERM ends it as cleanly as Ctrl-C does."""
    if sys.stderr is None:  # closed by whoever started us; talk goes nowhere then
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    # Pillow's remarks on odd EXIF and TIFF tags; what matters of a picture we say ourselves.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # What the client of the Hub would print by itself; what matters of a download we say ourselves.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    for name in ("SIGTERM", "SIGBREAK"):  # the second is Ctrl-Break, which only Windows has
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    app()

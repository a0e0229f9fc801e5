"""`glpn weights`: list, find, check, remove and import weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from glpn_cli.cli.command import HelpGroup, add_command, command
from glpn_cli.cli.console import Console, format_bytes, format_size, printable
from glpn_cli.cli.options import LOGGING, OUTPUT, Argument, Option
from glpn_cli.cli.progress import DownloadProgress
from glpn_cli.errors import GLPNError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.weights.location import InventoryRow, LocatedWeights

weights = typer.Typer(
    name="weights", cls=HelpGroup, help="List, find, check, remove and import weights.", no_args_is_help=True
)

_JSON = Option("Print a JSON object for each entry on standard output.", LOGGING)
_METRIC = {True: "meters", False: "approximate", None: "unknown"}
_HEAD = ("name", "status", "size", "depth", "limit", "made for", "factor", "domain")


def _installed() -> list[str]:
    from glpn_cli.weights.location import list_weights

    return [name for name, path in list_weights().items() if path is not None]


@command(name="list", options={"json": _JSON}, examples=("glpn weights list", "glpn weights list --json"))
def list_weights(console: Console, *, json: bool) -> None:
    """List named weights, installed or not."""
    from glpn_cli.weights.location import take_inventory

    rows = take_inventory()
    if json:
        for row in rows:
            console.record(_record(row))
        return
    for line in _table([_HEAD, *(_cells(row) for row in rows)]):
        console.data(line)
    console.data("\nlicenses")
    for terms in dict.fromkeys(row.license for row in rows):
        names = ", ".join(row.name for row in rows if row.license == terms)
        console.data(f"  {names}: {printable(terms)}")


@command(
    name="path",
    arguments={"name": Argument("Name of weights.", "NAME", complete=_installed)},
    examples=("glpn weights path tiny",),
)
def print_path(console: Console, name: str) -> None:
    """Print the path of installed weights."""
    from glpn_cli.weights.location import locate_weights

    console.data(str(locate_weights(name).path))


@command(
    name="verify",
    arguments={
        "names": Argument("Weights to check. Default: all that are installed.", "NAME|PATH...", False, _installed)
    },
    options={"json": _JSON},
    examples=("glpn weights verify", "glpn weights verify nyu"),
)
def verify_weights(console: Console, names: tuple[str, ...], *, json: bool) -> None:
    """Check that weights are intact. The exit code is 3 if any are not."""
    from glpn_cli.weights.location import locate_weights

    damaged = [
        located.name
        for located in [locate_weights(name) for name in names or _installed()]
        if not _verify(located, console, json=json)
    ]
    if damaged:
        raise typer.Exit(WeightsError.exit_code)


@command(
    name="remove",
    arguments={"names": Argument("Names of weights.", "NAME...", complete=_installed)},
    examples=("glpn weights remove nyu",),
)
def remove_weights(console: Console, names: tuple[str, ...]) -> None:
    """Remove downloaded or imported weights, and partial downloads."""
    from glpn_cli.weights.location import to_download_name
    from glpn_cli.weights.store import remove_stored

    for text in names:
        name = to_download_name(text) or text
        if not remove_stored(name):
            raise WeightsError(f"the weights {name!r} are not installed", hint="glpn weights list")
        console.info(f"{name}: removed")


@command(
    name="import",
    arguments={
        "file": Argument(
            "A folder as transformers saves it, a safetensors or .bin file, or a .ckpt of the authors.", "FILE|FOLDER"
        )
    },
    options={
        "name": Option(
            "Name of the weights. nyu and kitti also get the scale of the catalog.",
            OUTPUT,
            "NAME",
            flag="--as",
            required=True,
        ),
        "meters_per_unit": Option(
            "Meters per unit of the network's output.",
            OUTPUT,
            "FACTOR",
            aliases=("--metres-per-unit",),
            default="from the file or the name, else 1",
        ),
        "overwrite": Option("Replace installed weights.", OUTPUT),
    },
    examples=("glpn weights import best.ckpt --as mine", "glpn weights import ./glpn-kitti --as kitti"),
)
def import_weights(
    console: Console, file: str, *, name: str, meters_per_unit: float | None = None, overwrite: bool
) -> None:
    """Install weights of your own under a name, for --weights."""
    from glpn_cli.weights.install import import_weights as install

    installed = install(
        file, name, meters_per_unit=meters_per_unit, overwrite=overwrite, progress=DownloadProgress(console)
    )
    if installed.scale_note:
        console.note(installed.scale_note)
    console.info(
        f"{installed.name}: {format_bytes(installed.path.stat().st_size)}; depth limit "
        f"{installed.card.depth_limit_m:g} m, {installed.card.meters_per_unit:g} meters per network unit"
    )


for _command in (list_weights, print_path, verify_weights, remove_weights, import_weights):
    add_command(weights, _command)


def _verify(located: LocatedWeights, console: Console, *, json: bool) -> bool:
    from glpn_cli.files import FileDigest
    from glpn_cli.weights.location import verify
    from glpn_cli.weights.store import weights_files

    error: GLPNError | None = None
    file, sha256 = located.path, None
    try:
        file, *parts = weights_files(located.path)
        if json:
            sha256 = FileDigest(file, *parts).hexdigest()
        status = "intact" if verify(located) else "readable"
    except WeightsError as raised:
        status, error = "damaged", raised
    if json:
        record = {"name": located.name, "path": str(file), "status": status, "sha256": sha256}
        console.record(record if error is None else record | {"error": console.error_record(error)})
    if error is not None:
        console.error(error)
    elif not json:
        known = "intact" if status == "intact" else "readable; the file has no checksum"
        console.info(f"{located.name}: {known}")
    return error is None


def _record(row: InventoryRow) -> dict[str, Any]:
    """Return the JSON record of weights; docs/cli.md lists the fields."""
    card = row.card
    return {
        "name": row.name,
        "status": str(row.status),
        "path": None if row.path is None else str(row.path),
        "size_bytes": row.size_bytes,
        "source": row.source,
        "revision": row.revision,
        "license": row.license,
        "domain": row.domain or None,
        "metric": card and card.metric,
        "depth_limit_m": card and card.depth_limit_m,
        "meters_per_unit": card and card.meters_per_unit,
        "working_size": card and {"height": card.working_size[0], "width": card.working_size[1]},
    }


def _cells(row: InventoryRow) -> tuple[str, ...]:
    status = "not installed" if row.path is None else str(row.status)
    shown = (row.name, status, format_bytes(row.size_bytes))
    if row.card is None:
        return (*shown, "", "", "", "", row.domain)
    limit, factor = f"{row.card.depth_limit_m:g} m", f"{row.card.meters_per_unit:g}"
    return (*shown, _METRIC[row.card.metric], limit, format_size(row.card.working_size), factor, row.domain)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

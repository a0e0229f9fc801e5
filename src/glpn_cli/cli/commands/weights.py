"""`glpn weights`: what weights there are, and housekeeping."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from glpn_cli.cli.command_help import BriefCommand
from glpn_cli.cli.console import Console, printable
from glpn_cli.cli.download_progress import DownloadProgress
from glpn_cli.cli.options.records import JsonRecords
from glpn_cli.cli.options.talk import (
    Color,
    Debug,
    Quiet,
)
from glpn_cli.cli.options.weights import (
    AnyWeightsNames,
    ImportAs,
    MetersPerUnit,
    OverwriteWeights,
    WeightsFile,
    WeightsName,
    WeightsNames,
)
from glpn_cli.cli.wording import say_bytes
from glpn_cli.errors import GLPNError, WeightsError
from glpn_cli.settings import ColorPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.weights.location import InventoryRow, LocatedWeights


weights = typer.Typer(name="weights", help="List, find, check, remove and import weights.", no_args_is_help=True)

_METRIC = {True: "meters", False: "approximate", None: "unknown"}
_HEAD = ("name", "where", "size", "depth", "limit", "made for", "factor", "domain")


@weights.command("list", cls=BriefCommand)
def list_weights(json_records: JsonRecords = False, debug: Debug = False, color: Color = ColorPolicy.AUTO) -> None:
    """List all weights that have a name, here or not."""
    console = Console(color=color, debug=debug)
    with console.errors_reported():
        from glpn_cli.weights.location import take_inventory

        rows = take_inventory()
        if json_records:
            for row in rows:
                console.data(json.dumps(_record(row), allow_nan=False))
            return
        for line in _table([_HEAD, *(_cells(row) for row in rows)]):
            console.data(line)
        console.data("\nlicenses")
        for terms in dict.fromkeys(row.license for row in rows):
            names = ", ".join(row.name for row in rows if row.license == terms)
            console.data(f"  {names}: {printable(terms)}")


@weights.command("path", cls=BriefCommand)
def print_path(name: WeightsName, debug: Debug = False, color: Color = ColorPolicy.AUTO) -> None:
    """Print where weights are kept; they are not downloaded for it."""
    console = Console(color=color, debug=debug)
    with console.errors_reported():
        from glpn_cli.weights.location import locate_weights

        console.data(str(locate_weights(name).path))


@weights.command("verify", cls=BriefCommand)
def verify_weights(
    names: AnyWeightsNames = None,
    json_records: JsonRecords = False,
    quiet: Quiet = False,
    debug: Debug = False,
    color: Color = ColorPolicy.AUTO,
) -> None:
    """See whether weights are still as they were written. Exit code 3 if any are not."""
    console = Console(color=color, quiet=quiet, debug=debug)
    with console.errors_reported():
        from glpn_cli.weights.location import list_weights, locate_weights

        here = [name for name, path in list_weights().items() if path is not None]
        damaged = [
            located.name
            for located in [locate_weights(name) for name in names or here]
            if not _verify(located, console, json_records=json_records)
        ]
        if damaged:
            raise typer.Exit(WeightsError.exit_code)


@weights.command("remove", cls=BriefCommand)
def remove_weights(
    names: WeightsNames, quiet: Quiet = False, debug: Debug = False, color: Color = ColorPolicy.AUTO
) -> None:
    """Remove weights that were downloaded or imported, and what is left of downloads that were cut."""
    console = Console(color=color, quiet=quiet, debug=debug)
    with console.errors_reported():
        from glpn_cli.weights.location import to_known_name
        from glpn_cli.weights.store import remove_stored

        for text in names:
            name = to_known_name(text) or text
            if not remove_stored(name):
                raise WeightsError(f"the weights {name!r} are not on this machine", hint="glpn weights list")
            console.say(f"{name}: removed")


@weights.command("import", cls=BriefCommand)
def import_weights(
    file: WeightsFile,
    name: ImportAs,
    meters_per_unit: MetersPerUnit = None,
    overwrite: OverwriteWeights = False,
    quiet: Quiet = False,
    debug: Debug = False,
    color: Color = ColorPolicy.AUTO,
) -> None:
    """Keep weights of your own under a name, for --weights."""
    console = Console(color=color, quiet=quiet, debug=debug)
    with console.errors_reported():
        from glpn_cli.weights.install import import_weights as do_import

        watcher = DownloadProgress(console)
        kept = do_import(file, name, meters_per_unit=meters_per_unit, overwrite=overwrite, watcher=watcher)
        if kept.scale_note:
            console.note(kept.scale_note)
        console.say(
            f"{kept.name}: {say_bytes(kept.path.stat().st_size)}; depth to {kept.card.depth_limit_m:g} m, "
            f"factor {kept.card.meters_per_unit:g}"
        )


def _verify(located: LocatedWeights, console: Console, *, json_records: bool) -> bool:
    from glpn_cli.files import FileDigest
    from glpn_cli.weights.location import verify
    from glpn_cli.weights.store import find_weights_file

    error: GLPNError | None = None
    file, sha256 = located.path, None
    try:
        file = find_weights_file(located.path)
        if json_records:
            sha256 = FileDigest(file).hexdigest()
        status = "intact" if verify(located) else "readable"
    except WeightsError as raised:
        status, error = "damaged", raised
    if json_records:
        failure = None if error is None else {"message": error.message, "hint": error.hint}
        record = {"name": located.name, "path": str(file), "status": status, "sha256": sha256}
        console.data(json.dumps(record | ({"error": failure} if failure else {})))
    if error is not None:
        console.error(error)
    elif not json_records:
        known = "intact" if status == "intact" else "readable; it carries no record of what it was"
        console.say(f"{located.name}: {known}")
    return error is None


def _record(row: InventoryRow) -> dict[str, Any]:
    """Give what --json prints of weights; docs/cli.md lists the fields."""
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
    where = "not here" if row.path is None else str(row.status)
    shown = (row.name, where, say_bytes(row.size_bytes))
    if row.card is None:
        return (*shown, "", "", "", "", row.domain)
    size = "{}x{}".format(*row.card.working_size)
    limit, factor = f"{row.card.depth_limit_m:g} m", f"{row.card.meters_per_unit:g}"
    return (*shown, _METRIC[row.card.metric], limit, size, factor, row.domain)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

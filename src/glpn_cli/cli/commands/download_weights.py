"""`glpn download-weights`: weights of the Hugging Face Hub onto this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glpn_cli.cli.download_progress import DownloadProgress
from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.options.network import Offline
from glpn_cli.cli.options.talk import TalkOptions
from glpn_cli.cli.options.weights import (
    OverwriteWeights,
    WeightsToDownload,
)
from glpn_cli.cli.outcome import conclude
from glpn_cli.cli.wording import say_bytes
from glpn_cli.errors import GLPNError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.cli.console import Console


_ALL = "all"


@with_option_groups
def download_weights(
    *,
    names: WeightsToDownload,
    overwrite: OverwriteWeights = False,
    offline: Offline = False,
    talk: TalkOptions,
) -> None:
    """Download weights, check them, and keep them for --weights.

    A download that was cut goes on where it was. Weights that are here and intact are left as they are. What other
    programs have of them in the Hugging Face cache is used instead of the network.
    """
    console = talk.console()
    with console.errors_reported():
        failures: list[GLPNError] = []
        wanted = _known_names(names)
        for name in wanted:
            try:
                _download(name, console, offline=offline, overwrite=overwrite)
            except GLPNError as error:
                failures.append(error)
                console.error(error)
        conclude(len(wanted), [error.exit_code for error in failures])


def _known_names(names: Sequence[str]) -> list[str]:
    """Resolve what the user wrote, so that a misspelt name is told before anything is fetched."""
    from glpn_cli.weights.catalog import CATALOG
    from glpn_cli.weights.location import to_known_name, unknown_name_error

    known: list[str] = []
    for text in names:
        if text == _ALL:
            known += [name for name, entry in CATALOG.items() if entry.source]
            continue
        name = to_known_name(text)
        if name is None:
            raise unknown_name_error(text, [*CATALOG, _ALL], others="OWNER/REPO of the Hugging Face Hub")
        known.append(name)
    return list(dict.fromkeys(known))


def _download(name: str, console: Console, *, offline: bool, overwrite: bool) -> None:
    from glpn_cli.weights.catalog import CATALOG

    if name in CATALOG and CATALOG[name].source is None:
        console.say(f"{name}: comes with the package")
        return
    from glpn_cli.weights.download import download

    watcher = DownloadProgress(console)
    try:
        kept = download(name, offline=offline, overwrite=overwrite, watcher=watcher)
    except KeyboardInterrupt:
        console.say(f"{name}: interrupted; the same command goes on from there", style="yellow")
        raise
    if kept is None:
        console.say(f"{name}: already here and intact")
        return
    if kept.scale_note:
        console.note(kept.scale_note)
    card = kept.card
    console.say(
        f"{name}: {say_bytes(kept.path.stat().st_size)}, checked; depth to {card.depth_limit_m:g} m, "
        f"factor {card.meters_per_unit:g}"
    )
    console.detail(f"  {kept.path}")
    if name in CATALOG:
        console.say(f"  license: {CATALOG[name].license}")

"""`glpn download-weights`: install weights from the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, conclude, format_bytes
from glpn_cli.cli.options import INFERENCE, OUTPUT, Argument, Option
from glpn_cli.cli.progress import DownloadProgress
from glpn_cli.errors import GLPNError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALL = "all"


@command(
    arguments={
        "names": Argument(
            "Named weights, all of them, or a repository on the Hugging Face Hub.",
            "nyu|kitti|all|OWNER/REPO...",
            complete=lambda: ["nyu", "kitti", _ALL],
        )
    },
    options={
        "overwrite": Option("Replace installed weights.", OUTPUT),
        "offline": Option("Do not use the network; only look into the Hub's cache.", INFERENCE, rare=True),
    },
    examples=("glpn download-weights nyu", "glpn download-weights all", "glpn download-weights vinvino02/glpn-kitti"),
)
def download_weights(console: Console, names: tuple[str, ...], *, overwrite: bool, offline: bool) -> None:
    """Download weights, check them, and install them for --weights.

    Interrupted downloads resume. Installed weights that are intact are left alone. Files in the Hugging Face cache are
    used instead of the network.
    """
    failures: list[int] = []
    wanted = _known_names(names)
    for name in wanted:
        try:
            _download(name, console, offline=offline, overwrite=overwrite)
        except GLPNError as error:
            failures.append(error.exit_code)
            console.error(error)
    conclude(len(wanted), failures)


def _known_names(names: Sequence[str]) -> list[str]:
    """Return the names that were meant, so that a typo fails before anything is downloaded."""
    from glpn_cli.weights.catalog import CATALOG
    from glpn_cli.weights.location import to_download_name, unknown_name_error

    known: list[str] = []
    for text in names:
        if text == _ALL:
            known += [name for name, entry in CATALOG.items() if entry.source]
            continue
        name = to_download_name(text)
        if name is None:
            raise unknown_name_error(text, [*CATALOG, _ALL], others="OWNER/REPO of the Hugging Face Hub")
        known.append(name)
    return list(dict.fromkeys(known))


def _download(name: str, console: Console, *, offline: bool, overwrite: bool) -> None:
    from glpn_cli.weights.catalog import CATALOG

    if name in CATALOG and CATALOG[name].source is None:
        console.info(f"{name}: is bundled with the package")
        return
    from glpn_cli.weights.download import download

    try:
        installed = download(name, offline=offline, overwrite=overwrite, progress=DownloadProgress(console))
    except KeyboardInterrupt:
        console.warn(f"{name}: interrupted; run the same command again to resume")
        raise
    if installed is None:
        console.info(f"{name}: already installed and intact")
        return
    if installed.scale_note:
        console.note(installed.scale_note)
    card = installed.card
    console.info(
        f"{name}: {format_bytes(installed.path.stat().st_size)}, verified; depth limit {card.depth_limit_m:g} m, "
        f"{card.meters_per_unit:g} meters per network unit"
    )
    console.detail(f"  {installed.path}")
    if name in CATALOG:
        console.info(f"  license: {CATALOG[name].license}")

"""From what a user calls weights to where they lie on this machine."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.settings import WEIGHTS_VARIABLE
from glpn_cli.weights.catalog import CATALOG, FALLBACK_NAME, PREFERRED_NAME, CatalogEntry, WeightsCard
from glpn_cli.weights.header import is_sealed_intact, read_metadata
from glpn_cli.weights.store import QUIET, Watcher, find_weights_file, is_repository, list_stored

if TYPE_CHECKING:
    from collections.abc import Sequence


_AUTO = "auto"
_OTHERS = "a file or folder that exists, or OWNER/REPO of the Hugging Face Hub"
_FILE_SUFFIXES = {".safetensors", ".bin", ".ckpt", ".pt", ".pth"}  # a path that is not there, not a repository


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """Weights on this machine.

    Attributes:
        name: what to call them.
        path: a weights file or a folder with one.
        entry: their row in the catalog, or None.
        chosen: False when nobody asked for them and they are only the best of what is there.
    """

    name: str
    path: Path
    entry: CatalogEntry | None
    chosen: bool = True


def locate_weights(weights: str) -> LocatedWeights:
    """Find weights on this machine.

    Args:
        weights: a name of the catalog or of an import, a path, or OWNER/REPO, in this order; or "auto": what
            GLPN_WEIGHTS says, else "nyu" if it is here, else "tiny".

    Raises:
        UsageError: the text is empty.
        WeightsError: they are not here, with what to do about it as a hint.
    """
    located = _look_for(weights)
    if located is not None:
        return located
    name = to_known_name(_meant(weights))
    if name is None:
        raise unknown_name_error(_meant(weights), list(list_weights()), others=_OTHERS)
    raise WeightsError(f"the weights {name!r} are not on this machine", hint=f"glpn download-weights {name} gets them")


def obtain_weights(weights: str, *, offline: bool = False, watcher: Watcher = QUIET) -> LocatedWeights:
    """Find weights on this machine, or download them if they are named and are not here.

    Args:
        weights: as for `locate_weights`.
        offline: use no network; so does HF_HUB_OFFLINE.
        watcher: is told of a download.

    Raises:
        UsageError: the text is empty.
        WeightsError: nobody knows such weights, or they cannot be got.
    """
    name = to_known_name(_meant(weights))
    if _look_for(weights) is None and name is not None:
        from glpn_cli.weights.download import download  # the client of the Hub is needed for nothing else

        download(name, offline=offline, watcher=watcher)
    return locate_weights(weights)


def list_weights() -> dict[str, Path | None]:
    """Give the file of all weights that have a name: those of the catalog, also where they are not here, and ours."""
    listed: dict[str, Path | None] = {name: _path_of(name) for name in CATALOG}
    return listed | {name: path for name, path in list_stored().items() if name not in CATALOG}


def to_known_name(text: str) -> str | None:
    """Give the name of weights that can be downloaded, if they need to be: one of the catalog's, or OWNER/REPO.

    A repository of the catalog has its name there, because the catalog knows its scale.
    """
    if text in CATALOG:
        return text
    if Path(text).suffix in _FILE_SUFFIXES:
        return None
    sources = {entry.source.lower(): name for name, entry in CATALOG.items() if entry.source}
    return sources.get(text.lower(), text) if is_repository(text) else None


def unknown_name_error(text: str, names: Sequence[str], *, others: str) -> WeightsError:
    """Give the error for a name that nobody knows.

    Args:
        text: the name.
        names: those that exist; the nearest is the hint.
        others: what else may be said.
    """
    near = difflib.get_close_matches(text, names, n=1)
    return WeightsError(
        f"no weights are called {text!r}",
        hint=f"did you mean {near[0]}?" if near else f"the names are {', '.join(names)}; else {others}",
    )


def _meant(weights: str) -> str:
    """Resolve "auto" as far as somebody chose."""
    return (os.environ.get(WEIGHTS_VARIABLE, "") or _AUTO) if weights == _AUTO else weights


def _look_for(weights: str) -> LocatedWeights | None:
    weights = _meant(weights)
    if not weights:
        raise UsageError("the name of the weights is empty", hint="is a variable of the shell not set?")
    if weights == _AUTO:
        name = FALLBACK_NAME if _path_of(PREFERRED_NAME) is None else PREFERRED_NAME
        return LocatedWeights(name, _path_of(name) or Path(), CATALOG[name], chosen=False)
    name = to_known_name(weights) or weights
    entry, kept = CATALOG.get(name), _path_of(name)
    path = Path(os.path.expanduser(weights))
    # A folder may have the form OWNER/REPO, but a bare name is never taken for one that happens to lie about.
    if _exists(path) and ("/" in weights or (kept is None and entry is None)):
        return LocatedWeights(path.resolve().name, path, None)
    return None if kept is None else LocatedWeights(name, kept, entry)


def _path_of(name: str) -> Path | None:
    """Give the file of a name, if it is here."""
    entry = CATALOG.get(name)
    if entry is not None and entry.bundled_file is not None:
        return Path(__file__).with_name(entry.bundled_file)
    return list_stored().get(name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False


class Status(StrEnum):
    """Where weights are."""

    BUNDLED = "bundled"
    DOWNLOADED = "downloaded"
    IMPORTED = "imported"
    ABSENT = "absent"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """Weights that have a name.

    Attributes:
        name: what to give to --weights.
        status: where they are.
        path: their file, or None where they are not here.
        size_bytes: of the file, or of what a download would fetch.
        source: a repository of the Hub, the path of an imported file, or None for those in the package.
        revision: the commit of the repository, or None.
        license: what is known of it, and the doubt about it.
        domain: what images they were trained for; empty where nobody knows.
        card: the facts that turn their output into meters; None where the file is damaged.
    """

    name: str
    status: Status
    path: Path | None
    size_bytes: int
    source: str | None
    revision: str | None
    license: str
    domain: str
    card: WeightsCard | None


def take_inventory() -> list[InventoryRow]:
    """Describe all weights that have a name: those of the catalog first, then those that are only here."""
    return [_row(name, path) for name, path in list_weights().items()]


def verify(weights: LocatedWeights) -> bool:
    """See whether weights are as they were when they were written, and are a GLPN.

    Returns:
        True if they are; False if they are a GLPN, but carry no record of what they were.

    Raises:
        WeightsError: they are damaged.
    """
    from glpn_cli.files import FileDigest
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.weights.checkpoint import read_checkpoint

    file = find_weights_file(weights.path)
    recorded: bool | None
    if weights.entry is not None and weights.entry.sha256 is not None:
        recorded = FileDigest(file).hexdigest() == weights.entry.sha256
    else:
        recorded = is_sealed_intact(file) if file.suffix == ".safetensors" else None
    if recorded is False:
        raise WeightsError(f"{weights.name}: {file} is not as it was written", hint=_mending(weights))
    GLPNForDepthEstimation.from_checkpoint(read_checkpoint(weights.path))
    return recorded is True


def _row(name: str, path: Path | None) -> InventoryRow:
    entry = CATALOG.get(name)
    terms, domain = (entry.license, entry.domain) if entry else ("unknown", "")
    if entry is not None and (path is None or entry.bundled_file is not None):
        status = Status.ABSENT if path is None else Status.BUNDLED
        return InventoryRow(name, status, path, entry.size_bytes, entry.source, None, terms, domain, entry.card)
    path = path or Path()
    try:
        size_bytes = path.stat().st_size
    except OSError:  # a link to a disk that is not there
        return InventoryRow(name, Status.DAMAGED, path, 0, None, None, terms, domain, None)
    try:
        metadata = read_metadata(path)
        card = WeightsCard.from_metadata(metadata, name=name, max_depth=0.0)  # kept files say their limit
    except WeightsError:
        return InventoryRow(name, Status.DAMAGED, path, size_bytes, None, None, terms, domain, None)
    revision = metadata.get("revision")
    return InventoryRow(
        name,
        Status.IMPORTED if revision is None else Status.DOWNLOADED,
        path,
        size_bytes,
        metadata.get("source"),
        revision,
        metadata.get("license", metadata.get("licence", terms)),
        domain,
        card,
    )


def _mending(weights: LocatedWeights) -> str:
    if weights.entry is not None and weights.entry.source is None:
        return "install glpn-cli again"
    return f"glpn download-weights {weights.name}, or import the file again"

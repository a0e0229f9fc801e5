"""Which file a `weights` setting means, which weights exist, and whether they are intact.

How `weights="nyu"` becomes a file:

1. `obtain_weights` (here) resolves "auto" and $GLPN_WEIGHTS, and compares the text with the names in `catalog.CATALOG`.
2. `store.list_stored` has the files that are installed. If one has this name, that is all.
3. Otherwise `download.download` fetches the files of the repository from the Hugging Face cache or the Hub.
4. `install.install` verifies them, adds the metadata, and writes one safetensors file with `store.write_stored`.
5. `locate_weights` (here) returns its path, which `checkpoint.read_checkpoint` reads.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.convert import EMPTY_HINT, closest_hint
from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.files import path_of_url
from glpn_cli.settings import WEIGHTS_VARIABLE
from glpn_cli.weights.catalog import CATALOG, FALLBACK_NAME, PREFERRED_NAME, CatalogEntry, WeightsCard
from glpn_cli.weights.header import read_metadata, verify_seal
from glpn_cli.weights.store import NO_PROGRESS, ProgressCallback, find_weights_file, is_repository, list_stored

if TYPE_CHECKING:
    from collections.abc import Sequence

_AUTO = "auto"
_OTHER_FORMS = "a file or folder that exists, or OWNER/REPO of the Hugging Face Hub"
_HUB_ADDRESS = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?:models/)?(?!datasets/|spaces/)([^/?#\s]+/[^/?#\s]+)[^\s]*",
    re.IGNORECASE,
)
"""The page of a model on the Hugging Face Hub, as a browser shows it."""

_FILE_SUFFIXES = {".safetensors", ".bin", ".ckpt", ".pt", ".pth"}  # of a missing file, not of a repository


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """Weights on this machine.

    Attributes:
        name: their name.
        path: a weights file, or a folder with one.
        entry: their catalog entry, or None.
        chosen: False if the user named none and these are the best that are installed.
    """

    name: str
    path: Path
    entry: CatalogEntry | None
    chosen: bool = True


def locate_weights(weights: str) -> LocatedWeights:
    """Find weights on this machine.

    Args:
        weights: a name in the catalog or of imported weights, a path, or OWNER/REPO, tried in this order; a file://
            URL, or the address of a model on the Hub; or "auto": $GLPN_WEIGHTS, else "nyu" if installed, else "tiny".

    Raises:
        UsageError: the text is empty.
        WeightsError: the weights are unknown or not installed.
    """
    located = _find(weights)
    if located is not None:
        return located
    wanted = _resolve_auto(weights)
    name = to_download_name(wanted)
    if name is None and _looks_like_path(wanted):
        raise WeightsError(
            f"{wanted}: no such file or folder", hint=f"names of weights are {', '.join(list_weights())}"
        )
    if name is None:
        raise unknown_name_error(wanted, list(list_weights()), others=_OTHER_FORMS)
    raise WeightsError(f"the weights {name!r} are not installed", hint=f"run glpn download-weights {name}")


def obtain_weights(weights: str, *, offline: bool = False, progress: ProgressCallback = NO_PROGRESS) -> LocatedWeights:
    """Find weights on this machine; download them if they are named and not installed.

    Args:
        weights: as for `locate_weights`.
        offline: do not use the network; HF_HUB_OFFLINE has the same effect.
        progress: is notified of a download.

    Raises:
        UsageError: the text is empty.
        WeightsError: the weights are unknown, or cannot be downloaded.
    """
    name = to_download_name(_resolve_auto(weights))
    if _find(weights) is None and name is not None:
        from glpn_cli.weights.download import download  # imports the client of the Hub

        download(name, offline=offline, progress=progress)
    return locate_weights(weights)


def to_download_name(text: str) -> str | None:
    """Return the name under which weights are installed and downloaded, or None if the text is not such a name.

    It is a name of the catalog in any case, or OWNER/REPO. A repository of the catalog becomes its name there, which
    has a scale.
    """
    text = _normalize(text)
    if text.lower() in CATALOG:
        return text.lower()
    if Path(text).suffix in _FILE_SUFFIXES:
        return None
    sources = {entry.source.lower(): name for name, entry in CATALOG.items() if entry.source}
    return sources.get(text.lower(), text) if is_repository(text) else None


def unknown_name_error(text: str, names: Sequence[str], *, others: str) -> WeightsError:
    """Return the error for an unknown name.

    Args:
        text: the name.
        names: all that exist; a similar one becomes the hint.
        others: what else the user could give, for the hint.
    """
    return WeightsError(
        f"unknown weights: {text!r}",
        hint=closest_hint(text, names) or f"use one of {', '.join(names)}, or {others}",
    )


def _resolve_auto(weights: str) -> str:
    return _normalize((os.environ.get(WEIGHTS_VARIABLE, "") or _AUTO) if weights.lower() == _AUTO else weights)


def _normalize(weights: str) -> str:
    """Return OWNER/REPO of an address on the Hub, the path of a file:// URL, and any other text as it is."""
    address = _HUB_ADDRESS.fullmatch(weights.strip())
    return address[1] if address else path_of_url(weights) or weights


def _looks_like_path(text: str) -> bool:
    return (
        Path(text).suffix in _FILE_SUFFIXES or text.startswith((".", "~", "/", os.sep)) or text.endswith(("/", os.sep))
    )


def _find(weights: str) -> LocatedWeights | None:
    weights = _resolve_auto(weights)
    if not weights:
        raise UsageError("must not be empty", setting="weights", hint=EMPTY_HINT)
    if weights == _AUTO:
        name = FALLBACK_NAME if _installed_file(PREFERRED_NAME) is None else PREFERRED_NAME
        return LocatedWeights(name, _installed_file(name) or Path(), CATALOG[name], chosen=False)
    name = _known_name(weights)
    entry, file = CATALOG.get(name), _installed_file(name)
    path = Path(os.path.expanduser(weights))
    # A path may look like OWNER/REPO and has precedence. A name without a slash means a path only if nothing else.
    is_other_case = weights != name and weights.lower() == name.lower()
    if _exists(path) and ("/" in weights or is_other_case or (file is None and entry is None)):
        return LocatedWeights(path.resolve().name, path, None)
    return None if file is None else LocatedWeights(name, file, entry)


def _known_name(weights: str) -> str:
    """Return the name that a text means, in any case; the text itself if it is none."""
    name = to_download_name(weights)
    if name is not None:
        return name
    stored = list_stored()
    return weights if weights in stored else next((one for one in stored if one.lower() == weights.lower()), weights)


def _installed_file(name: str) -> Path | None:
    entry = CATALOG.get(name)
    if entry is not None and entry.bundled_file is not None:
        return Path(__file__).with_name(entry.bundled_file)
    return list_stored().get(name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that may not be searched
        return False


# Inventory


class Status(StrEnum):
    """Where weights are."""

    BUNDLED = "bundled"
    DOWNLOADED = "downloaded"
    IMPORTED = "imported"
    ABSENT = "absent"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """Weights with a name, installed or not.

    Attributes:
        name: the value of `weights` for them.
        status: where they are.
        path: their file, or None if they are not installed.
        size_bytes: of the file, or of the download.
        source: a repository of the Hub, the path of an imported file, or None for bundled weights.
        revision: the commit of the repository, or None.
        license: as far as known, with doubts about it.
        domain: the images that they were trained for; empty if unknown.
        card: how to interpret their output; None if the file is damaged.
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


def list_weights() -> dict[str, Path | None]:
    """Return all weights with a name, the catalog first, with their files; None for those that are not installed."""
    listed: dict[str, Path | None] = {name: _installed_file(name) for name in CATALOG}
    return listed | {name: path for name, path in list_stored().items() if name not in CATALOG}


def take_inventory() -> list[InventoryRow]:
    """Return a description of all weights with a name, in the order of `list_weights`."""
    return [_describe(name, path) for name, path in list_weights().items()]


def verify(weights: LocatedWeights) -> bool:
    """Check that weights are unchanged since they were installed, and that they are a GLPN.

    Returns:
        True if they are; False if they are a GLPN, but their file has no seal to compare with.

    Raises:
        WeightsError: they are damaged, or not a GLPN.
    """
    from glpn_cli.files import FileDigest
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.weights.checkpoint import read_checkpoint

    file = find_weights_file(weights.path)
    unchanged: bool | None
    if weights.entry is not None and weights.entry.sha256 is not None:
        unchanged = FileDigest(file).hexdigest() == weights.entry.sha256
    else:
        unchanged = verify_seal(file) if file.suffix == ".safetensors" else None
    if unchanged is False:
        raise WeightsError(f"{weights.name}: {file} has changed since it was installed", hint=_repair_hint(weights))
    GLPNForDepthEstimation.from_checkpoint(read_checkpoint(weights.path))
    return unchanged is True


def _describe(name: str, path: Path | None) -> InventoryRow:
    entry = CATALOG.get(name)
    terms, domain = (entry.license, entry.domain) if entry else ("unknown", "")
    if entry is not None and (path is None or entry.bundled_file is not None):
        status = Status.ABSENT if path is None else Status.BUNDLED
        return InventoryRow(name, status, path, entry.size_bytes, entry.source, None, terms, domain, entry.card)
    path = path or Path()
    try:
        size_bytes = path.stat().st_size
    except OSError:  # such as a broken link
        return InventoryRow(name, Status.DAMAGED, path, 0, None, None, terms, domain, None)
    try:
        metadata = read_metadata(path)
        card = WeightsCard.from_metadata(metadata, name=name, max_depth=0.0)  # installed files state their limit
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
        metadata.get("license", terms),
        domain,
        card,
    )


def _repair_hint(weights: LocatedWeights) -> str:
    if weights.entry is not None and weights.entry.source is None:
        return "install glpn-cli again"
    return f"glpn download-weights {weights.name}, or import the file again"

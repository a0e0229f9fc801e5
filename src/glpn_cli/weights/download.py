"""What other programs have downloaded from the Hugging Face Hub already, in the client's own cache.

Weights of the Hugging Face Hub onto this machine: found, fetched, checked, converted once, kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import constants, try_to_load_from_cache

from glpn_cli.errors import ConfigError, WeightsError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.header import is_sealed_intact
from glpn_cli.weights.hub import HubAccess, ask_for_file, is_offline, offline_error
from glpn_cli.weights.store import (
    CONFIG_NAME,
    PICKLE_NAME,
    QUIET,
    SAFETENSORS_NAME,
    Watcher,
    alone_with,
    clear_downloads,
    downloads_folder,
    stored_file,
)
from glpn_cli.weights.transfer import fetch_small, fetch_whole, is_etag, matches_etag

if TYPE_CHECKING:
    from glpn_cli.weights.install import KeptWeights


@dataclass(frozen=True, slots=True)
class CachedRepository:
    """The files of a repository in the cache.

    Attributes:
        config: its `config.json`.
        weights: its weights file; safetensors if it is there.
        revision: the commit that both are of.
    """

    config: Path
    weights: Path
    revision: str

    def is_intact(self) -> bool:
        """Tell whether the weights are what the Hub recorded; without symbolic links the cache does not know."""
        blob = self.weights.resolve()
        return not is_etag(blob.name) or matches_etag(blob, blob.name)


def find_cached(repository: str) -> CachedRepository | None:
    """Look for the newest commit of a repository that the cache knows; None if it has not all that is needed."""
    config = _find(repository, CONFIG_NAME)
    weights = _find(repository, SAFETENSORS_NAME) or _find(repository, PICKLE_NAME)
    if config is None or weights is None:
        return None
    return CachedRepository(config, weights, revision=config.parent.name)


def _find(repository: str, name: str) -> Path | None:
    found = try_to_load_from_cache(repository, name, cache_dir=_cache_folder())
    return Path(found) if isinstance(found, str) else None  # it also knows what is known not to be there


def _cache_folder() -> Path:
    """Give the folder of the cache; the client itself read the environment when it was imported."""
    if folder := os.environ.get("HF_HUB_CACHE", ""):
        return Path(os.path.expanduser(os.path.expandvars(folder)))
    if home := os.environ.get("HF_HOME", ""):
        return Path(os.path.expanduser(os.path.expandvars(home))) / "hub"
    return Path(constants.HF_HUB_CACHE)


def download(
    name: str, *, offline: bool = False, overwrite: bool = False, watcher: Watcher = QUIET
) -> KeptWeights | None:
    """Bring weights onto this machine, unless they are here and intact.

    An earlier download that was cut goes on where it was. What the Hugging Face client has in its cache is used
    instead of the network. Of two that do this at once, one waits for the other and finds the weights done.

    Args:
        name: a name of the catalog with a source, or OWNER/REPO.
        offline: use no network; so does HF_HUB_OFFLINE.
        overwrite: fetch them again, from the network unless offline.
        watcher: is told what goes on.

    Returns:
        What was brought, or None if it was here already.

    Raises:
        WeightsError: anything that can go wrong, in one line with a hint; what is kept is then as it was.
    """
    entry = CATALOG.get(name)
    repository = name if entry is None else entry.source
    if repository is None:
        return None  # inside the package
    offline = offline or is_offline()
    if not overwrite and _is_intact(name):
        return None  # also where the home may only be read
    with alone_with(name, watcher=watcher):
        if not overwrite and stored_file(name).exists():
            if _is_intact(name):
                return None  # whoever we waited for has brought them
            watcher.note(f"the weights {name!r} on this machine are damaged; getting them again")
        kept = None if overwrite and not offline else _from_cache(name, repository, watcher)
        if kept is None and offline:
            raise offline_error(repository)
        if kept is None:
            kept = _from_hub(name, repository, HubAccess.from_environment(), watcher)
        clear_downloads(name)
        return kept


def _is_intact(name: str) -> bool:
    file = stored_file(name)
    try:
        return file.exists() and is_sealed_intact(file) is not False
    except (WeightsError, OSError):
        return False


def _from_cache(name: str, repository: str, watcher: Watcher) -> KeptWeights | None:
    try:
        cached = find_cached(repository)
        if cached is None:
            return None
        intact, text = cached.is_intact(), cached.config.read_bytes()
    except OSError as error:
        watcher.note(f"the copy of {repository} in the Hugging Face cache cannot be read: {error.strerror or error}")
        return None
    if not intact:
        watcher.note(f"the copy of {repository} in the Hugging Face cache is damaged and not used")
        return None
    from glpn_cli.weights.install import Origin, keep, take_in

    try:
        checkpoint = take_in(cached.weights, config=_parse_config(text, str(cached.config)))
    except WeightsError as error:  # cut, where the cache cannot tell
        watcher.note(f"the copy of {repository} in the Hugging Face cache is not used: {error.message}")
        return None
    watcher.note(f"{repository}: taken from the Hugging Face cache on this machine")
    return keep(name, checkpoint, Origin.of(cached.weights, source=repository, revision=cached.revision))


def _from_hub(name: str, repository: str, access: HubAccess, watcher: Watcher) -> KeptWeights:
    config_file = ask_for_file(repository, CONFIG_NAME, access=access, watcher=watcher)
    if config_file is None:
        raise WeightsError(f"{repository}: has no {CONFIG_NAME}, so it is no GLPN", hint="check the name")
    # Before the large file comes, its configuration tells whether it is one of ours; and both are of one commit.
    config = _parse_config(fetch_small(config_file, access=access, watcher=watcher), str(config_file))
    revision = config_file.revision
    for file_name in (SAFETENSORS_NAME, PICKLE_NAME):
        file = ask_for_file(repository, file_name, access=access, watcher=watcher, revision=revision)
        if file is not None:
            break
    else:
        raise WeightsError(f"{repository}: has neither {SAFETENSORS_NAME} nor {PICKLE_NAME}", hint="check the name")
    # Named after its hash, so that what the owner has replaced since is never continued.
    part = downloads_folder(name) / f"{file.etag}.part"
    clear_downloads(name, but=part)
    fetch_whole(file, part, access=access, watcher=watcher)
    from glpn_cli.weights.install import Origin, keep, take_in  # with torch, which no byte has to wait for

    try:
        checkpoint = take_in(part, config=config, called=str(file))
    except WeightsError:
        part.unlink()  # whole, and of no use
        raise
    return keep(name, checkpoint, Origin.of(part, source=repository, revision=revision))


def _parse_config(data: bytes, called: str) -> GLPNConfig:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{called}: is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{called}: is not a table of fields")
    try:
        return GLPNConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{called}: {error.message}", hint="is it a GLPN?") from error

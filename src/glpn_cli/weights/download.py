"""From a repository of the Hugging Face Hub to installed weights, through the client's cache or the network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import ConfigError, MissingWeightsError, WeightsError
from glpn_cli.files import os_reason, parse_json, read_json
from glpn_cli.model.config import CONFIG_NAME, GLPNConfig
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.client import EntryNotFoundError, constants, hf_hub_download, try_to_load_from_cache
from glpn_cli.weights.header import verify_seal
from glpn_cli.weights.hub import CLIENT_ERRORS, HubAccess, find_hub_file, is_offline, offline_error, one_line
from glpn_cli.weights.store import (
    NO_PROGRESS,
    PICKLE_NAME,
    PROCESSOR_NAME,
    SAFETENSORS_NAME,
    ProgressCallback,
    clear_downloads,
    downloads_folder,
    is_index,
    lock_weights,
    stored_file,
)
from glpn_cli.weights.transfer import fetch_file, fetch_small_file, is_etag, matches_etag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from glpn_cli.weights.install import InstalledWeights


def download(
    name: str,
    *,
    offline: bool = False,
    overwrite: bool = False,
    token: str | bool | None = None,
    progress: ProgressCallback = NO_PROGRESS,
) -> InstalledWeights | None:
    """Install weights from the Hub, unless they are installed and intact.

    Interrupted downloads resume. Files in the cache of the Hugging Face client are used instead of the network. If
    two processes download the same weights, one waits for the other and then uses its result.

    Args:
        name: a name of the catalog with a source, or OWNER/REPO.
        offline: do not use the network; HF_HUB_OFFLINE has the same effect.
        overwrite: install again; from the network, or from the cache if offline.
        token: see `HubAccess.from_environment`.
        progress: is notified of progress and delays.

    Returns:
        What was installed, or None if it was installed before.

    Raises:
        WeightsError: the weights cannot be downloaded, verified or written. Weights installed before stay unchanged.
    """
    entry = CATALOG.get(name)
    repository = name if entry is None else entry.source
    if repository is None:
        return None  # bundled
    offline = offline or is_offline()
    if not overwrite and _is_intact(name):
        return None  # without a lock, as the home folder may be read-only
    with lock_weights(name, progress=progress):
        if not overwrite and stored_file(name).exists():
            if _is_intact(name):
                return None  # another process installed them while this one waited
            progress.note(f"the installed weights {name!r} are damaged; installing them again")
        installed = None if overwrite and not offline else _install_from_cache(name, repository, progress)
        if installed is None and offline:
            raise offline_error(repository)
        if installed is None:
            installed = _install_from_hub(name, repository, HubAccess.from_environment(token), progress)
        clear_downloads(name)
        return installed


def _is_intact(name: str) -> bool:
    file = stored_file(name)
    try:
        return file.exists() and verify_seal(file) is not False
    except (WeightsError, OSError):
        return False


def _install_from_hub(name: str, repository: str, access: HubAccess, progress: ProgressCallback) -> InstalledWeights:
    config_file = find_hub_file(repository, CONFIG_NAME, access=access, progress=progress)
    if config_file is None:
        raise WeightsError(f"{repository}: has no {CONFIG_NAME}, so it is not a GLPN", hint="check the name")
    # The configuration shows whether this is a GLPN before the large file is downloaded.
    config = _parse_config(fetch_small_file(config_file, access=access, progress=progress), str(config_file))
    revision = config_file.revision  # both files are of one commit
    for file_name in (SAFETENSORS_NAME, PICKLE_NAME):
        file = find_hub_file(repository, file_name, access=access, progress=progress, revision=revision)
        if file is not None:
            break
    else:
        raise WeightsError(
            f"{repository}: contains neither {SAFETENSORS_NAME} nor {PICKLE_NAME}", hint="check the name"
        )
    # Named by its hash, so that a download never resumes with bytes of another version of the file.
    part = downloads_folder(name) / f"{file.etag}.part"
    clear_downloads(name, keep=part)
    fetch_file(file, part, access=access, progress=progress)
    from glpn_cli.weights.install import (
        Origin,
        install,
        read_glpn,
    )  # imports torch, which the download need not wait for

    try:
        checkpoint = read_glpn(part, config=config, label=str(file))
    except WeightsError:
        part.unlink()  # complete but not usable
        raise
    processor = None
    if name not in CATALOG:  # those have the default processor
        processor_file = find_hub_file(repository, PROCESSOR_NAME, access=access, progress=progress, revision=revision)
        if processor_file is not None:
            processor = fetch_small_file(processor_file, access=access, progress=progress)
    origin = Origin.of(part, source=repository, revision=revision)
    return install(name, checkpoint, origin, processor=processor)


def _parse_config(data: bytes, label: str) -> GLPNConfig:
    values = parse_json(data, label, ConfigError)
    try:
        return GLPNConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error.message}", hint="check that it is a GLPN") from error


# The cache of the Hugging Face client


@dataclass(frozen=True, slots=True)
class CachedRepository:
    """Files of a repository in the cache of the Hugging Face client, where other programs may have put them.

    Attributes:
        config: its `config.json`.
        weights: its weights file; safetensors if available.
        revision: the commit of both.
    """

    config: Path
    weights: Path
    revision: str

    def is_intact(self) -> bool:
        """Return whether the weights have the hash that the Hub recorded; True if the cache has no hash.

        The cache names files by their hash and links to them. Without symbolic links there is no hash.
        """
        blob = self.weights.resolve()
        return not is_etag(blob.name) or matches_etag(blob, blob.name)


def find_cached(repository: str) -> CachedRepository | None:
    """Return the newest commit of a repository in the cache, or None if a file is missing."""
    config = _find_in_cache(repository, CONFIG_NAME)
    weights = _find_in_cache(repository, SAFETENSORS_NAME) or _find_in_cache(repository, PICKLE_NAME)
    if config is None or weights is None:
        return None
    return CachedRepository(config, weights, revision=config.parent.name)


def _install_from_cache(name: str, repository: str, progress: ProgressCallback) -> InstalledWeights | None:
    copy = f"the copy of {repository} in the Hugging Face cache"
    try:
        cached = find_cached(repository)
        if cached is None:
            return None
        intact, config = cached.is_intact(), cached.config.read_bytes()
    except OSError as error:
        progress.note(f"{copy} cannot be read: {os_reason(error)}")
        return None
    if not intact:
        progress.note(f"{copy} is damaged and not used")
        return None
    from glpn_cli.weights.install import Origin, install, read_glpn, read_processor_beside

    try:
        checkpoint = read_glpn(cached.weights, config=_parse_config(config, str(cached.config)))
    except WeightsError as error:  # such as a truncated file in a cache without hashes
        progress.note(f"{copy} is not used: {error.message}")
        return None
    progress.note(f"{repository}: using the files in the Hugging Face cache")
    origin = Origin.of(cached.weights, source=repository, revision=cached.revision)
    return install(name, checkpoint, origin, processor=read_processor_beside(cached.config))


def fetch_into_cache(
    repository: str,
    json_name: str,
    weights_names: Sequence[str],
    *,
    subfolder: str = "",
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    token: str | bool | None = None,
    offline: bool = False,
    overwrite: bool = False,
) -> Path:
    """Return the folder of a repository in the cache of the client, with the files that are wanted.

    The client downloads what is missing. Unlike `download`, it takes any revision and subfolder, and installs nothing.

    Args:
        repository: OWNER/REPO.
        json_name: a file that must be there.
        weights_names: files of which one must be there, best first; empty if none is needed.
        subfolder: of the repository.
        revision: a branch, tag or commit; None is the newest.
        cache_dir: the folder of the cache; None is that of the environment.
        token: see `HubAccess.from_environment`.
        offline: do not use the network; HF_HUB_OFFLINE has the same effect.
        overwrite: download again.

    Raises:
        MissingWeightsError: a file is not there, or cannot be downloaded.
        WeightsError: an index of several weights files is damaged.
    """
    endpoint = HubAccess.from_environment(token).endpoint
    offline = offline or is_offline()
    cache = _cache_folder() if cache_dir is None else Path(cache_dir)

    def fetch(name: str) -> Path | None:
        try:
            file = hf_hub_download(
                repository, name, subfolder=subfolder or None, revision=revision, token=token, endpoint=endpoint,
                cache_dir=cache, local_files_only=offline, force_download=overwrite,
            )  # fmt: skip
        except EntryNotFoundError:
            return None
        except CLIENT_ERRORS as error:
            message = f"{repository}: cannot be downloaded: {one_line(error)}"
            raise MissingWeightsError(message, hint="check the name, `revision` and the network") from error
        return Path(file)

    found = fetch(json_name)
    weights = next(filter(None, map(fetch, weights_names)), None)
    parts: list[object] = []
    if weights is not None and is_index(weights.name):
        listed = read_json(weights, WeightsError).get("weight_map")
        parts = list(dict.fromkeys(listed.values())) if isinstance(listed, dict) else []
    missing = [name for name in parts if fetch(str(name)) is None]
    if found is None or (weights_names and weights is None) or missing:
        absent = json_name if found is None else str(missing[0]) if missing else " or ".join(weights_names)
        place = f"{repository}{f'/{subfolder}' if subfolder else ''}{f' at {revision}' if revision else ''}"
        hint = "the network is disabled: unset `local_files_only` and HF_HUB_OFFLINE" if offline else "check the name"
        raise MissingWeightsError(f"{place}: {absent} not found", hint=hint)
    return found.parent


def _find_in_cache(repository: str, name: str) -> Path | None:
    found = try_to_load_from_cache(repository, name, cache_dir=_cache_folder())
    return Path(found) if isinstance(found, str) else None  # not a str: unknown, or known not to exist on the Hub


def _cache_folder() -> Path:
    """Return the folder of the cache by the current environment; the client read it when it was imported."""
    if folder := os.environ.get("HF_HUB_CACHE", ""):
        return Path(os.path.expanduser(os.path.expandvars(folder)))
    if home := os.environ.get("HF_HOME", ""):
        return Path(os.path.expanduser(os.path.expandvars(home))) / "hub"
    return Path(constants.HF_HUB_CACHE)

"""What other programs have downloaded from the Hugging Face Hub already, in the client's own cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from glpn_cli.weights.files import CONFIG_NAME, PICKLE_NAME, SAFETENSORS_NAME
from glpn_cli.weights.transfer import is_etag, matches_etag

__all__ = ["CachedRepository", "find_cached"]


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

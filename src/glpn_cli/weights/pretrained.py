"""What `from_pretrained` of the documented classes reads: paths, installed weights, repositories of the Hub.

Names go through the same door as the setting `weights`: installed weights need no network, others are downloaded once
and installed. What that door does not have is left to the Hub's client and its cache: another revision, a subfolder of
a repository, and a cache folder that the caller chose.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from glpn_cli.errors import ConfigError, MissingWeightsError, WeightsError
from glpn_cli.files import parse_json, read_json
from glpn_cli.model.config import CONFIG_NAME, GLPNConfig
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.header import read_metadata
from glpn_cli.weights.location import locate_weights, to_download_name
from glpn_cli.weights.store import PROCESSOR_NAME, find_weights_file, list_stored, weights_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

    from glpn_cli.weights.checkpoint import Checkpoint

_MAIN = "main"


@dataclass(frozen=True, slots=True)
class HubKeywords:
    """The keywords of `from_pretrained` that say where to find files.

    Attributes:
        cache_dir: the folder of the Hub's client for files that are not installed.
        force_download: download again, even what is installed.
        local_files_only: do not use the network.
        token: for private repositories; None or True uses HF_TOKEN or the stored login, False none.
        revision: a branch, tag or commit; None is the newest.
        subfolder: of the path or the repository.
    """

    cache_dir: str | PathLike[str] | None = None
    force_download: bool = False
    local_files_only: bool = False
    token: str | bool | None = None
    revision: str | None = None
    subfolder: str = ""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset(
        {
            *("_commit_hash", "_fast_init", "_from_auto", "_from_pipeline", "adapter_kwargs", "attn_implementation"),
            *("disable_mmap", "from_flax", "from_tf", "low_cpu_mem_usage", "max_memory", "mirror", "offload_buffers"),
            *("offload_folder", "offload_state_dict", "proxies", "resume_download", "tqdm_class"),
            *("trust_remote_code", "use_fast", "use_kernels", "weights_only"),
        }
    )
    """Keywords of the reference that make no difference to a GLPN."""

    @classmethod
    def split(cls, keywords: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Return the keywords of this class, and all others that have an effect."""
        others = {name: value for name, value in keywords.items() if name not in cls.WITHOUT_EFFECT}
        if "use_auth_token" in others:  # the older name
            others.setdefault("token", others.pop("use_auth_token"))
        own = {item.name: others.pop(item.name, None) for item in fields(cls)}
        return cls(**{name: value for name, value in own.items() if value is not None}), others

    @property
    def needs_client(self) -> bool:
        """Whether the files of a repository that is not installed come from the Hub's client."""
        return self.revision not in (None, _MAIN) or bool(self.subfolder) or self.cache_dir is not None


def read_pretrained(
    reference: str | PathLike[str] | None,
    hub: HubKeywords,
    *,
    config: GLPNConfig | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
    use_safetensors: bool | None = None,
    variant: str | None = None,
) -> Checkpoint:
    """Return the weights that `from_pretrained` means, with the dtypes of the file.

    Args:
        reference: a path or the name of weights; None if there are `config` and `state_dict`.
        hub: where to find files.
        config: their configuration; None reads it.
        state_dict: the tensors; None reads them.
        use_safetensors: see `find_weights_file`.
        variant: see `find_weights_file`.

    Raises:
        MissingWeightsError: there are no weights or there is no configuration, or they cannot be downloaded.
        WeightsError: the weights are unreadable.
        ConfigError: the configuration is invalid.
        TypeError: there is neither a reference nor all that it would give.
    """
    from glpn_cli.weights.checkpoint import Checkpoint, read_checkpoint  # imports torch

    if state_dict is not None:
        if config is None:
            if reference is None:
                raise TypeError("from_pretrained needs a path or name, or `config` and `state_dict`")
            config = GLPNConfig.from_dict(read_config_fields(reference, hub))
        own = {key: tensor.detach().clone() for key, tensor in state_dict.items()}  # training must not change the given
        return Checkpoint(Path("state_dict"), config, own, {})
    if reference is None:
        raise TypeError("from_pretrained needs a path or name, or `config` and `state_dict`")
    names = weights_names(use_safetensors, variant)
    path = find_pretrained(reference, hub, wanted=(CONFIG_NAME, names))
    file = find_weights_file(path, use_safetensors=use_safetensors, variant=variant)
    return read_checkpoint(file, config=config, as_float32=False)


def read_config_fields(reference: str | PathLike[str], hub: HubKeywords) -> dict[str, Any]:
    """Return the fields of the configuration that `from_pretrained` means.

    Args:
        reference: a configuration file, or as for `read_pretrained`.
        hub: where to find files.

    Raises:
        MissingWeightsError: there is no configuration, or it cannot be downloaded.
        ConfigError: the configuration is not a JSON object.
        WeightsError: the path is a weights file that cannot be read.
    """
    from glpn_cli.weights.checkpoint import read_config, read_file_metadata  # imports torch

    path = find_pretrained(reference, hub, wanted=(CONFIG_NAME, ()))
    file = path / CONFIG_NAME if path.is_dir() else path
    if path.is_dir() and not file.exists():
        with suppress(MissingWeightsError):  # then the error is that there is no configuration
            file = find_weights_file(path)
    if file.suffix == ".json":
        return read_json(file, ConfigError, missing=MissingWeightsError)
    return read_config(file, read_file_metadata(file)).config.to_dict()


def read_processor_fields(reference: str | PathLike[str], hub: HubKeywords) -> tuple[dict[str, Any], str]:
    """Return the fields of the processor that `from_pretrained` means, and where they are; none without a file.

    Raises:
        MissingWeightsError: the path does not exist, or the weights cannot be downloaded.
        ConfigError: the file is not a JSON object.
    """
    path = find_pretrained(reference, hub, wanted=(PROCESSOR_NAME, ()))
    if path.suffix == ".json" and path.is_file():
        return read_json(path, ConfigError), str(path)
    file = (path if path.is_dir() else path.parent) / PROCESSOR_NAME
    if file.exists():
        return read_json(file, ConfigError), str(file)
    label, inside = f"{path}: {PROCESSOR_NAME}", None
    with suppress(WeightsError):  # such as a folder, or another kind of weights file
        inside = read_metadata(path).get(PROCESSOR_NAME)
    return ({} if inside is None else parse_json(inside, label, ConfigError)), label


def find_pretrained(reference: str | PathLike[str], hub: HubKeywords, *, wanted: tuple[str, tuple[str, ...]]) -> Path:
    """Return the file or folder that `from_pretrained` means; downloads what is missing.

    Args:
        reference: a path, or the name of weights.
        hub: where to find files.
        wanted: the name of a JSON file, and of weights files of which one is needed, best first; only the Hub's client
            uses them.

    Raises:
        MissingWeightsError: nothing is there, and it cannot be downloaded.
        ConfigError: what was downloaded has an invalid configuration.
    """
    text = os.fspath(reference)
    path = Path(os.path.expanduser(text))
    try:
        exists = path.exists()
    except OSError:  # a name that is too long, or a folder that may not be searched
        exists = False
    if exists:
        path = path / hub.subfolder if hub.subfolder else path
        if not path.exists():
            raise MissingWeightsError(f"{path}: no such file or folder")
        return path
    try:
        return _find_named(text, hub, wanted)
    except (MissingWeightsError, ConfigError):
        raise
    except WeightsError as error:  # for programs that expect an OSError, whatever the reason
        raise MissingWeightsError(error.message, hint=error.hint) from error


def _find_named(text: str, hub: HubKeywords, wanted: tuple[str, tuple[str, ...]]) -> Path:
    """Return the file of named weights, or a folder in the cache of the Hub's client."""
    name = to_download_name(text)
    if name is None or not hub.needs_client:
        if name is not None and (hub.force_download or not _is_installed(name)):
            from glpn_cli.weights.download import download  # imports the client of the Hub

            download(name, offline=hub.local_files_only, overwrite=hub.force_download, token=hub.token)
        return locate_weights(text).path
    entry = CATALOG.get(name)
    repository = name if entry is None else entry.source
    if repository is None or (not hub.force_download and not hub.subfolder and _has_revision(name, hub.revision)):
        return locate_weights(name).path
    from glpn_cli.weights.download import fetch_into_cache

    return fetch_into_cache(
        repository, *wanted, subfolder=hub.subfolder, revision=hub.revision, cache_dir=hub.cache_dir,
        token=hub.token, offline=hub.local_files_only, overwrite=hub.force_download,
    )  # fmt: skip


def _is_installed(name: str) -> bool:
    return name in list_stored() or (name in CATALOG and CATALOG[name].bundled_file is not None)


def _has_revision(name: str, revision: str | None) -> bool:
    """Return whether weights are installed from a revision; a commit may be shortened."""
    file = list_stored().get(name)
    if file is None:
        return False
    return revision in (None, _MAIN) or read_metadata(file).get("revision", "").startswith(str(revision))

"""Weights files: reads every format that GLPN weights are published in, writes safetensors."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glpn_cli.errors import ConfigError, MissingWeightsError, OutputError, UsageError, WeightsError
from glpn_cli.files import modernize, os_reason, parse_json, read_json, replacing, write_whole
from glpn_cli.model.config import CONFIG_NAME, GLPNConfig
from glpn_cli.weights.header import MAX_HEADER_BYTES, read_metadata
from glpn_cli.weights.keys import find_tensors, to_published_keys
from glpn_cli.weights.store import (
    LFS_START,
    PICKLE_NAME,
    SAFETENSORS_NAME,
    add_variant,
    find_weights_file,
    is_index,
    weights_names,
    weights_parts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

_LFS_POINTER = "a Git LFS pointer"
_LARGEST_FORMAT_HEADER = 100_000_000  # of any safetensors file
_VALUES_PER_BYTE = 4  # more than one only if tensors share memory
_ALWAYS_ALLOWED = 2**24
_MAX_SHOWN = 100  # characters of a value in a note

_DOCUMENTED_FIELDS = tuple(inspect.signature(GLPNConfig).parameters)[:-1]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a weights file.

    Attributes:
        path: the file of the tensors, or their index.
        config: the architecture.
        tensors: by published key, on the CPU; floating-point ones are float32.
        metadata: the strings of a safetensors file; empty for a pickle.
        notes: what the user should know of the configuration.
    """

    path: Path
    config: GLPNConfig
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()


class FoundConfig(NamedTuple):
    """A configuration, and what it changes.

    Attributes:
        config: the architecture.
        metadata: of the weights, with the depth limit that belongs to the configuration.
        notes: what the user should know.
    """

    config: GLPNConfig
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()


# Reading


def read_checkpoint(
    path: str | PathLike[str], *, config: GLPNConfig | None = None, as_float32: bool = True
) -> Checkpoint:
    """Read weights with their configuration.

    Args:
        path: a folder as saved by transformers, a safetensors file, a pickle, or the index of several files. The
            configuration is in a `config.json` in the folder or beside the file, or in the metadata of the safetensors
            file.
        config: the configuration to use; None reads it.
        as_float32: see `read_tensors`.

    Raises:
        MissingWeightsError: there are no weights at the path, or there is no configuration.
        WeightsError: the weights cannot be read.
        ConfigError: the configuration is invalid.
    """
    file = find_weights_file(path)
    tensors, metadata = read_tensors(file, as_float32=as_float32)
    found = read_config(file, metadata) if config is None else FoundConfig(config, metadata)
    return Checkpoint(file, found.config, to_published_keys(tensors), found.metadata, found.notes)


def read_tensors(
    file: Path, *, label: str | None = None, as_float32: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a weights file; its content decides the format, not its name.

    Args:
        file: safetensors, a pickle, or the index of several files. A pickle is read with `weights_only=True`, so it
            cannot run code.
        label: the name of the file in messages; None uses its path.
        as_float32: whether to convert floating-point tensors to float32.

    Returns:
        The tensors by key, on the CPU; and the metadata, empty for a pickle.

    Raises:
        WeightsError: the file cannot be read, or is not a weights file.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for part in weights_parts(file):
        more_tensors, more_metadata = _read_part(part, label or str(part))
        tensors |= more_tensors
        metadata |= more_metadata
    if as_float32:
        tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    return tensors, metadata


def read_file_metadata(file: Path) -> dict[str, str]:
    """Return the metadata of a weights file without reading its tensors; empty for a pickle.

    Raises:
        WeightsError: the file cannot be read.
    """
    first = weights_parts(file)[0]
    try:
        kind = _detect_kind(first)
    except OSError as error:
        raise WeightsError(f"{first}: cannot be read: {os_reason(error)}") from error
    return read_metadata(first) if kind == "safetensors" else {}


def read_config(file: Path, metadata: Mapping[str, str]) -> FoundConfig:
    """Read the configuration of a weights file from the `config.json` beside it, else from its metadata.

    The file that a user can edit comes first. One of another network is ignored if the metadata has a configuration:
    weights in a single file may be in any folder.

    Raises:
        MissingWeightsError: there is no configuration.
        ConfigError: the configuration is invalid.
    """
    beside = file.parent / CONFIG_NAME
    inside = parse_json(metadata["config"], f"{file}: configuration", ConfigError) if "config" in metadata else None
    if not os.path.exists(beside):
        if inside is None:
            hint = f"put the {CONFIG_NAME} of these weights into the same folder"
            raise MissingWeightsError(f"{file}: has no configuration", hint=hint)
        return FoundConfig(_build_config(inside, file), dict(metadata))
    fields = read_json(beside, ConfigError)
    if inside is not None and fields.get("model_type", GLPNConfig.model_type) != GLPNConfig.model_type:
        return FoundConfig(_build_config(inside, file), dict(metadata))
    config = _build_config(fields, beside)
    return FoundConfig(config, dict(metadata)) if inside is None else _reconcile(config, inside, metadata, beside)


def _build_config(fields: Mapping[str, Any], file: Path) -> GLPNConfig:
    try:
        return GLPNConfig.from_dict(fields)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}", hint=error.hint) from error


def _reconcile(config: GLPNConfig, inside: Mapping[str, Any], metadata: Mapping[str, str], beside: Path) -> FoundConfig:
    """Return a configuration with the metadata of weights that have another copy of it."""
    now, before = config.to_dict(), {**GLPNConfig().to_dict(), **inside}
    changed = [name for name in _DOCUMENTED_FIELDS if now[name] != before[name]]
    if not changed:
        return FoundConfig(config, dict(metadata))
    note = f"{beside} is used, which differs from the copy inside the weights: " + ", ".join(
        f"{name} is {now[name]}, not {str(before[name])[:_MAX_SHOWN]}" for name in changed
    )
    scaled = dict(metadata)
    if "max_depth" in changed and "depth_limit_m" in scaled:
        try:  # the output is a fraction of max_depth, so the limit in meters changes by the same factor
            scaled["depth_limit_m"] = repr(float(scaled["depth_limit_m"]) * now["max_depth"] / before["max_depth"])
        except (TypeError, ValueError, ArithmeticError) as error:
            raise WeightsError(f"{beside.parent}: invalid metadata of the weights: {error}") from error
    return FoundConfig(config, scaled, (note,))


def _read_part(file: Path, label: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        kind = _detect_kind(file)
    except OSError as error:
        raise WeightsError(f"{label}: cannot be read: {os_reason(error)}") from error
    if kind == "safetensors":
        return _read_safetensors(file, label)
    if kind == "pickle":
        return _read_pickle(file, label), {}
    is_pointer = kind == _LFS_POINTER
    raise WeightsError(
        f"{label}: not a weights file but {kind}",
        hint="download the file itself: git lfs pull"
        if is_pointer
        else "use a safetensors, .bin or .ckpt file; or download it again",
    )


def _detect_kind(file: Path) -> str:
    """Return what a file is, by its first bytes: a failed download may have any content under the right name."""
    with file.open("rb") as stream:
        head = stream.read(64)
    if len(head) > 8 and head[8:9] == b"{" and (length := int.from_bytes(head[:8], "little")) <= _LARGEST_FORMAT_HEADER:
        return "safetensors" if length <= MAX_HEADER_BYTES else f"a file with a header of {length} bytes"
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return "pickle"
    if not head:
        return "an empty file"
    if head.lstrip()[:1] == b"<":
        return "a web page"
    return _LFS_POINTER if head.startswith(LFS_START) else "a file of another kind"


def _read_safetensors(file: Path, label: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it has no __iter__
            return tensors, dict(modernize(dict(opened.metadata() or {})))
    except OSError as error:
        raise WeightsError(f"{label}: cannot be read: {os_reason(error)}") from error
    except Exception as error:  # of the header, or of a type or shape that torch does not have; safetensors raises many
        reason = " ".join(str(error).split())
        raise WeightsError(f"{label}: damaged safetensors file: {reason}", hint="download or copy it again") from error


def _read_pickle(file: Path, label: str) -> dict[str, Tensor]:
    damaged = WeightsError(f"{label}: damaged pickle", hint="download or copy it again")
    _refuse_compressed(file, label)
    try:
        with warnings.catch_warnings(action="ignore"):  # of types that are deprecated, which are refused below
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The message of torch is several paragraphs, and advises to turn the protection off.
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            raise WeightsError(
                f"{label}: refused: the pickle contains more than tensors",
                hint="such a file can run code; get the weights as safetensors",
            ) from error
        raise damaged from error
    except Exception as error:  # torch and its unpickler raise many types
        raise damaged from error
    tensors = find_tensors(loaded)
    if tensors is None:
        raise WeightsError(f"{label}: the pickle is not a dictionary of tensors")
    _refuse_without_values(tensors, file, label)
    return tensors


def _refuse_compressed(file: Path, label: str) -> None:
    """Refuse a zip whose parts are larger than the file. torch never writes one, and it would fill the memory.

    Raises:
        WeightsError: it is one.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            size_bytes = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # another format, or damaged: torch says so
        return
    if size_bytes > os.path.getsize(file):
        raise WeightsError(f"{label}: the pickle is compressed", hint="save it again with torch, or as safetensors")


def _refuse_without_values(tensors: Mapping[str, Tensor], file: Path, label: str) -> None:
    """Refuse tensors whose values are not all in the file: a few bytes may state a tensor of any size.

    Raises:
        WeightsError: a tensor is sparse, quantized or without memory, or the tensors have more values than the file.
    """
    for key, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise WeightsError(
                f"{label}: {key} is not a plain tensor but sparse, quantized or without values",
                hint="save the weights as plain tensors",
            )
    values = sum(tensor.numel() for tensor in tensors.values())
    if values > max(_VALUES_PER_BYTE * os.path.getsize(file), _ALWAYS_ALLOWED):
        raise WeightsError(f"{label}: states {values} values, more than the file has", hint="get the weights again")


# Writing


def write_checkpoint(
    folder: str | PathLike[str],
    config: GLPNConfig,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    safe: bool = True,
    max_shard_size: int | str | None = None,
    variant: str | None = None,
) -> Path:
    """Write `config.json` and the weights, each file atomically, readable by transformers too.

    A safetensors file also contains the configuration, so that it can be used without the folder. Files of an earlier
    save that would be read instead are removed.

    Args:
        folder: created if it does not exist.
        config: the architecture.
        tensors: by published key.
        metadata: strings for a safetensors file; a pickle has no room for them.
        safe: write safetensors, not a pickle.
        max_shard_size: of one file, in bytes or such as "200MB"; None writes one file.
        variant: part of the file's name, as in `model.fp16.safetensors`.

    Returns:
        The path of the weights file, or of the index of several.

    Raises:
        OutputError: a file cannot be written.
        UsageError: the size is invalid.
    """
    name = add_variant(SAFETENSORS_NAME if safe else PICKLE_NAME, variant)
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    shards, index = _divide(plain, name, max_shard_size)
    strings = {**metadata, "format": "pt", "config": json.dumps(config.to_dict())}
    config.save_pretrained(folder)
    for shard_name, shard in shards.items():
        target = Path(folder) / shard_name
        try:
            with replacing(target) as partial:
                save_file(shard, partial, strings) if safe else torch.save(shard, partial)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise OutputError(f"{target}: cannot be written: {os_reason(error)}") from error
    written = Path(folder) / name
    if index is not None:
        written = Path(folder) / add_variant((SAFETENSORS_NAME if safe else PICKLE_NAME) + ".index.json", variant)
        write_whole(written, json.dumps(index, indent=2).encode() + b"\n", overwrite=True)
    _remove_earlier(Path(folder), written.name, variant)
    return written


def _divide(
    tensors: dict[str, Tensor], name: str, max_shard_size: int | str | None
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any] | None]:
    """Return the tensors of each file by its name, and the index if there are several."""
    if max_shard_size is None:
        return {name: tensors}, None
    from huggingface_hub import split_torch_state_dict_into_shards

    stem, _, ending = name.rpartition(".")
    try:
        split = split_torch_state_dict_into_shards(
            tensors, filename_pattern=f"{stem}{{suffix}}.{ending}", max_shard_size=max_shard_size
        )
    except ValueError as error:
        raise UsageError(
            f"must be a number of bytes, or such as '200MB', not {max_shard_size!r}", setting="max_shard_size"
        ) from error
    shards = {file: {key: tensors[key] for key in keys} for file, keys in split.filename_to_tensors.items()}
    if not split.is_sharded:
        return shards, None
    return shards, {"metadata": split.metadata, "weight_map": split.tensor_to_filename}


def _remove_earlier(folder: Path, written: str, variant: str | None) -> None:
    """Remove the weights files of an earlier save that would be read before the file of this name."""
    names = weights_names(variant=variant)
    for name in names[: names.index(written)]:
        file = folder / name
        if not os.path.isfile(file):
            continue
        try:
            parts = weights_parts(file) if is_index(name) else []
        except WeightsError:
            parts = []
        for stale in (file, *parts):
            try:
                stale.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{stale}: cannot be removed: {os_reason(error)}") from error

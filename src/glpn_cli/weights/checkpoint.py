"""Weights files: reads every format that GLPN weights are published in, writes safetensors.

The files that the authors of GLPN released are state dictionaries of their own classes, saved from several GPUs
(`module.` before every key). The weights on the Hub have other keys for the same network, and split layers for keys
and values.

Source: comparison of the keys of the released files with those on the Hub.
"""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glpn_cli.errors import ConfigError, OutputError, WeightsError
from glpn_cli.files import modernize, os_reason, parse_json, read_json, replacing
from glpn_cli.model.config import CONFIG_NAME, GLPNConfig
from glpn_cli.weights.header import MAX_HEADER_BYTES
from glpn_cli.weights.store import SAFETENSORS_NAME, find_weights_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a weights file.

    Attributes:
        path: the file of the tensors.
        config: the architecture.
        tensors: by published key, on the CPU; floating-point ones are float32.
        metadata: the strings of a safetensors file; empty for a pickle.
    """

    path: Path
    config: GLPNConfig
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


# Reading


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read weights with their configuration.

    Args:
        path: a folder as saved by transformers, a safetensors file, or a pickle. The configuration is in the metadata
            of the safetensors file, or a `config.json` in the folder or beside the file.

    Raises:
        WeightsError: there are no weights at the path, or they cannot be read.
        ConfigError: the configuration is invalid.
    """
    file = find_weights_file(path)
    tensors, metadata = read_tensors(file)
    return Checkpoint(file, read_config(file, metadata), tensors, metadata)


def read_tensors(file: Path, *, label: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a weights file; its content decides the format, not its name.

    Args:
        file: safetensors or a pickle. A pickle is read with `weights_only=True`, so it cannot run code.
        label: the name of the file in messages; None uses its path.

    Returns:
        The tensors by key, on the CPU, floating-point ones float32; and the metadata, empty for a pickle.

    Raises:
        WeightsError: the file cannot be read, or is not a weights file.
    """
    label = label or str(file)
    try:
        kind = _detect_kind(file)
    except OSError as error:
        raise WeightsError(f"{label}: cannot be read: {os_reason(error)}") from error
    if kind == "safetensors":
        tensors, metadata = _read_safetensors(file, label)
    elif kind == "pickle":
        tensors, metadata = _read_pickle(file, label), {}
    else:
        raise WeightsError(
            f"{label}: not a weights file but {kind}",
            hint="use a safetensors, .bin or .ckpt file; or download it again",
        )
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}, metadata


def read_config(file: Path, metadata: Mapping[str, str]) -> GLPNConfig:
    """Read the configuration of a weights file from its metadata, else from the `config.json` beside it.

    Raises:
        WeightsError: there is no configuration.
        ConfigError: the configuration is invalid.
    """
    if "config" in metadata:
        return GLPNConfig.from_dict(parse_json(metadata["config"], f"{file}: configuration", ConfigError))
    try:
        return GLPNConfig.from_dict(read_json(file.parent / CONFIG_NAME, ConfigError))
    except ConfigError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise WeightsError(
            f"{file}: has no configuration", hint=f"put the {CONFIG_NAME} of these weights into the same folder"
        ) from error


def _detect_kind(file: Path) -> str:
    """Return what a file is, by its first bytes: a failed download may have any content under the right name."""
    with file.open("rb") as stream:
        head = stream.read(64)
    if len(head) > 8 and int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES and head[8:9] == b"{":
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return "pickle"
    if not head:
        return "an empty file"
    if head.lstrip()[:1] == b"<":
        return "a web page"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    return "a file of another kind"


def _read_safetensors(file: Path, label: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it has no __iter__
            return tensors, dict(modernize(dict(opened.metadata() or {})))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{label}: damaged safetensors file: {error}", hint="download or copy it again") from error


def _read_pickle(file: Path, label: str) -> dict[str, Tensor]:
    damaged = WeightsError(f"{label}: damaged pickle", hint="download or copy it again")
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The message of torch is several paragraphs, and advises to turn the protection off.
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            raise WeightsError(
                f"{label}: refused: the pickle contains more than tensors",
                hint="such a file can run code; get the weights as safetensors",
            ) from error
        raise damaged from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise damaged from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"{label}: the pickle is not a dictionary of tensors")
    return {str(key): value for key, value in loaded.items()}


# Writing


def write_checkpoint(
    folder: str | PathLike[str], config: GLPNConfig, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Path:
    """Write `config.json` and `model.safetensors`, each atomically, readable by transformers too.

    The safetensors file also contains the configuration, so that it can be used without the folder.

    Returns:
        The path of the safetensors file.

    Raises:
        OutputError: a file cannot be written.
    """
    target = Path(folder) / SAFETENSORS_NAME
    strings = {**metadata, "format": "pt", "config": json.dumps(config.to_dict())}
    config.save_pretrained(folder)
    try:
        with replacing(target) as partial:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial, strings)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{target}: cannot be written: {os_reason(error)}") from error
    return target


# The authors' keys

_PARALLEL_PREFIX = "module."
_STAGE_KEY = re.compile(r"encoder\.(patch_embed|block|norm)([1-9]\d*)\.(.+)")
_JOINT_KEY = re.compile(r"encoder\.block([1-9]\d*)\.(\d+)\.attn\.kv\.(weight|bias)")
_FUSION_KEY = re.compile(r"decoder\.fusion([1-9]\d*)\.conv(\d)\.(.+)")

_EMBEDDING_PREFIXES = {"norm.": "layer_norm."}
_LAYER_PREFIXES = {
    "norm1.": "layer_norm_1.",
    "norm2.": "layer_norm_2.",
    "attn.q.": "attention.self.query.",
    "attn.sr.": "attention.self.sr.",
    "attn.norm.": "attention.self.layer_norm.",
    "attn.proj.": "attention.output.dense.",
    "mlp.fc1.": "mlp.dense1.",
    "mlp.fc2.": "mlp.dense2.",
}
_DECODER_PREFIXES = {
    "decoder.bot_conv.": "decoder.stages.0.convolution.",
    "decoder.skip_conv1.": "decoder.stages.1.convolution.",
    "decoder.skip_conv2.": "decoder.stages.2.convolution.",
    "last_layer_depth.": "head.head.",
}


def has_authors_keys(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the authors' keys, with or without `module.`."""
    return any(_without_prefix(key).startswith("encoder.patch_embed1.") for key in tensors)


def to_published_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the published keys.

    Published keys only lose a leading `module.`; unknown keys stay, so that building the network can report them.
    """
    plain = {_without_prefix(key): tensor for key, tensor in tensors.items()}
    if not has_authors_keys(plain):
        return plain
    published: dict[str, Tensor] = {}
    for key, tensor in plain.items():
        joint = _JOINT_KEY.fullmatch(key)
        if joint is None:
            published[_to_published_key(key)] = tensor
            continue
        stage, layer, kind = joint.groups()
        attention = f"glpn.encoder.block.{int(stage) - 1}.{layer}.attention.self"
        # The output of the joint layer is reshaped to (2, heads, channels), so the first half of the rows are keys.
        rows = tensor.shape[0] // 2
        published[f"{attention}.key.{kind}"] = tensor[:rows].clone()
        published[f"{attention}.value.{kind}"] = tensor[rows:].clone()
    return published


def _without_prefix(key: str) -> str:
    return key.removeprefix(_PARALLEL_PREFIX)


def _to_published_key(key: str) -> str:
    """Return the published key of one tensor; the authors count stages from 1."""
    if stage := _STAGE_KEY.fullmatch(key):
        part, number, rest = stage[1], int(stage[2]) - 1, stage[3]
        if part == "patch_embed":
            return f"glpn.encoder.patch_embeddings.{number}.{_replace_prefix(rest, _EMBEDDING_PREFIXES)}"
        if part == "norm":
            return f"glpn.encoder.layer_norm.{number}.{rest}"
        layer, _, rest = rest.partition(".")
        return f"glpn.encoder.block.{number}.{layer}.{_replace_prefix(rest, _LAYER_PREFIXES)}"
    if fusion := _FUSION_KEY.fullmatch(key):
        return f"decoder.stages.{fusion[1]}.fusion.convolutional_layer{fusion[2]}.{fusion[3]}"
    return _replace_prefix(key, _DECODER_PREFIXES)


def _replace_prefix(key: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key

"""The authors' checkpoints under the published names.

The released files are state dictionaries of the authors' own classes, saved from several GPUs, so that every key
starts with `module.`. The same network is published under other keys, with the joint key-and-value layers cut in two.

Source: the keys of the released files and of the published ones, compared.

Weights files: read whatever GLPN is published as, write safetensors that carry their configuration.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glpn_cli.errors import ConfigError, OutputError, WeightsError
from glpn_cli.files import modernize
from glpn_cli.model.config import GLPNConfig
from glpn_cli.weights.header import MAX_HEADER_BYTES
from glpn_cli.weights.store import CONFIG_NAME, SAFETENSORS_NAME, find_weights_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike


PUBLISHED_CONFIG = GLPNConfig(
    depths=[3, 8, 27, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=64, max_depth=10
)

"""What both published networks are built from. The authors' files do not say; they hold tensors only."""

_PARALLEL_PREFIX = "module."

_STAGE = re.compile(r"encoder\.(patch_embed|block|norm)([1-9]\d*)\.(.+)")

_JOINT = re.compile(r"encoder\.block([1-9]\d*)\.(\d+)\.attn\.kv\.(weight|bias)")

_FUSION = re.compile(r"decoder\.fusion([1-9]\d*)\.conv(\d)\.(.+)")

_EMBEDDING_NAMES = {"norm.": "layer_norm."}

_LAYER_NAMES = {
    "norm1.": "layer_norm_1.",
    "norm2.": "layer_norm_2.",
    "attn.q.": "attention.self.query.",
    "attn.sr.": "attention.self.sr.",
    "attn.norm.": "attention.self.layer_norm.",
    "attn.proj.": "attention.output.dense.",
    "mlp.fc1.": "mlp.dense1.",
    "mlp.fc2.": "mlp.dense2.",
}

_DECODER_NAMES = {
    "decoder.bot_conv.": "decoder.stages.0.convolution.",
    "decoder.skip_conv1.": "decoder.stages.1.convolution.",
    "decoder.skip_conv2.": "decoder.stages.2.convolution.",
    "last_layer_depth.": "head.head.",
}


def is_authors(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors have the authors' keys, with or without `module.`."""
    return any(_without_prefix(key).startswith("encoder.patch_embed1.") for key in tensors)


def to_published_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors under the published keys; those that have them already only lose a leading `module.`.

    A key that is not known stays as it is, for whoever builds the network to name.
    """
    plain = {_without_prefix(key): tensor for key, tensor in tensors.items()}
    if not is_authors(plain):
        return plain
    published: dict[str, Tensor] = {}
    for key, tensor in plain.items():
        joint = _JOINT.fullmatch(key)
        if joint is None:
            published[_to_published_key(key)] = tensor
            continue
        stage, layer, kind = joint.groups()
        attention = f"glpn.encoder.block.{int(stage) - 1}.{layer}.attention.self"
        # One layer gives keys and values to be split as (2, heads, channels): the first half of its rows are keys.
        rows = tensor.shape[0] // 2
        published[f"{attention}.key.{kind}"] = tensor[:rows].clone()
        published[f"{attention}.value.{kind}"] = tensor[rows:].clone()
    return published


def _without_prefix(key: str) -> str:
    return key.removeprefix(_PARALLEL_PREFIX)


def _to_published_key(key: str) -> str:
    """Rename one key; stages are counted from 1 there and from 0 here."""
    if stage := _STAGE.fullmatch(key):
        part, number, rest = stage[1], int(stage[2]) - 1, stage[3]
        if part == "patch_embed":
            return f"glpn.encoder.patch_embeddings.{number}.{_renamed(rest, _EMBEDDING_NAMES)}"
        if part == "norm":
            return f"glpn.encoder.layer_norm.{number}.{rest}"
        layer, _, rest = rest.partition(".")
        return f"glpn.encoder.block.{number}.{layer}.{_renamed(rest, _LAYER_NAMES)}"
    if fusion := _FUSION.fullmatch(key):
        return f"decoder.stages.{fusion[1]}.fusion.convolutional_layer{fusion[2]}.{fusion[3]}"
    return _renamed(key, _DECODER_NAMES)


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a weights file.

    Attributes:
        path: the file that the tensors came from.
        config: the architecture.
        tensors: by published key, on the CPU; floating-point ones are float32.
        metadata: the strings of a safetensors file; empty for a pickle.
    """

    path: Path
    config: GLPNConfig
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read weights from a folder as transformers saves it, a safetensors file or a pickle.

    A pickle is read with `weights_only=True`, so nothing in it runs. The configuration is a `config.json` in the
    folder or beside the file, or the metadata of the safetensors file.

    Raises:
        WeightsError: there are no weights at the path, or they cannot be read.
        ConfigError: the configuration is none.
    """
    file = find_weights_file(path)
    tensors, metadata = read_tensors(file)
    return Checkpoint(file, read_config(file, metadata), tensors, metadata)


def read_tensors(file: Path, *, called: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what a weights file holds, whatever it is called.

    Args:
        file: safetensors or a pickle; a pickle is read with `weights_only=True`, so nothing in it runs.
        called: what to call the file in messages, where its path says little.

    Returns:
        The tensors by key, on the CPU, floating-point ones float32; and the metadata, which a pickle has none of.

    Raises:
        WeightsError: the file cannot be read, or is no weights file.
    """
    called = called or str(file)
    try:
        kind = _sniff(file)
    except OSError as error:
        raise WeightsError(f"{called}: cannot be read: {error.strerror or error}") from error
    if kind == "safetensors":
        tensors, metadata = _read_safetensors(file, called)
    elif kind == "pickle":
        tensors, metadata = _read_pickle(file, called), {}
    else:
        raise WeightsError(f"{called}: is not a weights file but {kind}", hint="download the weights again")
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}, metadata


def read_config(file: Path, metadata: Mapping[str, str]) -> GLPNConfig:
    """Read the configuration of a weights file: from its metadata, else from the `config.json` beside it.

    Raises:
        WeightsError: there is none.
        ConfigError: it is none.
    """
    try:
        if "config" in metadata:
            values: Any = json.loads(metadata["config"])
        else:
            values = json.loads((file.parent / CONFIG_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{file}: has no configuration", hint=f"put the {CONFIG_NAME} of these weights into the same folder"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: its {CONFIG_NAME} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: its {CONFIG_NAME} is not a table of fields")
    return GLPNConfig.from_dict(values)


def write_checkpoint(
    folder: str | PathLike[str], config: GLPNConfig, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Path:
    """Write `config.json` and `model.safetensors`, readable by us and by transformers.

    The safetensors file carries the configuration too, so that it is whole without its folder.

    Returns:
        The path of the safetensors file.

    Raises:
        OutputError: the folder cannot be written to.
    """
    target = Path(folder) / SAFETENSORS_NAME
    partial = target.with_name(f".{secrets.token_hex(6)}.part")
    strings = {**metadata, "format": "pt", "config": json.dumps(config.to_dict())}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(folder)
        try:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial, strings)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{target}: cannot be written: {error}") from error
    return target


def _sniff(file: Path) -> str:
    """Tell what a file is from its first bytes, because a failed download keeps the right name."""
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
    return "something else"


def _read_safetensors(file: Path, called: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, modernize(dict(opened.metadata() or {}))  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{called}: is a damaged safetensors file: {error}", hint="download or copy it again"
        ) from error


def _read_pickle(file: Path, called: str) -> dict[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch words both cases in paragraphs, the second with advice to switch the protection off.
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            raise WeightsError(
                f"{called}: is a pickle that holds more than tensors and was not opened further",
                hint="such a file can run code; get the weights as safetensors",
            ) from error
        raise WeightsError(f"{called}: is a damaged pickle", hint="download or copy it again") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise WeightsError(f"{called}: is a damaged pickle", hint="download or copy it again") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"{called}: holds no table of tensors")
    return {str(key): value for key, value in loaded.items()}

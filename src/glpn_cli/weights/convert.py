"""The authors' checkpoints under the published names.

The released files are state dictionaries of the authors' own classes, saved from several GPUs, so that every key
starts with `module.`. The same network is published under other keys, with the joint key-and-value layers cut in two.

Source: the keys of the released files and of the published ones, compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from glpn_cli.model.config import GLPNConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["PUBLISHED_CONFIG", "is_authors", "to_published_keys"]

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

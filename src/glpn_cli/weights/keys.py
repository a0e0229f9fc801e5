"""Names of tensors: from the keys in a file to the published ones.

The files that the authors of GLPN released are state dictionaries of their own classes, saved from several GPUs
(`module.` before every key). The weights on the Hub have other keys for the same network, and split layers for keys
and values. Training programs add more: a name before every key, or dictionaries around the tensors.

Source: comparison of the keys of the released files with those on the Hub.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

_STAGE_KEY = re.compile(r"encoder\.(patch_embed|block|norm)([1-9]\d*)\.(.+)")
_JOINT_KEY = re.compile(r"encoder\.block([1-9]\d*)\.(\d+)\.attn\.kv\.(weight|bias)")
_FUSION_KEY = re.compile(r"decoder\.fusion([1-9]\d*)\.conv(\d)\.(.+)")

_ROOT = re.compile(r"(?:^|(?<=\.))(?:glpn\.)?encoder\.(?:patch_embeddings\.0|patch_embed1)\.")
"""The first tensors of the network: what precedes them is no part of the published keys."""

_DEPTH_OF_NESTING = 4
_TENSORS_NAMES = ("state_dict", "model_state_dict", "model", "module", "network", "net", "weights", "params")
"""Under which name training programs store the tensors among other things, in this order."""

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
    """Return whether tensors have the authors' keys, with or without a prefix such as `module.`."""
    return any(key.startswith("encoder.patch_embed1.") for key in without_prefix(tensors))


def to_published_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the published keys.

    Published keys only lose a prefix; unknown keys stay, so that building the network can report them.
    """
    plain = without_prefix(tensors)
    if not has_authors_keys(plain):
        return plain
    published: dict[str, Tensor] = {}
    for key, tensor in plain.items():
        joint = _JOINT_KEY.fullmatch(key)
        if joint is None or tensor.dim() == 0:
            published[_to_published_key(key)] = tensor
            continue
        stage, layer, kind = joint.groups()
        attention = f"glpn.encoder.block.{int(stage) - 1}.{layer}.attention.self"
        # The output of the joint layer is reshaped to (2, heads, channels), so the first half of the rows are keys.
        rows = tensor.shape[0] // 2
        published[f"{attention}.key.{kind}"] = tensor[:rows].clone()
        published[f"{attention}.value.{kind}"] = tensor[rows:].clone()
    return published


def without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the prefix that a wrapper put before every key of the network.

    Such as `module.` of DataParallel, `_orig_mod.` of torch.compile, and `model.` of a class of Lightning; then what
    has another prefix, such as a loss, is left out.
    """
    roots = [found for key in tensors if (found := _ROOT.search(key))]
    if not roots:
        return dict(tensors)
    prefix = min((found.string[: found.start()] for found in roots), key=len)
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def find_tensors(loaded: Any) -> dict[str, Tensor] | None:
    """Return the tensors by key in what a checkpoint file contains; None if there are none.

    Training programs store them among other things: `{"model": {...}, "optimizer": {...}, "epoch": 3}`.
    """
    for _ in range(_DEPTH_OF_NESTING):
        if not isinstance(loaded, dict):
            return None
        tensors = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
        if len(tensors) == len(loaded) or any(map(_ROOT.search, tensors)):
            return tensors
        named = [loaded[name] for name in _TENSORS_NAMES if isinstance(loaded.get(name), dict)]
        others = [value for value in loaded.values() if isinstance(value, dict)]
        loaded = next(iter(named), None) or (others[0] if len(others) == 1 else None)
    return None


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

"""Widen the decoder of a network without changing what it computes, so that training does not start from nothing.

New channels are copies of old ones, and the weights that read a channel are divided by the number of its copies. The
convolutions that read them get a little noise, because equal copies would learn the same.

Source: Chen et al., Net2Net, arXiv 1511.05641.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from glpn_cli.errors import UsageError
from glpn_cli.model.config import GLPNConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_NOISE = 0.02  # of the deviation of the weights


def widen_decoder(
    config: GLPNConfig, tensors: Mapping[str, Tensor], channels: int
) -> tuple[GLPNConfig, dict[str, Tensor]]:
    """Return the configuration and the tensors of a network whose decoder has more channels.

    Args:
        config: the architecture of `tensors`.
        tensors: the state dict of a network.
        channels: even; at most twice those of `config`, and not those of an encoder stage, whose projection the
            architecture leaves out.

    Raises:
        UsageError: the decoder cannot have so many channels.
    """
    now = config.decoder_hidden_size
    if channels % 2 or not now < channels <= 2 * now or channels in config.hidden_sizes:
        raise UsageError(f"a decoder of {now} channels cannot be widened to {channels}")
    wide = GLPNConfig.from_dict(config.to_dict() | {"decoder_hidden_size": channels})
    generator = torch.Generator().manual_seed(0)
    widened = {
        key: _widen(key, value.float(), now, channels, generator) if _is_wider(key) else value
        for key, value in tensors.items()
    }
    for number, size in enumerate(reversed(config.hidden_sizes)):
        if size == now:  # this stage had no projection: its channels become copies
            copies = _copies(now, channels)
            widened[f"decoder.stages.{number}.convolution.weight"] = torch.eye(now)[copies, :, None, None]
            widened[f"decoder.stages.{number}.convolution.bias"] = torch.zeros(channels)
    return wide, widened


def _is_wider(key: str) -> bool:
    return key.startswith(("decoder.", "head.")) and "num_batches" not in key


def _widen(key: str, value: Tensor, now: int, channels: int, generator: torch.Generator) -> Tensor:
    """Widen the outputs of a layer, and its inputs if it is a convolution that reads decoder channels."""
    if len(value) in (now, now // 2):
        value = value[_copies(len(value), len(value) * channels // now)]
    if value.dim() == 4 and not _reads_encoder(key):
        columns = torch.cat(
            [_copies(part, part * channels // now) + offset for part, offset in _input_parts(value.shape[1], now)]
        )
        counts = torch.bincount(columns, minlength=value.shape[1])
        value = value[:, columns] / counts[columns][None, :, None, None]
        value = value + _NOISE * value.std() * torch.randn(value.shape, generator=generator)
    return value.clone()


def _reads_encoder(key: str) -> bool:
    return ".convolution.weight" in key


def _input_parts(inputs: int, now: int) -> list[tuple[int, int]]:
    """Return the size and the offset of each group of inputs: a fusion reads two groups of decoder channels."""
    return [(now, 0), (now, now)] if inputs == 2 * now else [(inputs, 0)]


def _copies(old: int, new: int) -> Tensor:
    """Return which old channel each of the new ones is a copy of."""
    return torch.arange(new) % old

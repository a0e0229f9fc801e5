"""The npy format: float32 meters and nothing else."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError

if TYPE_CHECKING:
    from glpn_cli.settings import OutputSettings


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into an npy file of (H, W) float32, meters unless the settings say the published scale."""
    buffer = io.BytesIO()
    np.save(buffer, depth.in_scale(settings.scale), allow_pickle=False)
    return buffer.getvalue()


def decode(data: bytes, name: str) -> DepthMap:
    """Read an npy file of (H, W) floating-point meters; it says nothing of where they came from.

    Raises:
        DepthFileError: it is damaged or holds something else.
    """
    try:
        meters = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # a garbled header makes numpy's parser raise anything, an absurd one MemoryError
        raise DepthFileError(f"{name}: is a damaged npy file") from error
    if meters.ndim != 2 or not np.issubdtype(meters.dtype, np.floating) or meters.size == 0:
        raise DepthFileError(
            f"{name}: holds {meters.shape} {meters.dtype}, not depth", hint="depth is (height, width) floating point"
        )
    return DepthMap(np.ascontiguousarray(meters, dtype=np.float32))


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:  # noqa: ARG001 - the format has no place for them
    """Give None: an npy file says nothing of itself."""
    return None

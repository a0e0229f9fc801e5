"""What an engine is built for: a device, a number format, and the operations that exist there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from glpn_cli.runtime import Runtime

__all__ = ["Target"]

# On Linux every larger block comes from the system page by page, zeroed, each time anew: at the first stage that
# takes longer than computing what goes into it. Smaller ones are used again while they are still in the cache.
_CPU_STRIP_BYTES = 4 * 2**20
# Elsewhere strips are only there so that the largest images fit; each costs launches.
_ACCELERATOR_STRIP_BYTES = 2**30
# Attention's table: larger ones leave the cache between two operations, with smaller ones the threads wait more.
_CPU_TABLE_BYTES = 4 * 2**20
_CPU_TILE_BYTES = 3 * 2**20  # what the cores' second-level caches hold, all together, of the smallest machine in mind


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how the parts of an engine compute.

    Attributes:
        device: holds the weights.
        dtype: of weights and activations.
        packed: use the operations whose weights are laid out for oneDNN in advance.
        strip_bytes: how large a temporary tensor may be; maps that would be larger are worked on in strips of rows.
        tile_bytes: likewise, for what should stay in the cache between two operations.
        table_bytes: likewise, for a piece of attention's table.
    """

    device: torch.device
    dtype: torch.dtype
    packed: bool
    strip_bytes: int
    tile_bytes: int
    table_bytes: int

    @classmethod
    def of(cls, runtime: Runtime, *, packed: bool) -> Target:
        """Give the target of a runtime with the strips that suit its device."""
        if runtime.device.type == "cpu":
            return cls(runtime.device, runtime.dtype, packed, _CPU_STRIP_BYTES, _CPU_TILE_BYTES, _CPU_TABLE_BYTES)
        most = _ACCELERATOR_STRIP_BYTES
        return cls(runtime.device, runtime.dtype, packed, strip_bytes=most, tile_bytes=most, table_bytes=most)

    def place(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Give a contiguous copy of a weight on the device, in `dtype` or the target's own.

        Always a copy: the source may be mapped from a file, or may be changed by whoever owns the network.
        """
        return tensor.detach().to(self.device, dtype or self.dtype, copy=True).contiguous()

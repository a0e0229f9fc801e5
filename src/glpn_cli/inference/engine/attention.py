"""Attention with its table of scores, in pieces that stay in the cache.

torch's fused attention is a product, a softmax and a product in one, and its products are not oneDNN's: on CPUs they
take two to four times as long as the same products alone. So the table is written down here after all, for as many
places at a time as the cache holds.

Shapes: B pictures, C channels of all heads together, N places that look, M places that are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from glpn_cli.inference.engine.operations import multiply
from glpn_cli.inference.engine.strips import split_rows

if TYPE_CHECKING:
    from torch import Tensor

    from glpn_cli.inference.engine.target import Target

__all__ = ["KeysValues"]

# What softmax computes at once: it takes the rest of a row one by one, at the price of several vectors.
_VECTOR_BYTES = 64


class KeysValues:
    """What is looked at, made ready for all places that look."""

    def __init__(self, keys_values: Tensor, heads: int, target: Target) -> None:
        """Take keys and values, (B, M, 2C), where scores are products of queries and keys as they stand."""
        self._heads, self._target = heads, target
        batch, self._places, both = keys_values.shape
        split = keys_values.view(batch, self._places, 2, heads, both // 2 // heads).permute(2, 0, 3, 1, 4)
        if target.packed:
            # M is filled up to whole vectors. What fills it gets a score of -inf, and so no weight.
            missing = -self._places % (_VECTOR_BYTES // keys_values.element_size())
            split = functional.pad(split, (0, 0, 0, missing))
        self._key, self._value = split

    def seen_by(self, query: Tensor) -> Tensor:
        """Give what each place sees: queries (B, N, C) to (B, N, C)."""
        batch, places, channels = query.shape
        by_head = query.view(batch, places, self._heads, channels // self._heads).transpose(1, 2)
        if not self._target.packed:
            seen = functional.scaled_dot_product_attention(by_head, self._key, self._value, scale=1.0)
            return seen.transpose(1, 2).flatten(2)
        seen = torch.empty_like(query)
        seen_by_head = seen.view(batch, places, self._heads, -1).transpose(1, 2)
        look = self._look_one_by_one if query.dtype == torch.float32 else self._look_together
        for one in zip(by_head, seen_by_head, self._key, self._value, strict=True):
            look(*one)
        return seen

    def _look_together(self, query: Tensor, seen: Tensor, key: Tensor, value: Tensor) -> None:
        """Write what all heads of a picture see, (heads, N, C / heads); in half precision torch asks oneDNN itself."""
        key = key.transpose(1, 2)
        row_bytes = self._heads * key.shape[2] * key.element_size()
        for start, stop in split_rows(0, query.shape[1], row_bytes, self._target.table_bytes):
            table = torch.bmm(query[:, start:stop], key)
            table[:, :, self._places :] = -torch.inf
            torch.softmax(table, dim=2, out=table)
            torch.bmm(table, value, out=seen[:, start:stop])

    def _look_one_by_one(self, query: Tensor, seen: Tensor, key: Tensor, value: Tensor) -> None:
        """Likewise, with oneDNN asked for each head, because in float32 torch asks another library."""
        hidden = torch.zeros(key.shape[1])
        hidden[self._places :] = -torch.inf
        row_bytes = key.shape[1] * key.element_size()
        strips = list(split_rows(0, query.shape[1], row_bytes, self._target.table_bytes))
        value = value.transpose(1, 2).contiguous()
        for one_query, one_seen, one_key, one_value in zip(query, seen, key, value, strict=True):
            for start, stop in strips:
                table = multiply(one_query[start:stop], one_key, hidden)
                torch.softmax(table, dim=1, out=table)
                one_seen[start:stop] = multiply(table, one_value)

"""Attention with its table of scores, in pieces that stay in the cache.

torch's fused attention is a product, a softmax and a product in one, and its products are not oneDNN's: on CPUs they
take two to four times as long as the same products alone. So the table is written down here after all, for as many
places at a time as the cache holds.

oneDNN's softmax takes half as long as torch's, and torch asks for it where the table is a tensor of oneDNN's own. To go
there and back costs a little, which tables with long rows are worth: a tenth of the time of a large image in half
precision, and nothing in float32, where products take longer.

Shapes: B images, C channels of all heads together, N places that look, M places that are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from glpn_cli.inference.engine.operations import multiply, split_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from glpn_cli.inference.engine.operations import Target
    from glpn_cli.model import encoder as readable


# What softmax computes at once: it takes the rest of a row one by one, at the price of several vectors.
_VECTOR_BYTES = 64
# Places that are looked at from which on a table in half precision is worth a tensor of oneDNN's own.
_LONG_ROW = 1024


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
        # In float32 torch's own products are of another library than oneDNN.
        one_by_one = query.dtype == torch.float32 or _has_long_rows(self._key)
        look = self._look_one_by_one if one_by_one else self._look_together
        for one in zip(by_head, seen_by_head, self._key, self._value, strict=True):
            look(*one)
        return seen

    def _look_together(self, query: Tensor, seen: Tensor, key: Tensor, value: Tensor) -> None:
        """Write what all heads of an image see, (heads, N, C / heads)."""
        key = key.transpose(1, 2)
        row_bytes = self._heads * key.shape[2] * key.element_size()
        for start, stop in split_rows(0, query.shape[1], row_bytes, self._target.table_bytes):
            table = torch.bmm(query[:, start:stop], key)
            table[:, :, self._places :] = -torch.inf
            torch.softmax(table, dim=2, out=table)
            torch.bmm(table, value, out=seen[:, start:stop])

    def _look_one_by_one(self, query: Tensor, seen: Tensor, key: Tensor, value: Tensor) -> None:
        """Likewise, with oneDNN asked for each head."""
        hidden = torch.zeros(key.shape[1], dtype=key.dtype)
        hidden[self._places :] = -torch.inf
        key, value = key.contiguous(), value.transpose(1, 2).contiguous()
        look, strips = _ways(query.shape[1], key, self._target)
        for one_query, one_seen, one_key, one_value in zip(query, seen, key, value, strict=True):
            for start, stop in strips:
                one_seen[start:stop] = look(one_query[start:stop], one_key, hidden, one_value)


def _has_long_rows(keys: Tensor) -> bool:
    return keys.element_size() == 2 and keys.shape[-2] >= _LONG_ROW


def _ways(places: int, keys: Tensor, target: Target) -> tuple[Callable[..., Tensor], list[tuple[int, int]]]:
    """Choose how each head looks at keys (..., M, c), and how many places at a time."""
    own = _has_long_rows(keys)
    # Fewer and larger calls make up for the ways there and back.
    table_bytes = 2 * target.table_bytes if own else target.table_bytes
    strips = list(split_rows(0, places, keys.shape[-2] * keys.element_size(), table_bytes))
    return (look_in_own_tensors if own else look_in_plain_tensors), strips


def look_in_plain_tensors(
    rows: Tensor, keys: Tensor, scores: Tensor, values: Tensor, bias: Tensor | None = None, added: Tensor | None = None
) -> Tensor:
    """Give what one head sees, softmax(rows keysᵀ + scores) valuesᵀ + bias + added.

    Args:
        rows: (n, k).
        keys: (M, k).
        scores: (M), added to all rows of the table.
        values: (c, M).
        bias: (c).
        added: (n, c).
    """
    table = multiply(rows, keys, scores)
    torch.softmax(table, dim=1, out=table)
    return multiply(table, values, bias, added)


def look_in_own_tensors(
    rows: Tensor, keys: Tensor, scores: Tensor, values: Tensor, bias: Tensor | None = None, added: Tensor | None = None
) -> Tensor:
    """Likewise, with the table in tensors of oneDNN's own; all but rows and `added` has to be contiguous."""
    linear = torch.ops.aten.mkldnn_linear.default
    table = torch.softmax(linear(rows.to_mkldnn(), keys, scores), dim=1)
    seen: Tensor = linear(table, values, bias).to_dense()
    return seen if added is None else seen.add_(added)


def fold_head(attention: readable.Attention) -> tuple[Tensor, Tensor]:
    """Fold the queries' projection into the keys' and the output's into the values', for attention with one head.

    A score is (x Wq + q) · (r Wk + k). All that depends on x is a product with x, and the rest is a number of the
    place that is looked at. So queries are never computed: at the first stage, where there are sixty-four times as many
    places that look as places that are looked at, that and the output's projection take as long as attention itself.

    Returns:
        The weight (2C + 1, C) and the bias (2C + 1) of a layer that makes, of each place that is looked at, what x is
        multiplied with (C), what is summed (C), and what is added to the score (1).
    """
    split, dense = attention.self, attention.output.dense
    query, key, value = ((part.weight.double(), part.bias.double()) for part in (split.query, split.key, split.value))
    query = tuple(part * split.query.out_features**-0.5 for part in query)
    mix = dense.weight.double()
    weight = torch.cat([query[0].T @ key[0], mix @ value[0], (query[1] @ key[0])[None]])
    bias = torch.cat([query[0].T @ key[1], mix @ value[1], (query[1] @ key[1])[None]])
    return weight.float(), bias.float()


class FoldedHead:
    """What is looked at by one head, folded; only for targets with packed operations."""

    def __init__(self, folded: Tensor, mix_bias: Tensor, target: Target) -> None:
        """Take what is looked at and how to look.

        Args:
            folded: (B, M, 2C + 1) float32, what the layer of `fold_head` makes; rounded here, and nowhere before.
            mix_bias: (C), of the output's projection.
            target: where this is computed, and in which numbers.
        """
        self._mix_bias, self._target = mix_bias, target
        channels = folded.shape[2] // 2
        folded = folded.to(target.dtype)
        missing = -folded.shape[1] % (_VECTOR_BYTES // folded.element_size())
        filled = functional.pad(folded, (0, 0, 0, missing))
        self._keys = filled[:, :, :channels].contiguous()
        self._values = filled[:, :, channels:-1].transpose(1, 2).contiguous()
        self._scores = filled[:, :, -1].contiguous()
        self._scores[:, folded.shape[1] :] = -torch.inf

    def seen_by(self, tokens: Tensor, added: Tensor) -> Tensor:
        """Give what each place sees, projected and added to something: (B, N, C) and (B, N, C) to (B, N, C)."""
        summed = torch.empty_like(added)
        look, strips = _ways(tokens.shape[1], self._keys, self._target)
        for number, (keys, values, scores) in enumerate(zip(self._keys, self._values, self._scores, strict=True)):
            for start, stop in strips:
                summed[number, start:stop] = look(
                    tokens[number, start:stop], keys, scores, values, self._mix_bias, added[number, start:stop]
                )
        return summed

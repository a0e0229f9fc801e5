"""Multi-head attention whose scores are computed in blocks that stay in the cache.

torch's fused attention computes product, softmax and product in one kernel, so the (N, M) scores never exist. But its
products are not oneDNN's: on CPUs they take two to four times as long. So a packed target does compute the scores, for
as many query tokens at a time as fit the cache: twice as fast as the fused kernel, with bounded memory. Other targets
use the fused kernel.

Three refinements, all only for packed targets:

- oneDNN's softmax takes half as long as torch's, and torch calls it for tensors in oneDNN's own format
  (`Tensor.to_mkldnn`). The conversion costs a little, so it is used for long rows of half-precision scores: a tenth of
  the time of a large image. In float32, where products take longer, it gains nothing.
- In float32, torch does not use oneDNN for products by itself. Calling it takes a tenth of the time of a large image
  less (1056x1920), and makes no difference at 480x640.
- With a single head, the query projection is folded into the keys, and the output projection into the values
  (`fold_projections`). This removes both layers: at the first stage, with 64 times as many query tokens as key/value
  tokens, they take as long as attention itself.

Shapes: B images; N query tokens; M key/value tokens, the same or a map reduced by `sr_ratio`; C channels of all heads
together, c = C / heads. Scores are (N, M) per head; attention is softmax(scores) value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from glpn_cli.inference.engine.operations import linear_mkldnn, split_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from glpn_cli.inference.engine.operations import Target
    from glpn_cli.model import encoder as readable

# The largest vector register. Softmax computes the remainder of a row that does not fill a vector element by element,
# which costs as much as several vectors.
_VECTOR_BYTES = 64
# The number of key/value tokens from which half-precision scores are worth the conversion to oneDNN's format.
_LONG_ROW = 1024


class KeyValues:
    """Keys and values of a batch, prepared for any number of query tokens."""

    def __init__(self, key_values: Tensor, heads: int, target: Target) -> None:
        """Split keys and values, (B, M, 2C); queries must already be scaled by 1 / sqrt(c)."""
        self._heads, self._target = heads, target
        batch, self._length, both = key_values.shape
        split = key_values.view(batch, self._length, 2, heads, both // 2 // heads).permute(2, 0, 3, 1, 4)
        if target.packed:
            # M is padded to whole vectors. The padding gets a score of -inf, and so no weight.
            missing = -self._length % (_VECTOR_BYTES // key_values.element_size())
            split = functional.pad(split, (0, 0, 0, missing))
        self._key, self._value = split

    def attend(self, query: Tensor) -> Tensor:
        """Return the attention output (B, N, C) of queries (B, N, C)."""
        batch, length, channels = query.shape
        by_head = query.view(batch, length, self._heads, channels // self._heads).transpose(1, 2)
        if not self._target.packed:
            attended = functional.scaled_dot_product_attention(by_head, self._key, self._value, scale=1.0)
            return attended.transpose(1, 2).flatten(2)
        attended = torch.empty_like(query)
        attended_by_head = attended.view(batch, length, self._heads, -1).transpose(1, 2)
        # In float32, torch does not use oneDNN for batched products.
        per_head = query.dtype == torch.float32 or _has_long_rows(self._key)
        attend = self._attend_per_head if per_head else self._attend_batched
        for image in zip(by_head, attended_by_head, self._key, self._value, strict=True):
            attend(*image)
        return attended

    def _attend_batched(self, query: Tensor, attended: Tensor, key: Tensor, value: Tensor) -> None:
        """Write the output of all heads of one image, (heads, N, c), with one product for all heads."""
        key = key.transpose(1, 2)
        row_bytes = self._heads * key.shape[2] * key.element_size()
        for start, stop in split_rows(0, query.shape[1], row_bytes, self._target.scores_bytes):
            scores = torch.bmm(query[:, start:stop], key)
            scores[:, :, self._length :] = -torch.inf
            torch.softmax(scores, dim=2, out=scores)
            torch.bmm(scores, value, out=attended[:, start:stop])

    def _attend_per_head(self, query: Tensor, attended: Tensor, key: Tensor, value: Tensor) -> None:
        """Write the output of all heads of one image, (heads, N, c), with one call of oneDNN per head."""
        padding_mask = torch.zeros(key.shape[1], dtype=key.dtype)
        padding_mask[self._length :] = -torch.inf
        key, value = key.contiguous(), value.transpose(1, 2).contiguous()
        attend, blocks = _choose_attention(query.shape[1], key, self._target)
        for head_query, head_attended, head_key, head_value in zip(query, attended, key, value, strict=True):
            for start, stop in blocks:
                head_attended[start:stop] = attend(head_query[start:stop], head_key, padding_mask, head_value)


def fold_projections(attention: readable.Attention) -> tuple[Tensor, Tensor]:
    """Fold the query projection into the keys and the output projection into the values; for a single head.

    With x a query token and r a key/value token, a score is (Wq x + bq) · (Wk r + bk) / sqrt(C) =
    x · Wqᵀ(Wk r + bk) / sqrt(C) + bq · (Wk r + bk) / sqrt(C): a product with x itself, plus a number that depends on r
    only. So queries need not be computed. In the same way, the output projection is applied to the values.

    Returns:
        Weight (2C + 1, C) and bias (2C + 1), float32, of a layer that maps a key/value token to: its folded key (C),
        its folded value (C), and its score bias (1).
    """
    split, dense = attention.self, attention.output.dense
    query, key, value = ((part.weight.double(), part.bias.double()) for part in (split.query, split.key, split.value))
    query = tuple(part * split.query.out_features**-0.5 for part in query)
    mix = dense.weight.double()
    weight = torch.cat([query[0].T @ key[0], mix @ value[0], (query[1] @ key[0])[None]])
    bias = torch.cat([query[0].T @ key[1], mix @ value[1], (query[1] @ key[1])[None]])
    return weight.float(), bias.float()


class FoldedKeyValues:
    """Folded keys and values of a batch, for a single head and packed targets only."""

    def __init__(self, folded: Tensor, output_bias: Tensor, target: Target) -> None:
        """Split the output of the folded layer.

        Args:
            folded: (B, M, 2C + 1) float32, from the layer of `fold_projections`; it is rounded to the target's dtype
                here and not before, so only once.
            output_bias: (C), bias of the output projection.
            target: where and how to compute.
        """
        self._output_bias, self._target = output_bias, target
        channels = folded.shape[2] // 2
        folded = folded.to(target.dtype)
        missing = -folded.shape[1] % (_VECTOR_BYTES // folded.element_size())
        padded = functional.pad(folded, (0, 0, 0, missing))
        self._key = padded[:, :, :channels].contiguous()
        self._value = padded[:, :, channels:-1].transpose(1, 2).contiguous()
        self._score_bias = padded[:, :, -1].contiguous()
        self._score_bias[:, folded.shape[1] :] = -torch.inf

    def attend(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """Return the projected attention output of tokens (B, N, C), added to a residual (B, N, C)."""
        summed = torch.empty_like(residual)
        attend, blocks = _choose_attention(tokens.shape[1], self._key, self._target)
        for image, (key, value, score_bias) in enumerate(zip(self._key, self._value, self._score_bias, strict=True)):
            for start, stop in blocks:
                summed[image, start:stop] = attend(
                    tokens[image, start:stop], key, score_bias, value, self._output_bias, residual[image, start:stop]
                )
        return summed


def attend_dense(
    query: Tensor,
    key: Tensor,
    score_bias: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Return softmax(query keyᵀ + score_bias) valueᵀ + bias + residual, for one head, by oneDNN.

    Args:
        query: (n, k), a block of query tokens, in any layout.
        key: (M, k).
        score_bias: (M), added to the scores of every query token.
        value: (c, M), transposed.
        bias: (c).
        residual: (n, c).

    Returns:
        (n, c).
    """
    scores = linear_mkldnn(query, key, score_bias)
    torch.softmax(scores, dim=1, out=scores)
    return linear_mkldnn(scores, value, bias, residual)


def attend_mkldnn(
    query: Tensor,
    key: Tensor,
    score_bias: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Return what `attend_dense` returns, with the scores in oneDNN's tensor format.

    All arguments but `query` and `residual` must be contiguous.
    """
    linear = torch.ops.aten.mkldnn_linear.default
    probabilities = torch.softmax(linear(query.to_mkldnn(), key, score_bias), dim=1)
    attended: Tensor = linear(probabilities, value, bias).to_dense()
    return attended if residual is None else attended.add_(residual)


def _choose_attention(length: int, key: Tensor, target: Target) -> tuple[Callable[..., Tensor], list[tuple[int, int]]]:
    """Choose the function for one head with keys (..., M, k), and the blocks in which to pass `length` query tokens."""
    long_rows = _has_long_rows(key)
    # Fewer, larger calls make up for the conversions.
    scores_bytes = 2 * target.scores_bytes if long_rows else target.scores_bytes
    blocks = list(split_rows(0, length, key.shape[-2] * key.element_size(), scores_bytes))
    return (attend_mkldnn if long_rows else attend_dense), blocks


def _has_long_rows(key: Tensor) -> bool:
    return key.element_size() == 2 and key.shape[-2] >= _LONG_ROW

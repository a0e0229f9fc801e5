"""What the networks return: values that have names and can still be unpacked like a tuple."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["BaseModelOutput", "DepthEstimatorOutput"]


class _NamedValues:
    """A dataclass whose fields are also reached by position; an absent one (None) has no position."""

    def keys(self) -> tuple[str, ...]:
        """Give the names of the values that are there, in order."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) is not None)  # type: ignore[arg-type]

    def to_tuple(self) -> tuple[Any, ...]:
        """Give the values that are there, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: int | slice | str) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:  # or `in` would compare tensors
        return key in self.keys()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.to_tuple())


@dataclass(eq=False, kw_only=True)
class BaseModelOutput(_NamedValues):
    """What the encoder saw.

    Attributes:
        last_hidden_state: (B, C, H', W') float32, the feature map of the last stage.
        hidden_states: one (B, C, H', W') float32 per stage, largest first; None unless asked for.
        attentions: one (B, heads, N, M) float32 per layer, how much each of N places looks at each of M, 0 to 1,
            as used: after dropout in training; None unless asked for.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False, kw_only=True)
class DepthEstimatorOutput(_NamedValues):
    """A depth prediction.

    Attributes:
        loss: () float32, unitless, not negative; None without labels.
        predicted_depth: (B, H', W') float32, 0 to `max_depth` in the published scale.
        hidden_states: as in `BaseModelOutput`.
        attentions: as in `BaseModelOutput`.
    """

    loss: Tensor | None = None
    predicted_depth: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

"""The outputs of the networks: mappings of names to tensors whose values are attributes and tuple items, too.

Source: the documentation of transformers, `ModelOutput`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from torch.utils._pytree import MappingKey, register_pytree_node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class ModelOutput(OrderedDict[str, Any]):
    """A mapping with the values of a dataclass; fields that are None have no key.

    `output["loss"]`, `output.loss` and `output[0]` are the same. As for any mapping, iteration is over names;
    `to_tuple` returns the values. Torch flattens it like its own containers, so exporting and gathering work.
    """

    def __init_subclass__(cls) -> None:
        """Register the class as a container of tensors."""
        super().__init_subclass__()
        register_pytree_node(
            cls,
            lambda output: (list(output.values()), list(output)),
            partial(_from_items, cls),
            serialized_type_name=f"{cls.__module__}.{cls.__name__}",
            flatten_with_keys_fn=lambda output: (
                [(MappingKey(name), value) for name, value in output.items()],
                list(output),
            ),
        )

    def __post_init__(self) -> None:
        """Accept pairs of names and values, or a mapping, as the only argument; torch gathers replicas this way."""
        first, *others = (item.name for item in fields(self))  # type: ignore[arg-type] # subclasses are dataclasses
        given = getattr(self, first)
        if any(getattr(self, name) is not None for name in others) or not isinstance(given, Mapping | Iterator | list):
            return
        pairs = list(given.items() if isinstance(given, Mapping) else given)
        setattr(self, first, None)
        for name, value in pairs:
            self[name] = value

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the values that are not None, in order."""
        return tuple(self.values())

    def __getitem__(self, key: int | slice | str) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if value is not None and name in self.__dataclass_fields__:  # type: ignore[attr-defined]
            super().__setitem__(name, value)
        elif value is None and name in self:
            super().__delitem__(name)
        super().__setattr__(name, value)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"values of {type(self).__name__} cannot be removed or set in bulk")

    __delitem__ = pop = popitem = setdefault = update = clear = _refuse
    # Comparing the values would compare tensors, which have no single truth value.
    __eq__, __ne__ = object.__eq__, object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]


def _from_items(kind: type[ModelOutput], values: Iterable[Any], names: Iterable[str]) -> ModelOutput:
    return kind(**dict(zip(names, values, strict=True)))


@dataclass(eq=False)
class BaseModelOutput(ModelOutput):
    """The output of the encoder.

    Attributes:
        last_hidden_state: (B, C, H', W') float32, the feature map of the last stage.
        hidden_states: one (B, C, H', W') float32 per stage, largest first; None unless requested.
        attentions: the attention probabilities, one (B, heads, N, M) float32 per layer for N query tokens and M key
            tokens, 0 to 1; in training after dropout; None unless requested.
    """

    last_hidden_state: Tensor = None  # type: ignore[assignment] # always set by the network
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class DepthEstimatorOutput(ModelOutput):
    """The output of the whole network.

    Attributes:
        loss: () float32, unitless, not negative; None without labels.
        predicted_depth: (B, H', W') float32, 0 to `max_depth` in the published scale.
        hidden_states: as in `BaseModelOutput`.
        attentions: as in `BaseModelOutput`.
    """

    loss: Tensor | None = None
    predicted_depth: Tensor = None  # type: ignore[assignment] # always set by the network
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

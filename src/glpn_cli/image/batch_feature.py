"""`BatchFeature`: the named arrays or tensors that a processor returns."""

from __future__ import annotations

import importlib
from collections import UserDict
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_TENSOR_TYPES = ("pt", "tf", "np", "jax")


class BatchFeature(UserDict[str, Any]):
    """A mapping whose values are also attributes: `inputs["pixel_values"]` is `inputs.pixel_values`.

    It unpacks into a model call: `model(**inputs)`.

    Attributes:
        data: the values by name.
    """

    def __init__(self, data: Mapping[str, Any] | None = None, tensor_type: object = None) -> None:
        """Store the values, as tensors if `tensor_type` is set.

        Args:
            data: lists of arrays by name, one array per image.
            tensor_type: None, "np", "pt", "tf" or "jax", or an enum member with such a value.

        Raises:
            ValueError: unknown tensor type, or arrays of different shapes that cannot be stacked.
            MissingPackageError: the library of the tensor type is not installed.
        """
        super().__init__(data or {})
        self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        # While a copy is being unpickled, `data` itself is missing.
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def convert_to_tensors(self, tensor_type: object = None) -> Self:
        """Stack each list of arrays into one tensor, in place; None leaves the lists.

        Raises:
            ValueError: unknown tensor type, or arrays of different shapes.
            MissingPackageError: the library of the tensor type is not installed.
        """
        tensor_type = plain_value(tensor_type)
        if tensor_type is None:
            return self
        if tensor_type not in _TENSOR_TYPES:
            raise ValueError(f"return_tensors must be None or one of {', '.join(_TENSOR_TYPES)}, not {tensor_type!r}")
        for name, value in self.data.items():
            self.data[name] = _to_tensor(_stack(name, value), str(tensor_type))
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move the torch tensors in place, with the arguments of `torch.Tensor.to`; only floats change their dtype."""
        import torch

        for name, value in self.data.items():
            if not isinstance(value, torch.Tensor):
                continue
            if value.is_floating_point():
                self.data[name] = value.to(*args, **kwargs)
            else:
                moved = torch.empty(0, device=value.device).to(*args, **kwargs)
                self.data[name] = value.to(moved.device)
        return self


def plain_value(choice: object) -> object:
    """Return the value of an enum member, such as transformers' TensorType; anything else unchanged."""
    return getattr(choice, "value", choice)


def _stack(name: str, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    shapes = {np.shape(array) for array in arrays}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} of different shapes cannot be stacked: {', '.join(str(shape) for shape in sorted(shapes))};"
            " process the images one at a time, or pass return_tensors=None"
        )
    return np.stack(arrays)


def _to_tensor(array: NDArray[Any], tensor_type: str) -> Any:
    if tensor_type == "np":
        return array
    if tensor_type == "pt":
        import torch

        return torch.from_numpy(array)
    if tensor_type == "tf":
        return _import("tensorflow", "TensorFlow", tensor_type).convert_to_tensor(array)
    return _import("jax.numpy", "JAX", tensor_type).asarray(array)


def _import(module: str, title: str, tensor_type: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"return_tensors={tensor_type!r} requires {title}, which is not installed", hint=f"pip install {package}"
        ) from error

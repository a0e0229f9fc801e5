"""What a processor gives: named values that unpack into a model call and travel to a device."""

from __future__ import annotations

import importlib
from collections import UserDict
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_TENSOR_TYPES = ("pt", "tf", "np", "jax")


class BatchFeature(UserDict[str, Any]):
    """A mapping whose values are attributes, too: `inputs["pixel_values"]` is `inputs.pixel_values`.

    Attributes:
        data: the values by name.
    """

    def __init__(self, data: Mapping[str, Any] | None = None, tensor_type: object = None) -> None:
        """Keep the values, as tensors if asked.

        Args:
            data: lists of arrays by name, one array for each image.
            tensor_type: None, "np", "pt", "tf" or "jax", or an enum member with such a value.

        Raises:
            ValueError: another tensor type, or arrays of different shapes that shall become one tensor.
            MissingPackageError: the library of the tensor type is not installed.
        """
        super().__init__(data or {})
        self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        # `data` itself is looked for here while a copy is being unpickled.
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def convert_to_tensors(self, tensor_type: object = None) -> Self:
        """Make one tensor of each list of arrays, in place; None leaves them lists."""
        tensor_type = plain_value(tensor_type)
        if tensor_type is None:
            return self
        if tensor_type not in _TENSOR_TYPES:
            raise ValueError(f"return_tensors is None or one of {', '.join(_TENSOR_TYPES)}, not {tensor_type!r}")
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
    """Give the value of an enum member, such as transformers' TensorType and ChannelDimension; else the same."""
    return getattr(choice, "value", choice)


def _stack(name: str, arrays: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    shapes = {np.shape(array) for array in arrays}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} of different shapes ({', '.join(str(shape) for shape in sorted(shapes))}) make no tensor;"
            " process the images one at a time, or with return_tensors=None"
        )
    return np.stack(arrays)


def _to_tensor(array: np.ndarray[Any, Any], tensor_type: str) -> Any:
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
            f"return_tensors={tensor_type!r} needs {title}, which is not installed", hint=f"pip install {package}"
        ) from error

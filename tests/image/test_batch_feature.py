from __future__ import annotations

import copy
import enum
import importlib.util
import pickle

import numpy as np
import pytest
import torch

from glpn_cli.errors import MissingPackageError
from glpn_cli.image.batch_feature import BatchFeature, plain_value


class TensorType(enum.Enum):
    PYTORCH = "pt"


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return [np.full(shape, index, np.float32) for index, shape in enumerate(shapes)]


def test_values_are_items_attributes_and_keywords() -> None:
    inputs = BatchFeature({"pixel_values": 7})
    assert inputs["pixel_values"] == inputs.pixel_values == inputs.data["pixel_values"] == 7
    assert dict(**inputs) == {"pixel_values": 7}
    assert (list(inputs), list(inputs.keys()), list(inputs.items())) == (
        ["pixel_values"],
        ["pixel_values"],
        [("pixel_values", 7)],
    )
    assert len(inputs) == 1
    assert "pixel_values" in inputs


def test_missing_name_raises_key_or_attribute_error() -> None:
    inputs = BatchFeature()
    with pytest.raises(KeyError, match="labels"):
        inputs["labels"]
    with pytest.raises(AttributeError, match="labels"):
        _ = inputs.labels
    assert not hasattr(inputs, "labels")


def test_copy_and_pickle() -> None:
    inputs = BatchFeature({"pixel_values": arrays((3, 4, 5))}, "np")
    for again in (copy.deepcopy(inputs), pickle.loads(pickle.dumps(inputs))):  # noqa: S301 - our own bytes
        assert np.array_equal(again.pixel_values, inputs.pixel_values)


def test_lists_are_unchanged_without_tensor_type() -> None:
    given = arrays((3, 4, 5), (3, 6, 5))
    assert BatchFeature({"pixel_values": given}).pixel_values is given


@pytest.mark.parametrize("tensor_type", ["pt", TensorType.PYTORCH])
def test_arrays_are_stacked_into_a_torch_tensor(tensor_type: object) -> None:
    stacked = BatchFeature({"pixel_values": arrays((3, 4, 5), (3, 4, 5))}, tensor_type).pixel_values
    assert isinstance(stacked, torch.Tensor)
    assert stacked.shape == (2, 3, 4, 5)
    assert stacked[:, 0, 0, 0].tolist() == [0, 1]


def test_arrays_are_stacked_into_a_numpy_array() -> None:
    stacked = BatchFeature({"pixel_values": arrays((3, 4, 5), (3, 4, 5))}, "np").pixel_values
    assert isinstance(stacked, np.ndarray)
    assert stacked[:, 0, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize(("tensor_type", "module"), [("tf", "tensorflow"), ("jax", "jax")])
def test_missing_library_is_named(tensor_type: str, module: str) -> None:
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    with pytest.raises(MissingPackageError, match=f"return_tensors='{tensor_type}'") as caught:
        BatchFeature({"pixel_values": arrays((3, 4, 5))}, tensor_type)
    assert caught.value.hint == f"pip install {module}"


@pytest.mark.parametrize("tensor_type", ["torch", 7, True])
def test_unknown_tensor_type_is_refused(tensor_type: object) -> None:
    with pytest.raises(ValueError, match="pt, tf, np, jax"):
        BatchFeature({"pixel_values": arrays((3, 4, 5))}, tensor_type)


def test_different_shapes_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 5\), \(3, 6, 5\).*return_tensors=None"):
        BatchFeature({"pixel_values": arrays((3, 4, 5), (3, 6, 5))}, "pt")


def test_to_changes_only_the_dtype_of_floats() -> None:
    inputs = BatchFeature({"pixel_values": torch.zeros(2), "sizes": torch.tensor([480, 640]), "names": ["a"]})
    assert inputs.to(torch.float16) is inputs
    assert inputs.pixel_values.dtype == torch.float16
    assert inputs.sizes.dtype == torch.int64
    assert inputs.names == ["a"]


@pytest.mark.parametrize("arguments", [("meta",), (torch.device("meta"),), ("meta", torch.float16)])
def test_to_moves_every_tensor(arguments: tuple[object, ...]) -> None:
    inputs = BatchFeature({"pixel_values": torch.zeros(2), "sizes": torch.tensor([480, 640])}).to(*arguments)
    assert inputs.pixel_values.device.type == inputs.sizes.device.type == "meta"
    assert inputs.sizes.dtype == torch.int64


def test_to_accepts_keywords() -> None:
    inputs = BatchFeature({"pixel_values": torch.zeros(2), "sizes": torch.tensor([1])})
    inputs.to(device="meta", dtype=torch.bfloat16)
    assert (inputs.pixel_values.dtype, inputs.sizes.device.type) == (torch.bfloat16, "meta")


def test_plain_value_unwraps_enums_only() -> None:
    assert plain_value(TensorType.PYTORCH) == "pt"
    assert plain_value("pt") == "pt"
    assert plain_value(None) is None

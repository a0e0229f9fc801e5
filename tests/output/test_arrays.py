"""The array formats: npy, npz and pfm."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError
from glpn_cli.output.arrays import NPY, NPZ, PFM
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Scale

if TYPE_CHECKING:
    from pathlib import Path


def to_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_npy_contains_the_exact_meters(depth_map: DepthMap) -> None:
    loaded = np.load(io.BytesIO(NPY().encode(depth_map, OutputSettings())), allow_pickle=False)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, depth_map.meters)


def test_npy_is_in_meters_if_the_published_scale_is_unknown(depth_map: DepthMap) -> None:
    data = NPY().encode(DepthMap(depth_map.meters), OutputSettings(scale=Scale.PUBLISHED))
    np.testing.assert_array_equal(np.load(io.BytesIO(data)), depth_map.meters)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), np.int32), np.zeros((0, 3)), np.array([{}], dtype=object)],
    ids=["3-d", "integers", "empty", "pickle"],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DepthFileError, match=r"x\.npy"):
        NPY().decode(to_npy(array), "x.npy")


def test_float64_becomes_float32() -> None:
    assert NPY().decode(to_npy(np.full((2, 3), 1.5)), "x").meters.dtype == np.float32


def test_numpy_reads_npz_without_pickle(depth_map: DepthMap) -> None:
    with np.load(io.BytesIO(NPZ().encode(depth_map, OutputSettings()))) as arrays:
        assert set(arrays) == {"metadata", "depth", "uncertainty"}
        np.testing.assert_array_equal(arrays["depth"], depth_map.meters)
        np.testing.assert_array_equal(arrays["uncertainty"], depth_map.meters / 10)
        assert json.loads(str(arrays["metadata"]))["provenance"]["weights"] == "tiny"


@pytest.mark.parametrize("scale", Scale)
def test_npz_reads_back_the_uncertainty(depth_map: DepthMap, scale: Scale) -> None:
    eightfold = replace(depth_map, provenance=replace(depth_map.provenance, meters_per_unit=8.0))
    back = NPZ().decode(NPZ().encode(eightfold, OutputSettings(scale=scale)), "x")
    np.testing.assert_allclose(back.uncertainty_m, depth_map.uncertainty_m, rtol=1e-6)


def test_npz_without_depth_is_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, other=np.zeros((2, 3), np.float32), another=np.zeros((2, 3), np.float32))
    with pytest.raises(DepthFileError, match=r"x\.npz") as caught:
        NPZ().decode(buffer.getvalue(), "x.npz")
    assert "other, another" in str(caught.value.hint)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (2, 3, 1), (1, 1, 2, 3), (1, 2, 3, 1)])
def test_arrays_with_a_batch_or_channel_are_depth(shape: tuple[int, ...]) -> None:
    values = np.arange(1, 7, dtype=np.float64).reshape(shape)
    buffer = io.BytesIO()
    np.save(buffer, values)
    assert NPY().decode(buffer.getvalue(), "x").meters.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("shape", [(2, 2, 3), (3, 2, 3, 1), (6,), (0, 1, 3)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, np.float32))
    with pytest.raises(DepthFileError, match="x"):
        NPY().decode(buffer.getvalue(), "x")


@pytest.mark.parametrize("key", ["depth", "Depth", "predicted_depth", "pred", "arr_0", "anything"])
def test_npz_of_other_programs_is_read(key: str) -> None:
    buffer = io.BytesIO()
    known = key != "anything"  # the only array may have any name
    np.savez(buffer, **{key: np.full((1, 2, 3), 4.0)}, **({"other": np.zeros(3)} if known else {}))
    assert NPZ().decode(buffer.getvalue(), "x").meters.tolist() == [[4, 4, 4], [4, 4, 4]]


def test_opencv_reads_pfm_with_rows_in_order(tmp_path: Path, depth_map: DepthMap) -> None:
    cv2 = pytest.importorskip("cv2")
    depth_map.save(tmp_path / "x.pfm")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "x.pfm"), cv2.IMREAD_UNCHANGED), depth_map.meters)


@pytest.mark.parametrize("header", [b"Pf\n2 2\n", b"Pf\n0 0\n-1.0\n", b"Pf\n2 2\n-1.0\n", b"PF\n1 1\n-1.0\n"])
def test_damaged_pfm_is_refused(header: bytes) -> None:
    with pytest.raises(DepthFileError, match=r"x\.pfm"):
        PFM().decode(header + b"1234", "x.pfm")


def test_endless_pfm_header_is_refused() -> None:
    values = np.float32([[1.5]]).tobytes()
    assert PFM().decode(b"Pf" + b"\n" * 100 + b"1 1 -1.0\n" + values, "x.pfm").meters.tolist() == [[1.5]]
    with pytest.raises(DepthFileError, match=r"x\.pfm"):
        PFM().decode(b"Pf" + b"\n" * 10**7 + b"1 1 -1.0\n" + values, "x.pfm")

"""The array formats: npy, npz and pfm."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError
from glpn_cli.output.metadata import build_metadata, depth_from_metadata, metadata_to_json, parse_metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.settings import OutputSettings

_METADATA, _DEPTH, _UNCERTAINTY = "metadata", "depth", "uncertainty"
# Names that other programs give to depth; `arr_0` is NumPy's name for an array without one.
_DEPTH_KEYS = (_DEPTH, "predicted_depth", "depth_pred", "pred_depth", "depth_m", "prediction", "pred", "arr_0")
_PFM_HEADER = re.compile(rb"Pf\s+(\d{1,9})\s+(\d{1,9})\s+([+-]?\d{1,9}(?:\.\d{0,9})?)\s")
_MAX_PFM_HEADER = 1024  # bytes; a header may have any number of spaces


def _as_depth(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return (H, W) float32 of an array of another program, which may have a dimension for the batch or the channel.

    Raises:
        DepthFileError: it has another shape, or no floats.
    """
    depth = values
    while depth.ndim > 2 and 1 in (depth.shape[0], depth.shape[-1]):
        depth = depth[0] if depth.shape[0] == 1 else depth[..., 0]
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating) or depth.size == 0:
        raise DepthFileError(
            f"{name}: contains {values.shape} {values.dtype}, not depth",
            hint="depth must be (height, width) floating point",
        )
    return np.ascontiguousarray(depth, dtype=np.float32)


def _find_depth_key(keys: list[str]) -> str | None:
    """Return which array of an npz file is depth: by its name, or the only one."""
    by_name = next((key for key in _DEPTH_KEYS for one in keys if one.lower() == key), None)
    if by_name is not None:
        return next(one for one in keys if one.lower() == by_name)
    return keys[0] if len(keys) == 1 and keys[0] != _METADATA else None


class _WithoutMetadata:
    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:  # noqa: ARG002 - the format has none
        """Return None."""
        return None


class NPY(_WithoutMetadata):
    """NumPy's format for one array."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an npy file: (H, W) float32, in meters or in the published scale."""
        buffer = io.BytesIO()
        np.save(buffer, depth.in_scale(settings.scale), allow_pickle=False)
        return buffer.getvalue()

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth: the values of an (H, W), (1, H, W) or (H, W, 1) floating-point array, taken as meters.

        Raises:
            DepthFileError: the file is damaged, or contains another kind of array.
        """
        try:
            meters = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception as error:  # a damaged header raises many types, even MemoryError
            raise DepthFileError(f"{name}: damaged npy file") from error
        return DepthMap(_as_depth(meters, name))


class NPZ:
    """NumPy's archive of arrays: depth, uncertainty and metadata."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an npz file: `metadata` (JSON), `depth` (H, W) float32 and, if it was estimated, `uncertainty`."""
        metadata = build_metadata("npz", depth, settings.scale)
        arrays: dict[str, Any] = {
            _METADATA: np.array(metadata_to_json(metadata)),
            _DEPTH: depth.in_scale(settings.scale),
        }
        if depth.uncertainty_m is not None:
            arrays[_UNCERTAINTY] = depth.uncertainty_m / np.float32(metadata["meters_per_unit"])
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return depth, uncertainty, camera and provenance; of another program's file the depth, taken as meters.

        Raises:
            DepthFileError: the file is damaged, or which array is depth is not known.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                text = str(arrays[_METADATA]) if _METADATA in arrays else ""
                key = _find_depth_key(list(arrays))
                depth = arrays.get(key or _DEPTH)
                uncertainty = arrays.get(_UNCERTAINTY)
                keys = [one for one in arrays if one != _METADATA]
        except Exception as error:  # a damaged archive or header raises many types
            raise DepthFileError(f"{name}: damaged npz file") from error
        metadata = parse_metadata(text)
        if depth is None:
            raise DepthFileError(
                f"{name}: npz file without an array '{_DEPTH}'", hint=f"it has {', '.join(keys[:10]) or 'no arrays'}"
            )
        if metadata is None:
            return DepthMap(_as_depth(depth, name))
        return depth_from_metadata(depth, metadata, name, uncertainty=uncertainty)

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata, without reading the depth."""
        try:
            with np.load(stream, allow_pickle=False) as arrays:
                return parse_metadata(str(arrays[_METADATA]))
        except Exception:  # noqa: BLE001 - a damaged file has no metadata
            return None


class PFM(_WithoutMetadata):
    """Portable FloatMap: a text header and float32 values."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return a PFM file: rows from bottom to top; the scale -1 means little-endian.

        Source: Paul Debevec, "Portable FloatMap Image Format".
        """
        values = depth.in_scale(settings.scale)
        height, width = values.shape
        return f"Pf\n{width} {height}\n-1.0\n".encode() + values[::-1].astype("<f4").tobytes()

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth: the values of a PFM with one channel, taken as meters.

        Raises:
            DepthFileError: the file is damaged, or has several channels.
        """
        header = _PFM_HEADER.match(data[:_MAX_PFM_HEADER])
        if header is None:
            raise DepthFileError(f"{name}: damaged PFM header")
        width, height, scale = int(header[1]), int(header[2]), float(header[3])
        pixels = data[header.end() :]
        if not width * height or len(pixels) != 4 * width * height:
            raise DepthFileError(f"{name}: damaged PFM: {len(pixels)} bytes for {height}x{width} values")
        values = np.frombuffer(pixels, "<f4" if scale < 0 else ">f4").reshape(height, width)
        return DepthMap(np.ascontiguousarray(values[::-1], np.float32))

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
    from glpn_cli.settings import OutputSettings

_METADATA, _DEPTH, _UNCERTAINTY = "metadata", "depth", "uncertainty"
_PFM_HEADER = re.compile(rb"Pf\s+(\d{1,9})\s+(\d{1,9})\s+([+-]?\d{1,9}(?:\.\d{0,9})?)\s")


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
        """Return the depth: the values of an (H, W) floating-point array, taken as meters.

        Raises:
            DepthFileError: the file is damaged, or contains another kind of array.
        """
        try:
            meters = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception as error:  # a damaged header raises many types, even MemoryError
            raise DepthFileError(f"{name}: damaged npy file") from error
        if meters.ndim != 2 or not np.issubdtype(meters.dtype, np.floating) or meters.size == 0:
            raise DepthFileError(
                f"{name}: contains {meters.shape} {meters.dtype}, not depth",
                hint="depth must be (height, width) floating point",
            )
        return DepthMap(np.ascontiguousarray(meters, dtype=np.float32))


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
        """Return depth, uncertainty, camera and provenance.

        Raises:
            DepthFileError: the file is damaged, or glpn did not write it.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                text = str(arrays[_METADATA]) if _METADATA in arrays else ""
                depth = arrays.get(_DEPTH)
                uncertainty = arrays.get(_UNCERTAINTY)
        except Exception as error:  # a damaged archive or header raises many types
            raise DepthFileError(f"{name}: damaged npz file") from error
        metadata = parse_metadata(text)
        if depth is None or metadata is None:
            raise DepthFileError(f"{name}: npz file without the arrays '{_DEPTH}' and '{_METADATA}'")
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
        header = _PFM_HEADER.match(data)
        if header is None:
            raise DepthFileError(f"{name}: damaged PFM header")
        width, height, scale = int(header[1]), int(header[2]), float(header[3])
        pixels = data[header.end() :]
        if not width * height or len(pixels) != 4 * width * height:
            raise DepthFileError(f"{name}: damaged PFM: {len(pixels)} bytes for {height}x{width} values")
        values = np.frombuffer(pixels, "<f4" if scale < 0 else ">f4").reshape(height, width)
        return DepthMap(np.ascontiguousarray(values[::-1], np.float32))

"""The metadata of a depth file: one JSON object, carried by every format that has room for text."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import DepthFileError
from glpn_cli.files import load_json, modernize
from glpn_cli.values import Scale

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYWORD = "glpn"
"""The name of the metadata in formats with named text fields."""

_LARGEST = 1e30  # of the numbers in metadata; float32 can represent it


def build_metadata(format_name: str, depth: DepthMap, scale: Scale = Scale.METERS, **extra: Any) -> dict[str, Any]:
    """Return the metadata of a file.

    Args:
        format_name: a name in `FORMATS`.
        depth: the depth map that is written.
        scale: the scale of the values in the file.
        **extra: fields of this format only, ready for JSON.

    Returns:
        `format`, `scale`, `meters_per_unit` (factor from the values in the file to meters), the extra fields, `camera`
        if there is one, and `provenance`.
    """
    published = depth.provenance.meters_per_unit if scale is Scale.PUBLISHED else None
    return {
        "format": format_name,
        "scale": str(scale),
        "meters_per_unit": published or 1.0,
        **extra,
        **({} if depth.camera is None else {"camera": depth.camera.to_dict(depth.meters.shape)}),
        "provenance": depth.provenance.to_dict(),
    }


def metadata_to_json(metadata: dict[str, Any]) -> str:
    """Return metadata as ASCII text."""
    return json.dumps(metadata)


def parse_metadata(text: object) -> dict[str, Any] | None:
    """Return the metadata in a text, with the keys of today; None if the text is anything else.

    Args:
        text: what `metadata_to_json` wrote, str or bytes, or any other value that a file may contain.
    """
    try:
        metadata = modernize(load_json(text)) if isinstance(text, str | bytes) else None
    except ValueError:
        return None
    return metadata if isinstance(metadata, dict) and isinstance(metadata.get("provenance"), dict) else None


def describe_origin(depth: DepthMap) -> str:
    """Return one line for people: the image, the weights, and whether the meters are approximate."""
    provenance = depth.provenance
    image = f" of {provenance.source}" if provenance.source else ""
    weights = f" by the weights {provenance.weights}" if provenance.weights else ""
    digest = f" (sha256 {provenance.weights_sha256})" if provenance.weights_sha256 else ""
    approximate = ", approximate" if provenance.metric is False else ""
    # File names may contain lone surrogates and line breaks, which text fields do not allow.
    return f"depth{image}{weights}{digest}{approximate}".encode("utf-8", "replace").decode().replace("\n", " ")


def depth_from_metadata(
    values: np.ndarray, metadata: dict[str, Any], name: str, *, uncertainty: np.ndarray | None = None
) -> DepthMap:
    """Return the depth map in a file.

    Args:
        values: (H, W) floating point, in the scale of the file.
        metadata: of the file.
        name: of the file, for messages.
        uncertainty: (H, W) floating point, in the scale of the file, if the file contains it.

    Raises:
        DepthFileError: the values are not floating point, or do not fit the metadata.
    """
    if any(array is not None and array.dtype.kind != "f" for array in (values, uncertainty)):
        raise DepthFileError(f"{name}: contains {values.dtype}, not depth", hint="depth must be floating point")
    with metadata_checked(name):
        factor = np.float32(read_number(metadata, "meters_per_unit", positive=True))
        return DepthMap(
            np.ascontiguousarray(values, np.float32) * factor,
            read_provenance(metadata),
            camera=read_camera(metadata),
            uncertainty_m=None if uncertainty is None else np.ascontiguousarray(uncertainty, np.float32) * factor,
        )


@contextmanager
def metadata_checked(name: str) -> Iterator[None]:
    """Turn errors from reading invalid metadata, such as edited metadata, into a DepthFileError that names the file.

    Values that they scale beyond float32 become infinite without a warning: unknown depth.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DepthFileError(f"{name}: invalid metadata") from error


def read_number(metadata: dict[str, Any], key: str, *, positive: bool = False) -> float:
    """Return a number in metadata that float32 can represent.

    Raises:
        KeyError: there is none.
        ValueError: it is not a number, out of bounds, or not positive on request.
    """
    value = metadata[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise ValueError(f"{key} must be a number")
    if positive and value < 1 / _LARGEST:
        raise ValueError(f"{key} must be positive")
    return float(value)


def check_metadata(metadata: dict[str, Any]) -> None:
    """Check what every file of ours states: where its depth comes from, and the camera.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: it is invalid.
    """
    read_provenance(metadata)
    read_camera(metadata)
    read_number({"meters_per_unit": 1.0} | metadata, "meters_per_unit", positive=True)


def read_provenance(metadata: dict[str, Any], *, approximate: bool = False) -> Provenance:
    """Return the provenance in metadata, marked as approximate on request.

    Raises:
        TypeError, ValueError: it is invalid.
    """
    values = dict(metadata["provenance"])
    return Provenance.from_dict(values | {"approximate": True} if approximate else values)


def read_camera(metadata: dict[str, Any]) -> Camera | None:
    """Return the camera in metadata, or None if there is none.

    Raises:
        KeyError, TypeError, ValueError: it is invalid.
    """
    return Camera.from_dict(metadata["camera"]) if "camera" in metadata else None

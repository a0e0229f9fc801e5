"""The exr format: float32 depth in a channel Z, as renderers and compositors have it; needs the package OpenEXR."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError, MissingPackageError
from glpn_cli.output.facts import KEYWORD, depth_from_facts, facts_from_json, facts_to_json, origin, state_facts

if TYPE_CHECKING:
    from types import ModuleType

    from glpn_cli.settings import OutputSettings


_CHANNEL = "Z"


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into an OpenEXR file of one channel Z, (H, W) float32, compressed without loss.

    Raises:
        MissingPackageError: OpenEXR is not installed.
    """
    openexr = _load()
    facts = state_facts("exr", depth, settings.scale)
    header = {
        "type": openexr.scanlineimage,
        "compression": openexr.ZIP_COMPRESSION,
        "comments": f"{origin(depth)}: meters = Z * {facts['meters_per_unit']:g}".encode("ascii", "replace").decode(),
        KEYWORD: facts_to_json(facts),
    }
    channels = {_CHANNEL: np.ascontiguousarray(depth.in_scale(settings.scale))}
    buffer = io.BytesIO()
    openexr.File(header, channels, num_threads=0).write(buffer)
    return buffer.getvalue()


def decode(data: bytes, name: str) -> DepthMap:
    """Read depth back; of others' files the channel Z, which nobody says is in meters.

    Raises:
        DepthFileError: the file is damaged, or has no such channel.
        MissingPackageError: OpenEXR is not installed.
    """
    openexr = _load()
    try:
        with openexr.File(io.BytesIO(data), separate_channels=True, num_threads=0) as file:
            facts = facts_from_json(file.header().get(KEYWORD))
            channel = file.channels().get(_CHANNEL)
            values = None if channel is None else np.array(channel.pixels)
    except Exception as error:  # it raises whatever its parsers raise
        raise DepthFileError(f"{name}: is a damaged EXR file") from error
    if values is None or values.dtype.kind != "f":
        raise DepthFileError(f"{name}: has no channel Z of floating point, which depth is in")
    if facts is None:
        return DepthMap(np.ascontiguousarray(values, np.float32))
    return depth_from_facts(values, facts, name)


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:
    """Give what the file says of itself; nothing where OpenEXR is not installed."""
    try:
        with _load().File(stream, header_only=True, num_threads=0) as file:
            return facts_from_json(file.header().get(KEYWORD))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it says nothing
        return None


def _load() -> ModuleType:
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingPackageError(
            "the format exr needs the package OpenEXR", hint="pip install 'glpn-cli[exr]', or pip install OpenEXR"
        ) from error
    module: ModuleType = OpenEXR
    return module

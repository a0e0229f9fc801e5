"""The png16 format: 16-bit meters in the scale of the benchmarks, which says so in its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import DepthMap, is_known
from glpn_cli.errors import DepthFileError
from glpn_cli.output import png
from glpn_cli.output.facts import camera_of, origin, provenance_of, state_facts
from glpn_cli.output.png import open_png, write_png

if TYPE_CHECKING:
    from glpn_cli.settings import OutputSettings


read_facts = png.read_facts

_INDOORS, _OUTDOORS = 1000, 256
_INDOOR_LIMIT_M = 65.0
_LARGEST = 65_535


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into a 16-bit gray PNG: meters times 1000 or 256, to the nearest whole number.

    0 stands for unknown, so that positive depth is at least 1; what is too far for 16 bits is 65535.
    """
    factor = values_per_meter(depth)
    known = is_known(depth.meters)
    values = np.rint(np.where(known, depth.meters, 0) * np.float32(factor))
    whole = np.where(known, np.clip(values, 1, _LARGEST), 0).astype(np.uint16)
    facts = state_facts("png16", depth, unit="meter", values_per_meter=factor, unknown=0)
    description = f"{origin(depth)}: meters = value / {factor}; 0 is unknown"
    return write_png(whole, facts, description, compression=settings.png_compression)


def decode(data: bytes, name: str) -> DepthMap:
    """Read depth back, to within half of a step; unknown depth is 0.

    Raises:
        DepthFileError: the file is damaged, or none of ours.
    """
    values, facts = open_png(data, name)
    try:
        meters = values.astype(np.float32) / np.float32(facts["values_per_meter"])
        return DepthMap(meters, provenance_of(facts), camera=camera_of(facts))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:  # somebody edited it
        raise DepthFileError(f"{name}: what it says of its values makes no sense") from error


def values_per_meter(depth: DepthMap) -> int:
    """Give the benchmarks' scale: 1000 where 16 bits are enough for the depth limit, else 256.

    Source: the authors' evaluation writes NYU Depth V2 in thousandths and KITTI in 256ths of a meter; the KITTI depth
    benchmark defines its files so.
    """
    limit_m = depth.provenance.depth_limit_m
    if limit_m is None:
        limit_m = float(np.max(depth.meters, where=is_known(depth.meters), initial=0))
    return _INDOORS if limit_m <= _INDOOR_LIMIT_M else _OUTDOORS

"""What is left of an image that was done before anybody asked for a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.errors import DepthFileError, GLPNError
from glpn_cli.image.address import is_address
from glpn_cli.image.reading import read_image
from glpn_cli.inference.manifest import file_mark
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.output.reading import read_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.manifest import Record

__all__ = ["depth_of_outputs", "photo_of"]

_BEST_FIRST = (ReadsBack.METERS, ReadsBack.VALUES, ReadsBack.APPROXIMATE)


def depth_of_outputs(record: Record, folder: Path, *, meters_per_unit: float) -> DepthMap | None:
    """Read depth back from the most exact output of an image; None if none of them holds any.

    Args:
        record: of the image.
        folder: the batch's output folder.
        meters_per_unit: for outputs that are in the published scale and do not say so.
    """
    rows = [FORMATS[name] for name in record.outputs if name in FORMATS]
    readable = [row for row in rows if row.reads_back in _BEST_FIRST]
    for row in sorted(readable, key=lambda row: _BEST_FIRST.index(row.reads_back)):
        try:
            depth = read_depth(folder / record.outputs[row.name])
        except DepthFileError:  # gone, or changed by somebody: the next may do
            continue
        if row.reads_back is ReadsBack.VALUES and record.settings.get("scale") == "published":
            return replace(depth, meters=depth.meters * np.float32(meters_per_unit))
        return depth
    return None


def photo_of(record: Record) -> NDArray[np.uint8] | None:
    """Read the image again, (H, W, 3) uint8; None if it is gone, another has its name, or it came from a network."""
    if is_address(record.source):
        return None
    source = Path(record.source)
    if not record.source_mark or file_mark(source) != record.source_mark:
        return None
    try:
        return read_image(source).rgb
    except GLPNError:  # a package that it needs may be gone, too
        return None

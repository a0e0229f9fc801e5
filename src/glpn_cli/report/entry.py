"""What the report knows of one image, beside what the manifest says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.depth import is_known

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.manifest import Record

__all__ = ["DepthFacts", "Entry", "entry_name", "outputs_mark"]

_NAME_DIGITS = 24


@dataclass(frozen=True, slots=True)
class DepthFacts:
    """Some depths of an image, meters.

    Attributes:
        nearest: of all pixels.
        near: 2 % are nearer.
        median: half is nearer.
        far: 2 % are farther.
        farthest: of all pixels.
    """

    nearest: float
    near: float
    median: float
    far: float
    farthest: float

    @classmethod
    def of(cls, meters: np.ndarray, thinned: np.ndarray) -> Self:
        """Measure a depth map; shares come from a thinned one, whose sorting takes no time.

        Args:
            meters: (H, W) float32, meters.
            thinned: (h, w) float32, meters: some of them.
        """
        known = thinned[is_known(thinned)]
        shares = np.percentile(known, (2, 50, 98)) if known.size else (0.0, 0.0, 0.0)
        where = is_known(meters)
        depths = meters if where.all() else meters[where]
        ends = (depths.min(), depths.max()) if depths.size else (0.0, 0.0)
        values = (ends[0], *shares, ends[1])
        return cls(*(round(float(value), 4) for value in values))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the report's own list.

    Attributes:
        source: absolute path of the image, as in the manifest.
        outputs_mark: of the outputs that were written from the same depth.
        height: of the upright image, pixels.
        width: likewise.
        depth: meters; None where there was no telling.
        approximate: the depth was read from an output that rounds.
    """

    source: str
    outputs_mark: str
    height: int
    width: int
    depth: DepthFacts | None = None
    approximate: bool = False

    @classmethod
    def of(cls, record: Record, depth: DepthMap, thinned: np.ndarray) -> Self:
        """Describe an image whose depth is known."""
        height, width = depth.meters.shape
        facts = DepthFacts.of(depth.meters, thinned)
        return cls(record.source, outputs_mark(record), height, width, facts, depth.provenance.approximate)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self | None:
        """Build from a line, ignoring fields that a newer version may have added; None if it is no line of ours."""
        known = {item.name for item in fields(cls)}
        try:
            depth = values.get("depth")
            facts = None if depth is None else DepthFacts(**{name: float(value) for name, value in depth.items()})
            entry = cls(**{name: value for name, value in values.items() if name in known} | {"depth": facts})
        except (TypeError, ValueError, AttributeError):
            return None
        texts = (entry.source, entry.outputs_mark)
        whole = all(isinstance(text, str) for text in texts) and all(
            isinstance(side, int) for side in (entry.height, entry.width)
        )
        return entry if whole else None


def entry_name(source: str) -> str:
    """Give the name that an image has in the report's folder: the same in every run, and harmless in any."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:_NAME_DIGITS]


def outputs_mark(record: Record) -> str:
    """Tell the outputs of an image from those that another run made of it."""
    return hashlib.sha256(repr(sorted(record.sha256.items())).encode()).hexdigest()[:_NAME_DIGITS]

"""Scene cuts and flashes: whether a frame continues an earlier one, by what flow cannot explain."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from glpn_cli.video.flow import estimate_flow, warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

CUT_MISMATCH = 0.27
"""From this mismatch on, two frames show different scenes. Measured in docs/video.md."""

LONGEST_FLASH = 2
"""A flash has at most so many frames; the frame after it continues the one before."""

_LEAST_CONTRAST = 6 / 255
"""The contrast of a nearly uniform image, such as a black one: noise alone is no mismatch."""


class Kind(Enum):
    """How a frame relates to the frame before."""

    FOLLOWS = "follows"
    CUT = "cut"
    FLASH = "flash"


def mismatch(current: Tensor, earlier: Tensor, flow: Tensor) -> float:
    """Return what the flow leaves unexplained, relative to the contrast; about 0.05 to 0.2 within a scene.

    Brightness and contrast of both images are evened out first, so that a change of exposure is no cut.

    Args:
        current: (1, 1, h, w) float32, in [0, 1].
        earlier: the same size.
        flow: (1, 2, h, w), from `current` to `earlier`.
    """
    moved, inside = warp(_standardized(earlier), flow)
    difference = (_standardized(current) - moved).abs_().mul_(inside).sum() / inside.sum()
    return float("inf") if difference.isnan() else float(difference)  # nothing of the earlier image is left


def _standardized(image: Tensor) -> Tensor:
    """Return an image with mean 0 and standard deviation 1, or less if it is nearly uniform."""
    return (image - image.mean()) / image.std().clamp(min=_LEAST_CONTRAST)


def classify(reference: Tensor, current: Tensor, following: Sequence[Tensor]) -> tuple[Kind, Tensor]:
    """Return how a frame relates to a reference frame, and the flow to it.

    Args:
        reference: the last frame of the scene that is no flash, (1, 1, h, w) float32, in [0, 1].
        current: the frame.
        following: the next frames, at most `LONGEST_FLASH`; fewer at the end.
    """
    flow = estimate_flow(current, reference)
    if mismatch(current, reference, flow) <= CUT_MISMATCH:
        return Kind.FOLLOWS, flow
    for later in following:
        if mismatch(later, reference, estimate_flow(later, reference)) <= CUT_MISMATCH:
            return Kind.FLASH, flow
    return Kind.CUT, flow

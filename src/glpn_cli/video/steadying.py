"""Depth that is steady over time, from predictions of single frames; at the network's size, before upsampling.

First the scale: how much nearer or farther each frame is than the one before is summed up along the flow, and this
path is smoothed over the frames before and after. Then each pixel: it is averaged with its own past along the flow,
less where the image or the depth changes. A cut starts over.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from glpn_cli.video.cuts import LONGEST_FLASH, Kind, classify
from glpn_cli.video.flow import distance_inside_px, resize_flow, shrink_for_flow, warp, window_means

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

REACH = 8
"""The scale of a frame is smoothed over so many frames before and after it."""

LOOK_AHEAD = REACH + LONGEST_FLASH
"""A frame is finished when so many frames after it are known."""

PAST_WEIGHT = 0.9
_COLOR_TOLERANCE = 30 / 255
_LOG_TOLERANCE = 0.4
_TRANSITION_PX = 8.0  # of the network's input
_LEAST_DEPTH = 1e-6
_MEDIAN_SIDE_PX = 64  # so many rows and columns, at least, are enough for a median

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Frame(Generic[_T]):
    """A frame on its way.

    Attributes:
        item: what the caller gave with it.
        number: counted from the first frame.
        views: (V, h, w) float32, what the network predicted.
        pixels: (1, 3, h, w) float32, in [0, 1].
        small: the image that flow is estimated on.
        log: (1, 1, h, w), logarithm of the mean of the views.
        kind: how it relates to the frame before; None as long as that is unknown.
        flow: to the last frame of its scene that is no flash, at the network's size.
        scale: its place on the path of the scale; 0 at a cut.
    """

    item: _T
    number: int
    views: Tensor
    pixels: Tensor
    small: Tensor
    log: Tensor
    kind: Kind | None = None
    flow: Tensor | None = None
    scale: float = 0.0


@dataclass(slots=True, eq=False)
class _Past:
    """What the next frames need of those that are finished.

    Attributes:
        small, pixels, log: of the last frame that is no flash, as in `_Frame`.
        steady: (1, 1, h, w), the logarithm of its steadied depth.
        path: number and scale of the last frames of the scene.
    """

    small: Tensor
    pixels: Tensor
    log: Tensor
    steady: Tensor
    path: list[tuple[int, float]] = field(default_factory=list)


class Steadier(Generic[_T]):
    """Takes predictions frame by frame and returns them steadied, `LOOK_AHEAD` frames later.

    Attributes:
        cuts: number of cuts so far, among finished frames.
    """

    def __init__(self) -> None:
        self.cuts = 0
        self._waiting: deque[_Frame[_T]] = deque()
        self._past: _Past | None = None
        self._next_number = 0

    def push(self, item: _T, pixel_values: Tensor, views: Tensor) -> Iterator[tuple[_T, Tensor]]:
        """Take a frame; yield those that are finished.

        Args:
            item: returned with the frame.
            pixel_values: (1, 3, h, w) float32, in [0, 1], what the network saw.
            views: (V, h, w) float32, what it predicted, in any unit; (1, h, w), or (2, h, w) with a mirrored view.

        Yields:
            The item of a frame, and (V, h, w) float32: its prediction, each pixel times the same factor in all views.
        """
        if self._waiting and self._waiting[-1].pixels.shape != pixel_values.shape:
            raise ValueError("all frames must have one size")
        log = torch.log(views.mean(dim=0).clamp(min=_LEAST_DEPTH))[None, None]
        self._waiting.append(_Frame(item, self._next_number, views, pixel_values, shrink_for_flow(pixel_values), log))
        self._next_number += 1
        if len(self._waiting) > LOOK_AHEAD:
            yield self._finish_first()

    def flush(self) -> Iterator[tuple[_T, Tensor]]:
        """Yield the frames that are left at the end of a video."""
        while self._waiting:
            yield self._finish_first()

    # State, so that a later process can go on after the last finished frame

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return what determines the frames after the last finished one; see `restore`."""
        past = self._past
        number = self._waiting[0].number if self._waiting else self._next_number
        counts = np.array([number, self.cuts], np.int64)
        if past is None:
            return {"counts": counts}
        return {
            "counts": counts,
            "small": past.small.numpy(),
            "pixels": past.pixels.numpy(),
            "log": past.log.numpy(),
            "steady": past.steady.numpy(),
            "numbers": np.array([number for number, _ in past.path], np.int64),
            "scales": np.array([scale for _, scale in past.path], np.float64),
        }

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> None:
        """Continue as if the frames before had been pushed; the next is the one after the last finished frame."""
        self._next_number, self.cuts = (int(value) for value in state["counts"])
        self._waiting.clear()
        self._past = None
        if "steady" in state:
            small, pixels, log, steady = (
                torch.from_numpy(np.array(state[name])) for name in ("small", "pixels", "log", "steady")
            )
            path = list(zip(state["numbers"].tolist(), state["scales"].tolist(), strict=True))
            self._past = _Past(small, pixels, log, steady, path)

    # The first frame that waits

    def _finish_first(self) -> tuple[_T, Tensor]:
        with torch.inference_mode():
            self._relate_all()
            frame = self._waiting.popleft()
            steady = self._steadied(frame)
            # The factor of the mean holds for every view, so that their difference keeps its meaning.
            factor = torch.exp(steady - frame.log)[0]
            return frame.item, frame.views * factor

    def _relate_all(self) -> None:
        """Find out how each waiting frame relates to the one before, as far as the frames after it are known."""
        reference: _Frame[_T] | _Past | None = self._past
        scale = self._past.path[-1][1] if self._past is not None and self._past.path else 0.0
        frames = list(self._waiting)
        for place, frame in enumerate(frames[: REACH + 1]):
            if frame.kind is None:
                following = [later.small for later in frames[place + 1 : place + 1 + LONGEST_FLASH]]
                self._relate(frame, reference, scale, following)
            if frame.kind is not Kind.FLASH:
                reference, scale = frame, frame.scale

    def _relate(
        self, frame: _Frame[_T], reference: _Frame[_T] | _Past | None, scale: float, following: list[Tensor]
    ) -> None:
        if reference is None:
            frame.kind = Kind.CUT
            return
        frame.kind, flow = classify(reference.small, frame.small, following)
        if frame.kind is Kind.FOLLOWS:
            frame.flow = resize_flow(flow, (frame.log.shape[-2], frame.log.shape[-1]))
            moved, inside = warp(reference.log, frame.flow)
            frame.scale = scale + _median_change(frame.log, moved, inside)

    def _steadied(self, frame: _Frame[_T]) -> Tensor:
        """Return the logarithm of the steadied depth of a frame, (1, 1, h, w), and remember it."""
        past = self._past
        if frame.kind is Kind.FLASH and past is not None:
            # Its shape is its own, its scale is that of the frame before; nothing of it reaches the next frames.
            everywhere = torch.ones_like(frame.log, dtype=torch.bool)
            return frame.log - _median_change(frame.log, past.steady, everywhere)
        if past is not None and frame.kind is Kind.CUT:
            self.cuts += 1
        path = [] if past is None or frame.kind is Kind.CUT else past.path
        steady = frame.log + (self._smooth_scale(frame, path) - frame.scale)
        if frame.flow is not None and past is not None:
            steady = _average_with_past(frame, steady, past)
        path = [*path, (frame.number, frame.scale)][-REACH:]
        self._past = _Past(frame.small, frame.pixels, frame.log, steady, path)
        return steady

    def _smooth_scale(self, frame: _Frame[_T], path: list[tuple[int, float]]) -> float:
        """Return the scale of a frame on a straight line through its neighbors in its scene."""
        points = [(number - frame.number, scale) for number, scale in path if frame.number - number <= REACH]
        points.append((0, frame.scale))
        for later in self._waiting:
            if later.kind is None or later.kind is Kind.CUT or later.number - frame.number > REACH:
                break
            if later.kind is Kind.FOLLOWS:
                points.append((later.number - frame.number, later.scale))
        return _line_at_zero(points)


def _line_at_zero(points: list[tuple[int, float]]) -> float:
    """Return the value at 0 of the line that fits points best, by least squares."""
    numbers, scales = (np.array(values, np.float64) for values in zip(*points, strict=True))
    spread = numbers - numbers.mean()
    variance = float((spread**2).sum())
    slope = float((spread * scales).sum()) / variance if variance else 0.0
    return float(scales.mean() - slope * numbers.mean())


def _median_change(log: Tensor, earlier: Tensor, inside: Tensor) -> float:
    """Return the median of the change of log depth; 0 if nothing of the earlier frame is left."""
    stride = max(1, min(log.shape[-2:]) // _MEDIAN_SIDE_PX)
    part = (..., slice(None, None, stride), slice(None, None, stride))
    change = (log[part] - earlier[part])[inside[part]]
    return float(change.median()) if change.numel() else 0.0


def _average_with_past(frame: _Frame[Any], log: Tensor, past: _Past) -> Tensor:
    """Return log depth, each pixel averaged with where it was, unless its color or its depth has changed."""
    assert frame.flow is not None  # noqa: S101 - the caller checks
    moved, inside = warp(torch.cat([past.steady, past.pixels], dim=1), frame.flow)
    earlier, colors = moved[:, :1], moved[:, 1:]
    # The past moves by the median change first, so that it does not lag behind a camera that moves forward.
    change = earlier.add_(_median_change(log, earlier, inside)).sub_(log)
    # Means over windows, so that texture leaves no trace in depth.
    color_change = window_means(colors.sub_(frame.pixels).abs_().mean(dim=1, keepdim=True))
    doubt = color_change.div_(_COLOR_TOLERANCE).square_().add_(change.abs(), alpha=1 / _LOG_TOLERANCE)
    # What has just come into view has no past: without a gradual transition, an edge of depth would move with it.
    weight = doubt.neg_().exp_() * (distance_inside_px(frame.flow) / _TRANSITION_PX).clamp_(0, 1)
    return torch.addcmul(log, weight, change, value=PAST_WEIGHT)

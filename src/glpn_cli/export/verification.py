"""An exported file computed once more, by ONNX Runtime, and held to torch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from glpn_cli.errors import OutputError
from glpn_cli.export.onnx_file import INPUT_NAMES, example_input
from glpn_cli.runtime import exact_float32
from glpn_cli.settings.prediction import Precision

if TYPE_CHECKING:
    from glpn_cli.export.onnx_file import Subject

__all__ = ["Agreement", "can_verify", "verify"]

_TOLERANCES = {Precision.FLOAT32: 1e-4, Precision.FLOAT16: 2e-2}
"""The largest difference that is taken for rounding, as a share of the depth limit."""

_CASES_OF_ANY_SIZE = ((1, (64, 96)), (2, (96, 64)), (3, (32, 32)))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near two runtimes are on one input.

    Attributes:
        batch: images at once.
        size: (height, width), pixels.
        largest_m: the largest difference of a pixel, meters.
    """

    batch: int
    size: tuple[int, int]
    largest_m: float


def can_verify() -> bool:
    """Tell whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def verify(data: bytes, subject: Subject, *, name: str) -> list[Agreement]:
    """Run the file in ONNX Runtime and the subject in torch, on the same made-up images.

    Args:
        data: the file.
        subject: what it was made from.
        name: what to call it in messages.

    Returns:
        For each size that was tried, how near they are. A file of any size is tried on several sizes and batches.

    Raises:
        OutputError: the numbers differ by more than rounding.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    card = subject.weights.card
    cases = ((1, subject.size),) if subject.size else (*_CASES_OF_ANY_SIZE, (1, _working_size(subject)))
    agreements = [_compare(session, subject, batch, size) for batch, size in cases]
    tolerance_m = _TOLERANCES[subject.settings.precision] * card.depth_limit_m
    worst = max(agreements, key=lambda agreement: agreement.largest_m)
    if not worst.largest_m <= tolerance_m:  # so that not-a-number fails, too
        raise OutputError(
            f"{name}: not written: at {worst.size[0]}x{worst.size[1]} ONNX Runtime differs from torch "
            f"by up to {worst.largest_m:.3g} m",
            hint="--precision float32" if subject.settings.precision is not Precision.FLOAT32 else None,
        )
    return agreements


def _compare(session: Any, subject: Subject, batch: int, size: tuple[int, int]) -> Agreement:
    given = example_input(subject, batch=batch, size=size, seed=1)
    with torch.inference_mode(), exact_float32():
        expected = subject.module(given).numpy()
    (computed,) = session.run(None, {INPUT_NAMES[subject.settings.with_preprocessing]: given.numpy()})
    if computed.shape != expected.shape:
        return Agreement(batch, size, float("inf"))
    per_unit = 1.0 if subject.settings.with_preprocessing else subject.weights.card.meters_per_unit
    return Agreement(batch, size, float(np.abs(computed - expected).max()) * per_unit)


def _working_size(subject: Subject) -> tuple[int, int]:
    return subject.settings.floored(subject.weights.card.working_size)

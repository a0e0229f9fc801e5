"""Strips, and the probe that decides whether the packed operations of this torch are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.inference.engine import operations
from glpn_cli.inference.engine.engine import packed_operations_work
from glpn_cli.inference.engine.operations import split_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from torch import Tensor


@pytest.fixture(autouse=True)
def _clear_cached_probe() -> Iterator[None]:
    packed_operations_work.cache_clear()
    yield
    packed_operations_work.cache_clear()


@pytest.mark.parametrize("limit", [1, 10, 25, 30, 99, 1000])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 10), (3, 10), (7, 40)])
def test_strips_cover_rows_once_within_limit(start: int, stop: int, limit: int) -> None:
    strips = list(split_rows(start, stop, 10, limit))
    assert [row for first, end in strips for row in range(first, end)] == list(range(start, stop))
    heights = {end - first for first, end in strips}
    assert max(heights) - min(heights) <= 1
    assert max(heights) == 1 or max(heights) * 10 <= limit


def test_number_of_strips_is_minimal() -> None:
    assert list(split_rows(0, 10, 10, 100)) == [(0, 10)]
    assert list(split_rows(0, 10, 10, 99)) == [(0, 5), (5, 10)]


def test_no_rows_give_no_strips() -> None:
    assert list(split_rows(4, 4, 10, 100)) == []


def test_packed_operations_work_in_this_torch() -> None:
    # In the torch of constraints.txt. With another version the engine may be slower, but works.
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch without oneDNN")
    assert packed_operations_work(torch.float32)


def test_missing_operations_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name)

    monkeypatch.setattr(torch.ops, "mkldnn", Missing())
    assert not packed_operations_work(torch.float32)


def test_failing_operations_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> Tensor:
        raise RuntimeError("not on this machine")

    monkeypatch.setattr(operations.Linear, "__call__", fail)
    assert not packed_operations_work(torch.float32)


@pytest.mark.parametrize("operation", [operations.Linear, operations.Convolution, operations.DepthwiseConvolution])
def test_wrong_operations_are_not_used(operation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    correct = operation.__call__

    def slightly_wrong(self: Any, *args: Any) -> Tensor:
        result: Tensor = correct(self, *args)
        return result * 1.01 if self._packed else result

    monkeypatch.setattr(operation, "__call__", slightly_wrong)
    assert not packed_operations_work(torch.float32)


def test_probe_leaves_random_state_unchanged() -> None:
    before = torch.get_rng_state()
    packed_operations_work(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)

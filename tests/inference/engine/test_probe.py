from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.inference.engine import operations
from glpn_cli.inference.engine.engine import packed_operations_work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from torch import Tensor


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    packed_operations_work.cache_clear()
    yield
    packed_operations_work.cache_clear()


def test_this_torch_has_the_packed_operations() -> None:
    # It is the torch that constraints.txt pins; where it is another, the engine still works, but slower.
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch without oneDNN")
    assert packed_operations_work(torch.float32)


def test_operations_that_are_gone_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name)

    monkeypatch.setattr(torch.ops, "mkldnn", Gone())
    assert not packed_operations_work(torch.float32)


def test_operations_that_refuse_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> Tensor:
        raise RuntimeError("not on this machine")

    monkeypatch.setattr(operations.Linear, "__call__", refuse)
    assert not packed_operations_work(torch.float32)


@pytest.mark.parametrize("operation", [operations.Linear, operations.Convolution, operations.DepthwiseActivation])
def test_operations_that_compute_something_else_are_not_used(operation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = operation.__call__

    def slightly_wrong(self: Any, *args: Any) -> Tensor:
        result: Tensor = right(self, *args)
        return result * 1.01 if self._packed else result

    monkeypatch.setattr(operation, "__call__", slightly_wrong)
    assert not packed_operations_work(torch.float32)


def test_the_probe_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    packed_operations_work(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)

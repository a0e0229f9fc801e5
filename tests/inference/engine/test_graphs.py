"""Which sizes are recorded and replayed; recording itself needs a GPU and is replaced here."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.inference.engine.engine import GraphCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def forward(x: Tensor) -> Tensor:
    return 2 * x


class Recorder:
    """Stands in for CUDA: notes which sizes are recorded and how often each is replayed."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def __call__(self, run: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
        self.recorded.append(len(example))

        def replay(x: Tensor) -> Tensor:
            assert len(x) == len(example)
            self.replayed.append(len(x))
            return run(x)

        return replay


def test_a_size_is_recorded_the_second_time_it_is_seen() -> None:
    recorder = Recorder()
    cache = GraphCache(forward, recorder)
    for length in (3, 4, 3, 3, 4):
        assert torch.equal(cache(torch.ones(length)), torch.full((length,), 2.0))
    assert recorder.recorded == [3, 4]
    assert recorder.replayed == [3, 3, 4]


def test_only_so_many_sizes_are_kept_and_the_stalest_go() -> None:
    recorder = Recorder()
    cache = GraphCache(forward, recorder)
    for length in (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 9, 10, 1, 2, 3):
        cache(torch.ones(length))
    assert recorder.recorded == [1, 2]  # 3 was forgotten when 9 came
    assert recorder.replayed == [1, 2, 1, 2]
    assert len(cache._passes) == 8


def test_what_cannot_be_recorded_runs_as_it_is_and_is_not_tried_again() -> None:
    tried = []

    def refuse(_run: object, _example: Tensor) -> Callable[[Tensor], Tensor]:
        tried.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    cache = GraphCache(forward, refuse)
    for _ in range(4):
        assert torch.equal(cache(torch.ones(2)), torch.full((2,), 2.0))
    assert len(tried) == 1


def test_what_a_graph_uses_lives_as_long_as_it_does() -> None:
    tables = {0: torch.ones(1)}
    watch = weakref.ref(tables[0])
    cache = GraphCache(forward, Recorder(), used=lambda: list(tables.values()))
    for _ in range(2):
        cache(torch.ones(1))
    tables.clear()
    assert watch() is not None
    for length in range(2, 11):
        cache(torch.ones(length))
    assert watch() is None


def test_graphs_make_room_for_a_image_that_would_not_fit_beside_them() -> None:
    def forward_in_little_memory(x: Tensor) -> Tensor:
        if len(x) == 5 and cache._passes.get((1,)) is not None:
            raise torch.OutOfMemoryError
        return 2 * x

    cache = GraphCache(forward_in_little_memory, Recorder())
    for length in (1, 1, 5):
        assert torch.equal(cache(torch.ones(length)), torch.full((length,), 2.0))
    assert not cache._passes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recorded_pass_is_the_pass_and_its_results_stay() -> None:
    cache = GraphCache(forward)
    images = [torch.full((1, 3, 4, 4), float(value), device="cuda") for value in range(4)]
    results = [cache(image) for image in images]
    for image, result in zip(images, results, strict=True):
        assert torch.equal(result, 2 * image)

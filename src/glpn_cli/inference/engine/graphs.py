"""CUDA graphs: a forward pass recorded once per size of image and replayed without Python in between."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Forward = Callable[[Tensor], Tensor]
    Recorded = tuple[Forward, tuple[Tensor, ...]]  # a pass, and what it uses

__all__ = ["GraphCache", "record_cuda_graph"]

_MOST_GRAPHS = 8  # each holds the memory of a whole forward pass
_WARM_UPS = 2  # so that libraries choose and allocate what they need before the recording, in which they must not


class GraphCache:
    """A forward pass that replays graphs for the sizes it has seen before.

    The first image of a size runs as it is, since recording takes longer than one pass; the second is recorded.
    What cannot be recorded runs as it is for good. The sizes not used for longest are forgotten.
    """

    def __init__(
        self,
        forward: Forward,
        record: Callable[[Forward, Tensor], Forward] | None = None,
        *,
        used: Callable[[], Sequence[Tensor]] = tuple,
    ) -> None:
        """Wrap a forward pass.

        Args:
            forward: the pass.
            record: turns it into one for a single size, by default as a CUDA graph.
            used: gives tensors that a pass made, keeps and may let go of later. A graph knows their addresses only, so
                those that are there when it is recorded live as long as it does.
        """
        self._forward = forward
        self._record = record or record_cuda_graph
        self._used = used
        self._passes: OrderedDict[tuple[int, ...], Recorded | None] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """Run the forward pass."""
        with suppress(torch.OutOfMemoryError):
            return self._run(x)
        # What graphs hold is of no use to another size, and one image that fits is worth more than all of them.
        self._passes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._forward(x)

    def _run(self, x: Tensor) -> Tensor:
        size = (*x.shape,)
        if size not in self._passes:
            while len(self._passes) >= _MOST_GRAPHS:
                self._passes.popitem(last=False)
            self._passes[size] = None
            return self._forward(x)
        self._passes.move_to_end(size)
        recorded = self._passes[size]
        if recorded is None:
            recorded = self._try_to_record(x)
            self._passes[size] = recorded
        replay, _ = recorded
        return replay(x)

    def _try_to_record(self, x: Tensor) -> Recorded:
        try:
            return self._record(self._forward, x), tuple(self._used())
        except RuntimeError:  # torch's only exception for it, running out of memory included
            return self._forward, ()


def record_cuda_graph(forward: Forward, example: Tensor) -> Forward:
    """Record a forward pass for tensors like the example.

    Returns:
        A function of such a tensor that replays it. What it returns is a copy, which the next replay leaves alone.

    Raises:
        RuntimeError: something in it cannot be recorded.
    """
    given = example.clone(memory_format=torch.channels_last)
    with torch.cuda.device(example.device):
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                forward(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = forward(given)

    def replay(x: Tensor) -> Tensor:
        with torch.cuda.device(x.device):
            given.copy_(x)
            graph.replay()
            return found.clone()

    return replay

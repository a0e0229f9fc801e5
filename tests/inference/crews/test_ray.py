"""The worker's side of a Ray crew, without Ray. `tests/cli/test_cluster.py` has real clusters."""

from __future__ import annotations

import os
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

from glpn_cli.inference.crews import ray as crew
from glpn_cli.inference.crews import worker as worker_module
from glpn_cli.inference.crews.messages import Note, Stop
from glpn_cli.settings import PredictionSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Clock:
    """A clock that a test sets, in place of the module `time`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sleeps = threading.Semaphore(0)

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, _: float) -> None:
        self.sleeps.release()
        threading.Event().wait(0.001)


class SilentWorker:
    """A worker that does nothing, and shows what it was given."""

    def __init__(self, number: int, _: PredictionSettings, receive: Any, send: Any, **options: Any) -> None:
        self.number = number
        self.receive = receive
        self.send = send
        self.await_permission: Callable[[], None] = options["await_permission"]
        SilentWorker.last = self

    last: SilentWorker

    def work(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(crew, "time", clock)
    monkeypatch.setattr(crew, "_ASK_S", 0.01)
    monkeypatch.setattr(worker_module, "Worker", SilentWorker)
    monkeypatch.setattr(crew.WorkerSide, "_watch", lambda _: None)
    return clock


@pytest.fixture
def side(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> crew.WorkerSide:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return crew.WorkerSide(pickle.dumps((7, PredictionSettings(), 3, str(tmp_path), {})))


def test_messages_pass_in_order_and_in_small_pieces(side: crew.WorkerSide) -> None:
    worker = SilentWorker.last
    assert worker.number == 7
    data = pickle.dumps(Stop(now=True))
    side.send(data[:5], data[5:])
    assert worker.receive() == Stop(now=True)
    for index in range(10):
        worker.send(Note(str(index) * 20_000))
    takes = [[pickle.loads(message).text[0] for message in side.take()] for _ in range(3)]  # noqa: S301 - ours
    assert [text for take in takes for text in take] == list("0123456789")
    assert side.take() == []


def test_a_worker_uses_the_threads_and_the_folder_of_the_run(side: crew.WorkerSide, tmp_path: Path) -> None:
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.getcwd() == str(tmp_path)


def test_a_worker_that_is_not_asked_names_nothing(side: crew.WorkerSide, clock: Clock) -> None:
    worker = SilentWorker.last
    worker.await_permission()
    side.take()
    clock.now_s += 60  # frozen, or cut off
    waiting = threading.Thread(target=worker.await_permission, daemon=True)
    waiting.start()
    assert clock.sleeps.acquire(timeout=60)
    side.take()  # sent long ago, and only arriving now: no proof that the driver is still there
    clock.sleeps.acquire()
    assert clock.sleeps.acquire(timeout=60)
    assert waiting.is_alive()
    side.take()  # the driver has got an answer of this moment
    waiting.join(timeout=60)
    assert not waiting.is_alive()


def test_a_host_without_the_program_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    host, problem = crew._actor_class()("0.0.0", b"").take()
    assert host in problem
    assert "0.0.0" in problem

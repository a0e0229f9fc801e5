from __future__ import annotations

import os
import signal
import threading

import pytest

from glpn_cli.training import progress
from glpn_cli.training.progress import stop_on_signals


def test_signals_within_a_moment_are_one_request() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signals(0) as stop:
        assert not stop.is_set
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stop.is_set
        assert stop.interrupted
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ignored_signals_stay_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop_on_signals(0) as stop:
            os.kill(os.getpid(), number)
            assert not stop.is_set
            assert signal.getsignal(number) is signal.SIG_IGN
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_second_interrupt_later_is_immediate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SAME_REQUEST_S", -1.0)
    with stop_on_signals(0):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # torchrun forwards it
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_later_is_immediate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SAME_REQUEST_S", -1.0)
    with stop_on_signals(0):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_time_limit_is_not_an_interruption() -> None:
    with stop_on_signals(1e-9) as stop:
        assert stop.is_set
        assert not stop.interrupted


def test_other_threads_have_only_the_time_limit() -> None:
    found: list[bool] = []

    def run() -> None:
        for minutes in (0, 1e-9):
            with stop_on_signals(minutes) as stop:
                found.append(stop.is_set)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False, True]

from __future__ import annotations

import os
import signal

import pytest

from glpn_cli.training import progress as stopping
from glpn_cli.training.progress import stop_asked_for


def test_a_signal_is_a_wish_however_often_it_comes_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_asked_for(0) as stop:
        assert not stop.asked_for
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stop.asked_for
        assert stop.interrupted
    assert signal.getsignal(signal.SIGINT) is before


def test_impatience_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_IMPATIENCE_S", -1.0)
    with stop_asked_for(0):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # torchrun passing it on
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_time_that_is_over_is_no_interruption() -> None:
    with stop_asked_for(1e-9) as stop:
        assert stop.asked_for
        assert not stop.interrupted

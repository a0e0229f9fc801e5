"""Standard input, signals, and a fast exit."""

from __future__ import annotations

import atexit
import importlib
import io
import os
import signal
import subprocess
import sys
import threading
import types
from typing import TYPE_CHECKING

import pytest

from glpn_cli.cli.process import (
    Interrupts,
    check_stdin,
    exit_quickly,
    repeat_lost_interrupt,
)
from glpn_cli.errors import UsageError
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError):
        check_stdin("an image", "cat a.jpg | glpn predict -")


def test_a_terminal_is_refused_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(UsageError) as caught:
        check_stdin("an image", "cat a.jpg | glpn predict -")
    assert "cat a.jpg | glpn predict -" in str(caught.value.hint)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    check_stdin("an image", "cat a.jpg | glpn predict -")


EXIT_PROGRAM = """
import atexit, sys, types
{before}
from glpn_cli.cli.process import exit_quickly
atexit.register(print, "registered")
print("printed", end=" ")
exit_quickly({code})
print("still here")
"""
WITH_TORCH = "sys.modules['torch'] = types.ModuleType('torch')"


def run_exit(code: object, *, before: str = WITH_TORCH) -> tuple[int, str]:
    """Run a program that exits; return its exit code and what it printed."""
    program = EXIT_PROGRAM.format(before=before, code=code)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)
    assert not ended.stderr
    return ended.returncode, ended.stdout.strip()


@pytest.mark.parametrize("code", [0, 5, None])
def test_a_fast_exit_loses_nothing(code: int | None) -> None:
    assert run_exit(code) == (code or 0, "printed registered")


def test_python_exits_by_itself_without_torch() -> None:
    assert run_exit(3, before="") == (0, "printed still here\nregistered")


def test_a_message_instead_of_a_code_is_left_to_python() -> None:
    assert run_exit("'odd'")[1].startswith("printed still here")


def test_running_threads_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"exited with {code}"))
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        exit_quickly(0)
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
def test_a_full_disk_behind_standard_output_is_a_failure() -> None:
    program = EXIT_PROGRAM.format(before=WITH_TORCH, code=0)
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode != 0


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Signals are handled as the command line handles them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupts = Interrupts()
    interrupts.install()
    yield interrupts
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_interrupts(interrupts: Interrupts, number: signal.Signals) -> None:
    assert [interrupts.exit_code(code) for code in (0, 1, 6)] == [0, 1, 6]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert [interrupts.exit_code(code) for code in (0, 1, 3, 6)] == [130, 130, 130, 6]


def test_an_import_is_finished_before_an_interrupt(
    interrupts: Interrupts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept BaseException:\n    bad = 1\ngood = 1\n"
    (tmp_path / "imported_while_interrupted.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        module = importlib.import_module("imported_while_interrupted")
        wait_until(lambda: False)
    assert (module.good, hasattr(module, "bad")) == (1, False)
    assert interrupts.received


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    term = signal.getsignal(signal.SIGTERM)
    try:
        Interrupts().install()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, term)


def test_an_interrupt_in_a_destructor_is_not_lost(interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fragile:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sys, "unraisablehook", repeat_lost_interrupt)
    with pytest.raises(KeyboardInterrupt):
        Fragile()
        wait_until(lambda: False)
    assert interrupts.received

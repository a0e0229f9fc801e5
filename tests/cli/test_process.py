"""Memory of the C library, standard input, and a fast exit."""

from __future__ import annotations

import atexit
import io
import os
import platform
import subprocess
import sys
import threading
import types

import pytest

from glpn_cli.cli.process import check_stdin, exit_quickly, keep_freed_memory
from glpn_cli.errors import UsageError

FAULTS_PROGRAM = """
import resource
from glpn_cli.cli.process import keep_freed_memory
{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    held = [bytearray(20_000_000) for _ in range(4)]
    del held
use()
before = faults()
for _ in range(10):
    use()
print(faults() - before)
"""


def page_faults(*, first: str) -> int:
    ended = subprocess.run(
        [sys.executable, "-c", FAULTS_PROGRAM.format(first=first)], capture_output=True, check=True, text=True
    )
    return int(ended.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_freed_memory_is_reused() -> None:
    assert page_faults(first="") > 10_000  # so the measurement shows a difference
    assert page_faults(first="keep_freed_memory()") < 1_000


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_left_alone(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("loaded a library"))
    keep_freed_memory()


def test_c_libraries_without_mallopt_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    keep_freed_memory()


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

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import types

import pytest
from glpn_cli.cli.leaving import leave_quickly

PROGRAM = """
import atexit, sys, types
{before}
from glpn_cli.cli.leaving import leave_quickly
atexit.register(print, "registered")
print("printed", end=" ")
leave_quickly({code})
print("still here")
"""


def leave(code: object, *, before: str = "sys.modules['torch'] = types.ModuleType('torch')") -> tuple[int, str]:
    """Run a program that leaves; give its exit code and what it printed."""
    program = PROGRAM.format(before=before, code=code)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)
    assert not ended.stderr
    return ended.returncode, ended.stdout.strip()


@pytest.mark.parametrize("code", [0, 5, None])
def test_what_was_printed_and_registered_is_not_lost(code: int | None) -> None:
    assert leave(code) == (code or 0, "printed registered")


def test_python_ends_a_program_that_never_imported_torch_by_itself() -> None:
    assert leave(3, before="") == (0, "printed still here\nregistered")


def test_a_message_instead_of_a_code_is_left_to_python() -> None:
    assert leave("'odd'")[1].startswith("printed still here")


def test_a_thread_that_still_works_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"left with {code}"))
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        leave_quickly(0)
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(os.name == "nt", reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_no_success() -> None:
    program = PROGRAM.format(before="sys.modules['torch'] = types.ModuleType('torch')", code=0)
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode != 0

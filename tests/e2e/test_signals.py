"""Ctrl-C and SIGTERM at many moments, from the start of the program to its exit: no traceback, and exit code 130."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

# Runs glpn and sends the process a signal at the Nth event of a kind that Python audits, such as an import; the kind
# "any" is every event, and "exit" is the first exit handler. Afterwards it prints how many events there were.
PROGRAM = """
import atexit, os, sys
number, kind, aim = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
from glpn_cli.__main__ import run
count = 0
def watch(event, arguments):
    global count
    if kind == "any" or event == kind:
        count += 1
        if count == aim:
            os.kill(os.getpid(), number)
def leave():
    if kind == "exit":
        os.kill(os.getpid(), number)
    print(count, flush=True)
atexit.register(leave)
sys.addaudithook(watch)
sys.argv = ["glpn", *sys.argv[4:]]
run()
"""
NOISE = re.compile(r"Traceback|Exception ignored|KeyboardInterrupt|panicked|Fatal Python error", re.IGNORECASE)


def run_glpn(
    folder: Path, kind: str, aim: int, number: int, *arguments: object, python: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    start = [sys.executable] if python is None else python
    command = [*start, "-c", PROGRAM, str(number), kind, str(aim), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=HANG_S)


@pytest.mark.parametrize(
    ("kind", "aim", "number"),
    [
        ("import", 1, signal.SIGINT),
        ("import", 40, signal.SIGTERM),
        ("import", 400, signal.SIGINT),  # of torch
        ("import", 900, signal.SIGTERM),
        ("exit", 0, signal.SIGINT),
        ("exit", 0, signal.SIGTERM),
    ],
)
def test_a_signal_at_any_moment_is_no_traceback(
    tmp_path: Path, photo: Path, warm_python: list[str], kind: str, aim: int, number: signal.Signals
) -> None:
    python = warm_python if kind == "exit" else None  # imports must happen to be interrupted
    arguments = ("predict", photo, "-o", tmp_path / "depth.png", "-w", "tiny")
    ended = run_glpn(tmp_path, kind, aim, number, *arguments, python=python)
    assert ended.returncode == 130, ended.stderr
    assert not NOISE.search(ended.stderr), ended.stderr


@pytest.mark.soak
@pytest.mark.parametrize("command", ["predict", "batch", "info"])
def test_signals_at_many_moments(tmp_path: Path, photo: Path, command: str) -> None:
    arguments = {
        "predict": ("predict", photo, "-o", "depth.png", "--overwrite", "-w", "tiny"),
        "batch": ("batch", photo.parent, "-o", "out", "--overwrite", "-w", "tiny"),
        "info": ("info", photo, "--json"),
    }[command]
    events = int(run_glpn(tmp_path, "any", 0, signal.SIGINT, *arguments).stdout.split()[-1])
    for moment in range(60):
        number = (signal.SIGINT, signal.SIGTERM)[moment % 2]
        ended = run_glpn(tmp_path, "any", 1 + moment * events // 60, number, *arguments)
        assert ended.returncode in (130, 6), (moment, ended.returncode, ended.stderr)
        assert not NOISE.search(ended.stderr), (moment, ended.stderr)
    assert run_glpn(tmp_path, "any", 0, signal.SIGINT, *arguments).returncode == 0

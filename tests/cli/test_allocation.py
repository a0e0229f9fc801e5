from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from glpn_cli.cli.allocation import keep_freed_memory

PROGRAM = """
import resource
from glpn_cli.cli.allocation import keep_freed_memory
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


def pages_got_anew(*, first: str) -> int:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first=first)], capture_output=True, check=True, text=True
    )
    return int(ended.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is glibc's")
def test_freed_memory_is_used_again() -> None:
    assert pages_got_anew(first="") > 10_000  # so this does show something
    assert pages_got_anew(first="keep_freed_memory()") < 1_000


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_elsewhere_nothing_is_done(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("looked for a library"))
    keep_freed_memory()


def test_a_library_without_that_option_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    keep_freed_memory()

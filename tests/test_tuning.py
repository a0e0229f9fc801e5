from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from glpn_cli.tuning import keep_freed_memory

SLEEP_PROGRAM = """
import os, sys
import glpn_cli.cli.app
from glpn_cli.__main__ import run
glpn_cli.cli.app.main = lambda: print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
run()
"""


@pytest.mark.parametrize(
    ("environment", "spins"),
    [({}, "1000"), ({"OMP_WAIT_POLICY": "active"}, "None"), ({"GOMP_SPINCOUNT": "77"}, "77")],
    ids=["unset", "policy", "spins"],
)
def test_threads_sleep_unless_user_says_otherwise(environment: dict[str, str], spins: str) -> None:
    others = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_WAIT", "GOMP_", "KMP_"))}
    ended = subprocess.run(
        [sys.executable, "-c", SLEEP_PROGRAM], env=others | environment, capture_output=True, check=True, text=True
    )
    assert ended.stdout.split() == [spins, "False"]


FAULTS_PROGRAM = """
import resource
from glpn_cli.tuning import keep_freed_memory
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

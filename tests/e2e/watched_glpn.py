"""The program itself under observation: it notes what it is doing in a file that outlives it, and may kill itself then.

A process of its own: `watched_glpn.py NOTES AIM ARGUMENTS...`. NOTES is a file of `SIZE` zero bytes. AIM is empty, or
PHASE:N:HOW: the process dies by SIGKILL in the Nth PHASE, HOW being "before", "after", or seconds after its beginning,
and at its end at the latest.
"""

from __future__ import annotations

import functools
import mmap
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PHASES = ("load", "read", "compute", "write", "rename", "record")
_PHASE = struct.Struct("iid")  # how many are in it now, how many were, and for how many seconds
SIZE = _PHASE.size * len(PHASES)


def read_notes(path: Path) -> dict[str, tuple[int, int, float]]:
    """Give, by phase, how many threads are or were last in it, how often it was, and for how many seconds together."""
    return dict(zip(PHASES, _PHASE.iter_unpack(path.read_bytes()), strict=True))


class _Watch:
    """Keeps the notes and takes aim."""

    def __init__(self, notes: str, aim: str) -> None:
        with Path(notes).open("r+b") as stream:
            self._notes = mmap.mmap(stream.fileno(), SIZE)
        self._lock = threading.Lock()
        self._phase, number, self._how = aim.split(":") if aim else ("", "0", "")
        self._number = int(number)
        self._shoot = threading.Event()
        if self._how not in ("", "before", "after"):
            threading.Thread(target=self._wait_and_shoot, daemon=True).start()

    def enter(self, phase: str) -> int:
        now, count = self._note(phase, +1, 0.0)
        del now
        if self._is_aim(phase, count):
            if self._how == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            self._shoot.set()
        return count

    def leave(self, phase: str, count: int, seconds: float) -> None:
        if self._is_aim(phase, count):  # also where the shot comes late, as it does on a busy machine
            os.kill(os.getpid(), signal.SIGKILL)
        self._note(phase, -1, seconds)

    def around(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*arguments: Any, **keywords: Any) -> Any:
            count = self.enter(phase)
            start_s = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self.leave(phase, count, time.perf_counter() - start_s)

        return watched

    def _is_aim(self, phase: str, count: int) -> bool:
        return phase == self._phase and count == self._number

    def _wait_and_shoot(self) -> None:
        self._shoot.wait()
        time.sleep(float(self._how))
        os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, phase: str, step: int, seconds: float) -> tuple[int, int]:
        at = PHASES.index(phase) * _PHASE.size
        with self._lock:
            now, count, total_s = _PHASE.unpack_from(self._notes, at)
            now, count = now + step, count + (step > 0)
            _PHASE.pack_into(self._notes, at, now, count, total_s + seconds)
        return now, count


def main() -> None:
    start_s = time.perf_counter()
    watch = _Watch(sys.argv[1], sys.argv[2])
    loading = watch.enter("load")
    from glpn_cli import files as writer
    from glpn_cli.cli.app import main as glpn
    from glpn_cli.inference import manifest, predictor

    begin = manifest.Manifest.begin

    def begin_and_be_loaded(self: Any) -> None:
        begin(self)
        watch.leave("load", loading, time.perf_counter() - start_s)

    manifest.Manifest.begin = begin_and_be_loaded  # type: ignore[method-assign]
    predictor.Predictor.prepare = watch.around("read", predictor.Predictor.prepare)  # type: ignore[method-assign]
    predictor.Predictor.run = watch.around("compute", predictor.Predictor.run)  # type: ignore[method-assign]
    writer._write_to_disk = watch.around("write", writer._write_to_disk)
    manifest.Manifest._append = watch.around("record", manifest.Manifest._append)  # type: ignore[method-assign]
    os.link = watch.around("rename", os.link)
    os.replace = watch.around("rename", os.replace)
    sys.argv = ["glpn", *sys.argv[3:]]
    glpn()


if __name__ == "__main__":
    main()

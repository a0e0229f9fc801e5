"""Runs glpn, records in a file what it is doing, and can kill itself at a given moment.

Usage: `watched_glpn.py NOTES AIM ARGUMENTS...`, as a process of its own. NOTES is a file of `SIZE` zero bytes, which
can be read after the process was killed. AIM is empty, or PHASE:N:MOMENT:SIGNAL: the process sends itself the signal
(without one SIGKILL) in the Nth PHASE. MOMENT is "before", "after", or a number of seconds after the phase begins; the
phase never ends before the signal.
"""

from __future__ import annotations

import functools
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PHASES = ("load", "read", "compute", "write", "rename", "record")
_PHASE = struct.Struct("iid")  # threads in the phase now, how often it began, seconds in total
SIZE = _PHASE.size * len(PHASES)


def read_notes(path: Path) -> dict[str, tuple[int, int, float]]:
    """Return for each phase: threads in it now (or when killed), how often it began, and seconds in total."""
    return dict(zip(PHASES, _PHASE.iter_unpack(path.read_bytes()), strict=True))


def start_watched(python: Sequence[str], folder: Path, aim: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start glpn in a folder; its notes are in the file `notes` there. `python` starts Python."""
    (folder / "notes").write_bytes(bytes(SIZE))
    command = [*python, __file__, "notes", aim, *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class _Watch:
    """Writes the notes, and kills the process at the given moment."""

    def __init__(self, notes: str, aim: str) -> None:
        with Path(notes).open("r+b") as stream:
            self._notes = mmap.mmap(stream.fileno(), SIZE)
        self._lock = threading.Lock()
        self._phase, number, self._moment, *signals = aim.split(":") if aim else ("", "0", "")
        self._number = int(number)
        self._signal = signal.Signals[signals[0]] if signals else signal.SIGKILL
        self._started = threading.Event()
        if self._moment not in ("", "before", "after"):
            threading.Thread(target=self._wait_and_kill, daemon=True).start()

    def enter(self, phase: str) -> int:
        count = self._note(phase, +1, 0.0)
        if self._is_aim(phase, count):
            if self._moment == "before":
                os.kill(os.getpid(), self._signal)
            self._started.set()
        return count

    def leave(self, phase: str, count: int, seconds: float) -> None:
        if self._is_aim(phase, count):  # "after", or the other thread is late, as on a busy machine
            os.kill(os.getpid(), self._signal)
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

    def _wait_and_kill(self) -> None:
        self._started.wait()
        time.sleep(float(self._moment))
        os.kill(os.getpid(), self._signal)

    def _note(self, phase: str, step: int, seconds: float) -> int:
        at = PHASES.index(phase) * _PHASE.size
        with self._lock:
            now, count, total_s = _PHASE.unpack_from(self._notes, at)
            now, count = now + step, count + (step > 0)
            _PHASE.pack_into(self._notes, at, now, count, total_s + seconds)
        return count


def main() -> None:
    start_s = time.perf_counter()
    watch = _Watch(sys.argv[1], sys.argv[2])
    loading = watch.enter("load")
    from glpn_cli import files
    from glpn_cli.cli.app import main as glpn
    from glpn_cli.inference import manifest, predictor

    begin = manifest.Manifest.begin

    def begin_after_loading(self: Any) -> None:
        begin(self)
        watch.leave("load", loading, time.perf_counter() - start_s)

    manifest.Manifest.begin = begin_after_loading  # type: ignore[method-assign]
    predictor.Predictor.prepare = watch.around("read", predictor.Predictor.prepare)  # type: ignore[method-assign]
    predictor.Predictor.run = watch.around("compute", predictor.Predictor.run)  # type: ignore[method-assign]
    files.write_new = watch.around("write", files.write_new)
    manifest.Manifest._append = watch.around("record", manifest.Manifest._append)  # type: ignore[method-assign]
    os.link = watch.around("rename", os.link)
    os.replace = watch.around("rename", os.replace)
    sys.argv = ["glpn", *sys.argv[3:]]
    glpn()


if __name__ == "__main__":
    main()

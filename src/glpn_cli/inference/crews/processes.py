"""Workers that are processes of this machine, one for each device.

They are started as programs of their own and not by `multiprocessing`, which would import the caller's main module
again: a script that calls `run_batch` needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from glpn_cli.inference.crews.messages import Died

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.inference.crews.messages import Order
    from glpn_cli.settings import PredictionSettings

_PROGRAM = (
    "import pickle, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from glpn_cli.inference.crews.worker import main; main()"
)
"""Ctrl-C reaches every process of a terminal; only the one that shows the progress acts on it."""


_MAX_NAMED = 4


class ProcessCrew:
    """A crew of processes; see `Crew`.

    Messages are pickles on standard input and standard output. Standard error is that of this process.
    """

    def __init__(self, devices: Sequence[str], settings: PredictionSettings) -> None:
        """Start nothing yet.

        Args:
            devices: as `choose_runtime` takes them; the same one may occur several times.
            settings: how images become depth; the device there is not used.
        """
        self.devices = list(devices)
        self.name = ", ".join(devices) if len(devices) <= _MAX_NAMED else f"{len(devices)} devices"
        self.is_spread = False
        self.events: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._settings = settings
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._listeners: list[threading.Thread] = []

    def start(self, number: int, slot: int) -> None:
        """Start a process."""
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment()
        )
        self._processes[number] = process
        listener = threading.Thread(target=self._listen, args=(number, process), name="glpn-crew", daemon=True)
        self._listeners.append(listener)
        listener.start()
        self._write(process, sys.path)
        self._write(process, (number, self._settings, self.devices[slot]))

    def send(self, number: int, order: Order) -> None:
        """Send a message; a dead process gets none, and its death is reported as an event."""
        self._write(self._processes[number], order)

    def kill(self, number: int) -> None:
        """End a process at once."""
        self._processes[number].kill()

    def close(self) -> None:
        """End all processes, and wait until they are gone."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
        for listener in self._listeners:
            listener.join()
        for process in self._processes.values():
            with contextlib.suppress(OSError):  # what is buffered cannot be sent any more
                process.stdin.close()  # type: ignore[union-attr]  # it is a pipe

    def _environment(self) -> dict[str, str]:
        """Return the environment of a process: its share of the cores, unless the user has decided."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return {"OMP_NUM_THREADS": str(max(1, cores // len(self.devices))), **os.environ}

    @staticmethod
    def _write(process: subprocess.Popen[bytes], message: Any) -> None:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError, ValueError):  # it has ended
            process.stdin.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
            process.stdin.flush()

    def _listen(self, number: int, process: subprocess.Popen[bytes]) -> None:
        """Pass on the messages of a process until it ends; runs in a thread of its own."""
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with process.stdout:
            try:
                while True:
                    self.events.put((number, pickle.load(process.stdout)))  # noqa: S301 - of our own process
            except (EOFError, pickle.UnpicklingError, OSError):  # also in the middle of a message
                pass
            except BaseException as error:  # noqa: BLE001 - of a broken message; no thread is there to take it
                process.kill()
                self.events.put((number, Died(f"sent an unreadable message: {error!r}")))
        self.events.put((number, Died(_describe_end(process.wait()))))


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (", maybe for lack of memory" if name == "SIGKILL" else "")

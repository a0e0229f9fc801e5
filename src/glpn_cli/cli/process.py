"""The process: standard input, signals, and a fast exit."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from glpn_cli.errors import INTERRUPTED_EXIT_CODE, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def check_stdin(what: str, example: str) -> None:
    """Refuse to wait for data where none can come from.

    Args:
        what: that is read, such as "an image".
        example: a command line that pipes it in.

    Raises:
        UsageError: standard input is closed or a terminal.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", hint=f"pipe {what} in: {example}")


_ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last is Ctrl-Break, on Windows only
_POLL_S = 0.005
_IMPORTS = "<frozen importlib"
_CHECKPOINTS = "glpn_cli.weights.checkpoint"


class Interrupts:
    """Turns Ctrl-C and SIGTERM into a KeyboardInterrupt, where Python code can take one.

    Modules that are imported catch it and are then half there, and so does the Rust code that reads safetensors. Both
    are finished first; they take a second at most. A second signal does not wait. Signals that the parent process has
    ignored, as a shell does for background jobs, stay ignored.

    Attributes:
        received: whether any signal came.
    """

    def __init__(self) -> None:
        """Do nothing yet."""
        self.received = False
        self._waits = False

    def install(self) -> None:
        """Handle signals from now on."""
        set_signal_handler(self._handle)

    def exit_code(self, code: int) -> int:
        """Return the exit code of a program that would have this one without signals.

        An interrupt is not always the end: destructors and other libraries may have ignored it.
        """
        return INTERRUPTED_EXIT_CODE if self.received and code != OutputError.exit_code else code

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if not _is_uninterruptible(frame):
            signal.default_int_handler(number, frame)
        elif self._waits:
            os._exit(INTERRUPTED_EXIT_CODE)
        else:
            self._waits = True
            _thread.start_new_thread(self._send_later, (number,))

    def _send_later(self, number: int) -> None:
        """Send the signal again when the main thread is where it can be interrupted; runs in another thread."""
        main = threading.main_thread().ident
        while _is_uninterruptible(sys._current_frames().get(main or 0)):  # noqa: SLF001 - there is no other way
            time.sleep(_POLL_S)
        self._waits = False
        _send_to_main(signal.Signals(number))


def set_signal_handler(handler: Callable[[int, FrameType | None], None]) -> None:
    """Handle the signals that end a program, unless the parent process has ignored them."""
    for name in _ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def repeat_lost_interrupt(unraisable: sys.UnraisableHookArgs) -> None:
    """Repeat an interrupt that Python ignores because it came in a destructor; for `sys.unraisablehook`."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return

    def send() -> None:
        time.sleep(_POLL_S)  # the destructor ends
        _send_to_main(signal.SIGINT)

    _thread.start_new_thread(send, ())


def _send_to_main(number: signal.Signals) -> None:
    send = getattr(signal, "pthread_kill", None)  # also ends a system call that waits; Windows does not have it
    if send is None:
        _thread.interrupt_main(number)
    else:
        send(threading.main_thread().ident, number)


def _is_uninterruptible(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTS) or frame.f_globals.get("__name__") == _CHECKPOINTS:
            return True
        frame = frame.f_back
    return False


def exit_quickly(code: object) -> None:
    """End the process without freeing modules, or return if Python's own exit has something left to do.

    After `import torch` Python's exit takes 0.2 to 0.3 seconds, more than the bundled weights need for an image. What
    was registered with `atexit` runs and what was printed is flushed, as usual.

    Args:
        code: of `SystemExit`.
    """
    if "torch" not in sys.modules or not isinstance(code, int | None):
        return
    from multiprocessing import active_children  # torch has imported it already

    waiting = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if waiting or active_children():
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - the only way to run them, and as old as the module
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):  # a closed pipe; Python's own exit reports it
        return
    with suppress(OSError, ValueError):  # messages that cannot be written do not make a run fail
        if sys.stderr is not None:
            sys.stderr.flush()
    os._exit(code or 0)

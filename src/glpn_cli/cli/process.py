"""The process: memory of the C library, standard input, and a fast exit."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading

from glpn_cli.errors import UsageError

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
_LARGEST_BYTES = 32 * 2**20  # the largest threshold that glibc accepts


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next allocation; does nothing with other C libraries.

    A network's tensors are a few megabytes each and freed within milliseconds. By default such memory is returned to
    the system and mapped again, zeroed page by page, for the next tensor: 5 % of the time of a float32 batch.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGEST_BYTES)
        set_option(_TRIM_THRESHOLD, _NEVER)


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
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):  # a closed pipe; Python's own exit reports it
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - the only way to run them, and as old as the module
    os._exit(code or 0)

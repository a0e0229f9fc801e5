"""The way out: end the process without taking torch apart.

Python ends by freeing all that was ever imported. After `import torch` that takes 0.2 to 0.3 seconds, more than the
bundled weights need for an image, and the system does the same in no time.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading


def leave_quickly(code: object) -> None:
    """End the process with an exit code, or return where Python's own way has something left to do.

    What was registered for the end of the program is run and what was printed is written out first, as Python does it.

    Args:
        code: what `SystemExit` says.
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
    except (OSError, ValueError):  # a pipe that nobody reads any more: Python has words for that
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - the only way to run them, and as old as the module
    os._exit(code or 0)

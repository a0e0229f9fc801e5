"""One training in a folder at a time."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glpn_cli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder; nothing is left in it, and a killed process locks nothing.

    Where the system has no such locks (Windows, some network drives) nobody is kept from anything.

    Args:
        folder: which is there.

    Raises:
        OutputError: another process trains there.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be opened: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{folder}: another process trains here", hint="wait for it; or another --out") from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)

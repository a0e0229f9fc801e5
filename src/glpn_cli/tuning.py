"""What a process of glpn sets before torch is imported. None of it changes any result."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_OBJECTS_BETWEEN_COLLECTIONS = 100_000
_SPINS = "1000"  # some microseconds; with 10,000, an image beside a busy process took twice as long

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
_LARGEST_BYTES = 32 * 2**20  # the largest threshold that glibc accepts


def tune_process() -> None:
    """Make a process that belongs to glpn alone fast; must run before torch is imported."""
    # Importing torch creates half a million objects and no garbage; collecting among them takes 0.1 s.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    keep_freed_memory()
    let_threads_sleep()


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


def let_threads_sleep() -> None:
    """Let the threads of GNU OpenMP sleep soon while they wait for each other; must run before torch is loaded.

    By default they spin for milliseconds. Beside a process that uses one of two cores, a spinning thread keeps the core
    that the late thread needs, at each of a pass's thousands of operations: an image took up to ten times as long. On
    an idle machine a short spin is as fast as a long one, and sleeping at once costs a tenth in bfloat16. A policy
    that the user has set is left alone.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["GOMP_SPINCOUNT"] = _SPINS

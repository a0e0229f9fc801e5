"""The most memory that was in use at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["watch_peak"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_KIB = 1024


def watch_peak(device: torch.device) -> Callable[[], int | None]:
    """Begin to watch the peak, and give a function that reads it.

    Returns:
        A function that gives bytes: of the device's own memory on CUDA; of the whole process on a CPU, where the
        system can tell (Linux since now, macOS since the process began); else None.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():
        try:
            _RESET.write_text("5")  # makes the kernel forget the peak so far
        except OSError:
            return lambda: None
        return _linux_peak
    return _macos_peak if sys.platform == "darwin" else lambda: None


def _linux_peak() -> int | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * _KIB
    return None


def _macos_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

"""Keep the memory that a pass has freed for the next one."""

import ctypes
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
_LARGEST_BYTES = 32 * 2**20  # glibc takes no larger threshold


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory, but for pieces of more than 32 MiB; where it is not the library do nothing.

    A network's tensors are some megabytes each and freed within milliseconds. The process would otherwise give such
    memory back to the system again and again, and get it anew for the next tensor, page by page and filled with zeros:
    a twentieth of the time of a batch in float32.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGEST_BYTES)
        set_option(_TRIM_THRESHOLD, _NEVER)

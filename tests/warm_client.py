"""Stands for a process that the server of `warm_python` forks: hands it its streams, and ends as it ends.

`warm_client.py SOCKET ARGUMENTS...`; imports little, because every process starts with it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

_HEADER_BYTES = 8
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    ignored = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    streams = [number for number in range(3) if _is_open(number)]
    server = _connect(sys.argv[1])
    request = {
        "arguments": sys.argv[2:],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "streams": streams,
        "ignored": ignored,
    }
    data = json.dumps(request).encode()
    socket.send_fds(server, [f"{len(data):{_HEADER_BYTES}}".encode()], streams)
    server.sendall(data)
    child = _receive(server)

    def forward(number: int, _: Any) -> None:
        os.kill(child, number)

    for number in _SIGNALS:
        if number not in ignored:
            signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    code = os.waitstatus_to_exitcode(_receive(server))
    if code < 0:
        if -code in _SIGNALS:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _connect(address: str) -> socket.socket:
    """Connect with a descriptor that is not that of a closed stream."""
    held = []
    while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:
        held.append(descriptor)
    server = socket.socket(socket.AF_UNIX)
    for number in (*held, descriptor):
        os.close(number)
    server.connect(address)
    return server


def _receive(server: socket.socket) -> int:
    data = server.recv(_HEADER_BYTES, socket.MSG_WAITALL)
    if len(data) < _HEADER_BYTES:
        raise ConnectionError("the server of warm processes ended")
    return int(data)


if __name__ == "__main__":
    main()

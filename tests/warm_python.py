"""Processes that need no seconds to import torch: a server imports it once, and forks a process for each command.

The fixture `warm_python` is a command to use instead of `[sys.executable]`: it takes the same arguments, streams,
signals and folder, and ends in the same way. What depends on how an interpreter starts, such as its locale, limits or
capabilities set before it starts, and signals during imports, needs a real one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_IMPORTED = (
    *("torch", "numpy", "PIL.Image", "safetensors.torch", "httpx2", "tqdm", "yaml", "filelock"),
    *("glpn_cli.cli.app", "glpn_cli.cli.commands.predict", "glpn_cli.cli.commands.batch", "glpn_cli.api"),
    *("glpn_cli.inference.predictor", "glpn_cli.inference.load", "glpn_cli.weights.install", "glpn_cli.report.report"),
    *(
        "glpn_cli.inference.engine.engine",
        "glpn_cli.output.png",
        "glpn_cli.image.reading",
        "glpn_cli.weights.checkpoint",
    ),
)
"""Not the Hub's client, which reads the environment when it is imported."""

_HEADER_BYTES = 8
_STREAMS = (0, 1, 2)
_CLIENT = str(Path(__file__).with_name("warm_client.py"))


@contextlib.contextmanager
def run_server() -> Iterator[list[str]]:
    """Run the server, and yield the command that starts a process with it."""
    if not hasattr(os, "fork"):
        yield [sys.executable]
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder) / "socket")
        listener.bind(address)
        listener.listen()
        command = [sys.executable, __file__, str(listener.fileno())]
        # The server ends when its standard input does, also if this process is killed.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], start_new_session=True
        ) as server:
            listener.close()  # so that clients fail if the server does
            yield [sys.executable, "-I", "-S", _CLIENT, address]
            assert server.stdin is not None
            server.stdin.close()


def _serve(listener: socket.socket) -> Callable[[], object]:
    """Fork a process for each client; return in each of them, with what it should do."""
    while True:
        readable, _, _ = select.select([listener, 0], [], [])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if listener not in readable:
            os._exit(0)
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _supervise(client)
        client.close()


def _supervise(client: socket.socket) -> Callable[[], object]:
    """Fork the process of a client and wait for its end; return in it, with what it should do."""
    data, received, _, _ = socket.recv_fds(client, _HEADER_BYTES, len(_STREAMS))
    if len(data) < _HEADER_BYTES:
        os._exit(0)  # the client was killed
    request = json.loads(client.recv(int(data), socket.MSG_WAITALL) or os._exit(0))
    alive, until_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(alive)
        client.close()
        _take_over(request, received)
        return _program(request["arguments"])
    os.close(until_end)
    for descriptor in received:
        os.close(descriptor)
    with contextlib.suppress(OSError):  # as if it were the client that runs the program
        client.sendall(f"{child:8}".encode())
    if alive not in select.select([client, alive], [], [])[0]:
        os.kill(child, signal.SIGKILL)  # as the client was
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        client.sendall(f"{status:8}".encode())
    os._exit(0)


def _take_over(request: dict[str, Any], received: list[int]) -> None:
    """Get the streams, folder and environment of a client."""
    given = dict(zip(request["streams"], received, strict=True))
    for stream in _STREAMS:
        if stream in given:
            os.dup2(given[stream], stream)
        else:
            os.close(stream)
    for descriptor in received:
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number in (signal.SIGINT, signal.SIGTERM):
        if number in request["ignored"]:
            signal.signal(number, signal.SIG_IGN)
    # As Python opens them; None stands for a closed one.
    sys.stdin = sys.__stdin__ = _open(0, "r") if 0 in given else None  # type: ignore[assignment, misc]
    sys.stdout = sys.__stdout__ = _open(1, "w") if 1 in given else None  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = _open(2, "w", "backslashreplace") if 2 in given else None  # type: ignore[assignment, misc]


def _open(descriptor: int, mode: str, errors: str | None = None) -> Any:
    """Open a stream as Python does, which in some environments does not buffer."""
    if mode == "w" and os.environ.get("PYTHONUNBUFFERED"):
        raw: Any = io.FileIO(descriptor, "w", closefd=False)
        return io.TextIOWrapper(raw, errors=errors, write_through=True)
    return open(descriptor, mode, buffering=1 if descriptor == 2 else -1, errors=errors, closefd=False)


def _program(arguments: list[str]) -> Callable[[], object]:
    """Return what Python does with its arguments: `-m MODULE ...`, `-c CODE ...` or `FILE ...`."""
    first, *rest = arguments
    if first == "-m":
        name = rest[0]
        sys.argv = rest
        sys.path[0] = os.getcwd()
        return lambda: runpy.run_module(name, run_name="__main__", alter_sys=True)
    if first == "-c":
        code = rest[0]
        sys.argv = ["-c", *rest[1:]]
        sys.path[0] = ""
        return lambda: exec(code, {"__name__": "__main__"})  # noqa: S102 - it is that of a test
    sys.argv = arguments
    sys.path[0] = str(Path(first).parent)
    return lambda: runpy.run_path(first, run_name="__main__")


def _main() -> Callable[[], object]:
    import gc

    listener = socket.socket(fileno=int(sys.argv[1]))
    for name in _IMPORTED:
        import_module(name)
    gc.freeze()  # otherwise the first collection of each child copies all
    return _serve(listener)


if __name__ == "__main__":
    # Python ends each forked process as it does any other: exit codes, tracebacks, exit handlers.
    _main()()

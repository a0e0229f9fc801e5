"""A Ray cluster of several nodes on this machine: a process of its own, which is told what to do on standard input.

Orders are lines: "add CPUS" starts a node and prints the process id of its raylet. The end of the input ends the
cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from waiting import HANG_S

if TYPE_CHECKING:
    from types import TracebackType

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all nodes listen on the loopback interface only
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # other programs may fill the memory of this machine
    "RAY_worker_niceness": "0",
}
STORE_BYTES = 80 * 2**20


class LocalCluster:
    """A head without CPUs, and nodes of one CPU each.

    Attributes:
        address: HOST:PORT of the head.
        raylets: process ids of the raylets of living nodes.
    """

    def __init__(self, nodes: int = 2, **environment: str) -> None:
        """Start a cluster.

        Args:
            nodes: how many nodes there are besides the head.
            **environment: more variables, such as Ray's own settings.
        """
        self._folder = tempfile.mkdtemp(prefix="glpn-ray-")  # pytest's folders are too long for the names of sockets
        Path(self._folder, "ray").mkdir()  # for the address of the cluster; Ray makes such a folder only in /tmp
        with Path(self._folder, "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, __file__, self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **ENVIRONMENT, "RAY_TMPDIR": self._folder, **environment},
            )
        self.address = self._read()
        self.raylets: list[int] = []
        self.repair(nodes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all processes of the cluster."""
        for raylet in self.raylets:
            send_signal(raylet, signal.SIGCONT)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a driver."""
        return ENVIRONMENT

    def repair(self, nodes: int) -> None:
        """Start nodes until so many are alive."""
        self.raylets = [raylet for raylet in self.raylets if is_alive(raylet)]
        while len(self.raylets) < nodes:
            assert self._process.stdin is not None
            self._process.stdin.write(b"add 1\n")
            self._process.stdin.flush()
            self.raylets.append(int(self._read()))

    def workers(self, raylet: int) -> list[int]:
        """Return the process ids of the workers of a node that belong to glpn."""
        return [pid for pid in children(raylet) if b"GlpnWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        assert line, Path(self._folder, "stderr").read_text(encoding="utf-8", errors="replace")
        return line


class Driver:
    """Runs glpn in processes of its own."""

    def __init__(self, folder: Path, cluster: LocalCluster) -> None:
        self._folder = folder
        self._cluster = cluster

    def start(self, *arguments: str, patch: str = "", **variables: str) -> subprocess.Popen[bytes]:
        """Start a command; `patch` is code that runs before."""
        program = f"{patch}\nfrom glpn_cli.__main__ import run\nrun()"
        command = [sys.executable, "-c", program, *arguments, "--cluster", self._cluster.address, "--debug"]
        environment = {**os.environ, **self._cluster.variables, "NO_COLOR": "1", **variables}
        return subprocess.Popen(
            command, cwd=self._folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *arguments: str, **options: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=HANG_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a dead one may still be listed, as nobody has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the process ids of the children of a process; none if it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> None:
    """Run a cluster until the end of the input."""
    from ray.cluster_utils import Cluster

    common: dict[str, Any] = {"node_ip_address": "127.0.0.1", "object_store_memory": STORE_BYTES}
    head = {**common, "num_cpus": 0, "include_dashboard": False, "temp_dir": sys.argv[1]}
    printed = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cluster = Cluster(initialize_head=True, head_node_args=head)
    print(cluster.address, file=printed, flush=True)
    for line in sys.stdin:
        node = cluster.add_node(num_cpus=int(line.split()[1]), **common)
        raylet = node.all_processes["raylet"][0].process
        # Its workers end when it does, and take it for alive until somebody has asked for its exit code.
        threading.Thread(target=raylet.wait, daemon=True).start()
        print(raylet.pid, file=printed, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()

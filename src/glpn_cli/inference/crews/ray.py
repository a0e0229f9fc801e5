"""Workers that are actors of a Ray cluster: Ray places them, gives them GPUs, and notices their deaths.

Messages are pickles that travel with the calls of an actor, in pieces so small that Ray keeps them out of its object
store. Paths go in, records come out; the files are on a file system that all hosts share.

The driver asks each worker for its messages all the time. A worker that is not asked for some seconds names no files
any more, because it may have been given up: its host may be frozen, or cut off.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import threading
import time
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from glpn_cli._version import __version__
from glpn_cli.errors import DeviceError
from glpn_cli.inference.crews.messages import Died, Failed
from glpn_cli.settings import HOME_VARIABLE, WEIGHTS_VARIABLE

if TYPE_CHECKING:
    from concurrent.futures import Future

    from glpn_cli.inference.crews.messages import Event, Order
    from glpn_cli.settings import PredictionSettings

CPUS_OF_WORKER = 4
"""CPUs of a worker that computes on them, if the settings do not say."""

_MAX_WORKERS = 512
_PIECE_BYTES = 64_000
"""Ray puts what is larger than 100 kB into its object store."""

_COLLECT_S = 0.25
"""How long results are collected for a message."""

_ASK_S = 1.0
"""How long a worker may take to answer that there is no message."""

_PERMISSION_S = 5.0
"""How long a worker may name files after its last answer that the driver has got."""

_ABANDONED_S = 300.0
"""A worker that is not asked for so long ends. Ray ends it earlier in most cases."""

_LOOK_S = 5.0
"""How often to look whether the cluster has any room at all, while workers have not started."""

_CONNECT_S = 5.0

_CERTAIN_DEATH = "worker process has died"
"""In Ray's words. After other ends, such as that of a node, the process may still run."""


class RayCrew:
    """A crew of Ray actors; see `Crew`."""

    def __init__(self, cluster: str, settings: PredictionSettings) -> None:
        """Connect to a cluster, and start nothing yet.

        Args:
            cluster: "auto" or HOST:PORT.
            settings: how images become depth; the device is that of each worker.

        Raises:
            DeviceError: the cluster cannot be reached, or has no such device.
        """
        self._is_ours = _connect(cluster)
        try:
            device, self._request, count = _divide(settings)
            self._threads = self._request["num_cpus"] or _cpus_of_gpu()
        except BaseException:
            self._disconnect()
            raise
        self.devices = [device] * count
        self.name = f"{count} x {device} in a cluster"
        self.is_spread = True
        self.events: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._settings = replace(settings, device=device)
        self._actors: dict[int, Any] = {}
        self._hosts: dict[int, str] = {}
        self._answered_s: dict[int, float] = {}
        self._answers: SimpleQueue[tuple[int, Future[Any]] | None] = SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="glpn-crew", daemon=True)
        self._listener.start()

    def start(self, number: int, slot: int) -> None:  # noqa: ARG002 - all slots are equal
        """Ask Ray for an actor. It starts when there is room for it."""
        import ray

        variables = {name: os.environ[name] for name in (HOME_VARIABLE, WEIGHTS_VARIABLE) if name in os.environ}
        start = (number, self._settings, self._threads, os.getcwd(), variables)
        options = {**self._request, "max_restarts": 0, "concurrency_groups": {"orders": 1, "answers": 1}}
        self._actors[number] = ray.remote(**options)(_actor_class()).remote(__version__, pickle.dumps(start))
        self._ask(number)

    def send(self, number: int, order: Order) -> None:
        """Send a message; a dead worker gets none, and its death is reported as an event."""
        data = pickle.dumps(order, pickle.HIGHEST_PROTOCOL)
        actor = self._actors.get(number)
        if actor is not None:
            actor.send.options(concurrency_group="orders").remote(
                *(data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES))
            )

    def kill(self, number: int) -> None:
        """End a worker at once."""
        import ray

        actor = self._actors.pop(number, None)
        if actor is not None:
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """End all workers. Ray ends those of a lost host when it sees them again."""
        for number in list(self._actors):
            self.kill(number)
        self._answers.put(None)
        self._listener.join()
        self._disconnect()

    def _disconnect(self) -> None:
        import ray

        if self._is_ours:
            ray.shutdown()

    # Listening

    def _ask(self, number: int) -> None:
        """Ask a worker for its messages; an error comes as an answer too."""
        take = self._actors[number].take.options(concurrency_group="answers")
        future: Future[Any] = take.remote().future()
        future.add_done_callback(lambda done: self._answers.put((number, done)))

    def _listen(self) -> None:
        """Pass on the messages and deaths of all workers; runs in a thread of its own."""
        lost: dict[int, tuple[float, Died]] = {}
        look_at_s = 0.0
        while True:
            with contextlib.suppress(Empty):
                answer = self._answers.get(timeout=0.5)
                if answer is None:
                    return
                number, future = answer
                try:
                    self._take(number, *future.result())
                except Exception as error:  # noqa: BLE001 - whatever Ray raises, the worker is lost
                    lost[number] = self._describe_end(number, error)
            if time.monotonic() >= look_at_s:
                look_at_s = time.monotonic() + _LOOK_S
                if not _has_room(self._request):
                    waiting = self._actors.keys() - self._hosts.keys()
                    lost |= {
                        number: (0.0, Died("found no node in the cluster", is_blameless=True)) for number in waiting
                    }
            for number, (at_s, death) in list(lost.items()):
                if time.monotonic() >= at_s:
                    self.kill(number)
                    self.events.put((number, death))
                    del lost[number]

    def _describe_end(self, number: int, error: Exception) -> tuple[float, Died]:
        """Return the death of a worker, and when it certainly names no files any more."""
        text = str(error)
        host = self._hosts.get(number, "a host that has not answered")
        if "low on memory" in text or "OutOfMemory" in text:
            return 0.0, Died(f"was killed by Ray on {host} for lack of memory", is_blameless=True)
        if _CERTAIN_DEATH in text:
            return 0.0, Died(f"died on {host}, maybe for lack of memory")
        return self._answered_s.get(number, 0.0) + _PERMISSION_S, Died(f"was lost with {host}", is_blameless=True)

    def _take(self, number: int, host: str, messages: list[bytes] | str) -> None:
        """Pass on the messages of a worker, and ask for more."""
        self._hosts[number] = host
        self._answered_s[number] = time.monotonic()
        if isinstance(messages, str):
            error = DeviceError(messages, hint="install the same on all hosts of the cluster")
            self.events.put((number, Failed(error, "")))
            return
        for message in messages:
            self.events.put((number, pickle.loads(message)))  # noqa: S301 - of our own worker
        if number in self._actors:
            self._ask(number)


def _connect(cluster: str) -> bool:
    """Connect this process to a cluster, and return whether it was not connected yet.

    Raises:
        DeviceError: there is no cluster, or it refuses.
    """
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ.setdefault(name, "0")  # it sends statistics, uploads the current folder, and hides GPUs
    import ray
    from ray._private.services import canonicalize_bootstrap_address

    if ray.is_initialized():
        return False
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        address = canonicalize_bootstrap_address(cluster)
        _refuse_unreachable(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        first, *_ = [*str(error).strip().splitlines(), repr(error)]
        raise DeviceError(
            f"{cluster}: cannot connect to a Ray cluster: {first}",
            hint="run glpn on a machine of the cluster, with its versions of Python and Ray, and with its token",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)  # Ray's handler would end the run at once
    # Even so, Ray prints errors of the cluster, on standard output.
    ray._private.worker.print_worker_logs = lambda *_: None  # noqa: SLF001 - there is no other way
    return True


def _refuse_unreachable(address: str | None) -> None:
    """Raise an OSError if nobody listens at an address: Ray would wait for minutes."""
    if address is None:
        raise ConnectionError("none runs on this machine")
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()


def _divide(settings: PredictionSettings) -> tuple[str, dict[str, int], int]:
    """Return the device of each worker, what it asks of Ray, and the number of workers.

    Raises:
        DeviceError: the cluster has no such device.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if sum(_resource("GPU")) else "cpu"
    if device == "cpu":
        wanted, share = "CPU", settings.threads or max(1, min(CPUS_OF_WORKER, max(_resource("CPU"), default=1)))
        request = {"num_cpus": share}
    else:
        wanted, share = "GPU", 1
        request = {"num_cpus": 0, "num_gpus": 1}
    count = sum(amount // share for amount in _resource(wanted))
    if not count:
        raise DeviceError(f"no node of the cluster has {share} {wanted}", hint="`ray status` shows what the nodes have")
    return device, request, min(count, _MAX_WORKERS)


def _resource(name: str) -> list[int]:
    """Return how much of a resource each node of the cluster has, used or not."""
    import ray

    return [int(node["Resources"].get(name, 0)) for node in ray.nodes() if node["Alive"]]


def _has_room(request: dict[str, int]) -> bool:
    """Return whether any node could run a worker, once nothing else runs there."""
    name = "GPU" if request.get("num_gpus") else "CPU"
    return max(_resource(name), default=0) >= request.get("num_gpus", request["num_cpus"])


def _cpus_of_gpu() -> int:
    """Return how many CPUs there are for each GPU, on the node that has the fewest."""
    shares = [cpus // gpus for cpus, gpus in zip(_resource("CPU"), _resource("GPU"), strict=True) if gpus]
    return max(1, min(shares, default=1))


def _actor_class() -> type:
    """Return the class of the actors.

    It is local, so that Ray sends its code: a host may have another version of this program, or none.
    """

    class GlpnWorker:
        def __init__(self, version: str, start: bytes) -> None:
            import socket

            self.host, self.problem = socket.gethostname(), ""
            try:
                from glpn_cli._version import __version__ as installed

                if installed != version:
                    self.problem = f"{self.host} has glpn-cli {installed}, and this machine {version}"
                    return
                from glpn_cli.inference.crews.ray import WorkerSide
            except ImportError as error:
                self.problem = f"{self.host} cannot run glpn-cli: {error}"
                return
            self.side = WorkerSide(start)

        def send(self, *pieces: bytes) -> None:
            self.side.send(*pieces)

        def take(self) -> tuple[str, list[bytes] | str]:
            return self.host, self.problem or self.side.take()

    return GlpnWorker


class WorkerSide:
    """A worker in an actor, whose methods are called in several threads."""

    def __init__(self, start: bytes) -> None:
        """Start to load the network.

        Args:
            start: what `RayCrew.start` has pickled.
        """
        from glpn_cli.inference.crews.worker import Worker
        from glpn_cli.tuning import tune_process

        number, settings, threads, folder, variables = pickle.loads(start)  # noqa: S301 - of the driver
        os.environ |= {**variables, "OMP_NUM_THREADS": str(threads)}
        with contextlib.suppress(OSError):  # a relative path is refused when it is not found
            os.chdir(folder)
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):  # Ray starts its workers with niceness 15; not every user may undo that
                os.setpriority(os.PRIO_PROCESS, 0, 0)
        tune_process()
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self._events: SimpleQueue[bytes] = SimpleQueue()
        self._answered_s = self._allowed_since_s = time.monotonic()
        worker = Worker(
            number,
            settings,
            self._orders.get,
            self._put,
            host=socket.gethostname(),
            await_permission=self._await_permission,
            send_every_s=_COLLECT_S,
        )
        threading.Thread(target=worker.work, name="glpn-worker", daemon=True).start()
        threading.Thread(target=self._watch, name="glpn-watch", daemon=True).start()

    def send(self, *pieces: bytes) -> None:
        """Take an order."""
        self._orders.put(pickle.loads(b"".join(pieces)))  # noqa: S301 - of the driver

    def take(self) -> list[bytes]:
        """Return messages, as soon as there is one; none if nothing happens for a while."""
        self._allowed_since_s = self._answered_s  # the driver has got that answer, so it was there then
        messages: list[bytes] = []
        with contextlib.suppress(Empty):
            messages.append(self._events.get(timeout=_ASK_S))
            while sum(map(len, messages)) < _PIECE_BYTES:
                messages.append(self._events.get_nowait())
        self._answered_s = time.monotonic()
        return messages

    def _put(self, event: Event) -> None:
        self._events.put(pickle.dumps(event, pickle.HIGHEST_PROTOCOL))

    def _await_permission(self) -> None:
        """Wait while the driver does not ask."""
        while time.monotonic() - self._allowed_since_s > _PERMISSION_S:
            time.sleep(0.05)

    def _watch(self) -> None:
        """End the process if nobody asks any more; runs in a thread of its own."""
        while time.monotonic() - self._allowed_since_s < _ABANDONED_S:
            time.sleep(_ASK_S)
        os._exit(1)

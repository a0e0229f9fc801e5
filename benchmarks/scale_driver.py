"""One run of `scale.py` without images and networks: what the process that the user starts needs, as JSON.

Folders are listed and files are described by this module, for names below a folder that does not exist. Workers are
processes that answer at once with a record of every image.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "/photos-of-the-benchmark"
PER_FOLDER = 1000
_TIME_S = 1_700_000_000
_FILE = os.stat_result((0o100644, 1, 1, 1, 0, 0, 250_000, 0, _TIME_S, 0), {"st_mtime_ns": _TIME_S * 10**9})
_FOLDER = os.stat_result((0o040755, 1, 1, 1, 0, 0, 4096, 0, _TIME_S, 0), {"st_mtime_ns": _TIME_S * 10**9})


class Entry:
    """What `os.scandir` yields."""

    def __init__(self, folder: str, name: str, *, is_folder: bool) -> None:
        self.name, self.path, self._is_folder = name, f"{folder}/{name}", is_folder

    def is_dir(self) -> bool:
        """Return whether it is a folder."""
        return self._is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - nothing is a link
        """Return whether it is a file."""
        return not self._is_folder

    def is_symlink(self) -> bool:
        """Return whether it is a link."""
        return False


class Listing:
    """A folder that is listed."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[Entry]:
        return self._entries

    def __exit__(self, *_: object) -> None:
        pass


def pretend(images: int, per_folder: int, out: str, *, are_done: bool) -> None:
    """Let the system have images, and their outputs if they are done."""
    scandir, stat, lstat = os.scandir, os.stat, os.lstat

    def list_folder(path: Any = ".") -> Any:
        text = os.fspath(path)
        if not text.startswith(ROOT):
            return scandir(path)
        if text == ROOT and per_folder < images:
            names = (f"{number:05}" for number in range(-(-images // per_folder)))
            return Listing(Entry(text, name, is_folder=True) for name in names)
        first = 0 if text == ROOT else int(text.rpartition("/")[2]) * per_folder
        numbers = range(first, min(images, first + per_folder))
        return Listing(Entry(text, f"IMG_{number:08}.jpg", is_folder=False) for number in numbers)

    def describe(original: Any) -> Any:
        def found(path: Any, **keywords: Any) -> os.stat_result:
            text = os.fspath(path) if not isinstance(path, int) else ""
            if text.startswith(ROOT):
                return _FILE if text.endswith(".jpg") else _FOLDER
            if are_done and text.startswith(out) and text.endswith(".depth.png"):
                return _FILE
            return original(path, **keywords)

        return found

    os.scandir, os.stat, os.lstat = list_folder, describe(stat), describe(lstat)


def work() -> None:
    """Answer as a worker; see `inference.crews.worker`."""
    from glpn_cli.inference.crews.messages import Begin, Ended, Finished, Lease, Outcome, Ready, Stop
    from glpn_cli.inference.record import DONE, Record, relative_source

    orders, messages = sys.stdin.buffer, sys.stdout.buffer

    def send(message: object) -> None:
        pickle.dump(message, messages, pickle.HIGHEST_PROTOCOL)
        messages.flush()

    def receive() -> Any:
        return pickle.load(orders)  # noqa: S301 - of the process that started this one

    receive()
    send(Ready(_facts()))
    folder = Path()
    while not isinstance(order := receive(), Stop):
        if isinstance(order, Begin):
            folder = order.folder or folder
        elif isinstance(order, Lease):
            outcomes = []
            for number, task in order.tasks:
                record = Record(
                    str(task.source),
                    DONE,
                    {row.name: path.relative_to(folder).as_posix() for row, path in task.outputs},
                    seconds=0.0123,
                    source_mark=f"250000-{_TIME_S * 10**9}",
                    sha256={row.name: "0123456789abcdef" * 4 for row, _ in task.outputs},
                    relative_source=relative_source(str(task.source), folder),
                    source_sha256="fedcba9876543210" * 4,
                )
                elapsed_s = dict.fromkeys(("decode", "preprocess", "network", "upsample", "encode", "write"), 0.002)
                outcomes.append(Outcome(number, record, None, elapsed_s, {}, None, None, None))
            for first in range(0, len(outcomes), 8):  # as many as finish while a message is prepared
                send(Finished(outcomes[first : first + 8]))
    send(Ended())


def _facts() -> Any:
    from glpn_cli.inference.facts import PredictorFacts, RuntimeFacts
    from glpn_cli.settings import PredictionSettings
    from glpn_cli.values import InputSize, Precision
    from glpn_cli.weights.catalog import CATALOG

    card = CATALOG["tiny"].card
    runtime = RuntimeFacts("cpu", Precision.FLOAT32)
    return PredictorFacts(
        card=card,
        weights_sha256="0" * 64,
        config_sha256=None,
        weights_chosen=True,
        runtime=runtime,
        settings=PredictionSettings(),
        calibration=None,
        usable_sides=(32, 32),
        parameters=4_000_000,
        input_size=InputSize.parse("model"),
        sharp_edges=False,
    )


def drive(case: str, images: int, out: str) -> dict[str, Any]:
    """Run a batch and return what it needed."""
    from glpn_cli.inference import batch as module
    from glpn_cli.inference.crews import processes
    from glpn_cli.inference.remote import RemotePredictor

    is_resumed = case == "resumed"
    pretend(images, images if case == "one folder" else PER_FOLDER, out, are_done=is_resumed)
    processes._PROGRAM = (  # noqa: SLF001 - workers that only answer
        "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); import scale_driver; scale_driver.work()"
    )
    times: dict[str, float] = {}
    table = module.TaskTable

    class Timed(table):
        def __init__(self, *arguments: Any) -> None:
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            super().__init__(*arguments)
            times.update(plan_s=time.perf_counter() - wall_s, plan_cpu_s=time.process_time() - cpu_s)

    module.TaskTable = Timed  # type: ignore[misc]
    planned = module.make_batch(ROOT, Path(out) / ("new" if is_resumed else case))
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    done = 0

    def load(settings: Any) -> RemotePredictor:
        return RemotePredictor(processes.ProcessCrew(["cpu", "cpu"], settings))

    with module.BatchRun(planned, load) as running:
        for result in running:
            done += result.is_new
            if result.error is not None:
                raise result.error
        planned_images = len(running.tasks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if (done, planned_images) != (0 if is_resumed else images, images):
        raise SystemExit(f"{case}: {done} of {planned_images} done")
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return times | {"wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": peak}


if __name__ == "__main__":
    print(json.dumps(drive(sys.argv[1], int(sys.argv[2]), sys.argv[3])))

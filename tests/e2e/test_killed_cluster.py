"""Workers, nodes and runs in a Ray cluster that are killed again and again lose no output and repeat none."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from e2e.test_killed_batch import HEIGHT, WIDTH, Ledger
from ray_cluster import Driver, LocalCluster, send_signal
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

NODES = 2
COUNT = 1200
KILLS = {"worker": 30, "node": 15, "run": 15}
MAX_BETWEEN = 12
"""Images between two kills, at most."""

MAX_NOTICED_S = {"worker": 2.0, "node": 6.0, "frozen": 75.0}

LOG_DEATHS = """
import json, time
from glpn_cli.inference.crews.ray import RayCrew
describe = RayCrew._describe_end
def describe_and_log(self, number, error):
    at_s, death = describe(self, number, error)
    left_s = max(0.0, at_s - time.monotonic())
    with open("deaths.jsonl", "a") as stream:
        stream.write(json.dumps({"at_s": time.time() + left_s, "reason": death.reason}) + "\\n")
    return at_s, death
RayCrew._describe_end = describe_and_log
"""


class Run:
    """A run that is started again whenever it ends before everything is done."""

    def __init__(self, driver: Driver, folder: Path) -> None:
        self._driver = driver
        self._folder = folder
        self.codes: Counter[int] = Counter()
        self.process = self._start()

    @property
    def lines(self) -> int:
        """Lines of the manifest."""
        path = self._folder / "out" / "glpn-batch.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    @property
    def is_done(self) -> bool:
        """Whether it has ended with all images done."""
        return self.process.poll() == 0

    def kill(self) -> None:
        """Kill the run, and start it again."""
        self.process.kill()
        self.restart()

    def restart(self) -> None:
        """Start the run again after it has ended."""
        self.process.communicate(timeout=HANG_S)
        self.codes[self.process.returncode] += 1
        self.process = self._start()

    def go_on(self, lines: int) -> None:
        """Wait until there are so many more lines."""
        wanted = self.lines + lines

        def has_gone_on() -> bool:
            if self.process.poll() not in (None, 0):
                self.restart()
            return self.is_done or self.lines >= wanted

        wait_until(has_gone_on)

    def finish(self) -> None:
        """Wait until everything is done."""
        while not self.is_done:
            self.process.wait(timeout=HANG_S)
            if not self.is_done:
                self.restart()
        self.process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        options = ("-f", "png,npy", "-w", "tiny", "--workers", "1", "-q")
        return self._driver.start("batch", "in", "--out", "out", *options, patch=LOG_DEATHS)


def deaths_after(folder: Path, at_s: float) -> list[float]:
    """Return after how many seconds deaths were noticed."""
    path = folder / "deaths.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    times = (json.loads(line)["at_s"] - at_s for line in lines if line.endswith("}"))
    return [elapsed_s for elapsed_s in times if elapsed_s >= 0]


def kill_part(kind: str, cluster: LocalCluster, run: Run, chance: random.Random, folder: Path) -> list[float]:
    """Kill a worker or its node, and return after how many seconds it was noticed; nothing if the run ended before."""
    wait_until(lambda: any(map(cluster.workers, cluster.raylets)))
    raylet, worker = chance.choice([(raylet, pid) for raylet in cluster.raylets for pid in cluster.workers(raylet)])
    at_s = time.time()
    send_signal(worker if kind == "worker" else raylet, signal.SIGKILL)
    wait_until(lambda: deaths_after(folder, at_s) or run.process.poll() is not None)
    return deaths_after(folder, at_s)[:1]


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="clusters of Ray run on Linux")
def test_sixty_kills_lose_nothing(
    glpn: Glpn,
    tmp_path: Path,
    make_image: Callable[..., Path],
    report_figures: Callable[[str, dict[str, Any]], None],
) -> None:
    for index in range(COUNT):
        make_image(f"in/{index:04}.png", HEIGHT, WIDTH)
    chance = random.Random(20)
    kinds = [kind for kind, count in KILLS.items() for _ in range(count)]
    chance.shuffle(kinds)
    noticed_s: dict[str, list[float]] = {kind: [] for kind in MAX_NOTICED_S}
    killed: Counter[str] = Counter()
    ledger = Ledger(tmp_path)
    start_s = time.monotonic()
    with LocalCluster(NODES) as cluster:
        run = Run(Driver(tmp_path, cluster), tmp_path)
        for kind in kinds:
            run.go_on(chance.randint(1, MAX_BETWEEN))
            if run.is_done:
                break
            if kind == "run":
                run.kill()
            else:
                noticed_s[kind] += kill_part(kind, cluster, run, chance, tmp_path)
            cluster.repair(NODES)
            killed[kind] += 1
            ledger.check()
            ledger.check_manifest()
            figures = {"kills": dict(killed), "images": run.lines, "minutes": (time.monotonic() - start_s) / 60}
            figures |= {f"{name} noticed after s": sorted(times) for name, times in noticed_s.items()}
            report_figures("killed-cluster", figures | {"exit codes": dict(run.codes)})
        if not run.is_done:
            noticed_s["frozen"] += freeze_node(cluster, run, tmp_path)
        run.finish()
    ledger.check()
    figures |= {f"most {name} s": max(times, default=None) for name, times in noticed_s.items()}
    report_figures("killed-cluster", figures)
    assert glpn("batch", "--verify", "--out", "out").stderr.startswith(b"%d intact, in" % (2 * COUNT))
    assert {path.name for path in (tmp_path / "out").glob(".*")} == {".glpn-batch.lock"}
    assert killed == KILLS
    for kind, times in noticed_s.items():
        assert max(times) <= MAX_NOTICED_S[kind], kind


def freeze_node(cluster: LocalCluster, run: Run, folder: Path) -> list[float]:
    """Freeze a node until the others have done its work, and return after how many seconds it was noticed."""
    run.go_on(MAX_BETWEEN)
    raylet = next(raylet for raylet in cluster.raylets if cluster.workers(raylet))
    frozen = [raylet, *cluster.workers(raylet)]
    at_s = time.time()
    for pid in frozen:
        send_signal(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: deaths_after(folder, at_s) or run.process.poll() is not None)
        run.go_on(MAX_BETWEEN)
        return deaths_after(folder, at_s)[:1]
    finally:
        for pid in reversed(frozen):
            send_signal(pid, signal.SIGCONT)

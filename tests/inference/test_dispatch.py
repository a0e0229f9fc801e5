"""Runs that several workers share. Most of these workers are threads, so that they can be told when to die."""

from __future__ import annotations

import json
import threading
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

import glpn_cli
from glpn_cli.errors import DeviceError, InputError, OutputError, WeightsError
from glpn_cli.inference.batch import BatchRun, make_batch
from glpn_cli.inference.crews import worker as worker_module
from glpn_cli.inference.crews.messages import Begin, Died, Ended, Failed, Finished, Lease, Ready, Stop
from glpn_cli.inference.facts import PredictorFacts
from glpn_cli.inference.journal import WorkerJournal
from glpn_cli.inference.manifest import Manifest, read_records
from glpn_cli.inference.plan import Task, plan_beside
from glpn_cli.inference.remote import RemotePredictor
from glpn_cli.inference.run import RunOptions, run
from glpn_cli.inference.verify import verify_outputs
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings, RunSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record
    from glpn_cli.inference.result import Result

COUNT = 12


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return glpn_cli.load("tiny")


@pytest.fixture
def images(make_image: Callable[..., Path]) -> None:
    for index in range(COUNT):
        make_image(f"in/{index:02}.png", 40, 40)


class ThreadCrew:
    """Workers in threads of this process, with one predictor.

    `hurt` is called with each worker's number and each task that it is about to start; if it returns True, the worker
    dies there and then.
    """

    def __init__(
        self, predictor: Predictor, count: int = 2, hurt: Callable[[int, Task], bool] = lambda *_: False
    ) -> None:
        self.devices = ["cpu"] * count
        self.name = "threads"
        self.is_spread = False
        self.death = Died("was killed by SIGKILL")
        self.events: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self.started = 0
        self.leases: list[tuple[int, int]] = []
        self._predictor = predictor
        self._hurt = hurt
        self._orders: dict[int, SimpleQueue[Any]] = {}
        self._threads: list[threading.Thread] = []

    def start(self, number: int, slot: int) -> None:  # noqa: ARG002 - as `Crew` has it
        self.started += 1
        self._orders[number] = SimpleQueue()
        thread = threading.Thread(target=self._work, args=(number,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def send(self, number: int, order: Any) -> None:
        if isinstance(order, Lease):
            self.leases.append((number, len(order.tasks)))
        self._orders[number].put(order)

    def kill(self, number: int) -> None:
        self._orders[number].put(Stop(now=True))

    def close(self) -> None:
        for orders in self._orders.values():
            orders.put(Stop(now=True))
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        self.events.put((number, Ready(PredictorFacts.of(self._predictor))))
        orders = self._orders[number]
        begin = orders.get()
        if not isinstance(begin, Begin):
            self.events.put((number, Ended()))
            return
        is_dead = False
        numbers: dict[int, int] = {}

        def tasks() -> Iterator[Task]:
            nonlocal is_dead
            while isinstance(order := orders.get(), Lease):
                for index, task in order.tasks:
                    if self._hurt(number, task):
                        is_dead = True
                        return
                    numbers[id(task)] = index
                    yield task

        try:
            for result in self._results(number, begin, tasks()):
                if not is_dead:  # else it is written, and never reported
                    outcome = worker_module.to_outcome(numbers[id(result.task)], result)
                    self.events.put((number, Finished([outcome])))
        except OutputError as error:
            self.events.put((number, Failed(error, "")))
        except Exception:  # noqa: BLE001 - the test does not wait for this thread
            self.events.put((number, Failed(None, traceback.format_exc())))
        self.events.put((number, self.death if is_dead else Ended()))

    def _results(self, number: int, begin: Begin, tasks: Iterator[Task]) -> Iterator[Result]:
        options = replace(begin.options, arriving=True)
        with ExitStack() as stack:
            folder = begin.folder
            journal = None if folder is None else stack.enter_context(WorkerJournal(folder, begin.stem, number))
            yield from run(
                tasks, self._predictor, begin.output, settings=begin.settings, manifest=journal, options=options
            )


def batch_run(tmp_path: Path, crew: ThreadCrew, formats: str = "npy", **settings: Any) -> BatchRun:
    batch = make_batch(tmp_path / "in", tmp_path / "out", formats=formats, weights="tiny", workers=1, **settings)
    return BatchRun(batch, lambda _: RemotePredictor(crew))


def run_batch(tmp_path: Path, crew: ThreadCrew, **settings: Any) -> list[Record]:
    with batch_run(tmp_path, crew, **settings) as running:
        return [result.record for result in running]


def name_of(record: Record) -> str:
    return Path(record.source).name


def check_complete(tmp_path: Path, records: list[Record]) -> None:
    """Check that every image is done once, and that manifest and outputs say so."""
    assert Counter(map(name_of, records)) == Counter(f"{index:02}.png" for index in range(COUNT))
    assert {record.status for record in records} == {"done"}
    assert read_records(tmp_path / "out") == {record.source: record for record in records}
    findings = list(verify_outputs(tmp_path / "out"))
    assert Counter(finding.status for finding in findings) == Counter(intact=COUNT)
    assert {path.name for path in (tmp_path / "out").glob(".*")} == {".glpn-batch.lock"}


@pytest.mark.usefixtures("images")
def test_workers_share_a_batch(tmp_path: Path, tiny: Predictor) -> None:
    crew = ThreadCrew(tiny)
    records = run_batch(tmp_path, crew)
    check_complete(tmp_path, records)
    assert {number for number, _ in crew.leases} == {0, 1}
    assert sum(size for _, size in crew.leases) == COUNT
    (settings,) = {json.dumps(record.settings) for record in records}
    assert json.loads(settings)["weights_sha256"] == tiny.weights_sha256
    again = ThreadCrew(tiny)
    assert run_batch(tmp_path, again) == []
    assert again.leases == []


@pytest.mark.usefixtures("images")
def test_images_of_a_dead_worker_go_to_others(tmp_path: Path, tiny: Predictor) -> None:
    crew = ThreadCrew(tiny, hurt=lambda number, task: number == 0 and task.source.name > "00.png")  # type: ignore[union-attr]
    check_complete(tmp_path, run_batch(tmp_path, crew))
    assert crew.started == 3


@pytest.mark.usefixtures("images")
def test_an_image_that_ends_three_workers_fails(tmp_path: Path, tiny: Predictor) -> None:
    crew = ThreadCrew(tiny, hurt=lambda _, task: Path(str(task.source)).name == "05.png")
    records = run_batch(tmp_path, crew)
    assert len(records) == COUNT
    (failed,) = (record for record in records if record.status == "failed")
    assert name_of(failed) == "05.png"
    assert failed.exit_code == 4
    assert "SIGKILL" in (failed.error or "")
    assert crew.started == 5
    (line,) = (
        line
        for line in map(json.loads, (tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines())
        if line["status"] == "failed"
    )
    assert line["relative_source"] == "../in/05.png"


@pytest.mark.usefixtures("images")
def test_outputs_that_appeared_before_a_death_are_not_redone(tmp_path: Path, tiny: Predictor) -> None:
    started: Counter[str] = Counter()

    def hurt(number: int, task: Task) -> bool:
        name = Path(str(task.source)).name
        if number == 0 and started:  # the first image is written while the worker dies of the second
            return True
        started[name] += 1
        return False

    check_complete(tmp_path, run_batch(tmp_path, ThreadCrew(tiny, 1, hurt)))
    assert started == Counter(f"{index:02}.png" for index in range(COUNT))


@pytest.mark.usefixtures("images")
def test_a_run_without_living_workers_ends(tmp_path: Path, tiny: Predictor) -> None:
    class Stillborn(ThreadCrew):
        def _work(self, number: int) -> None:
            self.events.put((number, Died("ended with exit code 1")))

    crew = Stillborn(tiny, 2)
    with pytest.raises(DeviceError, match="exit code 1"):
        run_batch(tmp_path, crew)
    assert crew.started == 6
    run_batch(tmp_path, ThreadCrew(tiny, 1))  # nothing is locked


@pytest.mark.usefixtures("images")
def test_a_worker_that_never_answers_gets_nothing(tmp_path: Path, tiny: Predictor) -> None:
    class Silent(ThreadCrew):
        def _work(self, number: int) -> None:
            if number == 0:
                super()._work(number)

    crew = Silent(tiny, 3)
    check_complete(tmp_path, run_batch(tmp_path, crew))
    assert {number for number, _ in crew.leases} == {0}


@pytest.mark.usefixtures("images")
def test_workers_with_other_weights_are_refused(tmp_path: Path, tiny: Predictor) -> None:
    class Mixed(ThreadCrew):
        def _work(self, number: int) -> None:
            facts = replace(PredictorFacts.of(self._predictor), weights_sha256=str(number) * 64)
            self.events.put((number, Ready(facts)))
            while not isinstance(self._orders[number].get(), Stop):
                pass
            self.events.put((number, Ended()))

    with pytest.raises(WeightsError, match="0000 and 1111"):
        run_batch(tmp_path, Mixed(tiny))


@pytest.mark.usefixtures("images")
def test_a_host_with_other_weights_is_named(tmp_path: Path, tiny: Predictor) -> None:
    class Distant(ThreadCrew):
        def _work(self, number: int) -> None:
            self.events.put((number, Ready(PredictorFacts.of(self._predictor), f"host-{number}")))

    batch = make_batch(tmp_path / "in", tmp_path / "out", weights="tiny")
    crew = Distant(tiny, 1)
    with (
        pytest.raises(DeviceError, match="host-0"),
        BatchRun(batch, lambda _: RemotePredictor(crew, weights_sha256="0" * 64)),
    ):
        pass


@pytest.mark.usefixtures("images")
def test_distant_workers_are_checked_before_their_first_image(tmp_path: Path, tiny: Predictor) -> None:
    class Distant(ThreadCrew):
        def _results(self, number: int, begin: Begin, tasks: Iterator[Task]) -> Iterator[Result]:
            assert begin.probe is not None
            begin.probe.check(number)
            yield from super()._results(number, begin, tasks)

    crew = Distant(tiny)
    crew.is_spread = True
    check_complete(tmp_path, run_batch(tmp_path, crew))


@pytest.mark.usefixtures("images")
def test_images_of_lost_machines_are_not_blamed(tmp_path: Path, tiny: Predictor) -> None:
    lives: Counter[int] = Counter()

    def hurt(number: int, _: Task) -> bool:
        lives[number] += 1
        return number < 4 and lives[number] > 2

    crew = ThreadCrew(tiny, 1, hurt)
    crew.death = Died("was lost with host-1", is_blameless=True)
    check_complete(tmp_path, run_batch(tmp_path, crew))
    assert crew.started == 5


@pytest.mark.usefixtures("images")
def test_an_image_that_exhausts_every_machine_fails(tmp_path: Path, tiny: Predictor) -> None:
    crew = ThreadCrew(tiny, hurt=lambda _, task: Path(str(task.source)).name == "05.png")
    crew.death = Died("was killed for lack of memory", is_blameless=True)
    records = run_batch(tmp_path, crew)
    assert {name_of(record) for record in records if record.status == "failed"} == {"05.png"}
    assert len(records) == COUNT


@pytest.mark.usefixtures("images")
def test_an_error_of_all_images_ends_the_run(tmp_path: Path, tiny: Predictor) -> None:
    def hurt(_: int, task: Task) -> bool:
        if Path(str(task.source)).name == "05.png":
            (tmp_path / "out").rename(tmp_path / "elsewhere")
        return False

    with pytest.raises(OutputError, match="removed"):
        run_batch(tmp_path, ThreadCrew(tiny, 1, hurt))


@pytest.mark.usefixtures("images")
def test_an_interrupted_run_resumes(tmp_path: Path, tiny: Predictor) -> None:
    late: list[Result] = []
    running = batch_run(tmp_path, ThreadCrew(tiny))
    running._options = replace(running._options, on_late=late.append)
    seen: list[Record] = []
    with pytest.raises(KeyboardInterrupt), running:
        for result in running:
            seen.append(result.record)
            raise KeyboardInterrupt
    before = read_records(tmp_path / "out")
    assert before.keys() == {record.source for record in (*seen, *(result.record for result in late))}
    rest = run_batch(tmp_path, ThreadCrew(tiny))
    check_complete(tmp_path, [*before.values(), *rest])


@pytest.mark.usefixtures("images")
def test_the_next_run_takes_over_the_journals_of_workers(tmp_path: Path, tiny: Predictor) -> None:
    records = run_batch(tmp_path, ThreadCrew(tiny))
    (tmp_path / "out" / "glpn-batch.jsonl").unlink()
    with Manifest(tmp_path / "out") as manifest:
        manifest.begin()
        for number in (0, 1):  # the process that writes the manifest is killed
            with WorkerJournal(tmp_path / "out", manifest.stem, number) as journal:
                for record in records[number::2]:
                    journal.announce(record, [])
        manifest._locked.close()
        manifest._begun = False
    assert run_batch(tmp_path, ThreadCrew(tiny)) == []
    check_complete(tmp_path, list(read_records(tmp_path / "out").values()))


def test_failures_known_beforehand_are_results(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    tasks = [
        Task(str(tmp_path / "gone"), failure=InputError("gone")),
        Task(make_image("a.png"), ((FORMATS["npy"], tmp_path / "a.npy"),)),
        Task("notes.txt", skipped="text"),
    ]
    options = RunOptions(in_order=True)
    results = list(run(tasks, RemotePredictor(ThreadCrew(tiny)), OutputSettings(), options=options))
    assert [result.record.status for result in results] == ["failed", "done", "skipped"]


@pytest.mark.usefixtures("images")
def test_results_come_in_order_if_wanted(tmp_path: Path, tiny: Predictor) -> None:
    slow = threading.Event()

    def hurt(number: int, task: Task) -> bool:
        if Path(str(task.source)).name == "11.png":
            slow.set()
        return number == 0 and slow.wait() and False

    plan = plan_beside([str(tmp_path / "in")], formats="npy")
    predictor = RemotePredictor(ThreadCrew(tiny, 2, hurt))
    options = RunOptions(in_order=True)
    results = list(run(plan.tasks, predictor, OutputSettings(), settings=RunSettings(workers=1), options=options))
    assert [result.task for result in results] == list(plan.tasks)


@pytest.mark.usefixtures("images")
def test_tasks_that_arrive_are_not_waited_for(tmp_path: Path, tiny: Predictor) -> None:
    tasks = plan_beside([str(tmp_path / "in")], formats="npy").tasks[:3]
    arrive = threading.Semaphore(1)

    def arriving() -> Iterator[Task]:
        for task in tasks:
            arrive.acquire()
            yield task
        raise InputError("the list ends here")

    seen = []
    with pytest.raises(InputError, match="ends here"):
        for result in run(
            arriving(), RemotePredictor(ThreadCrew(tiny)), OutputSettings(), options=RunOptions(arriving=True)
        ):
            seen.append(result.task)
            arrive.release()
    assert seen == list(tasks)


def test_an_output_that_appeared_without_a_manifest_counts(
    tmp_path: Path, tiny: Predictor, make_image: Callable[..., Path]
) -> None:
    tasks = [Task(make_image(f"{name}.png"), ((FORMATS["npz"], tmp_path / f"{name}.npz"),)) for name in "ab"]
    crew = ThreadCrew(tiny, 1, hurt=lambda number, task: number == 0 and task is not tasks[0])
    results = list(run(tasks, RemotePredictor(crew), OutputSettings(), options=RunOptions(in_order=True)))
    assert [result.record.status for result in results] == ["up to date", "done"]


@pytest.mark.usefixtures("images")
def test_the_color_range_is_measured_by_workers(tmp_path: Path, tiny: Predictor) -> None:
    batch = make_batch(tmp_path / "in", tmp_path / "plain", formats="color", weights="tiny", range="run")
    with BatchRun(batch, lambda _: tiny) as running:
        list(running)
    assert run_batch(tmp_path, MeasuringCrew(tiny), formats="color", range="run")[0].settings["range_m"] == list(
        running.color_range_m or ()
    )


class MeasuringCrew(ThreadCrew):
    """Workers that also measure ranges, as real ones do."""

    def send(self, number: int, order: Any) -> None:
        if isinstance(order, worker_module.Measure):
            measured = worker_module.Measured(worker_module.measure(self._predictor, order))
            self.events.put((number, measured))
        else:
            super().send(number, order)

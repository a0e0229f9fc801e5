"""One run on several workers: who gets which images, and what happens to them when a worker dies.

A worker that has answered gets leases, two at a time so that it never waits: few images at first, then about ten
seconds of work, and fewer again toward the end. Each result goes into the manifest. When a worker dies, what it had
announced and named is done; the rest goes back to the queue. Images that it may have died of are leased singly, and one
that ends three workers fails.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from glpn_cli.errors import GLPNError, ImageError
from glpn_cli.inference.crews.messages import Begin, Died, Ended, Finished, Lease, Note, Outcome
from glpn_cli.inference.crews.probe import Nonce, Probe
from glpn_cli.inference.plan import STDOUT
from glpn_cli.inference.record import DONE, FAILED
from glpn_cli.inference.remote import CALLER, MAX_DEATHS
from glpn_cli.inference.result import Result, ResultOrder, failed_result, skipped_result

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from glpn_cli.inference.manifest import Manifest
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.record import Record
    from glpn_cli.inference.remote import Member, RemotePredictor
    from glpn_cli.inference.run import RunOptions
    from glpn_cli.settings import OutputSettings, RunSettings

_FIRST_LEASE = 16
_LEASE_S = 10.0
_MAX_LEASE = 512
_MAX_GROUP = 64
"""Of images that a GPU may have in work, besides those that are read and written."""


class Dispatch:
    """The state of one run: the queue of tasks, and results that the caller has not taken yet."""

    def __init__(
        self,
        workers: RemotePredictor,
        output: OutputSettings,
        settings: RunSettings,
        manifest: Manifest | None,
        options: RunOptions,
    ) -> None:
        """Prepare a run; see `inference.run.run` for the arguments."""
        from glpn_cli.inference.run import ignore

        self._workers = workers
        self._manifest = manifest
        self._options = options
        folder, stem = (None, "") if manifest is None else (manifest.folder, manifest.stem)
        # Results get their order here, so that no worker holds on to a finished one.
        options = replace(options, on_late=ignore, note=ignore, in_order=False)
        self._begin = Begin(output, settings, options, folder, stem, engine=workers.engine)
        self._queue: deque[tuple[int, Task]] = deque()
        self._suspects: deque[tuple[int, Task]] = deque()
        self._deaths: dict[int, int] = {}
        self._results: deque[Result] = deque()
        self._order = ResultOrder()
        self._taken = 0
        self._are_all_known = False
        self._room = threading.Semaphore(2 * _MAX_LEASE)
        self._end: GLPNError | None = None  # the error after the last task, as of an invalid list
        self._nonce: Nonce | None = None

    def results(self, tasks: Iterator[Task]) -> Generator[Result]:
        """Process tasks and yield their results, in the order of the tasks if the options ask for it.

        Raises:
            GLPNError: what every other image would meet too; or no worker stays alive.
        """
        is_complete = False
        try:
            if self._options.arriving:
                threading.Thread(target=self._take_arriving, args=(tasks,), name="glpn-list", daemon=True).start()
            while True:
                self._take(tasks)
                self._lease_to_all()
                yield from self._finished()
                if self._is_done():
                    break
                self._handle(*self._workers.next_event())
            is_complete = True
            if self._end is not None:
                raise self._end
        finally:
            self._stop(now=not is_complete)

    # Tasks

    def _take(self, tasks: Iterator[Task]) -> None:
        """Take so many tasks that all workers can get their next leases."""
        if self._options.arriving:
            return
        wanted = 2 * _MAX_LEASE * len(self._workers.crew.devices)
        while len(self._queue) < wanted and not self._are_all_known:
            task = next(tasks, None)
            if task is None:
                self._are_all_known = True
            else:
                self._add(task)

    def _take_arriving(self, tasks: Iterator[Task]) -> None:
        """Pass on tasks as they arrive; runs in a thread of its own, which an interrupt need not end."""
        last: Task | GLPNError | BaseException | None = None
        try:
            for task in tasks:
                self._room.acquire()
                self._workers.crew.events.put((CALLER, task))
        except BaseException as error:  # noqa: BLE001 - it is raised where the run ends
            last = error
        self._workers.crew.events.put((CALLER, last))

    def _add(self, task: Task) -> None:
        number, self._taken = self._taken, self._taken + 1
        if task.failure is not None:
            self._fail(number, task, task.failure)
        elif task.skipped:
            self._add_result(number, skipped_result(task))
        else:
            self._queue.append((number, task))

    def _is_done(self) -> bool:
        is_idle = not any(member.leased for member in self._workers.members.values())
        return self._are_all_known and is_idle and not (self._queue or self._suspects)

    # Leases

    def _lease_to_all(self) -> None:
        for member in self._workers.members.values():
            if member.facts is None:
                continue
            if self._suspects and not member.leased:
                self._lease(member, [self._suspects.popleft()])
                member.is_tried = True
                continue
            while self._queue and not (member.is_tried and member.leased):
                size = self._lease_size(member)
                if len(member.leased) > size:
                    break
                member.is_tried = False
                self._lease(member, [self._queue.popleft() for _ in range(min(size, len(self._queue)))])

    def _lease(self, member: Member, tasks: list[tuple[int, Task]]) -> None:
        if not member.has_begun:
            member.has_begun = True
            member.since_s = time.monotonic()
            self._workers.send(member, self._with_probe(tasks))
        member.leased.update(tasks)
        self._workers.send(member, Lease(tuple(tasks)))
        if self._options.arriving:
            self._room.release(len(tasks))

    def _with_probe(self, tasks: list[tuple[int, Task]]) -> Begin:
        """Return the beginning of a run for a worker that may be on another machine."""
        if not self._workers.crew.is_spread:
            return self._begin
        self._nonce = self._nonce or Nonce.place(self._manifest, [task for _, task in tasks])
        return replace(self._begin, probe=Probe.of(self._nonce, [task for _, task in tasks]))

    def _lease_size(self, member: Member) -> int:
        """Return how many tasks a worker gets at once."""
        elapsed_s = max(1e-3, time.monotonic() - member.since_s)
        usual = min(_MAX_LEASE, max(_FIRST_LEASE, round(_LEASE_S * member.finished / elapsed_s)))
        if not (self._are_all_known or self._options.arriving):
            return usual
        return max(1, min(usual, math.ceil(len(self._queue) / (2 * len(self._workers.members)))))

    # Events

    def _handle(self, member: Member | None, event: object) -> None:
        if member is None:
            self._handle_arrival(event)
        elif isinstance(event, Finished):
            self._settle(member, event.outcomes)
        elif isinstance(event, Note):
            self._options.note(event.text)
        elif isinstance(event, Died | Ended):
            self._recover(member, event)

    def _handle_arrival(self, event: object) -> None:
        if event is None or isinstance(event, BaseException):
            self._are_all_known = True
            if isinstance(event, GLPNError):
                self._end = event
            elif event is not None:
                raise event
        else:
            self._add(event)  # type: ignore[arg-type]  # a task

    def _settle(self, member: Member, outcomes: list[Outcome]) -> None:
        """Take results of a worker, and write their lines of the manifest at once."""
        results = [
            (outcome.number, self._to_result(member.leased.pop(outcome.number), outcome))
            for outcome in outcomes
            if outcome.number in member.leased
        ]
        member.finished += len(results)
        lines = [result.record for _, result in results if result.record.status in (DONE, FAILED)]
        if self._manifest is not None and lines:
            self._manifest.append_all(lines)
        for number, result in results:
            self._deaths.pop(number, None)
            self._add_result(number, result)

    def _to_result(self, task: Task, outcome: Outcome) -> Result:
        is_line = outcome.record.status in (DONE, FAILED)
        record = replace(outcome.record, settings=self._options.fingerprint) if is_line else outcome.record
        return Result(
            task,
            record,
            outcome.error,
            outcome.elapsed_s,
            outcome.facts,
            outcome.depth,
            noted=outcome.noted,
            entry=outcome.entry,
            files=outcome.files,
        )

    # Deaths

    def _recover(self, member: Member, event: Died | Ended) -> None:
        """Find out what a worker has finished, give the rest to others, and start another worker."""
        found = {} if self._manifest is None else self._manifest.recover(member.number)
        rest: list[tuple[int, Task]] = []
        for number, task in member.leased.items():
            record = found.get(str(task.source))
            if record is not None and record.is_done:
                self._add_recovered(number, task, record)
                self._workers.count_result(member)
            else:
                rest.append((number, self._again(task, record)))
        member.leased.clear()
        is_alone, window = member.is_tried, self._window(member)
        suspects = rest[:1] if is_alone else rest[:window]
        self._queue.extendleft(reversed(rest[len(suspects) :]))
        if isinstance(event, Ended):  # somebody asked it to end
            self._queue.extendleft(reversed(suspects))
        else:
            self._suspect(suspects, event, is_alone=is_alone)
        if rest or self._queue or self._suspects or not self._are_all_known:
            is_blamed = isinstance(event, Ended) or is_alone or not event.is_blameless
            self._workers.replace(member, had_tasks=bool(rest) and is_blamed)

    def _suspect(self, suspects: list[tuple[int, Task]], event: Died, *, is_alone: bool) -> None:
        """Lease images singly from now on, and fail those that have ended too many workers.

        A blameless death counts a third: an image that exhausts the memory of every machine is found too.
        """
        weight = 1 if event.is_blameless and not is_alone else MAX_DEATHS
        for number, task in suspects:
            self._deaths[number] = self._deaths.get(number, 0) + weight
            if self._deaths[number] >= MAX_DEATHS * MAX_DEATHS:
                error = ImageError(
                    f"{task.source}: its worker process {event.reason}, at least {MAX_DEATHS} times",
                    hint="the image may be damaged, or need more memory than there is: resize it, or set fewer "
                    "`workers`",
                )
                self._fail(number, task, error)
            elif self._deaths[number] < MAX_DEATHS:
                self._queue.append((number, task))  # after the others: if it is the cause, they are done before
            else:
                self._suspects.append((number, task))

    def _window(self, member: Member) -> int:
        """Return how many tasks a worker may have had in work at the same time."""
        on_cpu = member.facts is None or member.facts.runtime.device == "cpu"
        group = 1 if on_cpu else self._begin.settings.batch_size or _MAX_GROUP
        return 3 * self._begin.settings.worker_count + group

    def _again(self, task: Task, record: Record | None) -> Task:
        """Return a task for another attempt: outputs of the first one may be there."""
        if record is not None:
            return replace(task, record=record)
        if self._manifest is None and not task.overwrite and task.outputs:
            exists = any(path is not STDOUT and os.path.lexists(path) for _, path in task.outputs)
            return replace(task, exists=exists)
        return task

    # Results

    def _add_recovered(self, number: int, task: Task, record: Record) -> None:
        """Take an image whose worker died after its outputs had appeared, and before it was reported."""
        if self._manifest is not None:
            self._manifest.append(record)
        self._add_result(number, Result(task, record))

    def _fail(self, number: int, task: Task, error: GLPNError) -> None:
        result = failed_result(task, error, settings=self._options.fingerprint)
        if self._manifest is not None:
            self._manifest.append(result.record)
        self._add_result(number, result)

    def _add_result(self, number: int, result: Result) -> None:
        if self._options.in_order:
            self._order.add(number, result)
        else:
            self._results.append(result)

    def _finished(self) -> Iterator[Result]:
        yield from self._order.ready()
        while self._results:
            yield self._results.popleft()

    def _stop(self, *, now: bool) -> None:
        """End all workers; results that come after the caller has gone are only recorded and counted."""
        for member, event in self._workers.stop(now=now):
            if isinstance(event, Finished):
                self._settle(member, event.outcomes)
        if self._nonce is not None:
            self._nonce.remove()
        late = [*self._results, *self._order.waiting]
        for result in late if now else ():
            self._options.on_late(result)

"""A predictor whose network runs in worker processes, one for each of several devices."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from queue import Empty
from typing import TYPE_CHECKING, Any

from glpn_cli._version import __version__
from glpn_cli.errors import DeviceError, GLPNError, WeightsError
from glpn_cli.inference.crews.messages import Died, Ended, Failed, Finished, Measure, Measured, Ready, Stop
from glpn_cli.inference.facts import PredictorFacts, RuntimeFacts

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.crews.messages import Crew, Event, Order
    from glpn_cli.inference.manifest import Manifest
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.result import Result
    from glpn_cli.inference.run import RunOptions
    from glpn_cli.settings import OutputSettings, RunSettings
    from glpn_cli.values import EngineChoice

MAX_DEATHS = 3
"""How many workers an image may end."""

_MAX_FAILURES = 9
"""A device is given up after so many deaths without any result, or a third of it while there was nothing to do."""

CALLER = -1
"""The number of a worker that events of this process have."""

_END_WAIT_S = 60.0
"""How long a worker may take to finish the image that it computes."""


@dataclass(eq=False, slots=True)
class Member:
    """A worker that is alive.

    Attributes:
        number: of the worker.
        slot: index of its device.
        facts: of its predictor; None until it has answered.
        has_begun: whether it knows the run.
        leased: its tasks by number, in the order in which it got them.
        is_tried: whether its only task was in a worker that died.
        finished: number of results.
        since_s: when it got its first task.
    """

    number: int
    slot: int
    facts: PredictorFacts | None = None
    has_begun: bool = False
    leased: dict[int, Task] = field(default_factory=dict)
    is_tried: bool = False
    finished: int = 0
    since_s: float = 0.0


class RemotePredictor(PredictorFacts):
    """What a run on several devices needs in place of a `Predictor`; it takes part in one run.

    Attributes:
        crew: starts the workers.
        members: workers that are alive, by number.
        engine: what computes the network, if the run has chosen it.
    """

    def __init__(self, crew: Crew, *, weights_sha256: str | None = None) -> None:
        """Start all workers, and wait until the first one answers.

        Args:
            crew: has started nothing yet.
            weights_sha256: what all workers must load; None is what the first one loads.

        Raises:
            WeightsError, DeviceError: the network cannot be loaded.
        """
        self.crew = crew
        self._wanted_sha256 = weights_sha256
        self.members: dict[int, Member] = {}
        self.engine: EngineChoice | None = None
        self._failures = [0] * len(crew.devices)  # deaths in a row without any result; 3 for one without a task
        self._last_reason = ""
        self._started = 0
        self._first: PredictorFacts | None = None
        try:
            for slot in range(len(crew.devices)):
                self._start(slot)
            first = self._await_ready().facts
        except BaseException:
            self.close()
            raise
        assert first is not None  # noqa: S101 - it has answered
        runtime = RuntimeFacts(crew.name, first.runtime.precision)
        super().__init__(**{**vars(first), "runtime": runtime})

    @property
    def devices(self) -> list[str]:
        """The device of each worker."""
        return list(self.crew.devices)

    def use_engine(self, choice: EngineChoice) -> None:
        """Let all workers compute with the engine that a run has chosen."""
        self.engine = choice

    def run(
        self,
        tasks: Iterable[Task],
        output: OutputSettings,
        settings: RunSettings,
        manifest: Manifest | None,
        options: RunOptions,
    ) -> Generator[Result]:
        """Return the results of tasks, as `inference.run.run` does; see there."""
        from glpn_cli.inference.dispatch import Dispatch

        return Dispatch(self, output, settings, manifest, options).results(iter(tasks))

    def measure(self, images: Iterable[Source]) -> Iterator[tuple[float, float] | None]:
        """Yield the range of each image; see `color_range.measure_usable`."""
        for image in images:
            member = self._await_ready()
            self.send(member, Measure(image, self.engine))
            while True:
                sender, event = self.next_event()
                if isinstance(event, Measured):
                    yield event.range_m
                    break
                if isinstance(event, Died | Ended):
                    self.replace(sender)
                    if sender is member:
                        yield None  # an image that ends a worker is left to the run
                        break

    def next_event(self, timeout_s: float | None = None) -> tuple[Member | None, Event]:
        """Wait for what happens next; a worker that has died or ended is no member any more.

        Args:
            timeout_s: how long to wait; None waits without a limit.

        Returns:
            The worker, or None for an event of this process; and the event.

        Raises:
            queue.Empty: nothing has happened.
            GLPNError: a worker has met an error that every other image would meet too.
            RuntimeError: a worker has a bug.
        """
        while True:
            number, event = self.crew.events.get(timeout=timeout_s)
            if number == CALLER:
                return None, event
            member = self.members.get(number)
            if member is None:  # it has ended before
                continue
            if isinstance(event, Failed):
                del self.members[number]
                _raise(event)
            if isinstance(event, Ready):
                self._check(event, self.crew.devices[member.slot])
                member.facts = event.facts
            elif isinstance(event, Finished):
                self.count_result(member)
            elif isinstance(event, Died | Ended):
                del self.members[number]
                self._last_reason = event.reason if isinstance(event, Died) else "was terminated"
            return member, event

    def count_result(self, member: Member) -> None:
        """Note that a worker has finished an image, so that its device is not given up."""
        self._failures[member.slot] = 0

    def replace(self, member: Member | None, *, had_tasks: bool = False) -> None:
        """Start another worker in place of one that has died, unless that has failed too often.

        Args:
            member: the worker; None does nothing.
            had_tasks: whether it may have died of an image.

        Raises:
            DeviceError: there is no worker any more.
        """
        if member is None:
            return
        self._failures[member.slot] += 1 if had_tasks else MAX_DEATHS
        if self._failures[member.slot] < _MAX_FAILURES:
            self._start(member.slot)
        elif not self.members:
            raise DeviceError(
                f"no worker process stays alive: the last one {self._last_reason}",
                hint="use fewer devices, fewer `workers`, or a smaller `input_size`",
            )

    def send(self, member: Member, order: Order) -> None:
        """Send a message to a worker."""
        self.crew.send(member.number, order)

    def stop(self, *, now: bool) -> Iterator[tuple[Member, Event]]:
        """End the workers of the run; yield what they still report.

        Args:
            now: drop what is leased; what is being written is finished.
        """
        for member in list(self.members.values()):
            if member.has_begun:
                self.send(member, Stop(now))
            else:
                del self.members[member.number]
        deadline_s = time.monotonic() + _END_WAIT_S
        while self.members:
            try:
                sender, event = self.next_event(max(0, deadline_s - time.monotonic()))
            except Empty:
                break
            except (GLPNError, RuntimeError):  # what ended the run matters more
                continue
            if sender is not None:
                yield sender, event
        self.close()

    def close(self) -> None:
        """End all workers at once."""
        self.members.clear()
        self.crew.close()

    def _start(self, slot: int) -> None:
        number, self._started = self._started, self._started + 1
        self.members[number] = Member(number, slot)
        self.crew.start(number, slot)

    def _await_ready(self) -> Member:
        """Return a worker that has answered."""
        while True:
            ready = [member for member in self.members.values() if member.facts is not None]
            if ready:
                return ready[0]
            sender, event = self.next_event()
            if isinstance(event, Died | Ended):
                self.replace(sender)

    def _check(self, ready: Ready, device: str) -> None:
        """Refuse a worker that would give other outputs.

        Raises:
            WeightsError, DeviceError: it would; the latter if it is on another machine.
        """
        if self._first is None:
            wanted = self._wanted_sha256 or ready.facts.weights_sha256
            self._first = replace(ready.facts, weights_sha256=wanted, version=__version__)
        differences = self._first.differences(ready.facts)
        if differences:
            kind, where = (DeviceError, ready.host) if ready.host else (WeightsError, device)
            raise kind(f"the workers differ: {differences}, on {where}", hint="install the same everywhere")


def close_remote(predictor: Any) -> None:
    """End the workers of a predictor that has any."""
    if isinstance(predictor, RemotePredictor):
        with contextlib.suppress(OSError):
            predictor.close()


def _raise(event: Failed) -> None:
    """Raise what a worker has raised.

    Raises:
        GLPNError: an error that a user can fix.
        RuntimeError: a bug.
    """
    where = f", on {event.host}" if event.host else ""
    if event.error is None:
        raise RuntimeError(f"a worker process failed{where}:\n{event.trace}")
    event.error.message += where
    event.error.args = (event.error.message,)
    event.error.add_note(event.trace.rstrip())
    raise event.error

"""A worker: loads the network once, then runs the loop of `inference.run` on the tasks that it is sent.

main thread: the run loop       listening thread: orders → inbox       sending thread: results → messages
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import traceback
from contextlib import ExitStack, closing
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import GLPNError
from glpn_cli.inference.crews.messages import (
    Begin,
    Ended,
    Failed,
    Finished,
    Lease,
    Measure,
    Measured,
    Note,
    Outcome,
    Ready,
    Stop,
)
from glpn_cli.tuning import tune_process
from glpn_cli.weights.store import ProgressCallback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from glpn_cli.inference.crews.messages import Event, Order
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.result import Result
    from glpn_cli.settings import PredictionSettings

_SEND_EVERY_S = 0.05
"""How long results are collected for a message: a message costs the other side as much as ten results."""


def _nothing() -> None:
    pass


def main() -> None:
    """Run a worker whose orders come from standard input and whose messages go to standard output."""
    tune_process()
    orders = sys.stdin.buffer
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the messages
    number, settings, device = pickle.load(orders)  # noqa: S301 - of the process that started this one
    sending = threading.Lock()

    def send(event: Event) -> None:
        with sending:
            pickle.dump(event, messages, pickle.HIGHEST_PROTOCOL)
            messages.flush()

    worker = Worker(number, replace(settings, device=device), lambda: pickle.load(orders), send)  # noqa: S301 - as above
    worker.install_signals()
    worker.work()
    os._exit(0)  # nothing is left to clean up, and freeing torch takes 0.2 s


class _Notes(ProgressCallback):
    """Collects the notes of loading."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        """Take a note."""
        self.texts.append(text)


class Worker:
    """One worker, from loading to its last result. It ends by itself when the process that sends orders is gone."""

    def __init__(
        self,
        number: int,
        settings: PredictionSettings,
        receive: Callable[[], Order],
        send: Callable[[Event], None],
        *,
        host: str = "",
        await_permission: Callable[[], None] = _nothing,
        send_every_s: float = _SEND_EVERY_S,
    ) -> None:
        """Do nothing yet.

        Args:
            number: of the worker in its run.
            settings: how images become depth.
            receive: returns the next order; raises EOFError when there will be none.
            send: sends a message; any thread calls it.
            host: the name of this machine, if it is another one than that of the run.
            await_permission: see `WorkerJournal`.
            send_every_s: how long results are collected for a message.
        """
        self._host = host
        self._await_permission = await_permission
        self._send_every_s = send_every_s
        self._is_stopped = False
        self._number = number
        self._settings = settings
        self._receive = receive
        self._send = send
        self._inbox: SimpleQueue[Order | None] = SimpleQueue()
        self._outbox: SimpleQueue[Outcome | None] = SimpleQueue()
        self._is_running = False
        self._has_signals = False
        self._has_ended = threading.Event()
        self._numbers: dict[int, tuple[int, Task]] = {}  # by identity; the task keeps it from being used again

    def install_signals(self) -> None:
        """Make SIGTERM end the worker as an interrupt does: what is being written is finished."""
        signal.signal(signal.SIGTERM, self._interrupt)
        self._has_signals = True

    def work(self) -> None:
        """Load the network, and process orders until there are no more."""
        threading.Thread(target=self._listen, name="glpn-orders", daemon=True).start()
        try:
            predictor = self._load()
            while isinstance(order := self._inbox.get(), Measure):
                self._use_engine(predictor, order)
                self._send(Measured(measure(predictor, order)))
            if isinstance(order, Begin):
                if order.probe is not None:
                    order.probe.check(self._number)
                self._use_engine(predictor, order)
                self._run(predictor, order)
            self._send(Ended())
        except OSError:  # the process that takes messages is gone
            os._exit(1)
        except GLPNError as error:
            self._send(Failed(error, traceback.format_exc(), self._host))
        except Exception:  # noqa: BLE001 - the other process raises it
            self._send(Failed(None, traceback.format_exc(), self._host))

    def _load(self) -> Predictor:
        from glpn_cli.inference.facts import PredictorFacts
        from glpn_cli.inference.load import load_predictor

        notes = _Notes()
        predictor = load_predictor(self._settings, progress=notes)
        if predictor.runtime.device.type == "cuda":
            import torch

            torch.cuda.set_device(predictor.runtime.device)  # for what does not name a device
        self._send(Ready(PredictorFacts.of(predictor, tuple(notes.texts)), self._host))
        return predictor

    @staticmethod
    def _use_engine(predictor: Predictor, order: Begin | Measure) -> None:
        if order.engine is not None:
            predictor.use_engine(order.engine)

    def _run(self, predictor: Predictor, begin: Begin) -> None:
        from glpn_cli.inference.journal import WorkerJournal
        from glpn_cli.inference.run import run

        options = replace(begin.options, arriving=True, on_late=self._report, note=lambda text: self._send(Note(text)))
        sender = threading.Thread(target=self._send_outcomes, name="glpn-results", daemon=True)
        sender.start()
        try:
            with ExitStack() as stack:
                journal = None
                if begin.folder is not None:
                    journal = WorkerJournal(begin.folder, begin.stem, self._number, self._await_permission)
                    stack.enter_context(journal)
                results = run(
                    self._tasks(),
                    predictor,
                    begin.output,
                    settings=begin.settings,
                    manifest=journal,
                    options=options,
                )
                stack.enter_context(closing(results))
                self._is_running = True
                for result in results:
                    self._report(result)
                    if self._is_stopped:
                        break
        except KeyboardInterrupt:
            pass  # what was being written is finished and reported
        finally:
            self._is_running = False
            self._has_ended.set()
            self._outbox.put(None)
            sender.join()

    def _tasks(self) -> Iterator[Task]:
        """Yield leased tasks as they come; the run loop asks for the next one in a thread."""
        while isinstance(order := self._inbox.get(), Lease):
            for number, task in order.tasks:
                if self._is_stopped:
                    return
                self._numbers[id(task)] = (number, task)
                yield task

    def _report(self, result: Result) -> None:
        number, _ = self._numbers.pop(id(result.task))
        self._outbox.put(to_outcome(number, result))

    def _send_outcomes(self) -> None:
        """Send results in lists; runs in a thread of its own."""
        outcomes: list[Outcome | None] = []
        while None not in outcomes:
            outcomes = [self._outbox.get()]
            with contextlib.suppress(Empty):
                while True:
                    outcomes.append(self._outbox.get_nowait())
            finished = [outcome for outcome in outcomes if outcome is not None]
            if finished:
                try:
                    self._send(Finished(finished))
                except OSError:
                    os._exit(1)
            self._has_ended.wait(self._send_every_s)

    def _listen(self) -> None:
        """Take orders; runs in a thread of its own, so that the worker notices at once that the run is gone."""
        while True:
            try:
                order = self._receive()
            except (EOFError, OSError, pickle.UnpicklingError):
                # Nobody would take the results. Outputs that get their names at this moment are in the journal.
                os._exit(1)
            if isinstance(order, Stop):
                self._is_stopped = order.now
                self._inbox.put(None)
                if order.now and self._has_signals:
                    self._interrupt_main()
            else:
                self._inbox.put(order)

    def _interrupt_main(self) -> None:
        if hasattr(signal, "pthread_kill"):  # also ends a system call that waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            import _thread

            _thread.interrupt_main(signal.SIGTERM)

    def _interrupt(self, *_: Any) -> None:
        """Handle a signal in the main thread."""
        if self._is_running:
            self._is_running = False
            raise KeyboardInterrupt
        if not self._has_ended.is_set():
            os._exit(1)  # while the network is loaded; nothing is being written


def to_outcome(number: int, result: Result) -> Outcome:
    """Return a result for a message.

    Args:
        number: of its task.
        result: of this process.
    """
    return Outcome(
        number,
        replace(result.record, settings={}),
        result.error,
        result.elapsed_s,
        result.facts,
        result.depth,
        result.noted,
        result.entry,
        result.files,
    )


def measure(predictor: Predictor, order: Measure) -> tuple[float, float] | None:
    """Return the answer to an order."""
    from glpn_cli.inference.color_range import measure_usable

    return next(measure_usable(predictor, [order.image]))

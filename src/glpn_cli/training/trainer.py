"""The training itself: step after step, kept so that it can be stopped at any time and goes on exactly."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from glpn_cli.data.layouts import LAYOUTS
from glpn_cli.device import Runtime, choose_runtime, memory_errors_named
from glpn_cli.errors import UsageError
from glpn_cli.settings import SIZE_DIVISOR, Precision
from glpn_cli.training.checkpoints import check_same_data, check_same_training, keep_state, read_state, settings_as_json
from glpn_cli.training.datasets import (
    SCENES,
    Batch,
    TrainingSamples,
    batches,
    paper_size,
    training_sets,
    validation_sets,
)
from glpn_cli.training.distributed import Processes
from glpn_cli.training.initialization import NOTHING, Start, load_start, restore_start
from glpn_cli.training.learner import Learner
from glpn_cli.training.lock import locked
from glpn_cli.training.logs import STATE_NAME, Results
from glpn_cli.training.optimizer import Schedule
from glpn_cli.training.plan import Plan
from glpn_cli.training.progress import QUIET, StepFacts, Stop, TrainWatcher, stop_asked_for
from glpn_cli.training.settings import NATIVE_CROP, SHARED_CROP
from glpn_cli.training.validation import ALIGNED, check_samples, validate
from glpn_cli.weights.store import BEST_NAME, LAST_NAME, SAFETENSORS_NAME
from glpn_cli.weights.store import NO_PROGRESS as NOT_WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from glpn_cli.training.settings import TrainRun, TrainSettings
    from glpn_cli.weights.store import ProgressCallback


BEST_BY = f"{ALIGNED}abs_rel"
"""Which metric decides what is best where meters are approximate; where they are true it is the plain one."""

_LESS_MEMORY = "a smaller --batch-size or --size, --accumulate, or another --device"
_SMOOTHING_STEPS = 50
_FEWEST_STEPS_BETWEEN = 100  # two validations; epochs of a small set are over in no time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        folder: with the best weights, or the last ones where nothing was measured.
        step: how many steps are done.
        steps: how many there are.
        interrupted: whether somebody stopped it.
        best: the metrics of the best weights, if any were measured.
        best_step: after how many steps they were, if that is known.
        device: what computed.
        leads: whether this process is the one that talks and writes.
    """

    folder: Path
    step: int
    steps: int
    interrupted: bool
    best: dict[str, float] | None
    best_step: int | None = None
    device: str = "cpu"
    leads: bool = True

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps


def train(
    settings: TrainSettings, run: TrainRun, *, watcher: TrainWatcher = QUIET, downloads: ProgressCallback = NOT_WATCHED
) -> Outcome:
    """Train, or go on where the same training stopped.

    In the folder are then `best/` and `last/` (weights for `glpn predict`), `state.pt`, `train.csv`, `validation.csv`
    and `settings.json`.

    Args:
        settings: what is trained on what, and how.
        run: where and for how long.
        watcher: is told how it goes.
        downloads: is told of weights that have to be fetched first.

    Raises:
        UsageError: settings contradict each other, or another training is in the folder.
        InputError: samples cannot be used.
        TrainingError: the loss is no number.
        OutputError: results cannot be written.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(Processes.from_environment(run.device))
        trainer = _Trainer(settings, run, processes, watcher if processes.rank == 0 else QUIET, downloads)
        stack.callback(trainer.watcher.end)
        stop = stack.enter_context(stop_asked_for(run.max_minutes))
        return trainer.go(stop)


@dataclass(frozen=True, slots=True)
class _Measured:
    metrics: dict[str, float]
    tensors: dict[str, Tensor]


class _Trainer:
    def __init__(
        self,
        settings: TrainSettings,
        run: TrainRun,
        processes: Processes,
        watcher: TrainWatcher,
        downloads: ProgressCallback,
    ) -> None:
        self.watcher = watcher
        self.settings, self.run, self.processes = settings, run, processes
        if not run.out:
            raise UsageError("--out is empty", hint="is a variable of the shell not set?")
        paper = paper_size(settings.data)
        self.folder = Path(run.out)
        name = run.name or self.folder.resolve().name
        self.runtime: Runtime = choose_runtime(processes.device(run.device), settings.precision, run.threads)
        self.leads = processes.rank == 0
        _check(settings, processes)
        state = None if run.overwrite else read_state(self.folder / STATE_NAME)
        if not processes.agree(0 if state is None else state["step"], self.runtime.device):
            raise UsageError(
                f"{self.folder}: not all processes find the same state of a training here",
                hint="--out is to be a folder that all machines share",
            )
        if state is not None:
            check_same_training(state["settings"], settings, self.folder)
        self.start: Start
        if state is not None and "config" in state:
            self.start = restore_start(state["config"], state["card"], name)
        else:
            _check_init(settings, run)
            self.start = load_start(settings, name, paper_size=paper, offline=run.offline, watcher=downloads)
        sizes = settings.sizes or ((*self.start.card.working_size, 1.0),)
        self.sets = sets = training_sets(settings)
        self.plan = Plan(sets, settings, sizes)
        shown = replace(settings, crop=settings.crop or (NATIVE_CROP if paper else SHARED_CROP))
        self.samples = TrainingSamples(sets, shown, limit_m=self.start.card.depth_limit_m)
        self.schedule = Schedule(
            self.plan.steps, settings.learning_rate, settings.lowest_rate, settings.peak_at, settings.power
        )
        self.best_by = "abs_rel" if self.start.card.metric else BEST_BY
        with memory_errors_named("the network", hint=_LESS_MEMORY):
            self.learner = Learner(self.start, settings, self.runtime, processes)
        self.first_step, self.best = 0, None if state is None else state["best"]
        self.best_step = None if state is None else state.get("best_step")
        self.due = False if state is None else state.get("due", False)
        self.beginning: _Measured | None = None
        self._tell_what_may_surprise()
        self.amounts = json.dumps([[Path(one.name).name, len(one.samples), one.count] for one in sets])
        if state is not None:
            check_same_data(state.get("amounts", self.amounts), self.amounts, self.folder)
            self.learner.load(state)
            self.first_step = state["step"]

    def _tell_what_may_surprise(self) -> None:
        if any(one.endless for one in self.sets) and os.path.isdir(SCENES):
            self.watcher.note(f"--data {SCENES} renders new ones; the folder of that name is ./{SCENES}")
        limit_m = self.start.card.depth_limit_m
        for name, cap_m in ((one.name, LAYOUTS[one.name].cap_m) for one in self.sets if one.name in LAYOUTS):
            if cap_m > limit_m:
                self.watcher.note(
                    f"{name} is {cap_m:g} m deep and these weights end at {limit_m:g} m: beyond it nothing is learnt"
                )

    def _tell_details(self) -> None:
        tell = self.watcher.detail
        seen = sum(one.count for one in self.sets)
        for one in self.sets:
            samples = "rendered as they are needed" if one.endless else f"{len(one.samples)} samples"
            tell(f"{one.name}: {samples}, {one.count / seen:.0%} of what is seen")
        tell(f"measured by {sum(len(one.samples) for one in self.validation)} images")
        millions = self.learner.parameters / 1e6
        tell(
            f"{millions:.1f} million parameters, {self.settings.precision} on {self.runtime.device}, "
            f"processes: {self.processes.count}"
        )

    def go(self, stop: Stop) -> Outcome:
        if not self.leads:
            return self._go(stop)
        self.validation = validation_sets(self.settings)  # before anything of another training is taken away
        if not self._measures_first():
            check_samples(self.validation, self.start.card)
        results = Results(self.settings, self.run, first_step=self.first_step, due=self.due)
        with locked(self.folder), closing(results) as self.results:
            self._tell_details()
            return self._go(stop)

    def _go(self, stop: Stop) -> Outcome:
        settings, run = self.settings, self.run
        step = self.first_step
        self.watcher.begin(self.plan.steps, step)
        if step:
            self._begin_results()
            if self.due:
                self._measure(step)
        elif self._measures_first():
            self.beginning = self._measured()
            if self.beginning is not None:
                self._compare(0, self.beginning.metrics)
        per_epoch = self.plan.steps_per_epoch
        validate_every = run.validate_every or per_epoch * -(-_FEWEST_STEPS_BETWEEN // per_epoch)
        begun_s, loss_sum = time.monotonic(), None
        interrupted = False
        for step, parts in enumerate(self._steps(), start=self.first_step + 1):
            with memory_errors_named(f"a step of {settings.batch_size} images", hint=_LESS_MEMORY):
                loss, norm = self.learner.step(step - 1, self.schedule(step - 1), parts)
            if step == 1:  # what another training left here stays until it is sure that this one learns
                self._begin_results()
            loss_sum = (
                loss
                if loss_sum is None
                else loss_sum + (loss - loss_sum) / min(_SMOOTHING_STEPS, step - self.first_step)
            )
            rate = (step - self.first_step) * settings.batch_size / (time.monotonic() - begun_s)
            self._report(step, loss_sum, norm, rate)
            over = self.processes.any_of(stop.asked_for, self.runtime.device) or step == run.until
            measured = step % validate_every == 0 or step == self.plan.steps
            if measured or step % run.save_every == 0 or over:
                self._keep(step, due=measured)
            if measured:
                self._measure(step)
            if over:
                interrupted = stop.interrupted
                break
        best = self.folder / BEST_NAME
        folder = best if self.best and (best / SAFETENSORS_NAME).exists() else self.folder / LAST_NAME
        return Outcome(
            folder,
            step,
            self.plan.steps,
            interrupted,
            self.best,
            self.best_step,
            str(self.runtime.device),
            self.leads,
        )

    def _steps(self) -> Iterator[list[Batch]]:
        """Give the parts of every step that is left."""
        if self.first_step >= min(self.run.until or self.plan.steps, self.plan.steps):
            return
        parts = []
        for batch in batches(
            self.samples,
            self.plan,
            first_step=self.first_step,
            part=(self.processes.rank, self.processes.count),
            accumulate=self.settings.accumulate,
            workers=self.run.workers,
        ):
            parts.append(batch)
            if len(parts) == self.settings.accumulate:
                yield parts
                parts = []

    def _report(self, step: int, loss: float, norm: float, rate: float) -> None:
        if not self.leads:
            return
        facts = StepFacts(
            step,
            step / self.plan.steps_per_epoch,
            loss,
            self.schedule(step - 1),
            norm,
            rate,
            self.plan.size(step - 1),
        )
        self.watcher.advance(facts)
        self.results.add_step(facts, last=step == self.plan.steps)

    def _measure(self, step: int) -> None:
        """Measure what was kept, whatever may go wrong with that, and keep what came of it."""
        measured = self._measured()
        if measured is not None:
            self._note(step, measured, best=self._compare(step, measured.metrics))
        self._keep_state(step, due=False)

    def _measured(self) -> _Measured | None:
        """Measure the weights of now; None where nothing is measured, or by another process."""
        measured = None
        if self.leads and self.validation:
            tensors = {key: value.clone() for key, value in self.learner.tensors.items()}
            with memory_errors_named("measuring the network", hint=_LESS_MEMORY), torch.random.fork_rng(devices=[]):
                network = type(self.start.network)(self.start.network.config)
                network.load_state_dict(tensors)
                network.to(self.runtime.device).eval()
                measured = _Measured(validate(network, self.start.card, self.validation, self.runtime.device), tensors)
        self.processes.wait()
        return measured

    def _measures_first(self) -> bool:
        """Tell whether a measurement comes before the next step: one that is due, or that of weights to begin with."""
        return self.due or (not self.first_step and self.settings.init != NOTHING)

    def _compare(self, step: int, metrics: dict[str, float]) -> bool:
        """Tell, also the watcher, whether these metrics are the best so far; if so, others have to better them."""
        best = self.best is None or metrics[self.best_by] < self.best[self.best_by]
        if best:
            self.best, self.best_step = metrics, step
        self.watcher.validated(step, metrics, best=best)
        return best

    def _note(self, step: int, measured: _Measured, *, best: bool) -> None:
        """Write down a measurement, and keep the weights if they are the best."""
        self.results.add_metrics(step, measured.metrics)
        if best:
            self._write_weights(BEST_NAME, step, measured.tensors)

    def _begin_results(self) -> None:
        if self.leads:
            self.results.begin()

    def _keep(self, step: int, *, due: bool) -> None:
        self.learner.check_weights(step)
        self._keep_state(step, due=due)  # before any weights: those that no state belongs to are not gone on with
        if self.leads:
            if self.beginning is not None:
                self._note(0, self.beginning, best=True)
                self.beginning = None
            self._write_weights(LAST_NAME, step, self.learner.tensors)

    def _keep_state(self, step: int, *, due: bool) -> None:
        """Keep the state after a step; who goes on from it begins with a measurement, if one is due."""
        if self.leads:
            keep_state(
                self.folder / STATE_NAME,
                {
                    "settings": settings_as_json(self.settings),
                    "amounts": self.amounts,
                    "step": step,
                    "due": due,
                    "best": self.best,
                    "best_step": self.best_step,
                    "config": self.start.network.config.to_dict(),
                    "card": replace(self.start.card, name="").to_metadata(),  # each command says how to call them
                    **self.learner.state(),
                },
            )
        self.processes.wait()

    def _write_weights(self, name: str, step: int, tensors: dict[str, Tensor]) -> None:
        network = self.start.network
        self.results.write_weights(name, network.config, tensors, self.start.card, (step, self.plan.steps))


def _check_init(settings: TrainSettings, run: TrainRun) -> None:
    """Refuse to take away the weights that a training begins with: killed early, it could not begin again."""
    if settings.init != NOTHING and os.path.exists(settings.init):
        init, folder = Path(settings.init).resolve(), Path(run.out).resolve()
        if init.is_relative_to(folder):
            raise UsageError(f"--init {settings.init} lies in --out, which this training fills", hint="another --out")


def _check(settings: TrainSettings, processes: Processes) -> None:
    parts = processes.count * settings.accumulate
    if settings.batch_size % parts:
        raise UsageError(
            f"a batch of {settings.batch_size} cannot be divided into {parts} equal parts",
            hint="--batch-size is for all processes together",
        )
    if settings.precision not in (Precision.FLOAT32, Precision.BFLOAT16):
        raise UsageError(f"training does not run in {settings.precision}", hint="--precision bfloat16")
    for height, width, _ in settings.sizes:
        if height % SIZE_DIVISOR or width % SIZE_DIVISOR:
            raise UsageError(f"--size {height}x{width}: both sides must be multiples of {SIZE_DIVISOR}")

"""The training loop: steps, validations and checkpoints of a run that can be stopped at any time and resumed."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.data.layouts import LAYOUTS
from glpn_cli.device import Runtime, choose_runtime, memory_errors_named
from glpn_cli.errors import UsageError
from glpn_cli.training.checkpoints import (
    STATE_NAME,
    check_same_data,
    check_same_settings,
    read_state,
    save_state,
    settings_to_json,
)
from glpn_cli.training.datasets import ValidationSet, paper_size, training_sets, validation_sets
from glpn_cli.training.distributed import Processes
from glpn_cli.training.initialization import NEW_NETWORK, InitialNetwork, create_network, restore_network
from glpn_cli.training.learner import Learner
from glpn_cli.training.loader import Batch, SamplingPlan, TrainingSamples, load_batches
from glpn_cli.training.logs import RunFolder, check_existing, lock_folder
from glpn_cli.training.optimizer import Schedule
from glpn_cli.training.progress import QUIET, StepFacts, StopRequest, TrainWatcher, stop_on_signals
from glpn_cli.training.settings import DEFAULT_CROP, NATIVE_CROP
from glpn_cli.training.validation import ALIGNED_PREFIX, check_samples, validate
from glpn_cli.weights.store import BEST_NAME, LAST_NAME, SAFETENSORS_NAME
from glpn_cli.weights.store import NO_PROGRESS as QUIET_DOWNLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from glpn_cli.training.settings import TrainRun, TrainSettings
    from glpn_cli.weights.store import ProgressCallback

_METRIC = "abs_rel"
"""The metric of the best weights; scale-aligned if the weights predict meters only approximately."""

_LESS_MEMORY = "set a smaller `batch_size` or smaller `sizes`, a larger `accumulate`, or another `device`"
_SMOOTHING_STEPS = 50
_MIN_STEPS_BETWEEN_VALIDATIONS = 100  # epochs of a small data set take only seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run.

    Attributes:
        folder: the folder of the best weights, or of the last ones without validation data.
        step: steps done.
        steps: steps of the whole run.
        interrupted: whether a signal stopped the run.
        best: metrics of the best weights, or None without validation data.
        best_step: step of the best weights, if known.
        device: the device that was used.
        is_main: whether this is the main process, which reports the result.
    """

    folder: Path
    step: int
    steps: int
    interrupted: bool
    best: dict[str, float] | None
    best_step: int | None = None
    device: str = "cpu"
    is_main: bool = True

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps


def train(
    settings: TrainSettings,
    run: TrainRun,
    *,
    watcher: TrainWatcher = QUIET,
    downloads: ProgressCallback = QUIET_DOWNLOADS,
) -> Outcome:
    """Train, or resume a run with the same settings.

    The run folder then has `best/` and `last/` (weights), `state.pt` (the checkpoint), `train.csv`, `validation.csv`
    and `settings.json`. docs/training.md describes them.

    Args:
        settings: what is learned.
        run: how the run is carried out.
        watcher: callbacks during the run; only the main process calls them.
        downloads: callbacks during a download of the initial weights.

    Raises:
        UsageError: settings contradict each other, or the folder contains a run with other settings.
        InputError: a sample or the checkpoint cannot be used.
        WeightsError: the initial weights are missing or damaged.
        DeviceError: the device is not available, or memory is not sufficient.
        TrainingError: training diverged.
        OutputError: results cannot be written.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(Processes.from_environment(run.device))
        trainer = _Trainer(settings, run, processes, watcher if processes.is_main else QUIET)
        stack.callback(trainer.watcher.end)
        stack.enter_context(trainer.locked())
        trainer.prepare(downloads)
        stop = stack.enter_context(stop_on_signals(run.max_minutes))
        return trainer.run(stop)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The metrics of weights, a copy of these weights, and whether they are the best so far."""

    metrics: dict[str, float]
    tensors: dict[str, Tensor]
    is_best: bool


class _Trainer:
    """A run from its settings to the saved weights.

    The constructor checks what can be checked without the folder. `locked` keeps other runs out of it, `prepare` reads
    the checkpoint and builds the network, and `run` calls `_loop`. After a step, `_save_checkpoint` saves the state and
    the last weights, and `_validate` evaluates them, logs the metrics and saves the weights if they are the best.
    """

    def __init__(self, settings: TrainSettings, options: TrainRun, processes: Processes, watcher: TrainWatcher) -> None:
        self.settings, self.options, self.processes, self.watcher = settings, options, processes, watcher
        _check_settings(settings, options, processes)
        self.folder = Path(options.out)
        self.runtime: Runtime = choose_runtime(processes.device(options.device), settings.precision, options.threads)
        self.sets = training_sets(settings)
        # Only the main process validates.
        self.validation: list[ValidationSet] = validation_sets(settings) if processes.is_main else []
        self.initial_evaluation: _Evaluation | None = None  # of step 0; logged with the first checkpoint
        self.results: RunFolder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder, so that the checkpoint that is read is the one that is replaced."""
        is_main = self.processes.is_main
        if is_main and (self.options.overwrite or not (self.folder / STATE_NAME).exists()):
            check_existing(self.settings, self.options)  # before the lock creates a file in a folder of something else
        with lock_folder(self.folder) if is_main else nullcontext():
            self.processes.wait()  # the other processes read the checkpoint too
            yield

    def prepare(self, downloads: ProgressCallback) -> None:
        """Read the checkpoint, and create or restore the network."""
        settings, state = self.settings, self._read_state()
        self.sample_counts = json.dumps(
            [[Path(dataset.name).name, len(dataset.samples), dataset.count] for dataset in self.sets]
        )
        self.initial = self._initial_network(state, downloads)
        self.plan, self.samples, self.schedule = self._plan_steps()
        with memory_errors_named("the network", hint=_LESS_MEMORY):
            self.learner = Learner(self.initial, settings, self.runtime, self.processes)
        self._note_depth_limits()
        self.first_step, self.validation_due = 0, False
        self.best: dict[str, float] | None = None
        self.best_step: int | None = None
        if state is not None:
            self._restore(state)

    def _read_state(self) -> dict[str, Any] | None:
        state = None if self.options.overwrite else read_state(self.folder / STATE_NAME)
        if not self.processes.agree(0 if state is None else state["step"], self.runtime.device):
            raise UsageError(
                f"{self.folder}: the processes do not find the same checkpoint",
                hint="`out` must be a folder that all machines share",
            )
        if state is not None:
            check_same_settings(state["settings"], self.settings, self.folder)
        return state

    def _initial_network(self, state: dict[str, Any] | None, downloads: ProgressCallback) -> InitialNetwork:
        name = self.options.name or self.folder.resolve().name
        if state is not None and "config" in state:
            return restore_network(state["config"], state["card"], name)
        _refuse_init_in_folder(self.settings, self.options)
        return create_network(
            self.settings,
            name,
            paper_size=paper_size(self.settings.data),
            offline=self.options.offline,
            watcher=downloads,
        )

    def _plan_steps(self) -> tuple[SamplingPlan, TrainingSamples, Schedule]:
        settings, card = self.settings, self.initial.card
        plan = SamplingPlan(self.sets, settings, settings.sizes or ((*card.working_size, 1.0),))
        crop = settings.crop or (NATIVE_CROP if paper_size(settings.data) else DEFAULT_CROP)
        samples = TrainingSamples(self.sets, replace(settings, crop=crop), limit_m=card.depth_limit_m)
        schedule = Schedule(plan.steps, settings.learning_rate, settings.lowest_rate, settings.peak_at, settings.power)
        return plan, samples, schedule

    def _restore(self, state: dict[str, Any]) -> None:
        check_same_data(state.get("amounts", self.sample_counts), self.sample_counts, self.folder)
        self.learner.load(state)
        self.first_step = state["step"]
        self.validation_due = state.get("due", False)
        self.best, self.best_step = state["best"], state.get("best_step")

    def run(self, stop: StopRequest) -> Outcome:
        """Train until the last step or a request to stop."""
        if not self.processes.is_main:
            return self._loop(stop)
        if not self._validates_first():
            check_samples(self.validation, self.initial.card)
        results = RunFolder(
            self.settings, self.options, first_step=self.first_step, validates_first=self.validation_due
        )
        with closing(results) as self.results:
            self._report_details()
            return self._loop(stop)

    def _loop(self, stop: StopRequest) -> Outcome:
        settings, options, step = self.settings, self.options, self.first_step
        self.watcher.begin(self.plan.steps, step)
        self._prepare_first_step()
        validate_every = options.validate_every or self._steps_between_validations()
        start_s, mean_loss, interrupted = time.monotonic(), 0.0, False
        for step, micro_batches in enumerate(self._micro_batches(), start=self.first_step + 1):
            with memory_errors_named(f"a step of {settings.batch_size} images", hint=_LESS_MEMORY):
                loss, norm = self.learner.step(step - 1, self.schedule(step - 1), micro_batches)
            if step == 1:  # an earlier run in the folder stays until the first step of this one has succeeded
                self._open_logs()
            done = step - self.first_step
            mean_loss += (loss - mean_loss) / min(_SMOOTHING_STEPS, done)
            self._report_step(step, mean_loss, norm, done * settings.batch_size / (time.monotonic() - start_s))
            ends = self.processes.any_of(stop.is_set, self.runtime.device) or step == options.until
            validates = step % validate_every == 0 or step == self.plan.steps
            if validates or ends or step % options.save_every == 0:
                self._save_checkpoint(step, validation_due=validates)
            if validates:
                self._validate(step)
            if ends:
                interrupted = stop.interrupted
                break
        return self._outcome(step, interrupted=interrupted)

    def _prepare_first_step(self) -> None:
        """Open the logs of a resumed run, and do the validation that precedes the first step."""
        if self.first_step:
            self._open_logs()
            if self.validation_due:
                self._validate(self.first_step)
        elif self._validates_first():
            self.initial_evaluation = self._evaluate(0)

    def _validates_first(self) -> bool:
        """Return whether a validation precedes the first step: one that was interrupted, or that of initial weights."""
        return self.validation_due or (not self.first_step and self.settings.init != NEW_NETWORK)

    def _steps_between_validations(self) -> int:
        """Return one epoch, or as many as take the lowest number of steps."""
        return self.plan.steps_per_epoch * -(-_MIN_STEPS_BETWEEN_VALIDATIONS // self.plan.steps_per_epoch)

    def _micro_batches(self) -> Iterator[list[Batch]]:
        """Yield the micro-batches of each remaining step."""
        if self.first_step >= min(self.options.until or self.plan.steps, self.plan.steps):
            return
        batches = load_batches(
            self.samples,
            self.plan,
            first_step=self.first_step,
            rank=self.processes.rank,
            processes=self.processes.count,
            accumulate=self.settings.accumulate,
            workers=self.options.workers,
        )
        of_step = []
        for batch in batches:
            of_step.append(batch)
            if len(of_step) == self.settings.accumulate:
                yield of_step
                of_step = []

    def _validate(self, step: int) -> None:
        """Validate the weights of a checkpoint, and save the result in it."""
        evaluation = self._evaluate(step)
        if evaluation is not None:
            self._record(step, evaluation)
        self._save_state(step, validation_due=False)

    def _evaluate(self, step: int) -> _Evaluation | None:
        """Evaluate the weights after a step.

        Returns:
            None without validation data, and in all processes but the main one.
        """
        evaluation = None
        if self.processes.is_main and self.validation:
            tensors = {key: value.clone() for key, value in self.learner.tensors.items()}
            with memory_errors_named("validation", hint=_LESS_MEMORY), torch.random.fork_rng(devices=[]):
                network = type(self.initial.network)(self.initial.network.config)
                network.load_state_dict(tensors)
                network.to(self.runtime.device).eval()
                metrics = validate(network, self.initial.card, self.validation, self.runtime.device)
            evaluation = _Evaluation(metrics, tensors, self._is_best(metrics))
        self.processes.wait()
        if evaluation is not None:
            if evaluation.is_best:
                self.best, self.best_step = evaluation.metrics, step
            self.watcher.validated(step, evaluation.metrics, best=evaluation.is_best)
        return evaluation

    def _is_best(self, metrics: dict[str, float]) -> bool:
        name = _METRIC if self.initial.card.metric else ALIGNED_PREFIX + _METRIC
        return self.best is None or metrics[name] < self.best[name]

    def _record(self, step: int, evaluation: _Evaluation) -> None:
        """Log the metrics, and save the weights if they are the best so far."""
        self.results.add_metrics(step, evaluation.metrics)
        if evaluation.is_best:
            self._write_weights(BEST_NAME, step, evaluation.tensors)

    def _save_checkpoint(self, step: int, *, validation_due: bool) -> None:
        """Save the state and the last weights."""
        self.learner.check_weights(step)
        self._save_state(step, validation_due=validation_due)  # first: a run without a state cannot replace weights
        if self.processes.is_main:
            if self.initial_evaluation is not None:
                self._record(0, self.initial_evaluation)
                self.initial_evaluation = None
            self._write_weights(LAST_NAME, step, self.learner.tensors)

    def _save_state(self, step: int, *, validation_due: bool) -> None:
        """Save the state. With `validation_due`, a resumed run validates first."""
        if self.processes.is_main:
            save_state(
                self.folder / STATE_NAME,
                {
                    "settings": settings_to_json(self.settings),
                    "amounts": self.sample_counts,
                    "step": step,
                    "due": validation_due,
                    "best": self.best,
                    "best_step": self.best_step,
                    "config": self.initial.network.config.to_dict(),
                    "card": replace(self.initial.card, name="").to_metadata(),  # each command names the weights
                    **self.learner.state(),
                },
            )
        self.processes.wait()

    def _write_weights(self, name: str, step: int, tensors: dict[str, Tensor]) -> None:
        config, card = self.initial.network.config, self.initial.card
        self.results.write_weights(name, config, tensors, card, (step, self.plan.steps))

    def _open_logs(self) -> None:
        if self.processes.is_main:
            self.results.open_logs()

    def _report_step(self, step: int, loss: float, norm: float, samples_per_second: float) -> None:
        if not self.processes.is_main:
            return
        facts = StepFacts(
            step=step,
            epoch=step / self.plan.steps_per_epoch,
            loss=loss,
            learning_rate=self.schedule(step - 1),
            gradient_norm=norm if self.settings.clip_norm else None,
            samples_per_second=samples_per_second,
            size=self.plan.size(step - 1),
        )
        self.watcher.advance(facts)
        self.results.add_step(facts, last=step == self.plan.steps)

    def _report_details(self) -> None:
        total = sum(dataset.count for dataset in self.sets)
        for dataset in self.sets:
            self.watcher.detail(
                f"{dataset.name}: {len(dataset.samples)} samples, {dataset.count / total:.0%} of an epoch"
            )
        self.watcher.detail(f"{sum(len(dataset.samples) for dataset in self.validation)} validation images")
        self.watcher.detail(
            f"{self.learner.parameter_count / 1e6:.1f} million parameters, {self.settings.precision} on "
            f"{self.runtime.device}, processes: {self.processes.count}"
        )

    def _note_depth_limits(self) -> None:
        limit_m = self.initial.card.depth_limit_m
        for dataset in self.sets:
            if dataset.name in LAYOUTS and LAYOUTS[dataset.name].cap_m > limit_m:
                self.watcher.note(
                    f"{dataset.name} has depth up to {LAYOUTS[dataset.name].cap_m:g} m, but the limit of these weights "
                    f"is {limit_m:g} m: deeper ground truth counts as that"
                )

    def _outcome(self, step: int, *, interrupted: bool) -> Outcome:
        best = self.folder / BEST_NAME
        folder = best if self.best and (best / SAFETENSORS_NAME).exists() else self.folder / LAST_NAME
        return Outcome(
            folder=folder,
            step=step,
            steps=self.plan.steps,
            interrupted=interrupted,
            best=self.best,
            best_step=self.best_step,
            device=str(self.runtime.device),
            is_main=self.processes.is_main,
        )


def _check_settings(settings: TrainSettings, run: TrainRun, processes: Processes) -> None:
    if not run.out:
        raise UsageError("is empty", hint=EMPTY_HINT, setting="out")
    parts = processes.count * settings.accumulate
    if settings.batch_size % parts:
        raise UsageError(
            f"{settings.batch_size} cannot be divided into {parts} equal parts",
            hint="it is the total over all processes and micro-batches (`accumulate`)",
            setting="batch_size",
        )


def _refuse_init_in_folder(settings: TrainSettings, run: TrainRun) -> None:
    """Refuse initial weights that the run would replace: if it were killed early, it could not start again."""
    if settings.init != NEW_NETWORK and os.path.exists(settings.init):
        init, folder = Path(settings.init).resolve(), Path(run.out).resolve()
        if init.is_relative_to(folder):
            raise UsageError(
                f"{settings.init} is in `out`, which this run replaces", hint="choose another `out`", setting="init"
            )

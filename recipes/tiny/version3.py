"""Train the next version of the bundled weights: rooms by place, canonical depth, a wider decoder.

    python recipes/tiny/version3.py DATA --out build/tiny-3

DATA is a folder with the sets of sets.py, or a tar file that prepare.py wrote. Run the same command again to resume.
After every 500 steps the weights are measured on the held-out places, and the best are stored in
best.safetensors. README.md describes the recipe.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import glpn_cli
from glpn_cli.data.settings import Align, DataSettings, EvaluationSettings
from glpn_cli.errors import GLPNError, InputError
from glpn_cli.evaluation.run import evaluate
from glpn_cli.files import write_whole
from glpn_cli.metrics import BOUNDARY_F1
from glpn_cli.settings import PredictionSettings
from glpn_cli.training.progress import TrainWatcher
from glpn_cli.training.recipe import build_settings, read_recipe
from glpn_cli.training.settings import TrainRun
from glpn_cli.training.trainer import train
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint
from glpn_cli.weights.store import SAFETENSORS_NAME
from prepare import UNITS_PER_METER, prepare_sets
from scenes.store import SceneRecipe, fill_folder
from sets import DATA_SETS, HELD_OUT, sample_weights, training_sets
from widen import widen_decoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from glpn_cli.model.config import GLPNConfig
    from glpn_cli.training.progress import StepFacts
    from glpn_cli.training.settings import TrainSettings

HERE = Path(__file__).resolve().parent
SHIPPED_FILE = Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
DECODER_CHANNELS = 48
MEASURE_EVERY = 500
EPOCH_SAMPLES = 6000
SCENE_FRACTION = 0.5
_LOG_EVERY = 50
_SCENE_SIZE = (256, 352)
_TEXTURE_SETS = (
    "aims_lab",
    "tum_fr1_rpy",
    "tum_fr1_desk",
    "tum_fr3_cabinet",
    "tartanair_hospital",
    "ycb_demo",
    "skoltech_lab",
    "cleargrasp_d435",
    "pcl_tutorials",
    "render_grey_white_room",
    "render_white_room",
    "render_breakfast_room",
    "render_contemporary_bathroom",
    "render_salle_de_bain",
    "render_japanese_classroom",
    "render_veach_ajar",
)
_KINDS = {
    "room": 26, "tabletop": 14, "meal": 8, "street": 14, "jam": 6, "traffic": 8, "park": 8, "square": 4, "evening": 4,
    "portrait": 14,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    """One training run. It starts with the best weights so far.

    Attributes:
        scenes: number of synthetic scenes that are rendered for it; it also uses those of the stages before.
        changes: settings that differ from version-3.json.
    """

    scenes: int
    changes: dict[str, object]


STAGES = (
    Stage(1_408, {"steps": 4_000, "sizes": [[128, 192, 0.5], [192, 256, 0.3], [256, 352, 0.2]], "seed": 0}),
    Stage(6_016, {"steps": 10_000, "sizes": [[192, 256, 0.5], [256, 352, 0.5]], "seed": 1}),
)
SHORT = {"steps": 4, "sizes": [[64, 96, 1.0]], "batch_size": 2}
"""The changes of a short run, which tests the recipe: everything happens, and nothing is learned."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    recipe = Recipe(options)
    recipe.prepare()
    for number in range(1, len(STAGES) + 1):
        recipe.train_stage(number)
    log(f"finished; best: {json.dumps(recipe.best())}")


def log(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {text}", flush=True)


class Recipe:
    """The steps of the recipe; each one does what is missing.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.data = self.out / "data"
        self.candidates = Candidates(self.out, self.data, options.split)

    def prepare(self) -> None:
        """Make the training data and the initial weights.

        Raises:
            InputError: data is missing or damaged.
            OutputError: a file cannot be written.
        """
        source: Path = self.options.data
        if source.is_file():
            unpack_sets(source, self.data)
        else:
            prepare_sets(source, self.data)
        initial = self._initial(1)
        if not initial.exists():
            found = read_checkpoint(self.options.init or SHIPPED_FILE)
            config, tensors = found.config, found.tensors
            if not self.options.init:
                config, tensors = widen_decoder(config, tensors, DECODER_CHANNELS)
            write_weights(initial, config, tensors, found.metadata)

    def train_stage(self, number: int) -> None:
        """Render the scenes of a stage, train it in slices, and measure the weights after each slice.

        Raises:
            GLPNError: see `glpn_cli.training.trainer.train`.
            SystemExit: a signal interrupted it.
        """
        folder = self.out / str(number)
        self._render(number)
        settings = self._settings(number)
        while True:
            done = steps_done(folder)
            if done and not self.candidates.has(number, done):
                self.candidates.measure(number, done, folder / "last")
            if done >= settings.steps:
                return
            until = min(settings.steps, (done // MEASURE_EVERY + 1) * MEASURE_EVERY)
            outcome = train(settings, self._run(folder, until), watcher=_Log(number))
            if outcome.interrupted:
                log(f"stage {number}: interrupted at step {outcome.step}; the same command resumes")
                sys.exit(130)

    def best(self) -> dict[str, float]:
        """Return the stage, the step and the score of the best weights."""
        return self.candidates.best()

    def _render(self, number: int) -> None:
        textures = tuple(str(self.data / name) for name in _TEXTURE_SETS)
        recipe = SceneRecipe(9 + number, _SCENE_SIZE, textures, tuple(_KINDS.items()), canonical=True)
        count = 64 if self.options.short else STAGES[number - 1].scenes
        if self.options.short:
            recipe = SceneRecipe(9 + number, (48, 64), (), tuple(_KINDS.items()), canonical=True)
        for done in fill_folder(self._scenes(number), recipe, count, workers=self.options.processes):
            if done % 640 == 0:
                log(f"stage {number}: {done} of {count} scenes")

    def _initial(self, number: int) -> Path:
        return self.out / f"initial-{number}.safetensors"

    def _scenes(self, number: int) -> Path:
        return self.out / "scenes" / str(number)

    def _settings(self, number: int) -> TrainSettings:
        lengths = {dataset.name: pair_count(self.data / dataset.name) for dataset in DATA_SETS}
        weights = sample_weights(lengths, self.options.split, round(EPOCH_SAMPLES * (1 - SCENE_FRACTION)))
        data = [
            f"{self.data / dataset.name}={weights[dataset.name]:.6g}" for dataset in training_sets(self.options.split)
        ]
        counts = [64 if self.options.short else STAGES[index].scenes for index in range(number)]
        scene_weight = EPOCH_SAMPLES * SCENE_FRACTION / sum(counts)
        data += [f"{self._scenes(index)}={scene_weight:.6g}" for index in range(1, number + 1)]
        initial = self._initial(number)
        if not initial.exists():  # a copy, because the best weights change during the stage
            write_whole(initial, self.candidates.weights.read_bytes(), overwrite=True)
        changes = STAGES[number - 1].changes | (SHORT if self.options.short else {})
        given = {"data": tuple(data), "init": str(initial), **changes}
        return build_settings(read_recipe(str(HERE / "version-3.json")), given)

    def _run(self, folder: Path, until: int) -> TrainRun:
        options = self.options
        return TrainRun(
            out=str(folder), until=until, save_every=25, workers=options.workers, threads=options.threads,
            device=options.device, name="tiny",
        )  # fmt: skip


class Candidates:
    """Weights after each slice, and how good they are on the held-out places.

    Attributes:
        table: a row of metrics for each candidate.
        weights: the best weights so far.
    """

    def __init__(self, out: Path, data: Path, split: str) -> None:
        self.table, self.weights = out / "candidates.csv", out / "best.safetensors"
        self._data, self._split, self._baseline = data, split, out / "shipped.json"

    def has(self, stage: int, step: int) -> bool:
        """Return whether the weights of a step were measured."""
        return any((row["stage"], row["step"]) == (str(stage), str(step)) for row in self._rows())

    def best(self) -> dict[str, float]:
        """Return the stage, the step and the score of the best weights; empty before the first measurement."""
        rows = self._rows()
        best = min(rows, key=lambda row: float(row["score"]), default=None)
        return {} if best is None else {name: float(best[name]) for name in ("stage", "step", "score")}

    def measure(self, stage: int, step: int, folder: Path) -> None:
        """Add a row for weights, and keep a copy of them if they are the best so far."""
        if not self._baseline.exists():
            shipped = json.dumps(self._metrics(SHIPPED_FILE), indent=1)
            write_whole(self._baseline, shipped.encode(), overwrite=True)
        metrics = self._metrics(folder)
        score = score_candidate(metrics, json.loads(self._baseline.read_text(encoding="utf-8")))
        rows = self._rows()
        if score < min((float(row["score"]) for row in rows), default=math.inf):
            write_whole(self.weights, (folder / SAFETENSORS_NAME).read_bytes(), overwrite=True)
        row = {"stage": stage, "step": step, "score": round(score, 4)}
        row |= {
            f"{name} {metric}": round(value, 4) for name, found in metrics.items() for metric, value in found.items()
        }
        text = io.StringIO()
        table = csv.DictWriter(text, list(row), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows([*rows, {key: str(value) for key, value in row.items()}])
        write_whole(self.table, text.getvalue().encode(), overwrite=True)
        log(f"stage {stage}, step {step}: score {score:.4f}; {json.dumps(metrics)}")

    def _rows(self) -> list[dict[str, str]]:
        if not self.table.exists():
            return []
        with self.table.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def _metrics(self, weights: Path) -> dict[str, dict[str, float]]:
        """Return the metrics of weights on each set that training does not see."""
        found = {}
        for name in HELD_OUT[self._split]:
            evaluation = evaluate(
                DataSettings(str(self._data / name), units_per_meter=UNITS_PER_METER),
                EvaluationSettings(align=Align.MEDIAN, resamples=0),
                PredictionSettings(weights=str(weights), device="cpu", threads=1),
            )
            means = {str(column.align or "unaligned"): mean for column, mean in evaluation.means().items()}
            aligned = means["median"]
            found[name] = {"aligned": aligned["abs_rel"].mean, "unaligned": means["unaligned"]["abs_rel"].mean}
            if BOUNDARY_F1 in aligned:
                found[name][BOUNDARY_F1] = aligned[BOUNDARY_F1].mean
        return found


def score_candidate(metrics: dict[str, dict[str, float]], shipped: dict[str, dict[str, float]]) -> float:
    """Return how weights compare with the shipped ones: 0 is equal, lower is better.

    The score is the mean log ratio of the aligned AbsRel, plus half of that of the boundary error (1 - F1), over the
    sets that have it. Depth of a camera has blurred edges, so only rendered sets count for boundaries.
    """
    depth = mean(math.log(metrics[name]["aligned"] / shipped[name]["aligned"]) for name in metrics)
    edges = [
        math.log((1 - metrics[dataset.name][BOUNDARY_F1]) / (1 - shipped[dataset.name][BOUNDARY_F1]))
        for dataset in DATA_SETS
        if dataset.rendered and BOUNDARY_F1 in metrics.get(dataset.name, {})
    ]
    return depth + 0.5 * (mean(edges) if edges else 0.0)


class _Log(TrainWatcher):
    """Prints a line every 50 steps."""

    def __init__(self, stage: int) -> None:
        self._stage = stage

    def advance(self, facts: StepFacts) -> None:
        if facts.step % _LOG_EVERY == 0:
            log(
                f"stage {self._stage}, step {facts.step}: loss {facts.loss:.4f}, rate {facts.learning_rate:.2g}, "
                f"{facts.samples_per_second:.2f} samples/s, {facts.size[0]}x{facts.size[1]}"
            )

    def note(self, text: str) -> None:
        log(text)


def steps_done(folder: Path) -> int:
    """Return after how many steps a training run was saved; 0 if it has not started."""
    if not (folder / "last" / SAFETENSORS_NAME).exists():
        return 0
    return int(json.loads(read_checkpoint(folder / "last").metadata["training"])["step"])


def pair_count(folder: Path) -> int:
    """Return the number of pairs of a prepared set."""
    return len(list(folder.glob("*.jpg")))


def unpack_sets(packed: Path, target: Path) -> None:
    """Unpack a file of prepare.py, except for what is there.

    Raises:
        InputError: it is damaged.
    """
    try:
        with tarfile.open(packed) as archive:
            missing = [entry for entry in archive if not (target / entry.name).exists()]
            archive.extractall(target, missing, filter="data")
    except tarfile.TarError as error:
        raise InputError(f"{packed}: is not a file of prepare.py, or damaged") from error


def write_weights(file: Path, config: GLPNConfig, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a network as one float32 file."""
    kept = {key: value for key, value in metadata.items() if key not in ("config", "format")}
    floats = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        data = write_checkpoint(folder, config, floats, kept).read_bytes()
    write_whole(file, data, overwrite=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="folder of the data sets, or a file of prepare.py")
    add("--out", type=Path, default=Path("build/tiny-3"), help="output folder (default: build/tiny-3)")
    add("--split", choices=sorted(HELD_OUT), default="a", help="which places are left out of training (default: a)")
    add("--init", help="initial weights instead of the shipped ones with a wider decoder")
    add("--device", default="cpu", help="device to train on (default: cpu)")
    add("--threads", type=int, default=1, help="threads of the training (default: 1)")
    add("--workers", type=int, default=0, help="processes that prepare samples (default: 0, in the same process)")
    add("--processes", type=int, default=0, help="processes that render scenes (default: 0, in the same process)")
    add("--short", action="store_true", help="a few steps, to test the recipe; the weights are useless")
    return parser


if __name__ == "__main__":
    try:
        main()
    except GLPNError as error:
        sys.exit(f"error: {error.message}")

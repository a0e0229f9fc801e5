"""Train the next version of the bundled weights: rooms by place, canonical depth, a wider decoder.

    python recipes/tiny/version3.py DATA --out build/tiny-3

DATA is a folder with the sets of sets.py, or a tar file that prepare.py wrote. Run the same command again to resume.
After every 2,000 steps the weights are measured on the held-out places, and the best are stored in
best.safetensors. README.md describes the recipe.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
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
from glpn_cli.training.recipe import read_recipe
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint
from glpn_cli.weights.store import SAFETENSORS_NAME
from prepare import UNITS_PER_METER, prepare_sets
from scenes.store import SceneRecipe, fill_folder
from sets import DATA_SETS, HELD_OUT, sample_weights, training_sets
from train import check_finished, run
from widen import widen_decoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from glpn_cli.model.config import GLPNConfig

HERE = Path(__file__).resolve().parent
SHIPPED_FILE = Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
DECODER_CHANNELS = 48
MEASURE_EVERY = 2000
EPOCH_SAMPLES = 6000
SCENE_SIZE = (192, 256)
WORKING_SIZES = ("160x224", "192x256")
BLENDS = (0.25, 0.5, 0.75)
LOG_SCENES = 640
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
    "room": 24, "tabletop": 12, "meal": 8, "street": 22, "jam": 8, "traffic": 14, "park": 8, "square": 5, "evening": 5,
    "portrait": 12,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    """One training run. It starts with the best weights so far.

    Attributes:
        scenes: number of synthetic scenes that are rendered for it; it also uses those of the stages before.
        scene_fraction: of the samples that are synthetic scenes.
        real_factor: the shares of photographed sets are multiplied by it.
        changes: settings that differ from version-3.json.
    """

    scenes: int
    scene_fraction: float
    real_factor: float
    changes: dict[str, object]


STAGES = (
    Stage(
        8_192, 0.65, 1.0,
        {"steps": 3_000, "sizes": [[128, 192, 0.5], [192, 256, 0.5]], "crop": [0.5, 1.0], "learning_rate": 3e-4},
    ),
    Stage(
        8_192, 0.6, 1.8,
        {"steps": 12_000, "sizes": [[128, 192, 0.6], [192, 256, 0.4]], "crop": [0.6, 1.0], "learning_rate": 4e-4},
    ),
)  # fmt: skip
SHORT = {"steps": 4, "sizes": [[64, 96, 1.0]], "batch_size": 2}
"""The changes of a short run, which tests the recipe: everything happens, and nothing is learned."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    recipe = Recipe(options)
    recipe.prepare()
    for number in range(1, len(STAGES) + 1):
        recipe.train_stage(number)
    log(f"finished; best: {json.dumps(recipe.candidates.best())}")


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
        held_out = [MeasuredSet(name, self.data / name, UNITS_PER_METER) for name in HELD_OUT[options.split]]
        self.candidates = Candidates(self.out, [*held_out, *options.measure])

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
            GLPNError: data or weights cannot be read, or a file cannot be written.
            SystemExit: the training failed, or a signal interrupted it.
        """
        folder = self.out / str(number)
        self._render(number)
        settings = self._settings(number)
        recipe = self.out / f"stage-{number}.json"
        write_whole(recipe, json.dumps(settings, indent=1).encode(), overwrite=True)
        steps = int(str(settings["steps"]))
        while True:
            done = steps_done(folder)
            if done and (done % MEASURE_EVERY == 0 or done == steps):
                self.candidates.measure(number, done, folder / "last")
            if done >= steps:
                break
            until = min(steps, (done // MEASURE_EVERY + 1) * MEASURE_EVERY)
            run(self._train_command(recipe, folder, until))
            check_finished(folder / "last", until)
        for fraction in BLENDS:
            self.candidates.measure(number, steps, folder / "last", self._initial(number), fraction)

    def _render(self, number: int) -> None:
        textures = () if self.options.short else tuple(str(self.data / name) for name in _TEXTURE_SETS)
        size = (48, 64) if self.options.short else SCENE_SIZE
        recipe = SceneRecipe(9 + number, size, textures, tuple(_KINDS.items()), canonical=True)
        count = _scene_count(number, self.options)
        logged = 0
        for done in fill_folder(self._scenes(number), recipe, count, workers=self.options.processes):
            if done >= logged + LOG_SCENES:
                log(f"stage {number}: {done} of {count} scenes")
                logged = done

    def _initial(self, number: int) -> Path:
        return self.out / f"initial-{number}.safetensors"

    def _scenes(self, number: int) -> Path:
        return self.out / "scenes" / str(number)

    def _settings(self, number: int) -> dict[str, object]:
        stage = STAGES[number - 1]
        lengths = {dataset.name: pair_count(self.data / dataset.name) for dataset in DATA_SETS}
        pairs = round(EPOCH_SAMPLES * (1 - stage.scene_fraction))
        weights = sample_weights(lengths, self.options.split, pairs, stage.real_factor)
        data = [
            f"{self.data / dataset.name}={weights[dataset.name]:.6g}" for dataset in training_sets(self.options.split)
        ]
        scenes = sum(_scene_count(index, self.options) for index in range(1, number + 1))
        scene_weight = (EPOCH_SAMPLES - pairs) / scenes
        data += [f"{self._scenes(index)}={scene_weight:.6g}" for index in range(1, number + 1)]
        initial = self._initial(number)
        if not initial.exists():  # a copy, because the best weights change during the stage
            write_whole(initial, self.candidates.weights.read_bytes(), overwrite=True)
        changes = {"seed": number - 1, **stage.changes, **(SHORT if self.options.short else {})}
        return read_recipe(str(HERE / "version-3.json")) | {"data": data, "init": str(initial)} | changes

    def _train_command(self, recipe: Path, folder: Path, until: int) -> list[str]:
        options = self.options
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={options.trainers}", "-m", "glpn_cli", "train", f"--recipe={recipe}"]
        command += [f"--out={folder}", f"--until={until}", f"--device={options.device}", "--name=tiny"]
        return [*command, "--save-every=25", f"--workers={options.workers}", "--threads=1"]


@dataclass(frozen=True, slots=True)
class MeasuredSet:
    """A folder of pairs on which weights are measured, with its name in the table."""

    name: str
    folder: Path
    units_per_meter: float


class Candidates:
    """Weights after each slice, and how good they are on images that training does not see.

    Attributes:
        table: a row of metrics for each candidate and working size.
        weights: the best weights so far, with their working size.
    """

    def __init__(self, out: Path, sets: Sequence[MeasuredSet]) -> None:
        self.table, self.weights = out / "candidates.csv", out / "best.safetensors"
        self._sets, self._baseline = sets, out / "shipped.json"

    def best(self) -> dict[str, str]:
        """Return the row of the best weights; empty before the first measurement."""
        return min(self._rows(), key=lambda row: float(row["score"]), default={})

    def measure(self, stage: int, step: int, weights: Path, initial: Path | None = None, blend: float = 1.0) -> None:
        """Add rows for weights that have none yet, one for each working size, and keep the weights if they are best.

        Args:
            stage: the number of the stage.
            step: after which the weights were saved.
            weights: a checkpoint.
            initial: weights of the same architecture to average them with.
            blend: the fraction of `weights` in the average.
        """
        keys = [
            {"stage": str(stage), "step": str(step), "blend": f"{blend:g}", "working_size": size}
            for size in WORKING_SIZES
        ]
        rows = self._rows()
        missing = [key for key in keys if not any(key.items() <= row.items() for row in rows)]
        if not missing:
            return
        found = read_checkpoint(weights)
        tensors = found.tensors
        if initial is not None:
            tensors = average_weights(read_checkpoint(initial).tensors, tensors, blend)
        for key in missing:
            with tempfile.TemporaryDirectory() as folder:
                candidate = Path(folder) / "candidate.safetensors"
                metadata = {**found.metadata, "working_size": key["working_size"]}
                write_weights(candidate, found.config, tensors, metadata)
                self._add(key, candidate)

    def _add(self, key: dict[str, str], candidate: Path) -> None:
        metrics = self._metrics(candidate)
        score = score_candidate(metrics, self._shipped())
        rows = self._rows()
        if score < min((float(row["score"]) for row in rows), default=math.inf):
            write_whole(self.weights, candidate.read_bytes(), overwrite=True)
        row = {**key, "score": f"{score:.4f}"}
        row |= {
            f"{name} {metric}": f"{value:.4f}" for name, found in metrics.items() for metric, value in found.items()
        }
        text = io.StringIO()
        columns = list(dict.fromkeys(itertools.chain(row, *rows)))
        table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows([*rows, row])
        write_whole(self.table, text.getvalue().encode(), overwrite=True)
        log(", ".join(f"{name} {value}" for name, value in row.items()))

    def _rows(self) -> list[dict[str, str]]:
        if not self.table.exists():
            return []
        with self.table.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def _shipped(self) -> dict[str, dict[str, float]]:
        """Return the metrics of the bundled weights, measured when a set is new."""
        stored = json.loads(self._baseline.read_text(encoding="utf-8")) if self._baseline.exists() else {}
        if not {measured.name for measured in self._sets} <= set(stored):
            stored = self._metrics(SHIPPED_FILE)
            write_whole(self._baseline, json.dumps(stored, indent=1).encode(), overwrite=True)
        return stored

    def _metrics(self, weights: Path) -> dict[str, dict[str, float]]:
        """Return the metrics of weights on each set that training does not see."""
        found = {}
        for measured in self._sets:
            evaluation = evaluate(
                DataSettings(str(measured.folder), units_per_meter=measured.units_per_meter),
                EvaluationSettings(align=Align.MEDIAN, resamples=0),
                PredictionSettings(weights=str(weights), device="cpu", threads=1),
            )
            means = {str(column.align or "unaligned"): mean for column, mean in evaluation.means().items()}
            aligned = means["median"]
            name = measured.name
            found[name] = {"aligned": aligned["abs_rel"].mean, "unaligned": means["unaligned"]["abs_rel"].mean}
            if BOUNDARY_F1 in aligned:
                found[name][BOUNDARY_F1] = aligned[BOUNDARY_F1].mean
        return found


def average_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
    """Return the average of the weights of two networks of one architecture; `fraction` is the part of the second.

    The average of a network and of what it became by more training is often better than both, above all on images
    unlike those of the training (Wortsman et al., arXiv 2109.01903).
    """
    return {
        key: first[key].float().lerp(value.float(), fraction) if value.is_floating_point() else value
        for key, value in second.items()
    }


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


def steps_done(folder: Path) -> int:
    """Return after how many steps a training run was saved; 0 if it has not started."""
    if not (folder / "last" / SAFETENSORS_NAME).exists():
        return 0
    return int(json.loads(read_checkpoint(folder / "last").metadata["training"])["step"])


def _scene_count(number: int, options: argparse.Namespace) -> int:
    return 64 if options.short else STAGES[number - 1].scenes


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


def _measured_set(text: str) -> MeasuredSet:
    try:
        name, folder, units_per_meter = text.split(":")
        return MeasuredSet(name, Path(folder), float(units_per_meter))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not NAME:FOLDER:UNITS_PER_METER") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="folder of the data sets, or a file of prepare.py")
    add("--out", type=Path, default=Path("build/tiny-3"), help="output folder (default: build/tiny-3)")
    add("--split", choices=sorted(HELD_OUT), default="a", help="which places are left out of training (default: a)")
    add("--init", help="initial weights instead of the shipped ones with a wider decoder")
    add("--device", default="cpu", help="device to train on (default: cpu)")
    add("--trainers", type=int, default=2, help="training processes with one thread each (default: 2); 1 with one GPU")
    add("--workers", type=int, default=0, help="processes per trainer that prepare samples (default: 0, in it)")
    add("--processes", type=int, default=0, help="processes that render scenes (default: 0, in the same process)")
    add(
        "--measure", type=_measured_set, action="append", default=[], metavar="NAME:FOLDER:UNITS_PER_METER",
        help="also measure the weights on this set; repeat for several",
    )  # fmt: skip
    add("--short", action="store_true", help="a few steps, to test the recipe; the weights are useless")
    return parser


if __name__ == "__main__":
    try:
        main()
    except GLPNError as error:
        sys.exit(f"error: {error.message}")

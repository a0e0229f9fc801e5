from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.layouts import Split, find_samples
from glpn_cli.data.settings import Align, Crop, DataSettings, EvaluationSettings
from glpn_cli.errors import InputError, OutputExistsError, UsageError
from glpn_cli.evaluation.run import Evaluation, ResultFiles, evaluate, open_evaluation
from glpn_cli.evaluation.scores import Column, Failure, protocol_for
from glpn_cli.metrics import BOUNDARY_F1, HIGHER_IS_BETTER, METRICS, compute_metrics
from glpn_cli.settings import PredictionSettings
from glpn_cli.values import Tta

if TYPE_CHECKING:
    from glpn_cli.data.sample import Sample, SampleFiles, Samples


class Scaled:
    """Predicts the ground truth times a factor, and more of it to the right."""

    def __init__(self, label: str, factor: float) -> None:
        self.label, self._factor = label, factor

    def predict(self, sample: Sample, files: SampleFiles) -> np.ndarray:
        del files
        tilt = np.linspace(0.8, 1.2, sample.meters.shape[1], dtype=np.float32)
        return np.where(sample.meters > 0, sample.meters, 3) * np.float32(self._factor) * tilt


@pytest.fixture
def data(tmp_path: Path) -> DataSettings:
    """A folder of five images, of which the last has no known depth, beside depth files that are 10 % too far."""
    folder, predictions = tmp_path / "set", tmp_path / "mine"
    folder.mkdir()
    predictions.mkdir()
    rng = np.random.default_rng(0)
    for index in range(5):
        units = rng.integers(500, 9000, (12, 20)).astype(np.uint16)
        units[:, :3] = 0
        Image.fromarray(np.zeros((12, 20, 3), np.uint8)).save(folder / f"{index}.jpg")
        Image.fromarray(units if index < 4 else units * 0).save(folder / f"{index}.png")
        np.save(predictions / f"{index}.npy", units.astype(np.float32) / 1000 * np.float32(1.1))
    return DataSettings(str(folder), units_per_meter=1000)


@pytest.fixture
def samples(data: DataSettings) -> Samples:
    return find_samples(data, Split.TEST)


def run(samples: Samples, *factors: float, **settings: object) -> Evaluation:
    chosen = EvaluationSettings(**{"resamples": 200, **settings})  # type: ignore[arg-type]
    sources = [Scaled(f"times {factor}", factor) for factor in factors]
    evaluation = Evaluation(samples, sources, protocol_for("folder", chosen), chosen)
    list(evaluation.run())
    return evaluation


def test_metrics_are_means_over_images_not_pixels(samples: Samples) -> None:
    evaluation = run(samples, 1.3)
    expected = []
    for sample in samples[:4]:
        known = sample.meters > 0
        predicted = Scaled("", 1.3).predict(sample, samples.files[0])
        expected.append(compute_metrics(predicted[known], sample.meters[known])["rmse"])
    rmse = evaluation.means()[Column("times 1.3")]["rmse"]
    assert rmse.mean == pytest.approx(np.mean(expected))
    assert rmse.interval is not None
    assert rmse.interval.low < rmse.mean < rmse.interval.high


def test_image_without_ground_truth_is_a_failure(samples: Samples) -> None:
    evaluation = run(samples, 1.0)
    assert [image.name for image in evaluation.images] == ["0", "1", "2", "3"]
    (failure,) = evaluation.failures
    assert failure == Failure("4", failure.message, None, InputError.exit_code)
    assert "4" in failure.message


@pytest.mark.parametrize("align", list(Align))
def test_aligned_metrics_are_added_to_unaligned_ones(samples: Samples, align: Align) -> None:
    means = run(samples, 0.5, align=align).means()
    assert list(means) == [Column("times 0.5"), Column("times 0.5", align)]
    unaligned, aligned = means.values()
    assert unaligned["abs_rel"].mean > 0.4
    assert aligned["abs_rel"].mean < 0.15
    assert aligned["silog_kitti"].mean == pytest.approx(unaligned["silog_kitti"].mean)


def test_boundaries_are_only_measured_on_dense_ground_truth(samples: Samples) -> None:
    units = np.asarray(Image.open(samples.files[1].depth)).copy()
    units[:, ::2] = 0
    Image.fromarray(units).save(samples.files[1].depth)
    evaluation = run(samples[:3], 1.0, 1.3, baselines=True, align=Align.MEDIAN)
    column = Column("times 1.0")
    assert [BOUNDARY_F1 in image.scores[column] for image in evaluation.images] == [True, False, True]
    means = evaluation.means()
    values = [image.scores[column][BOUNDARY_F1] for image in evaluation.images[::2]]
    f1 = means[column][BOUNDARY_F1]
    assert f1.mean == pytest.approx(np.mean(values))
    assert f1.interval is not None
    assert min(values) - 1e-9 <= f1.interval.low <= f1.mean <= f1.interval.high <= max(values) + 1e-9
    assert means[Column("times 1.0", Align.MEDIAN)][BOUNDARY_F1].mean == f1.mean
    assert BOUNDARY_F1 not in means[Column("median")]
    for difference in evaluation.differences():
        compared = difference.metrics.get(BOUNDARY_F1)
        if difference.theirs.label == "times 1.3":
            assert compared is not None
            assert compared.mean == pytest.approx(0, abs=1e-9)
        else:
            assert compared is None
    json.dumps(evaluation.summary(), allow_nan=False)


def test_sparse_ground_truth_has_no_boundary_metric(samples: Samples) -> None:
    for files in samples.files:
        units = np.asarray(Image.open(files.depth)).copy()
        units[:, ::2] = 0
        Image.fromarray(units).save(files.depth)
    evaluation = run(samples, 1.0, 1.3)
    assert list(evaluation.means()[Column("times 1.0")]) == list(METRICS)
    assert list(evaluation.differences()[0].metrics) == list(METRICS)


def test_baselines_use_the_same_pixels(samples: Samples) -> None:
    evaluation = run(samples, 1.0, baselines=True)
    means = evaluation.means()
    constant = [
        compute_metrics(np.full(known.size, np.median(known)), known)["abs_rel"]
        for sample in samples[:4]
        for known in [sample.meters[sample.meters > 0]]
    ]
    assert means[Column("median")]["abs_rel"].mean == pytest.approx(np.mean(constant))
    assert means[Column("ramp")]["abs_rel"].mean <= means[Column("median")]["abs_rel"].mean
    assert evaluation.ramp is not None
    assert all(list(row["abs_rel"]) == ["times 1.0", "median", "ramp"] for row in evaluation.summary()["by_depth"])


def test_image_listed_twice_counts_twice(samples: Samples) -> None:
    twice = replace(samples, files=(*samples.files, samples.files[0]))
    evaluation = run(twice, 1.0, baselines=True)
    assert len(evaluation.images) == 5
    assert all(Column("ramp") in image.scores for image in evaluation.images)


def test_wrong_size_fails_only_that_image(tmp_path: Path) -> None:
    for index, size in enumerate([(480, 640), (12, 20), (480, 640)]):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / f"{index}.jpg")
        Image.fromarray(np.full(size, 2000, np.uint16)).save(tmp_path / f"{index}.png")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)
    evaluation = run(samples, 1.0, crop=Crop.NYU)
    assert [failure.name for failure in evaluation.failures] == ["1"]
    assert [image.name for image in evaluation.images] == ["0", "2"]


def test_crop_that_fits_no_image_stops_the_run(samples: Samples) -> None:
    with pytest.raises(UsageError, match="480x640") as caught:
        run(samples, 1.0, crop=Crop.NYU)
    assert caught.value.setting == "crop"


def test_sources_with_one_label_are_refused(samples: Samples) -> None:
    with pytest.raises(UsageError, match=r"times 1\.0"):
        run(samples, 1.0, 1.0)


def test_differences_compare_same_images_and_alignment(samples: Samples) -> None:
    evaluation = run(samples, 1.0, 1.5, baselines=True, align=Align.MEDIAN)
    compared = {(str(item.ours), str(item.theirs)): item.metrics["abs_rel"] for item in evaluation.differences()}
    assert list(compared) == [
        ("times 1.0", "times 1.5"),
        ("times 1.0, median aligned", "times 1.5, median aligned"),
        ("times 1.0, median aligned", "median"),
        ("times 1.0, median aligned", "ramp"),
    ]
    unaligned = compared["times 1.0", "times 1.5"]
    means = evaluation.means()
    assert unaligned.mean == pytest.approx(
        means[Column("times 1.0")]["abs_rel"].mean - means[Column("times 1.5")]["abs_rel"].mean
    )
    assert unaligned.interval is not None
    assert unaligned.interval.excludes_zero
    same = compared["times 1.0, median aligned", "times 1.5, median aligned"]
    assert same.mean == pytest.approx(0, abs=1e-6)


def test_protocol_of_data_is_default() -> None:
    for data, cap_m, crop in (("nyu", 10.0, Crop.NYU), ("kitti", 80.0, Crop.GARG), ("folder", 80.0, Crop.NONE)):
        protocol = protocol_for(data, EvaluationSettings())
        assert (protocol.cap_m, protocol.crop) == (cap_m, crop)
    changed = protocol_for("kitti", EvaluationSettings(crop=Crop.EIGEN, cap_m=50.0))
    assert (changed.crop, changed.cap_m) == (Crop.EIGEN, 50.0)


def test_without_resamples_there_are_no_intervals(samples: Samples) -> None:
    evaluation = run(samples, 1.1, resamples=0)
    assert evaluation.means()[Column("times 1.1")]["d1"].interval is None
    assert "%" not in evaluation.title


def test_summary_without_images_has_no_predictions(samples: Samples) -> None:
    summary = run(samples[4:], 1.0).summary()
    assert (summary["images"], summary["failed"], summary["predictions"], summary["differences"]) == (0, 1, {}, [])


def test_caveats_name_few_images_and_invalid_pixels(samples: Samples) -> None:
    assert any("4" in caveat for caveat in run(samples, 1.0).caveats())
    assert not run(samples, 1.0, resamples=0).caveats()
    assert any(str(4 * 12 * 17) in caveat for caveat in run(samples, -1.0, resamples=0).caveats())


@pytest.mark.parametrize(("factor", "noted"), [(1000.0, True), (8.0, True), (3.0, False), (0.001, True)])
def test_a_wrong_unit_is_noted(samples: Samples, factor: float, noted: bool) -> None:
    caveats = run(samples, 1 / factor).caveats()
    assert any("`units_per_meter`" in caveat for caveat in caveats) is noted


def test_rotated_bits_are_recognized(data: DataSettings) -> None:
    for file in Path(data.data).glob("*.png"):
        units = np.asarray(Image.open(file))
        Image.fromarray(units // 8 * 8).save(file)
    caveats = run(find_samples(data, Split.TEST), 1 / 8).caveats()
    assert any("`units_per_meter=8000`" in caveat for caveat in caveats)


def test_depth_beyond_the_cap_names_the_unit(data: DataSettings) -> None:
    evaluation = run(find_samples(replace(data, units_per_meter=1.0), Split.TEST), 1)
    assert "`units_per_meter`" in str(evaluation.failures[0].hint)
    assert evaluation.failures[-1].hint is None  # an image without known depth


def test_what_was_done_to_the_ground_truth_is_noted(data: DataSettings) -> None:
    first = Path(data.data) / "0.png"
    units = np.array(Image.open(first))
    units[:, -3:] = 65535
    Image.fromarray(units).save(first)
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(Path(data.data) / "1.jpg")
    evaluation = run(find_samples(data, Split.TEST), 1)
    assert not [failure for failure in evaluation.failures if failure.name != "4"]
    assert [caveat for caveat in evaluation.caveats() if "(1 of 5 images)" in caveat and "65535" in caveat]
    assert [caveat for caveat in evaluation.caveats() if "(1 of 5 images)" in caveat and "resized" in caveat]


def test_evaluate_scores_depth_files_and_writes_results(data: DataSettings, tmp_path: Path) -> None:
    figure, per_image = tmp_path / "out" / "f.png", tmp_path / "out" / "p.jsonl"
    counts: list[tuple[int, int]] = []
    names: list[str] = []
    evaluation = evaluate(
        data,
        predictions=str(tmp_path / "mine"),
        files=ResultFiles(str(figure), str(per_image)),
        progress=lambda done, total: counts.append((done, total)),
        on_image=lambda result: names.append(result.name),
    )
    assert counts == [(done, 5) for done in range(6)]
    assert names == ["0", "1", "2", "3", "4"]
    means = evaluation.means()[Column("mine")]
    assert list(means) == list(HIGHER_IS_BETTER)
    assert means["abs_rel"].mean == pytest.approx(0.1, rel=1e-4)
    assert evaluation.summary()["predictions"]["mine"]["unaligned"]["abs_rel"]["mean"] == means["abs_rel"].mean
    assert [json.loads(line)["status"] for line in per_image.read_text().splitlines()] == ["done"] * 4 + ["failed"]
    with Image.open(figure) as image:
        assert image.width == 1200
    assert evaluation.written == [str(per_image), str(figure)]


def test_evaluate_without_usable_image_is_an_error(data: DataSettings, tmp_path: Path) -> None:
    for path in (tmp_path / "mine").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="5"):
        evaluate(
            data,
            predictions=str(tmp_path / "mine"),
            files=ResultFiles(str(tmp_path / "f.png"), str(tmp_path / "p.jsonl")),
        )
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 5
    assert not (tmp_path / "f.png").exists()


def test_interrupted_run_writes_scores_but_no_figure(data: DataSettings, tmp_path: Path) -> None:
    files = ResultFiles(str(tmp_path / "f.png"), str(tmp_path / "p.jsonl"))

    def interrupted() -> None:
        with open_evaluation(data, predictions=str(tmp_path / "mine"), files=files) as evaluation:
            for _ in evaluation.run():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [json.loads(line)["name"] for line in (tmp_path / "p.jsonl").read_text().splitlines()] == ["0"]
    assert not (tmp_path / "f.png").exists()


def test_failed_first_image_writes_nothing(data: DataSettings, tmp_path: Path) -> None:
    per_image = tmp_path / "p.jsonl"
    with pytest.raises(UsageError):
        evaluate(
            data,
            EvaluationSettings(crop=Crop.NYU),
            predictions=str(tmp_path / "mine"),
            files=ResultFiles(per_image=str(per_image)),
        )
    assert not per_image.exists()


def test_invalid_prediction_is_drawn_as_it_is_scored(data: DataSettings, tmp_path: Path) -> None:
    for index in range(5):
        np.save(tmp_path / "mine" / f"{index}.npy", np.full((12, 20), np.nan, np.float32))
    evaluation = evaluate(data, predictions=str(tmp_path / "mine"), files=ResultFiles(str(tmp_path / "f.png")))
    assert evaluation.worst is not None
    for row in evaluation.worst.rows:
        _, truth, predicted, error = (np.asarray(tile) for tile in row.tiles)
        assert (predicted == 0).all()
        known = (truth[..., 0] == truth[..., 2])[:, 60:]  # the left columns are unknown, and drawn in blue
        assert known.all()
        assert (error[:, 60:] == (255, 255, 0)).all()


@pytest.mark.parametrize(
    ("other", "error", "named"),
    [
        ({"predictions": ""}, UsageError, "`predictions`"),
        ({"predictions": "mine", "prediction": PredictionSettings(weights="tiny")}, UsageError, "`weights`"),
        ({"predictions": "gone"}, InputError, "gone"),
        ({"files": ResultFiles("")}, UsageError, "`figure`"),
        ({"files": ResultFiles(per_image="")}, UsageError, "`per_image`"),
        ({"files": ResultFiles("f.jpg")}, UsageError, "f.jpg"),
        ({"files": ResultFiles("set/0.png", overwrite=True)}, UsageError, "0.png"),
        ({"files": ResultFiles("x.png", "./x.png")}, UsageError, "`per_image`"),
        ({"files": ResultFiles(per_image="set")}, UsageError, "set"),
        ({"files": ResultFiles(per_image="existing")}, OutputExistsError, "existing"),
    ],
)
def test_invalid_settings_are_refused_before_the_run(
    data: DataSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: dict[str, Any],
    error: type[UsageError],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "existing").write_text("old")
    monkeypatch.setattr(Evaluation, "run", None)
    with pytest.raises(error) as caught:
        evaluate(data, **{"predictions": "mine"} | other)
    assert named in caught.value.message
    assert (tmp_path / "existing").read_text() == "old"


class _Card:
    metric = False

    def __init__(self, name: str) -> None:
        self.name = name


class _Predictor:
    """A predictor whose weights all state the same name."""

    def __init__(self, settings: PredictionSettings) -> None:
        self.card = _Card("same" if settings.weights.endswith(".safetensors") else settings.weights)
        self._settings = settings
        self.weights_sha256 = settings.weights


@pytest.mark.parametrize(
    ("weights", "against", "labels"),
    [("tiny", "nyu", ["tiny", "nyu"]), ("a.safetensors", "b.safetensors", ["a.safetensors", "b.safetensors"])],
)
def test_weights_are_labeled_by_name_or_setting(
    data: DataSettings, weights: str, against: str, labels: list[str]
) -> None:
    loaded: list[PredictionSettings] = []

    def load(settings: PredictionSettings) -> Any:
        loaded.append(settings)
        return _Predictor(settings)

    prediction = PredictionSettings(weights=weights, tta=Tta.FLIP)
    evaluation = open_evaluation(data, prediction=prediction, against=against, load=load)
    assert [source.label for source in evaluation.sources] == labels
    assert [(one.weights, one.tta) for one in loaded] == [(weights, Tta.FLIP), (against, Tta.FLIP)]
    assert sum("align='median'" in note for note in evaluation.notes) == 2


def test_ignored_inference_settings_are_noted(data: DataSettings, tmp_path: Path) -> None:
    predictions = str(tmp_path / "mine")
    assert not open_evaluation(data, predictions=predictions).notes
    (note,) = open_evaluation(data, prediction=PredictionSettings(tta=Tta.FLIP), predictions=predictions).notes
    assert "`predictions`" in note


def test_skipped_images_are_noted(data: DataSettings, tmp_path: Path) -> None:
    (tmp_path / "set" / "3.png").unlink()
    (note,) = open_evaluation(data, predictions=str(tmp_path / "mine")).notes
    assert "1" in note

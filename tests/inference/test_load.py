from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import glpn_cli
from glpn_cli.errors import DeviceError, GLPNError, UsageError, WeightsError
from glpn_cli.files import FileDigest, file_sha256
from glpn_cli.inference import load as module
from glpn_cli.inference.load import load, load_predictor, load_weights
from glpn_cli.inference.network import load_network
from glpn_cli.settings import PredictionSettings
from glpn_cli.values import Tiles
from glpn_cli.weights.location import LocatedWeights, locate_weights
from glpn_cli.weights.store import NO_PROGRESS, ProgressCallback, find_weights_file, weights_files
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_chosen_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("GLPN_WEIGHTS", raising=False)
    return


def test_settings_reach_the_predictor() -> None:
    predictor = load("tiny", "cpu", "float32", tiles="auto", max_pixels=10**6, fov_deg=70, keep_rgb=True)
    assert predictor.settings == PredictionSettings(
        weights="tiny", device="cpu", tiles=Tiles.parse("auto"), max_pixels=10**6, fov_deg=70.0, keep_rgb=True
    )
    assert (predictor.card.name, predictor.runtime.device.type, predictor.weights_chosen) == ("tiny", "cpu", True)
    assert not load().weights_chosen


def test_the_digest_is_that_of_the_weights_file() -> None:
    file = find_weights_file(locate_weights("tiny").path)
    assert load("tiny").weights_sha256 == file_sha256(file)
    assert load_weights("tiny").sha256() == file_sha256(file)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_of_weights_may_be_a_path(tmp_path: Path, kind: type) -> None:
    load_weights("tiny").network.save_pretrained(tmp_path / "mine")
    assert load(kind(tmp_path / "mine")).card.name == "mine"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"weights": "no-such"}, WeightsError),
        ({"device": "gpu"}, UsageError),
        ({"precision": "int8"}, UsageError),
        ({"input_size": "big"}, UsageError),
        ({"threads": 0}, UsageError),
        ({"tta": "rotate"}, UsageError),
        ({"fov_deg": 60, "focal_px": 500}, UsageError),
        ({"device": "cuda:99"}, DeviceError),
    ],
)
def test_load_refuses_what_it_cannot_do(settings: dict[str, Any], error: type[GLPNError]) -> None:
    with pytest.raises(error) as caught:
        load(**settings)
    name, value = next(iter(settings.items()))
    assert name in str(caught.value) or str(value) in str(caught.value)


def test_invalid_settings_are_refused_before_weights_are_located(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "locate_weights", lambda _: pytest.fail("located"))
    with pytest.raises(UsageError):
        load("tiny", tta="rotate")


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"'tile'.*'tiles'"):
        load("tiny", tile="auto")


def test_approximate_weights_give_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_warned_names", set())
    with pytest.warns(glpn_cli.ApproximateDepthWarning, match="'tiny'") as caught:
        load("tiny")
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("tiny")


def test_the_command_line_is_not_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_warned_names", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_predictor(PredictionSettings(weights="tiny"))


def test_metric_weights_give_no_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_warned_names", set())
    for metric, loaded in ((True, load_weights("tiny")), (None, load_weights("tiny"))):
        monkeypatch.setattr(
            "glpn_cli.inference.network.load_network",
            lambda *_, loaded=loaded, metric=metric: replace(loaded, card=replace(loaded.card, metric=metric)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load("tiny")


def test_device_errors_come_before_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "obtain_weights", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(DeviceError):
        load("nyu", device="cuda:99")


def test_weights_that_are_not_installed_are_obtained(monkeypatch: pytest.MonkeyPatch) -> None:
    def locate(weights: str) -> LocatedWeights:
        raise WeightsError(f"{weights}: not installed")

    def obtain(weights: str, *, offline: bool, progress: ProgressCallback) -> LocatedWeights:
        assert (weights, offline, progress) == ("nyu", False, NO_PROGRESS)
        return locate_weights("tiny")

    monkeypatch.setattr(module, "locate_weights", locate)
    monkeypatch.setattr(module, "obtain_weights", obtain)
    predictor = load("nyu")
    assert predictor.weights_sha256 == file_sha256(find_weights_file(locate_weights("tiny").path))


def test_missing_weights_are_named() -> None:
    with pytest.raises(WeightsError, match="nyu"):
        load("nyu", offline=True)


def test_a_folder_without_weights_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_weights_are_located_once(monkeypatch: pytest.MonkeyPatch) -> None:
    located: list[str] = []

    def locate(weights: str) -> LocatedWeights:
        located.append(weights)
        return locate_weights(weights)

    monkeypatch.setattr(module, "locate_weights", locate)
    monkeypatch.setattr(module, "obtain_weights", lambda *_, **__: pytest.fail("located again"))
    load_predictor(PredictionSettings(weights="tiny"))
    assert located == ["tiny"]


def test_a_digest_that_was_started_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    located = locate_weights("tiny")
    digest = FileDigest(find_weights_file(located.path))
    monkeypatch.setattr("glpn_cli.inference.network.FileDigest", lambda _: pytest.fail("hashed twice"))
    assert load_network(located, digest).sha256() == digest.hexdigest()


def test_the_digest_starts_before_torch_is_imported() -> None:
    program = """
import sys
from glpn_cli import files
started = []
class Digest(files.FileDigest):
    def __init__(self, path):
        started.append("torch" in sys.modules)
        super().__init__(path)
files.FileDigest = Digest
import glpn_cli
glpn_cli.load("tiny")
assert started == [False], started
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=HANG_S)


def test_importing_load_does_not_import_torch() -> None:
    program = "import sys, glpn_cli; glpn_cli.load; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=HANG_S)


def test_the_signature_has_every_setting() -> None:
    parameters = inspect.signature(glpn_cli.load).parameters
    settings = inspect.signature(PredictionSettings).parameters
    assert list(parameters) == list(settings)
    assert {name: item.default for name, item in parameters.items()} == {
        name: item.default for name, item in settings.items()
    }
    positional = [name for name, item in parameters.items() if item.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional == ["weights", "device", "precision"]
    assert inspect.signature(glpn_cli.load).return_annotation == "Predictor"


def test_configuration_that_differs_from_the_weights_is_noted(tmp_path: Path) -> None:
    load_weights("tiny").network.save_pretrained(tmp_path)
    config = glpn_cli.GLPNConfig.from_pretrained(tmp_path)
    config.max_depth = 40
    config.save_pretrained(tmp_path)
    notes = []

    class Notes(ProgressCallback):
        def note(self, text: str) -> None:
            notes.append(text)

    predictor = load_predictor(PredictionSettings(weights=str(tmp_path)), progress=Notes())
    assert predictor.card.depth_limit_m == 40
    assert predictor.config_sha256 is not None
    assert load_weights(str(tmp_path), progress=Notes()).network.config.max_depth == 40
    assert len(notes) == 2
    assert "max_depth is 40, not 80" in notes[0]
    assert load("tiny").config_sha256 is None


def test_weights_in_several_files_are_hashed_together(tmp_path: Path) -> None:
    load_weights("tiny").network.save_pretrained(tmp_path, max_shard_size="5MB")
    predictor = load(tmp_path)
    assert predictor.weights_sha256 == FileDigest(*weights_files(tmp_path)).hexdigest()
    assert len(weights_files(tmp_path)) > 2

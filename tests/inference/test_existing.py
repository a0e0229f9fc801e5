"""Outputs that exist: up to date only if the same image and the same settings gave them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import glpn_cli
from glpn_cli.errors import OutputExistsError
from glpn_cli.files import file_sha256
from glpn_cli.geometry.measure import Anchor
from glpn_cli.inference.existing import image_sha256, may_be_current
from glpn_cli.inference.fingerprint import file_fingerprint
from glpn_cli.inference.plan import plan_beside
from glpn_cli.inference.run import RunOptions, run
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.result import Result

BY_BYTES = ["npy", "pfm", "normals-exr", "camera", "camera-info"]
WITH_METADATA = [name for name in FORMATS if name not in BY_BYTES]


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return glpn_cli.load("tiny", keep_rgb=True, tta="flip", input_size="32x64")


@pytest.fixture(autouse=True)
def image(make_image: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_image("a.png")


class _NoNetwork:
    """A predictor that must not be asked for anything but its settings."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def __getattr__(self, name: str) -> Any:
        assert name not in ("prepare", "run", "finish"), "something was computed"
        return getattr(self._predictor, name)


def predict(predictor: Any, *formats: str, output: OutputSettings | None = None, **options: Any) -> Result:
    plan = plan_beside(["a.png"], formats=formats)
    (result,) = run(plan.tasks, predictor, output or OutputSettings(), options=RunOptions(**options))
    return result


def status(*arguments: Any, **options: Any) -> str:
    return predict(*arguments, **options).record.status


def test_formats_with_metadata_are_up_to_date_without_computing(tiny: Predictor) -> None:
    assert status(tiny, *WITH_METADATA) == "done"
    result = predict(_NoNetwork(tiny), *WITH_METADATA)
    assert result.record.status == "up to date"
    assert result.record.sha256 == {row.name: file_sha256(path) for row, path in result.task.outputs}
    assert "elapsed_ms" not in result.to_dict()


@pytest.mark.parametrize("name", BY_BYTES)
def test_other_formats_are_compared_by_their_bytes(tiny: Predictor, name: str) -> None:
    assert status(tiny, name) == "done"
    assert status(tiny, name) == "up to date"
    path = Path("a" + FORMATS[name].ending)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert isinstance(predict(tiny, name).error, OutputExistsError)
    assert path.read_bytes() != data


def test_missing_formats_are_added(tiny: Predictor) -> None:
    assert status(tiny, "png16") == "done"
    before = Path("a.depth16.png").stat().st_mtime_ns
    result = predict(tiny, "png16", "npy", "npz")
    assert result.record.status == "done"
    assert set(result.record.sha256) == {"png16", "npy", "npz"}
    assert Path("a.depth16.png").stat().st_mtime_ns == before
    assert status(tiny, "png16", "npy", "npz") == "up to date"


def test_nothing_is_added_beside_a_file_of_something_else(tiny: Predictor) -> None:
    Path("a.depth.npy").write_bytes(b"precious")
    assert isinstance(predict(tiny, "npy", "npz").error, OutputExistsError)
    assert not Path("a.depth.npz").exists()
    assert Path("a.depth.npy").read_bytes() == b"precious"


def test_another_image_is_not_up_to_date(tiny: Predictor, make_image: Callable[..., Path]) -> None:
    assert status(tiny, "png16") == "done"
    make_image("a.png", 50, 60)
    assert isinstance(predict(_NoNetwork(tiny), "png16").error, OutputExistsError)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("png", {"normalize": "minmax"}),
        ("npz", {"scale": "published"}),
        ("color", {"colormap": "magma"}),
        ("color", {"range_m": (1.0, 2.0)}),
        ("ply", {"max_points": 10}),
    ],
)
def test_other_output_settings_are_not_up_to_date(tiny: Predictor, name: str, changes: dict[str, Any]) -> None:
    assert status(tiny, name) == "done"
    assert isinstance(predict(_NoNetwork(tiny), name, output=OutputSettings(**changes)).error, OutputExistsError)


def test_settings_without_effect_are_ignored(tiny: Predictor) -> None:
    assert status(tiny, "npz", "png16") == "done"
    output = OutputSettings(png_compression=9, colormap="magma", normalize="minmax")  # type: ignore[arg-type]
    assert status(_NoNetwork(tiny), "npz", "png16", output=output) == "up to date"


@pytest.mark.parametrize(
    "changes",
    [{"tta": "none"}, {"input_size": "64x64"}, {"tiles": "32x32"}, {"fov_deg": 60.0}, {"stretch": True}],
)
def test_every_setting_of_prediction_counts(tiny: Predictor, changes: dict[str, Any]) -> None:
    class Other(_NoNetwork):
        settings = replace(tiny.settings, **changes)
        input_size = settings.input_size or tiny.input_size

    row, output = FORMATS["npz"], OutputSettings()
    assert file_fingerprint(row, output, Other(tiny)) != file_fingerprint(row, output, tiny)  # type: ignore[arg-type]


def test_devices_and_names_do_not_count(tiny: Predictor) -> None:
    class Other(_NoNetwork):
        settings = replace(tiny.settings, weights="copy.safetensors", threads=1, max_pixels=10**6)

    row, output = FORMATS["npz"], OutputSettings()
    assert file_fingerprint(row, output, Other(tiny)) == file_fingerprint(row, output, tiny)  # type: ignore[arg-type]
    anchored = file_fingerprint(row, output, tiny, [Anchor(3, 4, 2.0)])
    assert anchored != file_fingerprint(row, output, tiny)


@pytest.mark.parametrize("name", WITH_METADATA)
def test_a_truncated_file_is_not_up_to_date(tiny: Predictor, name: str) -> None:
    assert status(tiny, name) == "done"
    path = Path("a" + FORMATS[name].ending)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    assert isinstance(predict(tiny, name).error, OutputExistsError)


def test_another_format_under_the_name_is_not_up_to_date(tiny: Predictor) -> None:
    assert status(tiny, "png16") == "done"
    shutil.copy("a.depth16.png", "a.depth.png")
    assert isinstance(predict(_NoNetwork(tiny), "png").error, OutputExistsError)


def test_files_without_an_origin_are_refused_before_weights_are_loaded(tiny: Predictor) -> None:
    tiny.predict("a.png").save("a.depth16.png")
    assert not may_be_current(FORMATS["png16"], Path("a.depth16.png"))
    (task,) = plan_beside(["a.png"], formats=["png16"]).tasks
    assert isinstance(task.failure, OutputExistsError)


def test_only_files_and_bytes_have_a_hash(image: Path, tmp_path: Path) -> None:
    assert image_sha256(image) == image_sha256(image.read_bytes()) == file_sha256(image)
    assert image_sha256(tmp_path / "gone") is None
    assert image_sha256("a\0b") is None
    assert image_sha256(tmp_path) is None


def test_a_file_that_changes_while_it_is_read_has_no_origin(tiny: Predictor, image: Path) -> None:
    class Slow(_NoNetwork):
        def prepare(self, *arguments: Any, **options: Any) -> Any:
            prepared = tiny.prepare(*arguments, **options)
            image.write_bytes(image.read_bytes() + b"\0")
            return prepared

        run, finish = tiny.run, tiny.finish

    assert status(Slow(tiny), "png16") == "done"
    assert isinstance(predict(tiny, "png16").error, OutputExistsError)

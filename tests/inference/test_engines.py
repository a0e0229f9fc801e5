"""Which engine computes which image: explicit choices, and the choice of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.api import run_batch
from glpn_cli.device import choose_runtime
from glpn_cli.errors import DeviceError, UsageError
from glpn_cli.image.reading import read_size
from glpn_cli.inference import engines
from glpn_cli.inference.engine.engine import Engine
from glpn_cli.inference.engines import settle_engine
from glpn_cli.inference.load import load
from glpn_cli.output.reading import read_depth
from glpn_cli.values import EngineChoice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

WIDE, TALL, SQUARE = (32, 64), (64, 32), (32, 32)


@pytest.mark.parametrize("text", ["auto", "torch", "openvino", "openvino:32x64,480x640"])
def test_choice_as_text(text: str) -> None:
    assert str(EngineChoice.parse(text)) == text


@pytest.mark.parametrize("text", ["", "tensorrt", "torch:32x64", "openvino:", "openvino:33x64"])
def test_invalid_choice_names_the_setting(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        EngineChoice.parse(text)
    assert raised.value.setting == "engine"


def test_only_named_sizes_use_openvino() -> None:
    choice = EngineChoice.parse("openvino:32x64")
    assert [str(choice.for_size(size)) for size in (WIDE, TALL)] == ["openvino", "torch"]


def test_engine_must_suit_device() -> None:
    with pytest.raises(DeviceError):
        settle_engine(EngineChoice.parse("torch"), choose_runtime("openvino:GPU"))
    assert str(settle_engine(EngineChoice(), choose_runtime("openvino:GPU"))) == "openvino"
    assert str(settle_engine(EngineChoice(), choose_runtime("cpu"))) == "torch"


def test_single_images_use_torch(photo: Path) -> None:
    assert load("tiny").predict(photo).provenance.engine == "torch"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_size_of_header_is_upright(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 48)).save(path, exif=exif)
    assert read_size(str(path)) == ((64, 48) if orientation in (6, 8) else (48, 64))
    assert read_size(str(tmp_path / "missing.jpg")) is None


# The choice of a run


@pytest.fixture
def folder(make_image: Callable[..., Path], tmp_path: Path) -> Path:
    """Twelve images of two sizes, and one of a third."""
    for number in range(6):
        make_image(f"in/wide{number}.png", *WIDE)
        make_image(f"in/tall{number}.png", *TALL)
    make_image("in/square.png", *SQUARE)
    return tmp_path / "in"


@pytest.fixture
def _compiling_pays_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(engines, "_MIN_PARAMETERS", 0)
    monkeypatch.setattr(engines, "_MIN_IMAGES", 5)
    monkeypatch.setattr(engines, "_USUAL_PIXELS", 32 * 64)


def batch(folder: Path, out: Path, **settings: object) -> dict[str, tuple[str | None, bytes]]:
    """Return engine and depth of every image."""
    run_batch(folder, out, formats="npz", weights="tiny", input_size="native", **settings)
    depths = {path.name: read_depth(path) for path in sorted(out.glob("*.npz"))}
    return {name: (depth.provenance.engine, depth.meters.tobytes()) for name, depth in depths.items()}


@pytest.mark.usefixtures("_compiling_pays_soon")
def test_frequent_sizes_use_openvino_in_every_worker_and_resumed_run(folder: Path, tmp_path: Path) -> None:
    found = batch(folder, tmp_path / "one")
    used = {name: engine for name, (engine, _) in found.items()}
    assert used.pop("square.depth.npz") == "torch"
    assert set(used.values()) == {"openvino"}
    assert batch(folder, tmp_path / "two", device="cpu,cpu") == found
    for path in list((tmp_path / "one").glob("*wide*.npz")):
        path.unlink()
    assert batch(folder, tmp_path / "one") == found
    assert batch(folder, tmp_path / "shards", shard="1/2") | batch(folder, tmp_path / "shards", shard="2/2") == found


def test_torch_computes_images_one_by_one_beside_openvino(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    expected = batch(folder, tmp_path / "torch", engine="torch")
    at_once = []
    compute = Engine.__call__

    def watched(self: Engine, pixel_values: torch.Tensor) -> torch.Tensor:
        at_once.append(len(pixel_values))
        return compute(self, pixel_values)

    monkeypatch.setattr(Engine, "__call__", watched)
    found = batch(folder, tmp_path / "both", engine="openvino:32x64", threads=2)
    assert set(at_once) == {1}
    tall = [name for name in found if name.startswith("tall")]
    assert [found[name] for name in tall] == [expected[name] for name in tall]
    assert len(tall) == 6


@pytest.mark.usefixtures("_compiling_pays_soon")
@pytest.mark.parametrize("settings", [{"tiles": "auto"}, {"engine": "torch"}])
def test_settings_that_exclude_openvino(settings: dict[str, str], folder: Path, tmp_path: Path) -> None:
    found = batch(folder, tmp_path / "out", **settings)
    assert {engine for engine, _ in found.values()} == {"torch"}


@pytest.mark.usefixtures("_compiling_pays_soon")
def test_many_sizes_use_torch(make_image: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(12):
        make_image(f"in/{number}.png", *(WIDE, TALL, SQUARE)[number % 3])
    found = batch(tmp_path / "in", tmp_path / "out")
    assert {engine for engine, _ in found.values()} == {"torch"}


@pytest.mark.usefixtures("_compiling_pays_soon")
def test_large_sizes_use_torch(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_MAX_SIZE", (32, 63))
    found = batch(folder, tmp_path / "out")
    assert {engine for engine, _ in found.values()} == {"torch"}


def test_outputs_of_another_engine_are_up_to_date(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    found = batch(folder, tmp_path / "out", engine="torch")
    assert batch(folder, tmp_path / "out", engine="openvino") == found
    assert np.all([engine == "torch" for engine, _ in found.values()])

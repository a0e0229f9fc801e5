from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from glpn_cli.errors import ConfigError, MissingPackageError, OutputError, UsageError
from glpn_cli.export import ExportModule, build_module, build_onnx, example_input, verify_onnx
from glpn_cli.inference.network import LoadedWeights
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.settings import ExportSettings
from glpn_cli.values import Precision
from glpn_cli.weights.catalog import WeightsCard

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter warns about itself


STAGES: dict[int, dict[str, Any]] = {
    4: {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 12, 16], "num_attention_heads": [1, 1, 2, 2]},
    2: {
        "num_encoder_blocks": 2,
        "depths": [1, 1],
        "hidden_sizes": [8, 12],
        "num_attention_heads": [1, 2],
        "patch_sizes": [7, 3],
        "strides": [4, 2],
        "sr_ratios": [4, 1],  # attention with and without reduction
        "mlp_ratios": [4, 4],
    },
}
"""Configurations by number of stages."""


def small_module(stages: int = 4, **settings: object) -> ExportModule:
    """Wrap a small network whose every part changes the result; a unit of its published scale is 8 m."""
    torch.manual_seed(3)
    network = GLPNForDepthEstimation(GLPNConfig(**STAGES[stages], decoder_hidden_size=8)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.08)
    card = WeightsCard("mine", depth_limit_m=80.0, meters_per_unit=8.0, working_size=(70, 96), metric=True)
    return build_module(LoadedWeights(network, card, lambda: "ab" * 32), ExportSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "fits"), [("96x64", False), ("dynamic", False), ("256x288", True)])
def test_size_must_suit_the_architecture(size: str, fits: bool) -> None:
    network = GLPNForDepthEstimation(GLPNConfig(depths=[1] * 4, sr_ratios=[8] * 4)).eval()
    weights = LoadedWeights(network, WeightsCard("mine", depth_limit_m=10.0), lambda: "ab" * 32)
    if fits:
        assert build_module(weights, ExportSettings(size=size)).size == (256, 288)
    else:
        with pytest.raises(ConfigError, match="256"):
            build_module(weights, ExportSettings(size=size))


def run(data: bytes, name: str, images: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {name: images.numpy()}), strict=True))


def metadata(data: bytes) -> dict[str, str]:
    return {item.key: item.value for item in onnx.load_from_string(data).metadata_props}


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.soak)], ids="{} stages".format)
def dynamic(request: pytest.FixtureRequest) -> tuple[ExportModule, bytes]:
    """An export of any size, from 8-bit images to meters; with all stages it takes half a minute."""
    exported = small_module(request.param, size="dynamic", with_preprocessing=True)
    return exported, build_onnx(exported)


@pytest.fixture(scope="module")
def static() -> tuple[ExportModule, bytes]:
    """An export of one size, from pixel values to the published scale."""
    exported = small_module()
    return exported, build_onnx(exported)


def test_dynamic_file_matches_torch_at_every_size(dynamic: tuple[ExportModule, bytes]) -> None:
    exported, data = dynamic
    for batch, size in ((1, (32, 32)), (1, (64, 96)), (2, (96, 64)), (3, (32, 160)), (1, (160, 224))):
        images = example_input(exported, batch=batch, size=size, seed=batch)
        assert images.dtype == torch.uint8
        with torch.no_grad():
            expected = exported.module(images).numpy()
        meters = run(data, "images", images)["meters"]
        assert meters.shape == (batch, *size)
        assert meters == pytest.approx(expected, abs=1e-4)
        assert np.ptp(meters) > 0.1  # not constant, so the comparison means something


def test_output_with_preprocessing_is_in_meters(dynamic: tuple[ExportModule, bytes]) -> None:
    exported, data = dynamic
    images = example_input(exported, batch=1, size=(64, 64))
    with torch.no_grad():
        published = exported.weights.network(images.permute(0, 3, 1, 2) / 255).predicted_depth
    assert run(data, "images", images)["meters"] == pytest.approx(8 * published.numpy(), abs=1e-4)


def test_metadata_describes_input_and_output(dynamic: tuple[ExportModule, bytes]) -> None:
    facts = metadata(dynamic[1])
    assert facts["unit"] == "meter"
    assert (facts["meters_per_unit"], facts["depth_limit_m"]) == ("1.0", "80.0")
    assert (facts["weights"], facts["weights_sha256"], facts["metric"]) == ("mine", "ab" * 32, "metric")
    assert "uint8" in facts["input"]
    assert "BILINEAR" in facts["preprocessing"]
    axes = onnx.load_from_string(dynamic[1]).graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["batch", "32*rows", "32*columns", 3]


def test_file_contains_no_local_paths(dynamic: tuple[ExportModule, bytes]) -> None:
    for path in (b"/site-packages/", b"stack_trace", __file__.encode(), b"wrappers.py", b"export.py"):
        assert path not in dynamic[1]


def test_without_preprocessing_output_is_in_published_scale(static: tuple[ExportModule, bytes]) -> None:
    exported, data = static
    facts = metadata(data)
    assert (facts["meters_per_unit"], facts["input_size"]) == ("8.0", "64x96")
    assert "published" in facts["unit"]
    (agreement,) = verify_onnx(data, exported, name="x.onnx")
    assert (agreement.batch, agreement.size) == (1, (64, 96))
    assert agreement.largest_m < 1e-3
    pixel_values = example_input(exported, batch=1, size=(64, 96))
    with torch.no_grad():
        published = exported.weights.network(pixel_values).predicted_depth
    assert run(data, "pixel_values", pixel_values)["predicted_depth"] == pytest.approx(published.numpy(), abs=1e-4)


def test_file_that_differs_from_torch_is_refused(static: tuple[ExportModule, bytes]) -> None:
    exported = copy.deepcopy(static[0])
    with torch.no_grad():
        exported.weights.network.head.head[2].bias.add_(0.05)
    with pytest.raises(OutputError, match=r"x\.onnx.*64x96"):
        verify_onnx(static[1], exported, name="x.onnx")


def test_float16_file_has_float32_output() -> None:
    exported = small_module(2, size="32x64", precision=Precision.FLOAT16)
    data = build_onnx(exported)
    model = onnx.load_from_string(data)
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.FLOAT16 in {item.data_type for item in model.graph.initializer}
    (agreement,) = verify_onnx(data, exported, name="x.onnx")
    assert 0 < agreement.largest_m < 0.5


@pytest.mark.parametrize(
    "settings",
    [{"precision": Precision.BFLOAT16}, {"size": "30x64"}, {"size": "64"}, {"size": "0x32"}],
    ids=str,
)
def test_invalid_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ExportSettings(**settings)  # type: ignore[arg-type]


def test_missing_exporter_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match="onnxscript") as caught:
        build_onnx(small_module())
    assert str(caught.value.hint).startswith("pip install ")
    assert "onnxscript" in str(caught.value.hint)

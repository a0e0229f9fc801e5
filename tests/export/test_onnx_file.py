from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from glpn_cli.errors import MissingPackageError, OutputError, UsageError
from glpn_cli.export import build_onnx, build_subject, example_input, verify
from glpn_cli.inference.predictor import LoadedWeights
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.settings import ExportSettings, Precision
from glpn_cli.weights.catalog import WeightsCard

if TYPE_CHECKING:
    from glpn_cli.export import Subject

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's remarks on itself


def subject(**settings: object) -> Subject:
    """Give a small network whose every part matters, with a published scale of an eighth of a meter."""
    torch.manual_seed(3)
    config = GLPNConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 12, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8
    )
    network = GLPNForDepthEstimation(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.08)
    card = WeightsCard("mine", depth_limit_m=80.0, meters_per_unit=8.0, working_size=(70, 96), metric=True)
    return build_subject(LoadedWeights(network, card, lambda: "ab" * 32), ExportSettings(**settings))  # type: ignore[arg-type]


def run(data: bytes, given: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (computed,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    return np.asarray(computed)


@pytest.fixture(scope="module")
def dynamic() -> tuple[Subject, bytes]:
    """Export once, with everything: any size, 8-bit images in, meters out."""
    exported = subject(size="dynamic", with_preprocessing=True)
    return exported, build_onnx(exported)


def test_a_file_of_any_size_gives_what_torch_gives_on_every_size(dynamic: tuple[Subject, bytes]) -> None:
    exported, data = dynamic
    for batch, size in ((1, (32, 32)), (1, (64, 96)), (2, (96, 64)), (3, (32, 160)), (1, (160, 224))):
        given = example_input(exported, batch=batch, size=size, seed=batch)
        assert given.dtype == torch.uint8
        with torch.no_grad():
            expected = exported.module(given).numpy()
        computed = run(data, given)
        assert computed.shape == (batch, *size)
        assert computed == pytest.approx(expected, abs=1e-4)
        assert np.ptp(computed) > 0.1  # not the same everywhere, and so a test


def test_meters_come_out_of_a_graph_that_holds_the_scale(dynamic: tuple[Subject, bytes]) -> None:
    exported, data = dynamic
    given = example_input(exported, batch=1, size=(64, 64))
    network = exported.weights.network
    with torch.no_grad():
        published = network(given.permute(0, 3, 1, 2) / 255).predicted_depth
    assert run(data, given) == pytest.approx(8 * published.numpy(), abs=1e-4)


def test_the_file_says_what_its_numbers_are_and_not_where_it_was_made(dynamic: tuple[Subject, bytes]) -> None:
    model = onnx.load_from_string(dynamic[1])
    facts = {item.key: item.value for item in model.metadata_props}
    assert facts["unit"] == "meter"
    assert (facts["meters_per_unit"], facts["depth_limit_m"]) == ("1.0", "80.0")
    assert (facts["weights"], facts["weights_sha256"], facts["metric"]) == ("mine", "ab" * 32, "metric")
    assert "uint8" in facts["input"]
    assert "BILINEAR" in facts["preprocessing"]
    shape = [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", "32*rows", "32*columns", 3]
    for path in (b"/site-packages/", b"stack_trace", __file__.encode(), b"wrappers.py"):
        assert path not in dynamic[1]


def test_without_preprocessing_the_published_scale_comes_out_and_the_file_says_the_factor() -> None:
    exported = subject()
    data = build_onnx(exported)
    facts = {item.key: item.value for item in onnx.load_from_string(data).metadata_props}
    assert (facts["meters_per_unit"], facts["input_size"]) == ("8.0", "64x96")
    assert "published" in facts["unit"]
    (agreement,) = verify(data, exported, name="x.onnx")
    assert (agreement.batch, agreement.size) == (1, (64, 96))
    assert agreement.largest_m < 1e-3
    with torch.no_grad():
        exported.weights.network.head.head[2].bias.add_(0.05)
    with pytest.raises(OutputError, match="x.onnx: not written: at 64x96"):  # noqa: RUF043 - a dot is one too
        verify(data, exported, name="x.onnx")


def test_half_precision_inside_is_float32_outside() -> None:
    exported = subject(size="32x64", precision=Precision.FLOAT16)
    data = build_onnx(exported)
    model = onnx.load_from_string(data)
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.FLOAT16 in {item.data_type for item in model.graph.initializer}
    (agreement,) = verify(data, exported, name="x.onnx")
    assert 0 < agreement.largest_m < 0.5


def test_what_cannot_be_exported_is_said_at_once() -> None:
    with pytest.raises(UsageError, match="bfloat16"):
        ExportSettings(precision=Precision.BFLOAT16)
    for size in ("30x64", "64", "0x32"):
        with pytest.raises(UsageError):
            ExportSettings(size=size)


def test_the_exporters_packages_are_named_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match="onnxscript") as caught:
        build_onnx(subject())
    assert "glpn-cli[onnx]" in str(caught.value.hint)

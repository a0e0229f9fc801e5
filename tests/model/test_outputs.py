from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import scatter_gather
from torch.utils import _pytree
from transformers.modeling_outputs import BaseModelOutput as TheirBaseModelOutput
from transformers.modeling_outputs import DepthEstimatorOutput as TheirDepthEstimatorOutput

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel
from glpn_cli.model.outputs import BaseModelOutput, DepthEstimatorOutput

if TYPE_CHECKING:
    from collections.abc import Callable

LOSS, DEPTH, MAP = torch.tensor(1.0), torch.ones(1, 4, 4), torch.ones(1, 8, 2, 2)
KINDS = [DepthEstimatorOutput, TheirDepthEstimatorOutput]


@pytest.fixture
def model() -> GLPNForDepthEstimation:
    """Two stages of one layer: every kind of layer, and as few as possible for the compilers."""
    torch.manual_seed(0)
    config = GLPNConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], num_attention_heads=[1, 2],
        decoder_hidden_size=8, initializer_range=0.3,
    )  # fmt: skip
    return GLPNForDepthEstimation(config).eval()


@pytest.fixture
def images(draw_images: Callable[..., Tensor]) -> Tensor:
    return draw_images(2, 16, 24)


def test_names_match_transformers() -> None:
    every = {"loss": LOSS, "predicted_depth": DEPTH, "hidden_states": (MAP,), "attentions": (MAP,)}
    assert list(DepthEstimatorOutput(**every)) == list(TheirDepthEstimatorOutput(**every)) == list(every)
    every = {"last_hidden_state": MAP, "hidden_states": (MAP,), "attentions": (MAP,)}
    assert list(BaseModelOutput(**every)) == list(TheirBaseModelOutput(**every)) == list(every)


@pytest.mark.parametrize("kind", KINDS)
def test_values_by_name_position_and_slice(kind: type[Any]) -> None:
    output = kind(loss=LOSS, predicted_depth=DEPTH, hidden_states=(MAP,))
    assert isinstance(output, dict)
    assert output.loss is output["loss"] is output[0] is LOSS
    assert output.predicted_depth is output["predicted_depth"] is output[1] is DEPTH
    assert output[-1] == (MAP,)
    assert output[:2] == (LOSS, DEPTH)
    assert output.to_tuple() == (LOSS, DEPTH, (MAP,))
    assert list(output.values()) == [LOSS, DEPTH, (MAP,)]
    assert list(output.items()) == [("loss", LOSS), ("predicted_depth", DEPTH), ("hidden_states", (MAP,))]
    assert [output[name] for name in output] == list(output.to_tuple())


@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_have_no_key_and_no_position(kind: type[Any]) -> None:
    output = kind(predicted_depth=DEPTH)
    assert output.loss is None
    assert len(output) == 1
    assert output[0] is DEPTH
    assert output.to_tuple() == (DEPTH,)
    assert (output.get("loss"), output.get("loss", 3)) == (None, 3)
    assert "predicted_depth" in output
    assert "loss" not in output
    for name in ("loss", "to_tuple"):
        with pytest.raises(KeyError, match=name):
            output[name]
    with pytest.raises(IndexError):
        output[1]


@pytest.mark.parametrize("kind", KINDS)
def test_values_can_be_set_by_name_and_attribute(kind: type[Any]) -> None:
    output = kind(predicted_depth=DEPTH)
    output["loss"] = LOSS
    assert output.loss is LOSS
    output.loss = MAP
    assert output["loss"] is MAP
    output["target_size"] = (3, 4)  # what pipelines do
    assert output["target_size"] == output.target_size == (3, 4)
    assert list(output) == ["predicted_depth", "loss", "target_size"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda output: output.pop("loss"),
        lambda output: output.update(loss=DEPTH),
        lambda output: output.setdefault("loss", DEPTH),
        lambda output: output.__delitem__("loss"),
    ],
    ids=["pop", "update", "setdefault", "del"],
)
def test_values_cannot_be_removed(kind: type[Any], change: Callable[[Any], Any]) -> None:
    output = kind(loss=LOSS)
    with pytest.raises(Exception, match=kind.__name__):
        change(output)
    assert output["loss"] is output.loss is LOSS


def test_value_set_to_none_is_missing() -> None:
    output = DepthEstimatorOutput(LOSS, DEPTH)
    output.loss = None
    assert list(output) == ["predicted_depth"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_by_position_or_as_pairs(kind: type[Any]) -> None:
    values = {"loss": LOSS, "predicted_depth": DEPTH}
    for output in (kind(LOSS, DEPTH), kind(values), kind(pair for pair in values.items()), kind(list(values.items()))):
        assert dict(output) == values
        assert (output.loss, output.predicted_depth) == (LOSS, DEPTH)


def test_output_converts_to_a_dictionary() -> None:
    output = DepthEstimatorOutput(loss=LOSS, predicted_depth=DEPTH)
    assert dict(output) == {"loss": LOSS, "predicted_depth": DEPTH}
    assert {**output} == {"loss": LOSS, "predicted_depth": DEPTH}


def test_outputs_are_equal_only_to_themselves() -> None:
    output = DepthEstimatorOutput(LOSS, DEPTH)
    assert output == output  # noqa: PLR0124 - comparing tensors would raise
    assert output != DepthEstimatorOutput(LOSS, DEPTH)
    assert len({output, output}) == 1


def _pickled(output: Any) -> Any:
    return pickle.loads(pickle.dumps(output))  # noqa: S301


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, _pickled])
def test_outputs_can_be_copied(duplicate: Callable[[Any], Any]) -> None:
    output = BaseModelOutput(MAP, hidden_states=(MAP, MAP))
    output["target_size"] = (3, 4)
    copied = duplicate(output)
    assert type(copied) is BaseModelOutput
    assert list(copied) == ["last_hidden_state", "hidden_states", "target_size"]
    assert torch.equal(copied.last_hidden_state, MAP)
    assert torch.equal(copied["hidden_states"][1], MAP)
    assert copied.attentions is None


def test_outputs_are_containers_of_tensors() -> None:
    output = DepthEstimatorOutput(predicted_depth=DEPTH, hidden_states=(MAP, MAP))
    leaves, spec = _pytree.tree_flatten(output)
    assert leaves == [DEPTH, MAP, MAP]
    assert _pytree.treespec_loads(_pytree.treespec_dumps(spec)) == spec
    doubled = _pytree.tree_map(lambda tensor: 2 * tensor, output)
    assert type(doubled) is DepthEstimatorOutput
    assert torch.equal(doubled.hidden_states[1], 2 * MAP)
    paths = [_pytree.keystr(path) for path, _ in _pytree.tree_flatten_with_path(output)[0]]
    assert paths == ["['predicted_depth']", "['hidden_states'][0]", "['hidden_states'][1]"]


def test_replicas_are_gathered(model: GLPNForDepthEstimation, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gather:
        @staticmethod
        def apply(_device: object, dim: int, *tensors: Tensor) -> Tensor:
            return torch.cat(tensors, dim)

    monkeypatch.setattr(scatter_gather, "Gather", Gather)  # DataParallel's own needs two GPUs
    with torch.no_grad():
        whole = model(images, output_hidden_states=True)
        gathered = scatter_gather.gather([model(image, output_hidden_states=True) for image in images.split(1)], "cpu")
    assert type(gathered) is DepthEstimatorOutput
    torch.testing.assert_close(gathered.predicted_depth, whole.predicted_depth)
    assert [state.shape for state in gathered.hidden_states] == [state.shape for state in whole.hidden_states]


@pytest.mark.parametrize("network", ["whole", "encoder"])
def test_torch_export_returns_the_same_outputs(model: GLPNForDepthEstimation, images: Tensor, network: str) -> None:
    subject: nn.Module = model if network == "whole" else model.glpn
    with torch.no_grad():
        program = torch.export.export(subject, (images,), {"output_hidden_states": True})
        found = program.module()(images, output_hidden_states=True)
        expected = subject(images, output_hidden_states=True)
    assert type(found) is type(expected)
    assert list(found) == list(expected)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found.hidden_states, expected.hidden_states)


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_both_onnx_exporters_take_the_network(model: GLPNForDepthEstimation, images: Tensor, dynamo: bool) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    if dynamo:
        program = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
        assert program is not None
        data = program.model_proto.SerializeToString()
    else:
        file = io.BytesIO()
        torch.onnx.export(model, (images,), file, dynamo=False)
        data = file.getvalue()
    onnx.checker.check_model(onnx.load_from_string(data))
    session = runtime.InferenceSession(data)
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected = model(images).predicted_depth
    assert abs(found - expected.numpy()).max() < 1e-4 * model.config.max_depth


def test_traced_network_returns_a_dictionary(model: GLPNForDepthEstimation, images: Tensor) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about tracing
        traced = torch.jit.trace(model, images, strict=False)
        found = traced(images)
        expected = model(images).predicted_depth
        torch.testing.assert_close(found["predicted_depth"], expected)
        model.config.torchscript = True
        (tensor,) = torch.jit.trace(model, images)(images)
        torch.testing.assert_close(tensor, expected)


def test_compiled_network_returns_the_same_outputs(model: GLPNForDepthEstimation, images: Tensor) -> None:
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        found, expected = compiled(images, output_hidden_states=True), model(images, output_hidden_states=True)
    assert type(found) is DepthEstimatorOutput
    assert list(found) == list(expected)
    torch.testing.assert_close(found.predicted_depth, expected.predicted_depth)


def test_encoder_module_takes_the_keywords_of_transformers(
    build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
    pair, images = build_pair("tiny"), draw_images(1, 32, 32)
    with torch.no_grad():
        ours = pair.ours.glpn.encoder(images, output_hidden_states=True)
        theirs = pair.theirs.glpn.encoder(images, output_hidden_states=True)
        short = pair.ours.glpn.encoder(images, return_dict=False)
    assert list(ours) == list(theirs)
    assert len(ours.hidden_states) == len(theirs.hidden_states)
    assert isinstance(short, tuple)
    assert len(short) == 1


def test_torchscript_gives_tuples(model: GLPNForDepthEstimation, images: Tensor) -> None:
    model.config.torchscript = True
    with torch.no_grad():
        assert type(model(images)) is tuple
        assert isinstance(GLPNModel(model.config).eval()(images), tuple)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import glpn_cli.weights
from glpn_cli.errors import ConfigError, WeightsError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def model(build_pair: Callable[..., Any]) -> GLPNForDepthEstimation:
    return build_pair("tiny").ours


@pytest.fixture
def theirs(build_pair: Callable[..., Any]) -> Any:
    return build_pair("tiny").theirs


@pytest.fixture
def images(draw_images: Callable[..., Tensor]) -> Tensor:
    return draw_images(1, 64, 96)


@torch.no_grad()
def _depth(network: nn.Module, images: Tensor) -> Tensor:
    return network(images, output_attentions=True).predicted_depth


@torch.no_grad()
def _features(network: nn.Module, images: Tensor) -> Tensor:
    return network(images, output_attentions=True).last_hidden_state


def test_saved_network_is_loaded_and_ready_to_predict(
    model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path
) -> None:
    model.checkpoint_metadata = {"meters_per_unit": "8"}
    model.save_pretrained(tmp_path / "weights")
    for path in (tmp_path / "weights", str(tmp_path / "weights" / "model.safetensors")):
        loaded = GLPNForDepthEstimation.from_pretrained(path)
        assert torch.equal(_depth(loaded, images), _depth(model, images))
        assert not any(module.training for module in loaded.modules())
        assert all(parameter.requires_grad for parameter in loaded.parameters())
        assert loaded.config == model.config
        assert loaded.checkpoint_metadata["meters_per_unit"] == "8"
    assert sorted(file.name for file in (tmp_path / "weights").iterdir()) == ["config.json", "model.safetensors"]


def test_metadata_is_copied_from_file_to_file(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.checkpoint_metadata = {"name": "mine"}
    model.save_pretrained(tmp_path / "first")
    GLPNForDepthEstimation.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    GLPNModel.from_pretrained(tmp_path / "second").save_pretrained(tmp_path / "third")
    for folder in ("first", "second", "third"):
        with safe_open(tmp_path / folder / "model.safetensors", framework="pt") as file:
            assert file.metadata()["name"] == "mine"


def test_saving_over_the_loaded_file_keeps_the_weights(
    model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path
) -> None:
    expected = _depth(model, images)
    model.save_pretrained(tmp_path)
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path)
    assert torch.equal(_depth(loaded, images), expected)
    assert torch.equal(_depth(GLPNForDepthEstimation.from_pretrained(tmp_path), images), expected)


def test_training_does_not_change_the_loaded_file(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_loading_uses_no_random_numbers(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    GLPNForDepthEstimation.from_pretrained(tmp_path)
    GLPNModel.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_transformers_loads_our_files(
    model: GLPNForDepthEstimation, theirs: Any, images: Tensor, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    loaded, report = transformers.GLPNForDepthEstimation.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(_depth(loaded, images), _depth(theirs, images))
    assert loaded.config.architectures == ["GLPNForDepthEstimation"]


def test_transformers_loads_our_encoder(
    model: GLPNForDepthEstimation, theirs: Any, images: Tensor, tmp_path: Path
) -> None:
    model.glpn.save_pretrained(tmp_path)
    loaded, report = transformers.GLPNModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(_features(loaded, images), _features(theirs.glpn, images))
    assert loaded.config.architectures == ["GLPNModel"]


def test_files_of_transformers_are_loaded(theirs: Any, images: Tensor, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path)
    assert torch.equal(_depth(loaded, images), _depth(theirs, images))


def test_encoder_of_transformers_is_loaded(theirs: Any, images: Tensor, tmp_path: Path) -> None:
    theirs.glpn.save_pretrained(tmp_path)
    assert torch.equal(_features(GLPNModel.from_pretrained(tmp_path), images), _features(theirs.glpn, images))


def test_pickle_with_configuration_is_loaded(theirs: Any, images: Tensor, tmp_path: Path) -> None:
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path)
    assert torch.equal(_depth(loaded, images), _depth(theirs, images))


def test_encoder_is_loaded_from_a_whole_network(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "whole")
    encoder = GLPNModel.from_pretrained(tmp_path / "whole")
    assert torch.equal(_features(encoder, images), _features(model.glpn, images))
    encoder.save_pretrained(tmp_path / "bare")
    assert {name.split(".")[0] for name in load_file(tmp_path / "bare" / "model.safetensors")} == {"encoder"}
    again = GLPNModel.from_pretrained(tmp_path / "bare")
    assert torch.equal(_features(again, images), _features(model.glpn, images))


def test_half_precision_weights_are_loaded_as_float32(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.half().save_pretrained(tmp_path)
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_bundled_weights_load(images: Tensor) -> None:
    path = f"{glpn_cli.weights.__path__[0]}/glpn-tiny.safetensors"
    depth = _depth(GLPNForDepthEstimation.from_pretrained(path), images)
    assert depth.shape == (1, 64, 96)
    assert 0 < depth.min() < depth.max() <= 80
    assert GLPNConfig.from_pretrained(path).decoder_hidden_size == 32


def _change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    file = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("head.head.2.bias"), r"; 1 missing: head\.head\.2\.bias$"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "; 1 unexpected: extra$"),
        (
            lambda tensors: tensors.update({"head.head.2.bias": torch.ones(2)}),
            r"; 1 of another shape: head\.head\.2\.bias \(2,\) .*\(1,\)$",
        ),
        (lambda tensors: tensors.clear(), r"188 missing: .*proj\.weight, [^,]*, [^,]*, …$"),
    ],
    ids=["missing", "unexpected", "shape", "empty"],
)
def test_mismatched_tensors_are_named_in_one_line(
    model: GLPNForDepthEstimation, tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    model.save_pretrained(tmp_path)
    _change_tensors(tmp_path, change)
    with pytest.raises(WeightsError, match=message) as caught:
        GLPNForDepthEstimation.from_pretrained(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


def test_encoder_file_is_not_a_whole_network(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.glpn.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"188 missing: glpn\..*; 130 unexpected: encoder\."):
        GLPNForDepthEstimation.from_pretrained(tmp_path)


def test_encoder_ignores_only_decoder_and_head(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    _change_tensors(tmp_path, lambda tensors: tensors.update({"decoder.odd": torch.ones(1), "other": torch.ones(1)}))
    with pytest.raises(WeightsError, match=r"; 1 unexpected: other$"):
        GLPNModel.from_pretrained(tmp_path)


def test_unwritable_configuration_is_refused_before_writing(architectures: dict[str, Any], tmp_path: Path) -> None:
    model = GLPNForDepthEstimation(GLPNConfig(**architectures["tiny"], hidden_act=torch.tanh))
    with pytest.raises(ConfigError, match=r"^hidden_act "):
        model.save_pretrained(tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_saving_does_not_change_the_configuration(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.config.max_depth = 80.0
    before = repr(model.config)
    model.save_pretrained(tmp_path)
    assert repr(model.config) == before


def test_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        GLPNForDepthEstimation.from_pretrained(tmp_path)

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import glpn_cli.weights
from glpn_cli.errors import ConfigError, MissingWeightsError, UsageError, WeightsError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel
from glpn_cli.weights.checkpoint import read_checkpoint

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
        (lambda tensors: tensors.update({"head.extra": torch.ones(1)}), r"; 1 unexpected: head\.extra$"),
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
    for load in (
        GLPNForDepthEstimation.from_pretrained,
        lambda path: GLPNForDepthEstimation.from_checkpoint(read_checkpoint(path)),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            load(tmp_path)
        assert str(tmp_path) in caught.value.message
        assert "\n" not in caught.value.message
        assert len(caught.value.message) < 500


def test_encoder_file_is_not_a_network_that_predicts(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.glpn.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"188 missing: glpn\..*; 130 unexpected: encoder\."):
        GLPNForDepthEstimation.from_checkpoint(read_checkpoint(tmp_path))


@pytest.mark.parametrize("bare", [True, False])
def test_encoder_starts_a_whole_network(
    model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path, *, bare: bool
) -> None:
    """The keys of an encoder have no prefix if it was saved alone."""
    if bare:
        model.glpn.save_pretrained(tmp_path)
    else:
        model.save_pretrained(tmp_path)
        _change_tensors(
            tmp_path, lambda tensors: [tensors.pop(key) for key in [*tensors] if not key.startswith("glpn")]
        )
    with pytest.warns(UserWarning, match="newly initialized.*: decoder, head$") as caught:
        loaded, info = GLPNForDepthEstimation.from_pretrained(tmp_path, output_loading_info=True)
    assert caught[0].filename == __file__
    assert torch.equal(_features(loaded.glpn, images), _features(model.glpn, images))
    assert _depth(loaded, images).isfinite().all()
    assert {key.split(".")[0] for key in info["missing_keys"]} == {"decoder", "head"}
    assert len(info["missing_keys"]) == 58
    assert info["unexpected_keys"] == info["mismatched_keys"] == info["error_msgs"] == []


def test_decoder_alone_starts_nothing(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    _change_tensors(tmp_path, lambda tensors: [tensors.pop(key) for key in [*tensors] if key.startswith("glpn")])
    with pytest.raises(WeightsError, match="130 missing"):
        GLPNForDepthEstimation.from_pretrained(tmp_path)


def test_tensors_of_other_networks_are_ignored(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    _change_tensors(tmp_path, lambda tensors: tensors.update({"decoder.odd": torch.ones(1), "other": torch.ones(1)}))
    with pytest.warns(UserWarning, match="ignored: other$"):
        encoder = GLPNModel.from_pretrained(tmp_path)
    assert torch.equal(_features(encoder, images), _features(model.glpn, images))
    with pytest.raises(WeightsError, match=r"unexpected: decoder\.odd$"):
        GLPNForDepthEstimation.from_pretrained(tmp_path)


def test_other_shapes_are_initialized_on_request(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    _change_tensors(tmp_path, lambda tensors: tensors.update({"head.head.2.bias": torch.ones(2)}))
    with pytest.warns(UserWarning, match=r"newly initialized.*: head\.head\.2\.bias$"):
        loaded, info = GLPNForDepthEstimation.from_pretrained(
            tmp_path, ignore_mismatched_sizes=True, output_loading_info=True
        )
    assert info["mismatched_keys"] == [("head.head.2.bias", (2,), (1,))]
    assert loaded.head.head[2].bias.tolist() == [0]
    assert torch.equal(loaded.head.head[2].weight, model.head.head[2].weight)


def test_other_size_of_the_decoder_is_initialized_on_request(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "from")
    sizes = {model.config.decoder_hidden_size, 7, *model.config.hidden_sizes}
    for size in sorted(sizes):  # with and without convolutions that the file has
        with warnings.catch_warnings(action="ignore"):
            loaded = GLPNForDepthEstimation.from_pretrained(
                tmp_path / "from", decoder_hidden_size=size, ignore_mismatched_sizes=True
            )
        assert loaded.config.decoder_hidden_size == size == loaded.head.head[0].in_channels
        assert all(bool(parameter.isfinite().all()) for parameter in loaded.parameters())
        assert torch.equal(
            loaded.glpn.encoder.patch_embeddings[0].proj.weight, model.glpn.encoder.patch_embeddings[0].proj.weight
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(model: GLPNForDepthEstimation, tmp_path: Path, value: float) -> None:
    model.save_pretrained(tmp_path)
    _change_tensors(tmp_path, lambda tensors: tensors["head.head.0.weight"].view(-1)[3:4].fill_(value))
    with pytest.raises(WeightsError, match=r"head\.head\.0\.weight"):
        GLPNForDepthEstimation.from_checkpoint(read_checkpoint(tmp_path))
    with pytest.warns(UserWarning, match=r"head\.head\.0\.weight"):  # as in transformers, which has no word of it
        GLPNForDepthEstimation.from_pretrained(tmp_path)


def test_finite_weights_whose_sum_overflows_are_loaded(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    _change_tensors(tmp_path, lambda tensors: tensors["head.head.0.weight"].fill_(3e38))
    loaded = GLPNForDepthEstimation.from_checkpoint(read_checkpoint(tmp_path))
    assert float(loaded.head.head[0].weight.detach().max()) == pytest.approx(3e38)


def test_subclasses_may_call_post_init(model: GLPNForDepthEstimation) -> None:
    class Classifier(GLPNModel):
        def __init__(self, config: GLPNConfig) -> None:
            super().__init__(config)
            self.classifier = nn.Linear(config.hidden_sizes[-1], 400)
            self.post_init()

    linear = Classifier(model.config).classifier
    assert float(linear.weight.detach().std()) == pytest.approx(model.config.initializer_range, rel=0.1)
    assert not linear.bias.any()


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
    with pytest.raises(MissingWeightsError, match=r"model\.safetensors") as caught:
        GLPNForDepthEstimation.from_pretrained(tmp_path)
    assert isinstance(caught.value, OSError)


# Keywords of from_pretrained


@pytest.mark.parametrize(
    "keywords",
    [
        {"cache_dir": "nowhere", "force_download": False, "local_files_only": True, "token": None, "revision": "main"},
        {"low_cpu_mem_usage": True, "trust_remote_code": False, "weights_only": True, "_fast_init": True},
        {"attn_implementation": "eager", "use_safetensors": True, "variant": None, "subfolder": ""},
        {"use_safetensors": None, "proxies": None, "offload_folder": None, "torch_dtype": None, "config": None},
    ],
)
def test_usual_keywords_are_taken(
    model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path, keywords: dict[str, Any]
) -> None:
    model.save_pretrained(tmp_path)
    for kind in (GLPNForDepthEstimation, transformers.GLPNForDepthEstimation):
        loaded = kind.from_pretrained(pretrained_model_name_or_path=tmp_path, **keywords)
        assert torch.equal(_depth(loaded, images), _depth(model, images))


def test_keywords_override_the_configuration(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path, max_depth=40, output_hidden_states=True)
    assert (loaded.config.max_depth, loaded.config.output_hidden_states) == (40, True)
    torch.testing.assert_close(_depth(loaded, images), _depth(model, images) / 2)
    with pytest.raises(ConfigError, match="max_depth"):
        GLPNForDepthEstimation.from_pretrained(tmp_path, max_depth=-1)


@pytest.mark.parametrize("keyword", ["max_deph", "quantization_config", "return_unused_kwargs"])
def test_unknown_keyword_is_named(model: GLPNForDepthEstimation, tmp_path: Path, keyword: str) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=keyword):
        GLPNForDepthEstimation.from_pretrained(tmp_path, **{keyword: True})


@pytest.mark.parametrize("kind", ["ours", "theirs", "folder"])
def test_given_configuration_is_used_and_not_changed(
    model: GLPNForDepthEstimation, theirs: Any, images: Tensor, tmp_path: Path, kind: str
) -> None:
    model.save_pretrained(tmp_path / "weights")
    config: Any = model.config if kind == "ours" else theirs.config
    config.max_depth = 40
    config.save_pretrained(tmp_path / "config")
    given = tmp_path / "config" if kind == "folder" else config
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path / "weights", config=given, max_depth=20)
    assert (loaded.config.max_depth, config.max_depth) == (20, 40)
    torch.testing.assert_close(_depth(loaded, images), _depth(model, images) * 20 / model.config.max_depth)


def test_given_tensors_are_used(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    tensors = model.state_dict()
    loaded = GLPNForDepthEstimation.from_pretrained(None, config=model.config, state_dict=tensors)
    assert torch.equal(_depth(loaded, images), _depth(model, images))
    model.config.save_pretrained(tmp_path)
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path, state_dict=tensors)
    assert torch.equal(_depth(loaded, images), _depth(model, images))
    for keywords in ({}, {"state_dict": tensors}, {"config": model.config}):
        with pytest.raises(TypeError, match="state_dict"):
            GLPNForDepthEstimation.from_pretrained(None, **keywords)


@pytest.mark.parametrize("keyword", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(
    ("given", "saved", "expected"),
    [
        (None, torch.float16, torch.float32),
        (torch.bfloat16, torch.float32, torch.bfloat16),
        ("float16", torch.float32, torch.float16),
        ("auto", torch.float16, torch.float16),
        ("auto", torch.float32, torch.float32),
    ],
)
def test_dtype_of_the_parameters(
    model: GLPNForDepthEstimation, tmp_path: Path, keyword: str, given: Any, saved: Any, expected: Any
) -> None:
    model.to(saved).save_pretrained(tmp_path)
    written = GLPNConfig.from_pretrained(tmp_path).torch_dtype
    assert written == (None if saved == torch.float32 else "float16")
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path, **{keyword: given})
    assert loaded.dtype == expected
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {expected, torch.int64}


def test_dtype_of_a_file_whose_configuration_has_none(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.config.save_pretrained(tmp_path)
    torch.save(model.half().state_dict(), tmp_path / "pytorch_model.bin")
    assert GLPNForDepthEstimation.from_pretrained(tmp_path, torch_dtype="auto").dtype == torch.float16
    assert transformers.GLPNForDepthEstimation.from_pretrained(tmp_path, dtype="auto").dtype == torch.float16


@pytest.mark.parametrize("given", ["float15", "int64", 16])
def test_invalid_dtype_is_named(model: GLPNForDepthEstimation, tmp_path: Path, given: Any) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"dtype.*(15|64|16)"):
        GLPNForDepthEstimation.from_pretrained(tmp_path, torch_dtype=given)


@pytest.mark.parametrize("given", ["auto", "cpu", torch.device("cpu"), {"": "cpu"}, {"glpn": "cpu", "head": "cpu"}])
def test_device_of_the_parameters(model: GLPNForDepthEstimation, tmp_path: Path, given: Any) -> None:
    model.save_pretrained(tmp_path)
    assert GLPNForDepthEstimation.from_pretrained(tmp_path, device_map=given).device.type in ("cpu", "cuda")


@pytest.mark.parametrize("given", [{"glpn": "cpu", "head": "meta"}, "nowhere", 1.5])
def test_invalid_device_is_named(model: GLPNForDepthEstimation, tmp_path: Path, given: Any) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="device_map"):
        GLPNForDepthEstimation.from_pretrained(tmp_path, device_map=given)


def test_either_kind_of_file_can_be_chosen(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    expected = _depth(model, images)
    model.save_pretrained(tmp_path, safe_serialization=False)
    model.config.max_depth = 40
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(
        _depth(GLPNForDepthEstimation.from_pretrained(tmp_path, use_safetensors=False), images), expected / 2
    )
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MissingWeightsError, match=r"no model\.safetensors"):
        GLPNForDepthEstimation.from_pretrained(tmp_path, use_safetensors=True)


def test_edited_configuration_is_used_and_said(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    expected = _depth(model, images)
    model.save_pretrained(tmp_path)
    config = GLPNConfig.from_pretrained(tmp_path)
    config.max_depth = 40
    config.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"config\.json .*max_depth is 40, not 80$") as caught:
        loaded = GLPNForDepthEstimation.from_pretrained(tmp_path)
    assert caught[0].filename == __file__
    torch.testing.assert_close(_depth(loaded, images), expected / 2)


# Saving


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_large_weights_become_several_files(
    model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path, *, safe: bool, variant: str | None
) -> None:
    model.checkpoint_metadata = {"meters_per_unit": "8"}
    model.save_pretrained(tmp_path, max_shard_size="100KB", safe_serialization=safe, variant=variant)
    names = {file.name for file in tmp_path.iterdir()}
    assert not names & {"model.safetensors", "pytorch_model.bin"}
    assert len(names) > 4
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path, variant=variant)
    assert torch.equal(_depth(loaded, images), _depth(model, images))
    assert loaded.checkpoint_metadata.get("meters_per_unit") == ("8" if safe else None)
    if safe and variant is None:
        theirs = transformers.GLPNForDepthEstimation.from_pretrained(tmp_path)
        assert torch.equal(_depth(theirs, images), _depth(model, images))


def test_several_files_of_transformers_are_loaded(theirs: Any, images: Tensor, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(_depth(GLPNForDepthEstimation.from_pretrained(tmp_path), images), _depth(theirs, images))
    assert torch.equal(_features(GLPNModel.from_pretrained(tmp_path), images), _features(theirs.glpn, images))


def test_last_save_is_what_is_loaded(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    """Whatever kind of files an earlier save left in the folder."""
    for number, keywords in enumerate([{}, {"max_shard_size": "100KB"}, {"safe_serialization": False}, {}] * 2):
        with torch.no_grad():
            model.head.head[2].bias.fill_(number / 10)
        model.save_pretrained(tmp_path, **keywords)
        assert torch.equal(_depth(GLPNForDepthEstimation.from_pretrained(tmp_path), images), _depth(model, images))


def test_given_state_is_saved(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    tensors = {key: torch.zeros_like(tensor) for key, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=tensors, save_function=torch.save, token=None)
    loaded = GLPNForDepthEstimation.from_pretrained(tmp_path)
    assert not any(tensor.any() for tensor in loaded.state_dict().values())


def test_only_the_main_process_saves(model: GLPNForDepthEstimation, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("keywords", [{"push_to_hub": True}, {"max_shard_size": "large"}])
def test_invalid_way_to_save_is_named(model: GLPNForDepthEstimation, tmp_path: Path, keywords: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(keywords))):
        model.save_pretrained(tmp_path / "none", **keywords)
    assert not (tmp_path / "none").exists()


# Files of other origins


def _save_pickle(model: GLPNForDepthEstimation, folder: Path, tensors: dict[str, Tensor]) -> Path:
    model.config.save_pretrained(folder)
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefix_of_a_wrapper_is_removed(
    model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path, prefix: str
) -> None:
    folder = _save_pickle(model, tmp_path, {prefix + key: tensor for key, tensor in model.state_dict().items()})
    assert torch.equal(_depth(GLPNForDepthEstimation.from_pretrained(folder), images), _depth(model, images))


def test_missing_counters_are_zero(model: GLPNForDepthEstimation, images: Tensor, tmp_path: Path) -> None:
    tensors = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert len(tensors) == 188 - 6
    folder = _save_pickle(model, tmp_path, tensors)
    loaded = GLPNForDepthEstimation.from_pretrained(folder)
    assert torch.equal(_depth(loaded, images), _depth(model, images))
    assert loaded.decoder.stages[1].fusion.convolutional_layer1[1].num_batches_tracked.item() == 0


# What programs ask a network


def test_attributes_match_transformers(model: GLPNForDepthEstimation, theirs: Any, tmp_path: Path) -> None:
    for name in ("device", "dtype", "main_input_name", "base_model_prefix", "name_or_path", "input_modalities"):
        assert getattr(model, name) == getattr(theirs, name), name
    for ours, reference in ((model, theirs), (model.glpn, theirs.glpn)):
        assert ours.num_parameters() == reference.num_parameters()
        assert ours.num_parameters(exclude_embeddings=True) == reference.num_parameters(exclude_embeddings=True)
        assert ours.get_memory_footprint() == reference.get_memory_footprint()
        assert ours.get_memory_footprint(return_buffers=False) == reference.get_memory_footprint(return_buffers=False)
        assert ours.can_generate() == reference.can_generate() is False
    model.head.requires_grad_(False)
    theirs.head.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == theirs.num_parameters(only_trainable=True)
    assert model.base_model is model.glpn
    assert model.glpn.base_model is model.glpn
    assert type(model).config_class is GLPNConfig
    assert model.half().dtype == torch.float16
    model.tie_weights()
    model.save_pretrained(tmp_path)
    assert GLPNForDepthEstimation.from_pretrained(tmp_path).name_or_path == str(tmp_path)


def test_weights_can_be_initialized_again(model: GLPNForDepthEstimation) -> None:
    torch.manual_seed(0)
    model.init_weights()
    fresh = GLPNForDepthEstimation(model.config)
    weights = torch.cat([parameter.flatten() for parameter in model.parameters() if parameter.dim() > 1])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    for name, parameter in model.named_parameters():
        assert parameter.dim() > 1 or torch.equal(parameter, fresh.get_parameter(name)), name
    assert {name for name, buffer in model.named_buffers() if not torch.equal(buffer, fresh.get_buffer(name))} == set()

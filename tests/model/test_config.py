from __future__ import annotations

import copy
import inspect
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers

from glpn_cli.errors import ConfigError, MissingWeightsError, OutputError, UsageError
from glpn_cli.model.config import PUBLISHED_CONFIG_FIELDS, GLPNConfig

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTED: dict[str, Any] = {
    "num_channels": 3,
    "num_encoder_blocks": 4,
    "depths": [2, 2, 2, 2],
    "sr_ratios": [8, 4, 2, 1],
    "hidden_sizes": [32, 64, 160, 256],
    "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2],
    "num_attention_heads": [1, 2, 5, 8],
    "mlp_ratios": [4, 4, 4, 4],
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "drop_path_rate": 0.1,
    "layer_norm_eps": 1e-6,
    "decoder_hidden_size": 64,
    "max_depth": 10,
    "head_in_index": -1,
}

# The config.json of the published glpn-kitti and glpn-nyu, with keys that are obsolete today.
PUBLISHED: dict[str, Any] = DOCUMENTED | {
    "architectures": ["GLPNForDepthEstimation"],
    "classifier_dropout_prob": 0.1,
    "depths": [3, 8, 27, 3],
    "downsampling_rates": [1, 4, 8, 16],
    "hidden_sizes": [64, 128, 320, 512],
    "image_size": 224,
    "model_type": "glpn",
    "torch_dtype": "float32",
    "transformers_version": "4.18.0.dev0",
}


def test_fields_have_the_documented_order_and_defaults() -> None:
    parameters = list(inspect.signature(GLPNConfig).parameters)
    assert parameters == [*DOCUMENTED, "kwargs"]
    config = GLPNConfig()
    assert {name: getattr(config, name) for name in DOCUMENTED} == DOCUMENTED


def test_defaults_match_transformers() -> None:
    theirs = transformers.GLPNConfig()
    ours = GLPNConfig().to_dict()
    shared = {*DOCUMENTED, "output_attentions", "output_hidden_states", "return_dict"}
    assert {name: ours[name] for name in shared} == {
        name: list(value) if isinstance(value := getattr(theirs, name), tuple) else value for name in shared
    }


def test_fields_can_be_positional() -> None:
    values = [4, 1, [3], [2], [12], [5], [2], [3], [2], "relu", 0.1, 0.2, 0.5, 0.3, 1e-5, 6, 80, 0]
    config = GLPNConfig(*values)
    assert [getattr(config, name) for name in DOCUMENTED] == values


def test_configurations_share_no_list() -> None:
    given = [2, 2, 2, 2]
    first, second = GLPNConfig(depths=given), GLPNConfig()
    first.depths[0] = 9
    first.sr_ratios[0] = 9
    first.to_dict()["depths"][1] = 9
    assert given == [2, 2, 2, 2]
    assert second == GLPNConfig()
    assert first.depths == [9, 2, 2, 2]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_channels", 0),
        ("num_channels", 3.0),
        ("num_channels", True),
        ("num_channels", "3"),
        ("num_encoder_blocks", -4),
        ("num_encoder_blocks", 5),
        ("depths", 2),
        ("depths", "2222"),
        ("depths", None),
        ("depths", [2, 2, 2]),
        ("depths", [2, 2, 2, 0]),
        ("depths", [2, 2, 2, 2.0]),
        ("depths", [2, 2, 2, True]),
        ("sr_ratios", [8, 4, 2, 0]),
        ("hidden_sizes", [32, 64, 161, 256]),
        ("hidden_sizes", {"a": 1}),
        ("patch_sizes", [7, 3, 3, -3]),
        ("strides", [4, 2, 2, None]),
        ("num_attention_heads", [1, 2, 5]),
        ("mlp_ratios", [4, 4, 4, 0.5]),
        ("hidden_act", "laplace"),
        ("hidden_act", None),
        ("hidden_act", ["gelu"]),
        ("hidden_dropout_prob", 1.1),
        ("hidden_dropout_prob", -0.1),
        ("attention_probs_dropout_prob", "0"),
        ("attention_probs_dropout_prob", True),
        ("drop_path_rate", float("nan")),
        ("drop_path_rate", None),
        ("initializer_range", -0.02),
        ("initializer_range", float("inf")),
        ("layer_norm_eps", "1e-6"),
        ("decoder_hidden_size", 1),
        ("decoder_hidden_size", 64.5),
        ("max_depth", 0),
        ("max_depth", -10),
        ("max_depth", True),
        ("max_depth", "10"),
        ("max_depth", None),
        ("max_depth", float("inf")),
        ("max_depth", float("nan")),
        ("max_depth", 10**400),
        ("max_depth", 1e308),
        ("max_depth", 5e-324),
        ("num_channels", 10**9),
        ("num_encoder_blocks", 10**6),
        ("depths", [10**9, 2, 2, 2]),
        ("depths", [500, 500, 500, 500]),
        ("depths", [2] * 10**6),
        ("sr_ratios", [2**40, 4, 2, 1]),
        ("hidden_sizes", [2**62] * 4),
        ("patch_sizes", [10**9, 3, 3, 3]),
        ("strides", [2**63, 2, 2, 2]),
        ("strides", [0, 2, 2, 2]),
        ("mlp_ratios", [10**12] * 4),
        ("decoder_hidden_size", 10**12),
        ("initializer_range", 1e300),
        ("head_in_index", 4),
        ("head_in_index", -5),
        ("head_in_index", 1.0),
        ("head_in_index", True),
        ("output_attentions", 1),
        ("output_hidden_states", "no"),
        ("return_dict", None),
        ("model_type", "segformer"),
        ("id2label", 7),
        ("id2label", {"first": "depth"}),
        ("id2label", {0: ["depth"]}),
        ("label2id", 7),
        ("num_labels", -1),
        ("num_labels", 10**9),
        ("to_dict", 1),
        ("__class__", 1),
    ],
)
def test_invalid_value_is_an_error_with_the_field_name(field: str, value: Any) -> None:
    shown = "depths" if (field, value) == ("num_encoder_blocks", 5) else field
    with pytest.raises(ConfigError, match=f"^{shown} "):
        GLPNConfig(**{field: value})


@pytest.mark.parametrize(
    "value", [[2] * 10**6, "9" * 10**6, 10**5000, [10**5000, 2, 2, 2], {"a": [1] * 10**5}], ids=lambda _: "value"
)
def test_messages_stay_short(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        GLPNConfig(depths=value)  # type: ignore[arg-type]
    assert len(caught.value.message) < 300


def test_invalid_value_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match=r"^max_depth .*-1"):
        GLPNConfig(max_depth=-1)


@pytest.mark.parametrize("max_depth", [80, 80.0, 7.5, 1e-3])
def test_max_depth_is_any_positive_number(max_depth: float) -> None:
    assert GLPNConfig(max_depth=max_depth).max_depth == max_depth


@pytest.mark.parametrize("activation", ["gelu", "relu", "selu", "gelu_new", torch.tanh, torch.nn.Tanh()])
def test_activation_is_a_name_or_a_function(activation: Any) -> None:
    assert GLPNConfig(hidden_act=activation).hidden_act is activation


def test_validate_checks_later_changes() -> None:
    config = GLPNConfig()
    config.drop_path_rate = 2
    with pytest.raises(ConfigError, match=r"^drop_path_rate .*2"):
        config.validate()


def test_tuples_equal_lists() -> None:
    assert GLPNConfig(depths=(2, 2, 2, 2)) == GLPNConfig(depths=[2, 2, 2, 2])


def test_unknown_and_legacy_fields_are_written_back(tmp_path: Path) -> None:
    config = GLPNConfig.from_dict(PUBLISHED | {"self": "odd", "id2label": {"0": "depth"}})
    assert config.image_size == 224
    assert config.id2label == {0: "depth"}
    config.save_pretrained(tmp_path)
    again = GLPNConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.to_dict().items() >= PUBLISHED.items()


def test_equality_is_by_value() -> None:
    assert GLPNConfig(depths=[1, 1, 1, 1]) == GLPNConfig(depths=[1, 1, 1, 1])
    assert GLPNConfig() != GLPNConfig(depths=[1, 1, 1, 1])
    assert GLPNConfig() != GLPNConfig(image_size=224)
    assert GLPNConfig() != GLPNConfig().to_dict()
    act = torch.nn.Tanh()
    assert GLPNConfig(hidden_act=act) == GLPNConfig(hidden_act=act)
    assert GLPNConfig(hidden_act=torch.tanh) != GLPNConfig(hidden_act=torch.relu)
    assert copy.deepcopy(GLPNConfig()) == GLPNConfig()


def test_repr_round_trips() -> None:
    config = GLPNConfig(max_depth=80, image_size=224, output_attentions=True)
    assert eval(repr(config), {"GLPNConfig": GLPNConfig}) == config  # noqa: S307


def test_dictionary_round_trips() -> None:
    config = GLPNConfig(max_depth=7.5, hidden_act=torch.tanh, return_dict=False, architectures=["GLPNModel"])
    assert GLPNConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["architectures"] == ["GLPNModel"]


def test_number_types_are_written_as_transformers_expects() -> None:
    written = json.loads(GLPNConfig(max_depth=80.0, drop_path_rate=0, initializer_range=1).to_json_string())
    assert repr(written["max_depth"]) == "80"
    assert repr(written["drop_path_rate"]) == "0.0"
    assert repr(written["initializer_range"]) == "1.0"
    assert json.loads(GLPNConfig(max_depth=7.5).to_json_string())["max_depth"] == 7.5


@pytest.mark.parametrize(
    ("field", "value"), [("hidden_act", torch.tanh), ("device", torch.device("cpu")), ("extra", float("nan"))]
)
def test_field_that_json_cannot_represent_is_named(tmp_path: Path, field: str, value: Any) -> None:
    config = GLPNConfig(**{field: value})
    with pytest.raises(ConfigError, match=f"^{field} "):
        config.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_transformers_reads_our_files(tmp_path: Path) -> None:
    config = GLPNConfig.from_dict(
        PUBLISHED | {"max_depth": 80.0, "hidden_act": "relu", "drop_path_rate": 0, "head_in_index": 1}
    )
    config.save_pretrained(tmp_path)
    theirs = transformers.GLPNConfig.from_pretrained(tmp_path)
    for name in DOCUMENTED:
        value = getattr(theirs, name)
        assert (list(value) if isinstance(value, tuple) else value) == getattr(config, name), name
    assert theirs.architectures == ["GLPNForDepthEstimation"]
    assert type(transformers.AutoConfig.from_pretrained(tmp_path)) is transformers.GLPNConfig


def test_files_of_transformers_are_read(tmp_path: Path) -> None:
    transformers.GLPNConfig(max_depth=80, depths=[1, 2, 3, 4]).save_pretrained(tmp_path)
    config = GLPNConfig.from_pretrained(tmp_path)
    assert (config.max_depth, config.depths) == (80, [1, 2, 3, 4])
    assert config.transformers_version == transformers.__version__


def test_folder_and_file_are_equivalent(tmp_path: Path) -> None:
    GLPNConfig(max_depth=3).save_pretrained(tmp_path / "new" / "folder")
    assert GLPNConfig.from_pretrained(tmp_path / "new" / "folder").max_depth == 3
    assert GLPNConfig.from_pretrained(str(tmp_path / "new" / "folder" / "config.json")).max_depth == 3


@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b"", b"[" * 100_000])
def test_invalid_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.json: "):
        GLPNConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["", "config.json", "nowhere"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingWeightsError, match=name or "config.json") as caught:
        GLPNConfig.from_pretrained(tmp_path / name)
    assert isinstance(caught.value, OSError)


def test_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        GLPNConfig().save_pretrained(tmp_path / "file")


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GLPNConfig(max_depth=3).save_pretrained(tmp_path)

    def fail(_source: object, _target: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OutputError, match=r"config\.json"):
        patch.setattr("glpn_cli.files.os.replace", fail)
        GLPNConfig(max_depth=4).save_pretrained(tmp_path)
    assert GLPNConfig.from_pretrained(tmp_path).max_depth == 3
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_published_fields_are_all_that_differs_from_the_defaults() -> None:
    published = {name: PUBLISHED[name] for name in DOCUMENTED}
    assert {name: value for name, value in published.items() if value != DOCUMENTED[name]} == PUBLISHED_CONFIG_FIELDS


# What configurations of transformers have, too


def test_inherited_fields_match_transformers() -> None:
    ours, theirs = GLPNConfig(), transformers.GLPNConfig()
    names = ("num_labels", "id2label", "label2id", "use_return_dict", "is_encoder_decoder", "problem_type")
    for name in (*names, "name_or_path", "architectures", "dtype"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.torchscript is False
    with pytest.raises(AttributeError, match="no_such_field"):
        _ = ours.no_such_field


def test_labels_follow_their_number_and_are_saved(tmp_path: Path) -> None:
    config = GLPNConfig(num_labels=3)
    assert config.id2label == transformers.GLPNConfig(num_labels=3).id2label
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    config.num_labels = 1
    assert (config.num_labels, config.id2label) == (1, {0: "LABEL_0"})
    config.save_pretrained(tmp_path)
    assert GLPNConfig.from_pretrained(tmp_path) == config
    assert transformers.GLPNConfig.from_pretrained(tmp_path).id2label == {0: "LABEL_0"}
    assert GLPNConfig(id2label={"0": "near", "1": "far"}).label2id == {"near": 0, "far": 1}
    assert "id2label" not in GLPNConfig().to_dict()


@pytest.mark.parametrize("switches", [(True, False), (True, True), (False, False)])
def test_use_return_dict(switches: tuple[bool, bool]) -> None:
    config = GLPNConfig(return_dict=switches[0], torchscript=switches[1])
    assert config.use_return_dict == (switches == (True, False))


def test_update_sets_all_fields_or_none() -> None:
    config = GLPNConfig(image_size=7)
    config.update({"max_depth": 80, "id2label": {0: "depth"}, "mine": 1})
    assert (config.max_depth, config.num_labels, config.mine, config.image_size) == (80, 1, 1, 7)
    with pytest.raises(ConfigError, match="drop_path_rate"):
        config.update({"max_depth": 3, "drop_path_rate": 2})
    assert config.max_depth == 80


def test_json_file_round_trips(tmp_path: Path) -> None:
    config = GLPNConfig(max_depth=80, image_size=224)
    config.to_json_file(tmp_path / "mine.json")
    assert GLPNConfig.from_json_file(tmp_path / "mine.json") == config
    assert transformers.GLPNConfig.from_json_file(tmp_path / "mine.json").max_depth == 80
    with pytest.raises(OSError, match=r"gone\.json"):
        GLPNConfig.from_json_file(tmp_path / "gone.json")


def test_difference_leaves_out_defaults_of_every_network() -> None:
    difference = GLPNConfig(return_dict=False, problem_type=None).to_diff_dict()
    assert difference["return_dict"] is False
    assert difference.keys() >= set(DOCUMENTED)
    assert difference.keys() & {"output_attentions", "output_hidden_states"} == set()
    everything = json.loads(GLPNConfig().to_json_string(use_diff=False))
    assert everything["return_dict"] is True
    assert set(DOCUMENTED) <= transformers.GLPNConfig().to_diff_dict().keys()


def test_keywords_override_fields(tmp_path: Path) -> None:
    GLPNConfig(max_depth=3, image_size=224).save_pretrained(tmp_path)
    config = GLPNConfig.from_pretrained(tmp_path, max_depth=80, image_size=5, output_attentions=True, num_labels=1)
    assert (config.max_depth, config.image_size, config.output_attentions) == (80, 5, True)
    assert config.num_labels == 1
    assert config.name_or_path == str(tmp_path)
    assert GLPNConfig.from_dict({}, depths=[1, 1, 1, 1]).depths == [1, 1, 1, 1]
    assert GLPNConfig.from_dict({}, torch_dtype="auto", cache_dir=None, return_unused_kwargs=True)[1] == {
        "cache_dir": None
    }


def test_unknown_keyword_is_named_or_returned(tmp_path: Path) -> None:
    GLPNConfig().save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"max_deph.*max_depth"):
        GLPNConfig.from_pretrained(tmp_path, max_deph=80)
    for kind in (GLPNConfig, transformers.GLPNConfig):
        config, unused = kind.from_pretrained(tmp_path, max_depth=80, foo=False, return_unused_kwargs=True)
        assert (config.max_depth, unused) == (80, {"foo": False})


@pytest.mark.parametrize(
    "keywords",
    [
        {"cache_dir": "nowhere", "force_download": False, "local_files_only": True, "token": None, "revision": "main"},
        {"trust_remote_code": False, "proxies": None, "_from_auto": True, "use_auth_token": None},
        {"subfolder": ""},
    ],
)
def test_keywords_about_the_hub_have_no_effect_on_files(tmp_path: Path, keywords: dict[str, Any]) -> None:
    GLPNConfig(max_depth=3).save_pretrained(tmp_path)
    assert GLPNConfig.from_pretrained(tmp_path, **keywords).max_depth == 3
    fields, others = GLPNConfig.get_config_dict(tmp_path, **keywords, max_depth=7)
    assert (fields["max_depth"], others) == (3, {"max_depth": 7})


def test_subfolder_is_entered(tmp_path: Path) -> None:
    GLPNConfig(max_depth=3).save_pretrained(tmp_path / "a" / "b")
    assert GLPNConfig.from_pretrained(tmp_path, subfolder="a/b").max_depth == 3
    with pytest.raises(MissingWeightsError, match="other"):
        GLPNConfig.from_pretrained(tmp_path, subfolder="other")


def test_dtype_is_written_by_its_name(tmp_path: Path) -> None:
    for name in ("dtype", "torch_dtype"):
        config = GLPNConfig(**{name: torch.float16})
        assert config.dtype is config.torch_dtype is torch.float16
        assert config.to_dict()[name] == "float16"
        config.save_pretrained(tmp_path)
        assert GLPNConfig.from_pretrained(tmp_path).torch_dtype == "float16"
        assert transformers.GLPNConfig.from_pretrained(tmp_path).dtype is torch.float16


def test_numbers_and_arrays_of_numpy_are_taken() -> None:
    config = GLPNConfig(
        num_channels=np.int64(3), depths=list(np.array([1, 1, 1, 1])), strides=np.array([4, 2, 2, 2]),
        max_depth=np.float32(7.5), drop_path_rate=torch.tensor(0.5),
    )  # fmt: skip
    again = GLPNConfig.from_dict(json.loads(config.to_json_string()))
    assert again == config
    assert (again.depths, again.strides, again.max_depth) == ([1, 1, 1, 1], [4, 2, 2, 2], 7.5)


def test_longer_lists_are_read_and_written_back() -> None:
    config = GLPNConfig(num_encoder_blocks=2, head_in_index=1)
    assert config.to_dict()["depths"] == [2, 2, 2, 2]
    with pytest.raises(ConfigError, match="head_in_index"):
        GLPNConfig(num_encoder_blocks=2, head_in_index=2)


def test_uploading_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="push_to_hub"):
        GLPNConfig().save_pretrained(tmp_path, push_to_hub=True)
    GLPNConfig().save_pretrained(tmp_path, push_to_hub=False, token=None)
    assert (tmp_path / "config.json").exists()

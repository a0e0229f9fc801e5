"""The configuration of a GLPN: every hyperparameter of the architecture, under its published name."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeGuard

from glpn_cli.convert import closest_hint
from glpn_cli.errors import ConfigError, MissingWeightsError, UsageError
from glpn_cli.files import make_folder, read_json, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    from torch import Tensor

CONFIG_NAME = "config.json"
"""The name of a configuration file, in a folder of weights and on the Hub."""

PUBLISHED_CONFIG_FIELDS: Final[dict[str, Any]] = {"depths": [3, 8, 27, 3], "hidden_sizes": [64, 128, 320, 512]}
"""How both published networks (encoder MiT-B4) differ from the default configuration.

Source: the published `config.json` files of glpn-kitti and glpn-nyu.
"""

ACTIVATION_NAMES: Final = (
    *("gelu", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh", "gelu_pytorch_tanh"),
    *("hardswish", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("swish", "tanh"),
)
"""What `hidden_act` may be: the names that the reference documents, and all of its others that torch computes."""

_COUNTS = ("num_channels", "num_encoder_blocks", "decoder_hidden_size")
_STAGE_LISTS = (
    "depths",
    "sr_ratios",
    "hidden_sizes",
    "patch_sizes",
    "strides",
    "num_attention_heads",
    "mlp_ratios",
)
# Bounds of what a file may state, which are far beyond any network that was published: files of strangers are checked
# before anything of the size that they state is built, and the products of these numbers fit into 64 bits.
_MAX_STAGES = 32
_MAX_LAYERS = 1024
_MAX_CHANNELS = 2**16
_MAX_FACTOR = 2**10
_MAXIMA = {
    "num_channels": _MAX_CHANNELS,
    "num_encoder_blocks": _MAX_STAGES,
    "decoder_hidden_size": _MAX_CHANNELS,
    "depths": _MAX_LAYERS,
    "sr_ratios": _MAX_FACTOR,
    "hidden_sizes": _MAX_CHANNELS,
    "patch_sizes": _MAX_FACTOR,
    "strides": _MAX_FACTOR,
    "num_attention_heads": _MAX_CHANNELS,
    "mlp_ratios": _MAX_FACTOR,
}
_DEPTH_BOUNDS = (1e-6, 1e9)
_MAX_DEVIATION = 1e6
_MAX_SHOWN = 100  # characters of a value in a message

_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate")
_SWITCHES = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}
_MAX_LABELS = 100_000
_DEFAULT_LABELS = {0: "LABEL_0", 1: "LABEL_1"}
_PATH_FIELD = "_name_or_path"
_DTYPE_FIELDS = ("dtype", "torch_dtype")
# What every configuration of the reference has, and what a GLPN has no use for.
_INHERITED: dict[str, Any] = {
    "architectures": None,
    "is_encoder_decoder": False,
    "problem_type": None,
    "pruned_heads": {},
    "torchscript": False,
    **dict.fromkeys(_DTYPE_FIELDS),
}


class GLPNConfig:
    """The architecture of a GLPN, as in `config.json`. The defaults describe a small model, not a published one.

    Every argument becomes an attribute, which may be changed until a model is built. `head_in_index`, `max_depth`,
    `output_attentions`, `output_hidden_states` and `return_dict` are read at every forward pass. Lists have at least
    one number per encoder stage; any more are stored, and not used.

    Args:
        num_channels: channels of the input image.
        num_encoder_blocks: encoder stages, called n below.
        depths: n numbers, transformer layers per stage.
        sr_ratios: n numbers, the factor by which attention reduces height and width of its keys and values.
        hidden_sizes: n numbers, channels; each a multiple of its number of heads.
        patch_sizes: n numbers, pixels, kernel size of the convolution that starts a stage.
        strides: n numbers, pixels, the stride of that convolution.
        num_attention_heads: n numbers, heads per attention layer.
        mlp_ratios: n numbers, hidden width of a feed-forward network as a multiple of its input width.
        hidden_act: a name of `ACTIVATION_NAMES`, or a function of a tensor.
        hidden_dropout_prob: 0 to 1, dropout after attention and inside the feed-forward networks.
        attention_probs_dropout_prob: 0 to 1, dropout of attention probabilities.
        initializer_range: standard deviation of the initial weights.
        drop_path_rate: 0 to 1, stochastic depth: how often the last layer is skipped in training; the rate
            rises linearly from 0 at the first layer.
        layer_norm_eps: stored and written back, but not used; see `glpn_cli.model.encoder.LAYER_NORM_EPS`.
        decoder_hidden_size: channels of the decoder, at least 2.
        max_depth: the largest depth that the network can predict, in the published scale.
        head_in_index: which of the n decoder outputs the head uses; -1 is the one of full resolution.
        **kwargs: `output_attentions`, `output_hidden_states` and `return_dict` are defaults of the forward pass;
            `id2label`, `label2id` and `num_labels` are stored. Any other field, such as the legacy keys of published
            files, is stored and written back unchanged.

    Raises:
        ConfigError: a field has the wrong type or value; the message begins with its name.

    Source: the published `config.json` files of glpn-kitti and glpn-nyu.
    """

    model_type: ClassVar[str] = "glpn"
    __hash__ = None  # type: ignore[assignment] # mutable

    def __init__(
        self,
        /,  # so that a file may have a field "self"
        num_channels: int = 3,
        num_encoder_blocks: int = 4,
        depths: Sequence[int] = (2, 2, 2, 2),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        hidden_sizes: Sequence[int] = (32, 64, 160, 256),
        patch_sizes: Sequence[int] = (7, 3, 3, 3),
        strides: Sequence[int] = (4, 2, 2, 2),
        num_attention_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[int] = (4, 4, 4, 4),
        hidden_act: str | Callable[[Tensor], Tensor] = "gelu",
        hidden_dropout_prob: float = 0.0,
        attention_probs_dropout_prob: float = 0.0,
        initializer_range: float = 0.02,
        drop_path_rate: float = 0.1,
        layer_norm_eps: float = 1e-6,
        decoder_hidden_size: int = 64,
        max_depth: float = 10,
        head_in_index: int = -1,
        **kwargs: Any,
    ) -> None:
        self.num_channels = num_channels
        self.num_encoder_blocks = num_encoder_blocks
        self.depths = _to_list(depths)
        self.sr_ratios = _to_list(sr_ratios)
        self.hidden_sizes = _to_list(hidden_sizes)
        self.patch_sizes = _to_list(patch_sizes)
        self.strides = _to_list(strides)
        self.num_attention_heads = _to_list(num_attention_heads)
        self.mlp_ratios = _to_list(mlp_ratios)
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.initializer_range = initializer_range
        self.drop_path_rate = drop_path_rate
        self.layer_norm_eps = layer_norm_eps
        self.decoder_hidden_size = decoder_hidden_size
        self.max_depth = max_depth
        self.head_in_index = head_in_index
        self.output_attentions: bool = kwargs.pop("output_attentions", False)
        self.output_hidden_states: bool = kwargs.pop("output_hidden_states", False)
        self.return_dict: bool = kwargs.pop("return_dict", True)
        self._set_labels(*(kwargs.pop(name, None) for name in ("id2label", "label2id", "num_labels")))
        if "name_or_path" in kwargs:
            self.name_or_path = kwargs.pop("name_or_path")
        if kwargs.pop("model_type", self.model_type) != self.model_type:
            raise ConfigError(f"model_type must be {self.model_type!r}: this is the configuration of another network")
        for name, value in kwargs.items():
            if hasattr(type(self), name):
                raise ConfigError(f"{name} is not a configuration field")
            setattr(self, name, value)
        for name, value in vars(self).items():
            setattr(self, name, _to_number(value))
        self.validate()

    def _set_labels(self, id2label: Any, label2id: Any, num_labels: Any) -> None:
        """Set the labels of a classifier, which a GLPN has no use for, from what is given of them."""
        if id2label is None:
            count = len(_DEFAULT_LABELS) if num_labels is None else num_labels
            _require(_is_whole(count) and 0 <= count <= _MAX_LABELS, "num_labels", count, "a number of labels")
            id2label = {index: f"LABEL_{index}" for index in range(count)}
        try:
            self.id2label: dict[int, str] = {int(index): label for index, label in dict(id2label).items()}
            inverse = {label: index for index, label in self.id2label.items()}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"id2label must map numbers to names, not {_show(id2label)}") from error
        try:
            self.label2id: dict[str, int] = inverse if label2id is None else dict(label2id)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"label2id must map names to numbers, not {_show(label2id)}") from error

    @property
    def num_labels(self) -> int:
        """The number of labels; setting it names them anew."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if count != len(self.id2label):
            self._set_labels(None, None, count)

    @property
    def name_or_path(self) -> str:
        """What was passed to `from_pretrained`; empty for a new configuration."""
        return str(vars(self).get(_PATH_FIELD, ""))

    @name_or_path.setter
    def name_or_path(self, value: object) -> None:
        vars(self)[_PATH_FIELD] = str(value)

    @property
    def use_return_dict(self) -> bool:
        """Whether networks return objects with named values instead of tuples."""
        return self.return_dict and not self.torchscript

    def __getattr__(self, name: str) -> Any:
        """Return the value of a field that every configuration of the reference has; the dtype has two names there."""
        if name in _DTYPE_FIELDS:
            return next((vars(self)[other] for other in _DTYPE_FIELDS if other in vars(self)), None)
        if name in _INHERITED:
            return copy.copy(_INHERITED[name])
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def validate(self) -> None:
        """Check all fields; building a model does this too.

        Raises:
            ConfigError: a field has the wrong type or value; the message names the first one.
        """
        for name in _COUNTS:
            wanted = f"a positive whole number up to {_MAXIMA[name]}"
            _require(_is_count(getattr(self, name), name), name, getattr(self, name), wanted)
        stages = self.num_encoder_blocks
        for name in _STAGE_LISTS:
            values, wanted = getattr(self, name), f"a list of {stages} positive whole numbers up to {_MAXIMA[name]}"
            is_list = isinstance(values, list | tuple) and len(values) <= _MAX_STAGES
            _require(is_list and all(_is_count(value, name) for value in values), name, values, wanted)
            _require(len(values) >= stages, name, values, f"{wanted}, one per encoder stage")
        layers = sum(self.depths[:stages])
        _require(layers <= _MAX_LAYERS, "depths", self.depths, f"at most {_MAX_LAYERS} layers in total")
        for channels, heads in list(zip(self.hidden_sizes, self.num_attention_heads, strict=False))[:stages]:
            wanted = f"multiples of num_attention_heads ({self.num_attention_heads})"
            _require(channels % heads == 0, "hidden_sizes", self.hidden_sizes, wanted)
        known = self.hidden_act in ACTIVATION_NAMES if isinstance(self.hidden_act, str) else False
        wanted = f"one of {', '.join(ACTIVATION_NAMES)}, or a function"
        _require(known or callable(self.hidden_act), "hidden_act", self.hidden_act, wanted)
        for name in _RATES:
            rate = getattr(self, name)
            _require(_is_number(rate) and 0 <= rate <= 1, name, rate, "a number from 0 to 1")
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            wanted = f"a non-negative number up to {_MAX_DEVIATION:g}"
            _require(_is_number(value) and 0 <= value <= _MAX_DEVIATION, name, value, wanted)
        _require(self.decoder_hidden_size > 1, "decoder_hidden_size", self.decoder_hidden_size, "at least 2")
        low, high = _DEPTH_BOUNDS
        wanted = f"a positive number from {low:g} to {high:g}"
        _require(_is_number(self.max_depth) and low <= self.max_depth <= high, "max_depth", self.max_depth, wanted)
        index = self.head_in_index
        wanted = f"a whole number from {-stages} to {stages - 1}"
        _require(_is_whole(index) and -stages <= index < stages, "head_in_index", index, wanted)
        for name in _SWITCHES:
            _require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, known and unknown, as a deep copy; without labels if they are the default ones."""
        # Callables are shared: deepcopy shares a function but copies a module, and equal configurations would differ.
        fields = {name: value if callable(value) else copy.deepcopy(value) for name, value in self._own_fields()}
        fields |= {name: list(fields[name]) for name in _STAGE_LISTS}
        fields |= {name: float(fields[name]) for name in (*_RATES, "initializer_range", "layer_norm_eps")}
        # transformers 5 accepts a whole number as max_depth only as an int.
        fields["max_depth"] = int(self.max_depth) if float(self.max_depth).is_integer() else self.max_depth
        for name in _DTYPE_FIELDS:
            if type(fields.get(name)).__module__ == "torch":  # a dtype, whose text is such as "torch.float16"
                fields[name] = str(fields[name]).removeprefix("torch.")
        return {"model_type": self.model_type, "architectures": ["GLPNForDepthEstimation"]} | fields

    def to_diff_dict(self) -> dict[str, Any]:
        """Return all fields except those of every network that have their defaults, as `config.json` has them."""
        fields = self.to_dict().items()
        return {name: value for name, value in fields if name not in _SWITCHES or value is not _SWITCHES[name]}

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], *, return_unused_kwargs: bool = False, **kwargs: Any) -> Self:
        """Build a configuration from the result of `to_dict` or a parsed `config.json`.

        Args:
            config_dict: the fields.
            return_unused_kwargs: return a tuple of the configuration and the keywords that are not fields, instead of
                refusing those.
            **kwargs: fields to use instead of those of the mapping.

        Raises:
            ConfigError: a field has the wrong type or value, or the configuration is of another network.
            TypeError: a keyword is not a field.
        """
        config = cls(**config_dict)
        changes = {name: value for name, value in kwargs.items() if config._has_field(name)}
        unused = {name: value for name, value in kwargs.items() if name not in changes}
        changes = {name: value for name, value in changes.items() if name not in _DTYPE_FIELDS or value != "auto"}
        if changes:
            config = cls(**{**config_dict, **changes})
        if return_unused_kwargs:
            return config, unused  # type: ignore[return-value] # as in the reference, the type is that of the usual case
        for name in unused:
            hint = closest_hint(name, [*vars(config), *_INHERITED])
            raise TypeError(f"unknown keyword or configuration field {name!r}{f'; {hint}' if hint else ''}")
        return config

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set several fields.

        Raises:
            ConfigError: a field has the wrong type or value; then none is set.
        """
        changed = type(self)(**{**dict(self._own_fields()), **config_dict})
        vars(self).update(vars(changed))

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the text of a `config.json`, ending in a newline.

        Args:
            use_diff: leave out fields of every network that have their defaults.

        Raises:
            ConfigError: JSON cannot represent a field, such as a function as `hidden_act`.
        """
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        for name, value in fields.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"{name} cannot be written to {CONFIG_NAME}: {value!r}") from error
        return json.dumps(fields, indent=2) + "\n"

    def to_json_file(self, json_file_path: str | PathLike[str], use_diff: bool = True) -> None:
        """Write a file as `to_json_string` returns it; an existing one is replaced.

        Raises:
            ConfigError: JSON cannot represent a field.
            OutputError: the file cannot be written.
        """
        write_whole(Path(json_file_path), self.to_json_string(use_diff).encode(), overwrite=True)

    @classmethod
    def from_json_file(cls, json_file: str | PathLike[str]) -> Self:
        """Read a file as `to_json_file` writes it.

        Raises:
            MissingWeightsError: (an OSError) there is no such file.
            ConfigError: the file cannot be read, or a field is invalid.
        """
        return cls(**read_json(json_file, ConfigError, missing=MissingWeightsError))

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields that `from_pretrained` reads, and the keywords that do not say where to find them.

        Raises:
            WeightsError, ConfigError: as for `from_pretrained`.
        """
        from glpn_cli.weights.pretrained import HubKeywords, read_config_fields  # upward import, as for from_pretrained

        hub, others = HubKeywords.split(kwargs)
        return read_config_fields(pretrained_model_name_or_path, hub), others

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any) -> Self:
        """Read the configuration of weights.

        Args:
            pretrained_model_name_or_path: a folder with a `config.json`, such a file, a weights file with its
                configuration inside or beside it; or weights by name, as for `GLPNForDepthEstimation.from_pretrained`.
            **kwargs: fields to use instead of those of the file, and the keywords of `HubKeywords`. With
                `return_unused_kwargs=True` the result is a tuple, whose second value has the keywords that are neither.

        Raises:
            MissingWeightsError: (an OSError) there is no configuration, or it cannot be downloaded.
            WeightsError: the path is a weights file that cannot be read.
            ConfigError: the configuration is invalid.
            TypeError: a keyword is unknown.
        """
        fields, others = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        return cls.from_dict(fields, **{"name_or_path": pretrained_model_name_or_path, **others})

    def save_pretrained(self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write `config.json`, readable by transformers too.

        Args:
            save_directory: created if it does not exist.
            push_to_hub: must be false; the Hub's own client uploads folders.
            **kwargs: have no effect; those of transformers are for the upload.

        Raises:
            ConfigError: JSON cannot represent a field.
            OutputError: the file cannot be written.
        """
        del kwargs
        refuse_upload(push_to_hub)
        text = self.to_json_string()
        make_folder(Path(save_directory))
        write_whole(Path(save_directory) / CONFIG_NAME, text.encode(), overwrite=True)

    def _has_field(self, name: str) -> bool:
        return name in vars(self) or name in _INHERITED or name in ("num_labels", "name_or_path")

    def _own_fields(self) -> list[tuple[str, Any]]:
        """Return the fields as they are, without what a new configuration has anyway."""
        labels = ("id2label", "label2id") if self.id2label == _DEFAULT_LABELS else ()
        return [(name, value) for name, value in vars(self).items() if name not in (*labels, _PATH_FIELD)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GLPNConfig) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._own_fields())})"


def refuse_upload(push_to_hub: object) -> None:
    """Refuse the keyword of transformers that uploads what is saved.

    Raises:
        UsageError: it is set.
    """
    if push_to_hub:
        hint = "save to a folder, then upload it with huggingface_hub.upload_folder"
        raise UsageError("is not supported", setting="push_to_hub", hint=hint)


def _to_list(values: Sequence[int]) -> list[int]:
    """Copy a sequence, so that configurations share no list; `validate` reports anything else."""
    if hasattr(values, "tolist"):
        values = values.tolist()  # an array
    is_list = isinstance(values, list | tuple) and len(values) <= _MAX_STAGES
    return [_to_number(value) for value in values] if is_list else values  # type: ignore[return-value]


def _to_number(value: Any) -> Any:
    """Return a number of NumPy or torch as one of Python, which JSON can represent; anything else unchanged."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object, field: str) -> bool:
    return _is_whole(value) and 0 < value <= _MAXIMA[field]


def _is_number(value: object) -> bool:
    # Also excludes NaN, infinity, and integers that are too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _require(condition: bool, name: str, value: object, wanted: str) -> None:
    if not condition:
        raise ConfigError(f"{name} must be {wanted}, not {_show(value)}")


def _show(value: object) -> str:
    """Return a value for a message, in a reasonable length: that of a file may be anything."""
    if isinstance(value, list | tuple) and len(value) > _MAX_STAGES:
        return f"a list of {len(value)}"
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"

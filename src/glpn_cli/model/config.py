"""The configuration of a GLPN: every hyperparameter of the architecture, under its published name."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeGuard, get_args

from glpn_cli.errors import ConfigError
from glpn_cli.files import make_folder, read_json, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from torch import Tensor

CONFIG_NAME = "config.json"
"""The name of a configuration file, in a folder of weights and on the Hub."""

PUBLISHED_CONFIG_FIELDS: Final[dict[str, Any]] = {"depths": [3, 8, 27, 3], "hidden_sizes": [64, 128, 320, 512]}
"""How both published networks (encoder MiT-B4) differ from the default configuration.

Source: the published `config.json` files of glpn-kitti and glpn-nyu.
"""

ActivationName = Literal["gelu", "relu", "selu", "gelu_new"]

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
_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate")
_SWITCHES = ("output_attentions", "output_hidden_states", "return_dict")


class GLPNConfig:
    """The architecture of a GLPN, as in `config.json`. The defaults describe a small model, not a published one.

    Every argument becomes an attribute, which may be changed until a model is built. `head_in_index`, `max_depth`,
    `output_attentions`, `output_hidden_states` and `return_dict` are read at every forward pass. Lists have one
    number per encoder stage.

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
        hidden_act: "gelu", "relu", "selu", "gelu_new" (GELU by tanh), or a function of a tensor.
        hidden_dropout_prob: 0 to 1, dropout after attention and inside the feed-forward networks.
        attention_probs_dropout_prob: 0 to 1, dropout of attention probabilities.
        initializer_range: standard deviation of the initial weights.
        drop_path_rate: 0 to 1, stochastic depth: how often the last layer is skipped in training; the rate
            rises linearly from 0 at the first layer.
        layer_norm_eps: stored and written back, but not used; see `glpn_cli.model.encoder.LAYER_NORM_EPS`.
        decoder_hidden_size: channels of the decoder, at least 2.
        max_depth: the largest depth that the network can predict, in the published scale.
        head_in_index: which of the n decoder outputs the head uses; -1 is the one of full resolution.
        **kwargs: `output_attentions`, `output_hidden_states` and `return_dict` are defaults of the forward pass. Any
            other field, such as the legacy keys of published files, is stored and written back unchanged.

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
        if kwargs.pop("model_type", self.model_type) != self.model_type:
            raise ConfigError(f"model_type must be {self.model_type!r}: this is the configuration of another network")
        for name, value in kwargs.items():
            if hasattr(type(self), name):
                raise ConfigError(f"{name} is not a configuration field")
            setattr(self, name, value)
        self.validate()

    def validate(self) -> None:
        """Check all fields; building a model does this too.

        Raises:
            ConfigError: a field has the wrong type or value; the message names the first one.
        """
        for name in _COUNTS:
            _require(_is_count(getattr(self, name)), name, getattr(self, name), "a positive whole number")
        for name in _STAGE_LISTS:
            values, wanted = getattr(self, name), f"a list of {self.num_encoder_blocks} positive whole numbers"
            _require(isinstance(values, list | tuple) and all(map(_is_count, values)), name, values, wanted)
            _require(len(values) == self.num_encoder_blocks, name, values, f"{wanted}, one per encoder stage")
        for channels, heads in zip(self.hidden_sizes, self.num_attention_heads, strict=True):
            wanted = f"multiples of num_attention_heads ({self.num_attention_heads})"
            _require(channels % heads == 0, "hidden_sizes", self.hidden_sizes, wanted)
        known = self.hidden_act in get_args(ActivationName) if isinstance(self.hidden_act, str) else False
        wanted = f"one of {', '.join(get_args(ActivationName))}, or a function"
        _require(known or callable(self.hidden_act), "hidden_act", self.hidden_act, wanted)
        for name in _RATES:
            rate = getattr(self, name)
            _require(_is_number(rate) and 0 <= rate <= 1, name, rate, "a number from 0 to 1")
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            _require(_is_number(value) and value >= 0, name, value, "a non-negative number")
        _require(self.decoder_hidden_size > 1, "decoder_hidden_size", self.decoder_hidden_size, "at least 2")
        _require(_is_number(self.max_depth) and self.max_depth > 0, "max_depth", self.max_depth, "a positive number")
        stages, index = self.num_encoder_blocks, self.head_in_index
        wanted = f"a whole number from {-stages} to {stages - 1}"
        _require(_is_whole(index) and -stages <= index < stages, "head_in_index", index, wanted)
        for name in _SWITCHES:
            _require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, known and unknown, as a deep copy."""
        # Callables are shared: deepcopy shares a function but copies a module, and equal configurations would differ.
        fields = {name: value if callable(value) else copy.deepcopy(value) for name, value in vars(self).items()}
        fields |= {name: list(fields[name]) for name in _STAGE_LISTS}
        fields |= {name: float(fields[name]) for name in (*_RATES, "initializer_range", "layer_norm_eps")}
        # transformers 5 accepts a whole number as max_depth only as an int.
        fields["max_depth"] = int(self.max_depth) if float(self.max_depth).is_integer() else self.max_depth
        return {"model_type": self.model_type, "architectures": ["GLPNForDepthEstimation"]} | fields

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from the result of `to_dict` or a parsed `config.json`.

        Raises:
            ConfigError: a field has the wrong type or value, or the configuration is of another network.
        """
        return cls(**values)

    def to_json_string(self) -> str:
        """Return the text of a `config.json`, ending in a newline.

        Raises:
            ConfigError: JSON cannot represent a field, such as a function as `hidden_act`.
        """
        fields = self.to_dict()
        for name, value in fields.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"{name} cannot be written to {CONFIG_NAME}: {value!r}") from error
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_pretrained(cls, path: str | PathLike[str]) -> Self:
        """Read a configuration.

        Args:
            path: a folder with a `config.json`, such a file, or a weights file with its configuration inside or
                beside it.

        Raises:
            ConfigError: the configuration is missing or invalid.
            WeightsError: the path is a weights file that cannot be read.
        """
        file = Path(path)
        if file.is_dir():
            file /= CONFIG_NAME
        elif file.suffix != ".json" and file.is_file():
            from glpn_cli.weights.checkpoint import read_checkpoint  # upward import, allowed for from_pretrained

            return cls.from_dict(read_checkpoint(file).config.to_dict())
        return cls.from_dict(read_json(file, ConfigError))

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `config.json`, readable by transformers too.

        Args:
            folder: created if it does not exist.

        Raises:
            ConfigError: JSON cannot represent a field.
            OutputError: the file cannot be written.
        """
        text = self.to_json_string()
        make_folder(Path(folder))
        write_whole(Path(folder) / CONFIG_NAME, text.encode(), overwrite=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GLPNConfig) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _to_list(values: Iterable[int]) -> list[int]:
    """Copy a sequence, so that configurations share no list; `validate` reports anything else."""
    return list(values) if isinstance(values, list | tuple) else values  # type: ignore[return-value]


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return _is_whole(value) and value > 0


def _is_number(value: object) -> bool:
    # Also excludes NaN, infinity, and integers that are too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _require(condition: bool, name: str, value: object, wanted: str) -> None:
    if not condition:
        raise ConfigError(f"{name} must be {wanted}, not {value!r}")

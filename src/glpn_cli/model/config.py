"""The architecture as data: every number that decides how a GLPN is built, under its published name."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeGuard, get_args

from glpn_cli.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from torch import Tensor


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
_CONFIG_FILE = "config.json"


class GLPNConfig:
    """How a GLPN is built, as `config.json` has it. The defaults are a small model, not a published one.

    Every argument is an attribute and may be changed until a model is built; `head_in_index`, `max_depth` and the
    three switches of the last line are read at every forward pass. Lists have one number per encoder stage.

    Args:
        num_channels: channels of the image.
        num_encoder_blocks: stages of the encoder, called n below.
        depths: n numbers, transformer layers.
        sr_ratios: n numbers, the factor by which attention shrinks the sides of what it looks at.
        hidden_sizes: n numbers, channels; each a multiple of its number of heads.
        patch_sizes: n numbers, pixels, the kernel that starts a stage.
        strides: n numbers, pixels, the factor by which a stage shrinks the sides of its input.
        num_attention_heads: n numbers.
        mlp_ratios: n numbers, how many times wider the hidden layer of a feed-forward network is.
        hidden_act: "gelu", "relu", "selu", "gelu_new" (GELU by tanh), or a function of a tensor.
        hidden_dropout_prob: 0 to 1, in training, after attention and inside the feed-forward networks.
        attention_probs_dropout_prob: 0 to 1, in training, on the attention probabilities.
        initializer_range: standard deviation of weights before training.
        drop_path_rate: 0 to 1, in training, how often the last layer is skipped; earlier ones less often.
        layer_norm_eps: kept and written back, and applied nowhere; see `glpn_cli.model.encoder`.
        decoder_hidden_size: channels of the decoder.
        max_depth: the largest depth, in the published scale.
        head_in_index: which of the n decoder outputs becomes depth; -1 is the one of full resolution.
        **kwargs: `output_attentions`, `output_hidden_states` and `return_dict` are what a forward pass falls back
            to. Anything else, such as the legacy keys of published files, is kept as it is and written back.

    Raises:
        ConfigError: a field has the wrong type or value; the message begins with its name.

    Source: the published `config.json` files of glpn-kitti and glpn-nyu.
    """

    model_type: ClassVar[str] = "glpn"
    __hash__ = None  # type: ignore[assignment] # it can change

    def __init__(
        self,
        /,  # so that a file with a field "self" is no TypeError
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
            raise ConfigError(f"model_type is not {self.model_type!r}: this is the configuration of another network")
        for name, value in kwargs.items():
            if hasattr(type(self), name):
                raise ConfigError(f"{name} is no field of a configuration")
            setattr(self, name, value)
        self.validate()

    def validate(self) -> None:
        """Refuse a field of the wrong type or value by its name. Building a model does this too.

        Raises:
            ConfigError: with the first such field.
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
            _require(_is_number(value) and value >= 0, name, value, "a number that is not negative")
        _require(self.decoder_hidden_size > 1, "decoder_hidden_size", self.decoder_hidden_size, "at least 2")
        _require(_is_number(self.max_depth) and self.max_depth > 0, "max_depth", self.max_depth, "a positive number")
        stages, index = self.num_encoder_blocks, self.head_in_index
        wanted = f"a whole number from {-stages} to {stages - 1}"
        _require(_is_whole(index) and -stages <= index < stages, "head_in_index", index, wanted)
        for name in _SWITCHES:
            _require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")

    def to_dict(self) -> dict[str, Any]:
        """Give every field, known or only kept, as a copy that later changes do not reach."""
        # A function is copied as itself, and so must be a module, or two equal configurations would differ.
        fields = {name: value if callable(value) else copy.deepcopy(value) for name, value in vars(self).items()}
        fields |= {name: list(fields[name]) for name in _STAGE_LISTS}
        fields |= {name: float(fields[name]) for name in (*_RATES, "initializer_range", "layer_norm_eps")}
        # transformers 5 takes a whole max_depth only when it is written as one.
        fields["max_depth"] = int(self.max_depth) if float(self.max_depth).is_integer() else self.max_depth
        return {"model_type": self.model_type, "architectures": ["GLPNForDepthEstimation"]} | fields

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` gave, or from a parsed `config.json`.

        Raises:
            ConfigError: a field has the wrong type or value, or it is the configuration of another network.
        """
        return cls(**values)

    def to_json_string(self) -> str:
        """Give the text of a `config.json`, ending in a newline.

        Raises:
            ConfigError: a field is nothing that JSON can hold, such as a function as `hidden_act`.
        """
        fields = self.to_dict()
        for name, value in fields.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"{name} cannot be written to {_CONFIG_FILE}: {value!r}") from error
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_pretrained(cls, path: str | PathLike[str]) -> Self:
        """Read a folder with a `config.json`, such a file, or a weights file that carries its configuration.

        Raises:
            ConfigError: there is no configuration, or it is broken.
            WeightsError: the path is a weights file that cannot be read.
        """
        file = Path(path)
        if file.is_dir():
            file /= _CONFIG_FILE
        elif file.suffix != ".json" and file.is_file():
            from glpn_cli.weights.checkpoint import read_checkpoint  # the door upward of every from_pretrained

            return cls.from_dict(read_checkpoint(file).config.to_dict())
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{file}: is no JSON: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{file}: is not a table of fields")
        return cls.from_dict(values)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `config.json` into a folder, made if need be, as transformers can read it.

        Raises:
            ConfigError: a field cannot be written.
            OutputError: the file cannot be written.
        """
        text, file = self.to_json_string(), Path(folder) / _CONFIG_FILE
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GLPNConfig) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _to_list(values: Iterable[int]) -> list[int]:
    """Give each configuration a list of its own; what is no sequence stays, for `validate` to name."""
    return list(values) if isinstance(values, list | tuple) else values  # type: ignore[return-value]


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return _is_whole(value) and value > 0


def _is_number(value: object) -> bool:
    # Neither inf nor nan, nor one of the whole numbers of JSON that are too long for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _require(fulfilled: bool, name: str, value: object, wanted: str) -> None:
    if not fulfilled:
        raise ConfigError(f"{name} must be {wanted}, not {value!r}")

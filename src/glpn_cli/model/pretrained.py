"""The base class of both networks: what their class in transformers inherits, from loading to saving."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.model.config import GLPNConfig, refuse_upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from glpn_cli.weights.checkpoint import Checkpoint

_NAMED_KEYS = 3  # an error lists this many keys and counts the rest
_COUNTER = ".num_batches_tracked"  # of a BatchNorm; old files lack it, and nothing reads it
_PARTS_AFTER_ENCODER = ("decoder.", "head.")
_AUTO = "auto"
_INVALID = "contains NaN or infinite values"
OTHER_CONFIG_HINT = "use the config.json that belongs to these weights"
"""Of the errors that say that weights and configuration do not match."""
_TENSORS_PER_LAYER = 18  # of the encoder, at least
_LAYERS_ANYWAY = 64
"""So many are built in a moment, and then the error can name the tensors that are missing."""
_MAX_INITIALIZED = 2**27
"""Values of all tensors that `from_pretrained` may initialize because a file does not have them: 512 MB."""


class PretrainedModel(nn.Module):
    """A network that is built from a configuration and can be loaded and saved.

    Attributes:
        config: the architecture.
        checkpoint_metadata: the metadata of the loaded weights, such as their scale; saved with the weights.
    """

    config_class: ClassVar[type[GLPNConfig]] = GLPNConfig
    base_model_prefix: ClassVar[str] = "glpn"
    main_input_name: ClassVar[str] = "pixel_values"
    input_modalities: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__()
        config.validate()
        self.config = config
        self.checkpoint_metadata: dict[str, str] = {}

    # Loading

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str] | None,
        *,
        config: GLPNConfig | str | PathLike[str] | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: Any = None,
        use_safetensors: bool | None = None,
        variant: str | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load weights, ready to predict (in eval mode).

        Args:
            pretrained_model_name_or_path: a folder as saved by transformers, a weights file with its configuration
                inside or beside it, OWNER/REPO of the Hugging Face Hub, or any other value of the setting `weights`.
                Weights that are not installed are downloaded once; None if `config` and `state_dict` are given.
            config: the configuration to use, or where to read it; None uses the one of the weights.
            state_dict: the weights to use instead of those of a file.
            dtype: of the parameters; "auto" is the dtype of the file, None is float32.
            torch_dtype: the older name of `dtype`.
            device_map: a device, or "auto" for the first GPU, else the CPU.
            use_safetensors: whether to read safetensors or a pickle; None takes what there is, safetensors first.
            variant: part of the file's name, such as "fp16" for `model.fp16.safetensors`.
            ignore_mismatched_sizes: initialize tensors that have another shape in the file, and those of the decoder
                and the head that it does not have, instead of refusing them.
            output_loading_info: return a tuple of the network and a dictionary of the keys that are missing in the
                file, unexpected, or of another shape.
            **kwargs: fields of the configuration to change, and the keywords of `HubKeywords`.

        Returns:
            The network, float32 and on the CPU by default. What is not in the file, such as the decoder for weights of
            an encoder, is initialized, with a UserWarning.

        Raises:
            MissingWeightsError: (an OSError) there are no weights, and they cannot be downloaded.
            WeightsError: the weights are unreadable or of another architecture.
            ConfigError: the configuration is invalid.
            TypeError: a keyword is unknown.
        """
        from glpn_cli.weights.pretrained import HubKeywords, read_pretrained  # upward import, as are those below

        hub, changes = HubKeywords.split(kwargs)
        if "return_unused_kwargs" in changes:
            raise TypeError("unknown keyword 'return_unused_kwargs': only configurations and processors take it")
        given = None if config is None else _as_config(config, hub)
        checkpoint = read_pretrained(
            pretrained_model_name_or_path, hub, config=given, state_dict=state_dict,
            use_safetensors=use_safetensors, variant=variant,
        )  # fmt: skip
        network_config = GLPNConfig.from_dict(checkpoint.config.to_dict(), **changes)
        network_config.name_or_path = pretrained_model_name_or_path or ""
        model, info, notes = cls._assemble(checkpoint, network_config, ignore_mismatched_sizes=ignore_mismatched_sizes)
        for note in (*checkpoint.notes, *notes):
            warnings.warn(note, UserWarning, stacklevel=2)
        chosen = _choose_dtype(dtype if dtype is not None else torch_dtype, network_config, checkpoint.tensors)
        model = model.to(device=_choose_device(device_map), dtype=chosen)
        return (model, info) if output_loading_info else model  # type: ignore[return-value] # as in the reference

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """Build the network from a checkpoint in memory, which must have exactly its tensors.

        Raises:
            WeightsError: tensors are missing, unexpected, of another shape or type, or have NaN or infinite values.
        """
        _refuse_oversized(checkpoint.config, checkpoint.tensors, str(checkpoint.path))
        with torch.device("meta"):  # no memory or random numbers for weights that are replaced
            model = cls(checkpoint.config)
        wanted = model.state_dict()
        tensors = _with_counters(cls._select_tensors(checkpoint.tensors), wanted)
        _refuse(_compare(tensors, wanted), str(checkpoint.path))
        _refuse_other_numbers(tensors, wanted, str(checkpoint.path))
        if (key := _find_invalid(tensors)) is not None:
            raise WeightsError(f"{checkpoint.path}: {key} {_INVALID}", hint="the training diverged: use other weights")
        model.load_state_dict(tensors, strict=True, assign=True)
        model.checkpoint_metadata = dict(checkpoint.metadata)
        return model.eval()

    @classmethod
    def _assemble(
        cls, checkpoint: Checkpoint, config: GLPNConfig, *, ignore_mismatched_sizes: bool
    ) -> tuple[Self, dict[str, list[Any]], list[str]]:
        """Build the network as `from_pretrained` does; also return its loading info, and what the user should know.

        Tensors of another network are ignored. The parts of the network that the file has nothing of are initialized.
        """
        _refuse_oversized(config, checkpoint.tensors, str(checkpoint.path))
        with torch.device("meta"):
            model = cls(config)
        wanted = model.state_dict()
        tensors = _with_counters(cls._select_tensors(_prefixed(checkpoint.tensors, wanted)), wanted)
        problems = _compare(tensors, wanted)
        parts = dict(model.named_children())
        foreign = [
            key for key in problems["unexpected_keys"] if key.split(".")[0] not in parts or ignore_mismatched_sizes
        ]
        absent = _absent_parts(problems["missing_keys"], wanted)
        # Other sizes may also need a convolution that the file does not have.
        resized = _PARTS_AFTER_ENCODER if ignore_mismatched_sizes else ()
        initialized = [key for key in problems["missing_keys"] if key.startswith((*absent, *resized))]
        mismatched = [key for key, *_ in problems["mismatched_keys"]] if ignore_mismatched_sizes else []
        _refuse(
            {
                "missing_keys": [key for key in problems["missing_keys"] if key not in initialized],
                "unexpected_keys": [key for key in problems["unexpected_keys"] if key not in foreign],
                "mismatched_keys": [item for item in problems["mismatched_keys"] if item[0] not in mismatched],
            },
            str(checkpoint.path),
        )
        usable = {key: tensor for key, tensor in tensors.items() if key not in {*foreign, *mismatched}}
        _refuse_other_numbers(usable, wanted, str(checkpoint.path))
        invalid = _find_invalid(usable)
        notes = [] if invalid is None else [f"{checkpoint.path}: {invalid} {_INVALID}"]
        if initialized or mismatched:
            if sum(wanted[key].numel() for key in (*initialized, *mismatched)) > _MAX_INITIALIZED:
                raise WeightsError(f"{checkpoint.path}: lacks more than {_MAX_INITIALIZED} values of its configuration")
            model = cls(config)  # with the initial weights, instead of none
            others = [key for key in (*initialized, *mismatched) if not key.startswith(tuple(absent))]
            named = ", ".join([*(part.rstrip(".") for part in absent), *_name_some(others)])
            notes.append(f"{checkpoint.path}: newly initialized, to be trained before use: {named}")
        if foreign:
            notes.append(f"{checkpoint.path}: not of this network and ignored: {', '.join(_name_some(foreign))}")
        model.load_state_dict(usable, strict=False, assign=True)
        model.checkpoint_metadata = dict(checkpoint.metadata)
        return model.eval(), {**problems, "error_msgs": []}, notes

    @classmethod
    def _select_tensors(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint that belong to this network, under its own keys."""
        return dict(tensors)

    # Saving

    def save_pretrained(
        self,
        save_directory: str | PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        save_function: object = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write `config.json` and `model.safetensors`, readable by transformers too.

        Args:
            save_directory: created if it does not exist.
            is_main_process: without it nothing is written, because another process does.
            state_dict: the weights to save; None saves those of the network.
            save_function: has no effect; files are always written atomically.
            push_to_hub: must be false; the Hub's own client uploads folders.
            max_shard_size: of one file, in bytes or such as "200MB"; larger weights become several files and an index.
            safe_serialization: False writes a pickle, `pytorch_model.bin`, which has no room for metadata such as the
                scale.
            variant: part of the file's name, such as "fp16" for `model.fp16.safetensors`.
            **kwargs: have no effect; those of transformers are for uploads and adapters.

        Raises:
            ConfigError: JSON cannot represent the configuration, such as a function as `hidden_act`.
            OutputError: a file cannot be written.
        """
        from glpn_cli.weights.checkpoint import write_checkpoint

        del save_function, kwargs
        refuse_upload(push_to_hub)
        if not is_main_process:
            return
        config = copy.deepcopy(self.config)
        vars(config)["architectures"] = [type(self).__name__]
        if self.dtype != torch.float32 or config.torch_dtype is not None:
            vars(config).pop("dtype", None)  # the newer name of the same field
            vars(config)["torch_dtype"] = str(self.dtype).removeprefix("torch.")
        config.to_json_string()  # raises before anything is written
        tensors = self.state_dict() if state_dict is None else state_dict
        write_checkpoint(
            save_directory, config, tensors, self.checkpoint_metadata,
            safe=safe_serialization, max_shard_size=max_shard_size, variant=variant,
        )  # fmt: skip

    # What programs ask a network

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.parameters()).dtype

    @property
    def name_or_path(self) -> str:
        """What was passed to `from_pretrained`; empty for a new network."""
        return self.config.name_or_path

    @property
    def base_model(self) -> nn.Module:
        """The encoder, which may be the network itself."""
        base: nn.Module = getattr(self, self.base_model_prefix, self)
        return base

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of parameters; there are no embeddings of tokens that could be excluded."""
        del exclude_embeddings
        return sum(item.numel() for item in self.parameters() if item.requires_grad or not only_trainable)

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the size of the parameters, and of the buffers if requested, in bytes."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def can_generate(self) -> bool:
        """Return whether the network generates text: False."""
        return False

    def tie_weights(self, *_: Any, **__: Any) -> None:
        """Do nothing: no weights are shared."""

    # Initialization

    def init_weights(self) -> None:
        """Initialize all weights again, as in a new network."""
        for module in self.modules():
            if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()
        self._initialize(self)

    def post_init(self) -> None:
        """Initialize all weights; the constructor of a subclass calls it last, as in transformers."""
        self.init_weights()

    def _initialize(self, *parts: nn.Module) -> None:
        """Initialize linear and convolutional layers: normal weights, zero biases.

        Source: the reference implementation, which samples from an untruncated normal distribution.
        """
        if torch.get_default_device().type == "meta":
            return  # nothing to initialize, and doing so would import torch's compiler, which takes most of a second
        for module in (module for part in parts for module in part.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


# Keywords of from_pretrained


def _as_config(config: Any, hub: Any) -> GLPNConfig:
    """Return a copy of a configuration, ours or that of transformers, or read it."""
    if isinstance(config, GLPNConfig):
        return copy.deepcopy(config)
    if hasattr(config, "to_dict"):
        return GLPNConfig.from_dict(config.to_dict())
    from glpn_cli.weights.pretrained import read_config_fields

    return GLPNConfig.from_dict(read_config_fields(config, hub))


def _choose_dtype(wanted: Any, config: GLPNConfig, tensors: Mapping[str, Tensor]) -> torch.dtype:
    """Return the dtype that a keyword means, for tensors as they are in the file."""
    if wanted == _AUTO:
        floats = (tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
        wanted = config.torch_dtype or next(floats, torch.float32)
    dtype = torch.float32 if wanted is None else getattr(torch, wanted, None) if isinstance(wanted, str) else wanted
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise UsageError(f"must be a floating-point dtype of torch, not {wanted!r}", setting="dtype")
    return dtype


def _choose_device(device_map: Any) -> torch.device | None:
    """Return the device that a keyword means, or None for where the tensors are.

    Raises:
        UsageError: the keyword spreads the network over several devices, or is not a device.
    """
    if isinstance(device_map, dict):
        devices = set(device_map.values())
        device_map = devices.pop() if len(devices) == 1 else device_map
    if device_map is None:
        return None
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device_map)
    except (RuntimeError, TypeError) as error:
        hint = "use one device, such as 'cuda:0'; the network is too small to be divided"
        raise UsageError(f"is not a device: {device_map!r}", hint=hint, setting="device_map") from error


# Comparing a file with a network


def _prefixed(tensors: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Return the tensors of a file; those of an encoder alone get the prefix that a whole network wants."""
    prefix = f"{PretrainedModel.base_model_prefix}."
    if any(key.startswith(prefix) for key in tensors) or not any(key.startswith(prefix) for key in wanted):
        return tensors
    return {prefix + key if key.startswith("encoder.") else key: tensor for key, tensor in tensors.items()}


def _with_counters(tensors: dict[str, Tensor], wanted: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return tensors with the counters that old files lack."""
    counters = [key for key in wanted if key.endswith(_COUNTER) and key.removesuffix(_COUNTER) + ".weight" in tensors]
    return {key: torch.zeros((), dtype=torch.int64, device="cpu") for key in counters} | tensors


def _compare(found: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return how tensors differ from those of a network, as the reference reports it."""
    both = [key for key in wanted if key in found]
    return {
        "missing_keys": [key for key in wanted if key not in found],
        "unexpected_keys": [key for key in found if key not in wanted],
        "mismatched_keys": [
            (key, (*found[key].shape,), (*wanted[key].shape,)) for key in both if found[key].shape != wanted[key].shape
        ],
    }


def _absent_parts(missing: list[str], wanted: Iterable[str]) -> list[str]:
    """Return the prefixes of the parts after the encoder of which every tensor is missing; none without an encoder."""
    if any(not key.startswith(_PARTS_AFTER_ENCODER) for key in missing):
        return []
    wanted = list(wanted)
    return [part for part in _PARTS_AFTER_ENCODER if all(key in missing for key in wanted if key.startswith(part))]


def _name_some(keys: list[str]) -> list[str]:
    return [*keys[:_NAMED_KEYS], *(["…"] if len(keys) > _NAMED_KEYS else [])]


def _refuse_oversized(config: GLPNConfig, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse a configuration of more layers than the tensors are enough for, before the layers are built.

    Building takes a millisecond for each layer, whatever its size, so the other fields need only their own bounds.

    Raises:
        ConfigError: a field is out of bounds.
        WeightsError: the network would have more layers than the file has.
    """
    config.validate()
    depths = config.depths[: config.num_encoder_blocks]
    if sum(depths) > max(_LAYERS_ANYWAY, len(tensors) // _TENSORS_PER_LAYER):
        raise WeightsError(
            f"{source}: the weights do not match their configuration; depths is {depths}, but there are only "
            f"{len(tensors)} tensors",
            hint=OTHER_CONFIG_HINT,
        )


def _refuse_other_numbers(tensors: Mapping[str, Tensor], wanted: Mapping[str, Any], source: str) -> None:
    """Refuse tensors that are not of real numbers, such as those of a network that was quantized for another program.

    Raises:
        WeightsError: a tensor has another type; the message names the first one.
    """
    for key, tensor in tensors.items():
        # A counter may be of any type of number, because nothing reads it.
        is_number = not (tensor.dtype is torch.bool or tensor.is_complex())
        if not (tensor.is_floating_point() or (is_number and key in wanted and not wanted[key].is_floating_point())):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(
                f"{source}: {key} is of the type {kind}, not floating point", hint="use the weights as published"
            )


def _find_invalid(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the key of the first tensor with NaN or infinite values, or None."""
    for key, tensor in tensors.items():
        values = tensor.float() if tensor.element_size() == 1 else tensor  # torch cannot add numbers of 8 bits
        # A sum is several times faster, and is finite only if all values are; it may overflow, too.
        if values.is_floating_point() and not values.sum().isfinite() and not values.isfinite().all():
            return key
    return None


def _refuse(problems: Mapping[str, list[Any]], source: str) -> None:
    """Refuse tensors that are not those of a network. torch reports the same in hundreds of lines.

    Raises:
        WeightsError: keys are missing, unexpected or of another shape; the message names the first few.
    """
    shapes = [f"{key} {found} instead of {wanted}" for key, found, wanted in problems["mismatched_keys"]]
    named = {
        "missing": problems["missing_keys"],
        "unexpected": problems["unexpected_keys"],
        "of another shape": shapes,
    }
    listed = [f"{len(keys)} {problem}: {', '.join(_name_some(keys))}" for problem, keys in named.items() if keys]
    if listed:
        raise WeightsError(
            f"{source}: the weights do not match their configuration; {'; '.join(listed)}",
            hint=OTHER_CONFIG_HINT,
        )

"""The base class of both networks: configuration, initialization, loading and saving weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from glpn_cli.errors import WeightsError
from glpn_cli.model.config import GLPNConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from glpn_cli.weights.checkpoint import Checkpoint

_NAMED_KEYS = 3  # an error lists this many keys and counts the rest


class PretrainedModel(nn.Module):
    """A network that is built from a configuration and can be loaded and saved.

    Attributes:
        config: the architecture.
        checkpoint_metadata: the metadata of the loaded weights, such as their scale; saved with the weights.
    """

    base_model_prefix: ClassVar[str] = "glpn"

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__()
        config.validate()
        self.config = config
        self.checkpoint_metadata: dict[str, str] = {}

    @classmethod
    def from_pretrained(cls, path: str | PathLike[str]) -> Self:
        """Load weights from a folder or file, ready to predict (in eval mode).

        Args:
            path: a folder as saved by transformers, or a weights file with its configuration inside or beside it.

        Returns:
            The network, float32, on the CPU.

        Raises:
            WeightsError: the weights are missing, unreadable or of another architecture.
            ConfigError: the configuration is invalid.
        """
        from glpn_cli.weights.checkpoint import read_checkpoint  # upward import, allowed for from_pretrained

        return cls.from_checkpoint(read_checkpoint(path))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """Build the network from a checkpoint in memory; otherwise like `from_pretrained`."""
        with torch.device("meta"):  # no memory or random numbers for weights that are replaced
            model = cls(checkpoint.config)
        tensors = model._select_tensors(checkpoint.tensors)
        _check_tensors(tensors, model.state_dict(), str(checkpoint.path))
        model.load_state_dict(tensors, strict=True, assign=True)
        model.checkpoint_metadata = dict(checkpoint.metadata)
        return model.eval()

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`, readable by transformers too.

        Args:
            folder: created if it does not exist.

        Raises:
            ConfigError: JSON cannot represent the configuration, such as a function as `hidden_act`.
            OutputError: a file cannot be written.
        """
        from glpn_cli.weights.checkpoint import write_checkpoint  # as above

        config = GLPNConfig.from_dict(self.config.to_dict() | {"architectures": [type(self).__name__]})
        config.to_json_string()  # raises before anything is written
        write_checkpoint(folder, config, self.state_dict(), self.checkpoint_metadata)

    def _select_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint that belong to this network, under its own keys."""
        return dict(tensors)

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


def _check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Any], source: str) -> None:
    """Check that tensors are exactly those of a network. torch reports the same in hundreds of lines.

    Raises:
        WeightsError: keys are missing, unexpected or of another shape; the message names the first few.
    """
    mismatched = [key for key in wanted if key in found and found[key].shape != wanted[key].shape]
    problems = {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [key for key in found if key not in wanted],
        "of another shape": [f"{key} {(*found[key].shape,)} instead of {(*wanted[key].shape,)}" for key in mismatched],
    }
    listed = [
        f"{len(keys)} {problem}: {', '.join(keys[:_NAMED_KEYS])}{', …' if len(keys) > _NAMED_KEYS else ''}"
        for problem, keys in problems.items()
        if keys
    ]
    if listed:
        raise WeightsError(
            f"{source}: the weights do not match their configuration; {'; '.join(listed)}",
            hint="use the config.json that belongs to these weights",
        )

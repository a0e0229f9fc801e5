"""What both networks share: a configuration, random weights to begin with, and weights from and to files."""

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


_NAMED_KEYS = 3  # how many keys an error names; the rest it counts


class PretrainedModel(nn.Module):
    """A network that is built from a configuration and knows its files.

    Attributes:
        config: how it is built.
        checkpoint_metadata: the strings that came with its weights, such as their scale; they are saved with it.
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
            path: a folder as transformers saves it, or a weights file with its configuration inside or beside it.

        Returns:
            The network, float32, on the CPU.

        Raises:
            WeightsError: there are no weights, or not the ones of this network.
            ConfigError: the configuration is missing or broken.
        """
        # The sanctioned door upward: files are the business of the weights room, which knows this room's config.
        from glpn_cli.weights.checkpoint import read_checkpoint

        return cls.from_checkpoint(read_checkpoint(path))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """Build from weights that have been read; otherwise as `from_pretrained`."""
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            model = cls(checkpoint.config)
        tensors = model._select_tensors(checkpoint.tensors)
        _check_tensors(tensors, model.state_dict(), str(checkpoint.path))
        model.load_state_dict(tensors, strict=True, assign=True)
        model.checkpoint_metadata = dict(checkpoint.metadata)
        return model.eval()

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`, readable here and by transformers.

        Raises:
            ConfigError: the configuration cannot be written, such as a function as `hidden_act`.
            OutputError: the folder cannot be written to.
        """
        from glpn_cli.weights.checkpoint import write_checkpoint  # the same door

        config = GLPNConfig.from_dict(self.config.to_dict() | {"architectures": [type(self).__name__]})
        config.to_json_string()  # what no file can hold is refused before there is half a checkpoint
        write_checkpoint(folder, config, self.state_dict(), self.checkpoint_metadata)

    def _select_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give the tensors of a checkpoint that this network is made of, under its own keys."""
        return dict(tensors)

    def _initialize(self, *parts: nn.Module) -> None:
        """Draw the weights of some parts for training from nothing; norms and biases start without effect.

        Source: the initialization of the published implementation, which draws from an untruncated normal.
        """
        if torch.get_default_device().type == "meta":
            return  # there is nothing to draw, and asking for it would load torch's compiler, most of a second
        for module in (module for part in parts for module in part.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Any], source: str) -> None:
    """Refuse tensors that are not exactly those of a network, in one line; torch would take hundreds.

    Raises:
        WeightsError: with the first few keys that are missing, unexpected or of another shape.
    """
    misfits = [key for key in wanted if key in found and found[key].shape != wanted[key].shape]
    problems = {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [key for key in found if key not in wanted],
        "of another shape": [f"{key} {(*found[key].shape,)} for {(*wanted[key].shape,)}" for key in misfits],
    }
    told = [
        f"{len(keys)} {problem}: {', '.join(keys[:_NAMED_KEYS])}{', …' if len(keys) > _NAMED_KEYS else ''}"
        for problem, keys in problems.items()
        if keys
    ]
    if told:
        raise WeightsError(
            f"{source}: the weights do not fit their configuration; {'; '.join(told)}",
            hint="is the config.json the one that these weights came with?",
        )

"""What the networks return: values that have names and can still be unpacked like a tuple.

The loss that GLPN is trained with.

GLPN, the whole network: what a faster engine is measured against, so written to be read.

Source: Global-Local Path Networks for Monocular Depth Estimation with Vertical CutDepth, arXiv 2201.07436.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glpn_cli.model.decoder import Decoder, DepthHead
from glpn_cli.model.encoder import Encoder, stage_sizes
from glpn_cli.model.pretrained import PretrainedModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from glpn_cli.model.config import GLPNConfig


class _NamedValues:
    """A dataclass whose fields are also reached by position; an absent one (None) has no position."""

    def keys(self) -> tuple[str, ...]:
        """Give the names of the values that are there, in order."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) is not None)  # type: ignore[arg-type]

    def to_tuple(self) -> tuple[Any, ...]:
        """Give the values that are there, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: int | slice | str) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:  # or `in` would compare tensors
        return key in self.keys()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.to_tuple())


@dataclass(eq=False, kw_only=True)
class BaseModelOutput(_NamedValues):
    """What the encoder saw.

    Attributes:
        last_hidden_state: (B, C, H', W') float32, the feature map of the last stage.
        hidden_states: one (B, C, H', W') float32 per stage, largest first; None unless asked for.
        attentions: one (B, heads, N, M) float32 per layer, how much each of N places looks at each of M, 0 to 1,
            as used: after dropout in training; None unless asked for.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False, kw_only=True)
class DepthEstimatorOutput(_NamedValues):
    """A depth prediction.

    Attributes:
        loss: () float32, unitless, not negative; None without labels.
        predicted_depth: (B, H', W') float32, 0 to `max_depth` in the published scale.
        hidden_states: as in `BaseModelOutput`.
        attentions: as in `BaseModelOutput`.
    """

    loss: Tensor | None = None
    predicted_depth: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def silog_loss(predicted: Tensor, target: Tensor, *, scale_forgiveness: float = 0.5) -> Tensor:
    """Measure how far two depths differ, forgiving part of a common factor.

    The pixels of the whole batch count as one set: with d = log(target) - log(predicted), the loss is the square
    root of mean(d²) - scale_forgiveness · mean(d)².

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) any number type, meters; 0 where there is no ground truth.
        scale_forgiveness: 0 counts a wrong overall scale in full, 1 not at all.

    Returns:
        () float32, unitless, not negative; 0 if no pixel has ground truth.

    Raises:
        ValueError: the two have different shapes.

    Source: Eigen et al., arXiv 1406.2283, equation 4, under the square root that GLPN's authors put over it.
    """
    if predicted.shape != target.shape:
        raise ValueError(
            f"the target must have the prediction's shape {tuple(predicted.shape)}, not {(*target.shape,)}"
        )
    known = target > 0
    # Logarithms need the range and the digits of float32, also where the network runs in half precision.
    precise = torch.promote_types(predicted.dtype, torch.float32)
    seen = predicted[known].to(precise)
    if seen.numel() == 0:
        return seen.sum()  # 0, with a gradient of zeros; the mean of nothing would be NaN
    # A sigmoid can underflow to 0, whose logarithm is infinite; the smallest normal number stands in for it.
    difference = target[known].to(precise).log() - seen.clamp_min(torch.finfo(precise).tiny).log()
    variance = difference.square().mean() - scale_forgiveness * difference.mean().square()
    # The slope of a square root is infinite at 0 and would turn the gradient into NaN, so 0 goes round the root.
    perfect = variance <= 0
    return torch.where(perfect, 0.0, torch.where(perfect, 1.0, variance).sqrt())


_IMAGE_DIMENSIONS = 4


class GLPNModel(PretrainedModel):
    """The encoder alone: an image becomes feature maps."""

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self._initialize(self.encoder)

    def forward(
        self,
        pixel_values: Tensor,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: (B, 3, H, W) float32, RGB, 0 to 1.
            output_attentions: also give attention probabilities; None leaves it to the configuration.
            output_hidden_states: also give every stage's feature map; likewise.
            return_dict: give an object with names instead of a tuple; likewise.

        Returns:
            The last feature map, (B, C, H/32, W/32) float32 with the usual strides, and what was asked for. In a
            tuple, what was not asked for has no place.

        Raises:
            ValueError: the images have the wrong number of dimensions or channels, are not floating point, or
                are too small.
        """
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return_dict = self.config.return_dict if return_dict is None else return_dict

        check_pixel_values(pixel_values, self.config)
        feature_maps, attentions = self.encoder(pixel_values, output_attentions=output_attentions)
        output = BaseModelOutput(
            last_hidden_state=feature_maps[-1],
            hidden_states=feature_maps if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
        )
        return output if return_dict else output.to_tuple()

    def _select_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take the encoder out of a whole network's tensors, whose keys have a prefix and company."""
        others = ("decoder.", "head.")
        return {
            key.removeprefix(f"{self.base_model_prefix}."): tensor
            for key, tensor in tensors.items()
            if not key.startswith(others)
        }


class GLPNForDepthEstimation(PretrainedModel):
    """The whole network: an image becomes depth."""

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__(config)
        self.glpn = GLPNModel(config)
        self.decoder = Decoder(config)
        self.head = DepthHead(config)
        self._initialize(self.decoder, self.head)

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> DepthEstimatorOutput | tuple[Any, ...]:
        """Predict depth, and measure it where the truth is known.

        Args:
            pixel_values: (B, 3, H, W) float32, RGB, 0 to 1; sides are multiples of 32, or up to 3 less.
            labels: (B, H', W') float32, depth in the published scale; 0 where it is not known. H' and W' are those
                of the prediction.
            output_attentions: also give attention probabilities; None leaves it to the configuration.
            output_hidden_states: also give every stage's feature map; likewise.
            return_dict: give an object with names instead of a tuple; likewise.

        Returns:
            The depth, (B, H', W') float32, 0 to `max_depth` in the published scale, where H' and W' are H and W
            rounded up to multiples of 32; the loss if there are labels; and what was asked for. In a tuple, what is
            not there has no place.

        Raises:
            ValueError: the images are none that the network takes, or the labels have another shape.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return_dict = self.config.return_dict if return_dict is None else return_dict

        check_pixel_values(pixel_values, self.config, halves=True)
        encoded = self.glpn(pixel_values, output_attentions, output_hidden_states=True, return_dict=True)
        predicted_depth = self.head(self.decoder(encoded.hidden_states))
        output = DepthEstimatorOutput(
            loss=None if labels is None else silog_loss(predicted_depth, labels),
            predicted_depth=predicted_depth,
            hidden_states=encoded.hidden_states if output_hidden_states else None,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.to_tuple()


def check_pixel_values(pixel_values: Tensor, config: GLPNConfig, *, halves: bool = False) -> None:
    """Refuse what would only fail deep inside the network.

    Args:
        pixel_values: what was handed in.
        config: says how many channels there must be and how far the stages shrink.
        halves: each stage's sides must be half of those before, as the decoder needs it.

    Raises:
        ValueError: naming the shape that was given and the one that is wanted.
    """
    if torch.compiler.is_compiling():
        return  # sizes are symbols then, and asking about them would fix them
    shape = (*pixel_values.shape,)
    if len(shape) != _IMAGE_DIMENSIONS or shape[1] != config.num_channels:
        raise ValueError(f"pixel_values must be (B, {config.num_channels}, H, W), not {shape}")
    if not pixel_values.is_floating_point():
        raise ValueError(f"pixel_values must be floating point, 0 to 1, not {pixel_values.dtype}")
    sizes = stage_sizes(config, *shape[2:])
    for size, reduction in zip(sizes, config.sr_ratios, strict=True):
        if min(size) < reduction:
            raise ValueError(f"pixel_values of {shape} are too small: a stage sees {size} and needs {reduction} a side")
    doubled = [(2 * height, 2 * width) for height, width in sizes[1:]]
    if halves and doubled != sizes[:-1]:
        raise ValueError(
            f"pixel_values of {shape} have sides that the decoder cannot double back: the stages see {sizes}; "
            f"multiples of {math.prod(config.strides)} do"
        )

"""GLPN: the encoder alone, the whole network, and the training loss.

This is the reference that faster engines are compared with, so it is written for readability.

Source: Global-Local Path Networks for Monocular Depth Estimation with Vertical CutDepth, arXiv 2201.07436.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from glpn_cli.convert import SIZE_DIVISOR
from glpn_cli.errors import ConfigError
from glpn_cli.model.decoder import Decoder, DepthHead
from glpn_cli.model.encoder import Encoder, stage_sizes
from glpn_cli.model.outputs import BaseModelOutput, DepthEstimatorOutput
from glpn_cli.model.pretrained import PretrainedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from glpn_cli.model.config import GLPNConfig
    from glpn_cli.weights.checkpoint import Checkpoint

_MAX_SMALLEST_SIDE_PX = 1024
_DECODER_FACTOR = 4
"""By which the decoder enlarges the first stage's feature map."""

_LARGEST_OUTPUT_FACTOR = 2
"""Sides of the network's output compared with those of its input. Published networks have 1."""


class GLPNModel(PretrainedModel):
    """The encoder alone: from images to feature maps."""

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
            output_attentions: also return the attention probabilities; None uses `config.output_attentions`.
            output_hidden_states: also return the feature map of every stage; None uses the configuration too.
            return_dict: return an object with named fields instead of a tuple; None uses the configuration too.

        Returns:
            The last feature map, (B, C, H/32, W/32) float32 with the default strides, and what was requested. A tuple
            omits what was not requested.

        Raises:
            ValueError: the images have the wrong number of dimensions or channels, are not floating point, or
                are too small.
        """
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return_dict = self.config.use_return_dict if return_dict is None else return_dict

        check_pixel_values(pixel_values, self.config)
        output: BaseModelOutput | tuple[Any, ...] = self.encoder(
            pixel_values, output_attentions, output_hidden_states, return_dict
        )
        return output

    @classmethod
    def _select_tensors(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of the encoder; in a checkpoint of the whole network their keys have a prefix."""
        return {
            key.removeprefix(f"{cls.base_model_prefix}."): tensor
            for key, tensor in tensors.items()
            if not key.startswith(("decoder.", "head."))
        }


class GLPNForDepthEstimation(PretrainedModel):
    """The whole network: from images to depth."""

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
        """Predict depth, and compute the loss if there is ground truth.

        Args:
            pixel_values: (B, 3, H, W) float32, RGB, 0 to 1; sides are multiples of 32, or up to 3 less.
            labels: (B, H', W') float32, ground truth in the published scale, 0 where it is unknown; H' and W' as in
                the prediction.
            output_attentions: also return the attention probabilities; None uses `config.output_attentions`.
            output_hidden_states: also return the feature map of every stage; None uses the configuration too.
            return_dict: return an object with named fields instead of a tuple; None uses the configuration too.

        Returns:
            The depth, (B, H', W') float32, 0 to `max_depth` in the published scale, where H' and W' are H and W
            rounded up to multiples of 32; the loss if there are labels; and what was requested. A tuple omits what is
            None.

        Raises:
            ValueError: the images have a shape or type that the network does not accept, or the labels have another
                shape than the prediction.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return_dict = self.config.use_return_dict if return_dict is None else return_dict

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

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """Build the network from a checkpoint in memory, which must have exactly its tensors.

        Raises:
            WeightsError: tensors are missing, unexpected, or of another shape or type.
            ConfigError: no image suits the architecture.
        """
        try:
            find_usable_sides(checkpoint.config)
        except ConfigError as error:
            raise ConfigError(f"{checkpoint.path}: cannot predict depth: {error.message}", hint=error.hint) from error
        return super().from_checkpoint(checkpoint)


def silog_loss(predicted: Tensor, target: Tensor, *, scale_forgiveness: float = 0.5) -> Tensor:
    """Return the scale-invariant logarithmic loss.

    With d = log(target) - log(predicted) over all pixels of the batch with ground truth, the loss is the square root of
    mean(d²) - scale_forgiveness · mean(d)².

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) any real dtype, meters; 0 or less where there is no ground truth.
        scale_forgiveness: weight of the scale-invariant term; 0 penalizes a wrong overall scale in full, 1 not at all.

    Returns:
        () float32, unitless, not negative; 0 if no pixel has ground truth.

    Raises:
        ValueError: the shapes differ.

    Source: Eigen et al., arXiv 1406.2283, equation 4; the square root is from the authors of GLPN.
    """
    if predicted.shape != target.shape:
        raise ValueError(f"target must have the shape of the prediction {(*predicted.shape,)}, not {(*target.shape,)}")
    known = target > 0
    # Logarithms need the range and precision of float32, even if the network runs in half precision.
    precise = torch.promote_types(predicted.dtype, torch.float32)
    valid = predicted[known].to(precise)
    if valid.numel() == 0:
        return valid.sum()  # 0, with a gradient of zeros; the mean of no values would be NaN
    # A sigmoid can underflow to 0, whose logarithm is infinite, so it is replaced by the smallest normal number.
    difference = target[known].to(precise).log() - valid.clamp_min(torch.finfo(precise).tiny).log()
    variance = difference.square().mean() - scale_forgiveness * difference.mean().square()
    # The gradient of a square root is infinite at 0 and would become NaN, so 0 bypasses the root.
    perfect = variance <= 0
    return torch.where(perfect, 0.0, torch.where(perfect, 1.0, variance).sqrt())


def check_pixel_values(pixel_values: Tensor, config: GLPNConfig, *, halves: bool = False) -> None:
    """Check an input before it fails deep inside the network with a message that is hard to understand.

    Args:
        pixel_values: the input of the network.
        config: the architecture.
        halves: whether the sides of each stage must be half of those of the stage before, as the decoder requires.

    Raises:
        ValueError: the shape or type is wrong; the message names the given and the expected one.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return  # sizes are symbolic then, and comparing them would specialize the graph
    shape = (*pixel_values.shape,)
    if len(shape) != 4 or shape[1] != config.num_channels:
        raise ValueError(f"pixel_values must be (B, {config.num_channels}, H, W), not {shape}")
    if not pixel_values.is_floating_point():
        raise ValueError(f"pixel_values must be floating point, 0 to 1, not {pixel_values.dtype}")
    height, width = shape[2:]
    sizes = stage_sizes(config, height, width)
    if _is_too_small(config, height, width):
        stage, needed = next(
            (size, reduction) for size, reduction in zip(sizes, config.sr_ratios, strict=False) if min(size) < reduction
        )
        raise ValueError(
            f"pixel_values of {shape} are too small: a stage has {stage} and needs at least {needed} per side"
        )
    if halves and not _is_halved(config, height, width):
        step = math.prod(config.strides[: config.num_encoder_blocks])
        advice = f"both sides must be multiples of {step}"
        if not _is_halved(config, step, step):
            advice = f"patch_sizes {config.patch_sizes} and strides {config.strides} do not suit a decoder"
        raise ValueError(f"pixel_values of {shape} do not halve at every stage: the stages have {sizes}; {advice}")


def find_usable_sides(config: GLPNConfig) -> tuple[int, int]:
    """Return the sides that images may have for a network that is to predict their depth.

    Returns:
        The smallest side, and the step from one to the next, pixels, both multiples of 32: (32, 32) with the usual
        strides and reductions.

    Raises:
        ConfigError: the network does not take RGB images, or no image up to 1024 pixels suits its stages.
    """
    if config.num_channels != 3:
        raise ConfigError(f"num_channels is {config.num_channels}, but images have 3 channels, RGB")
    step = math.lcm(SIZE_DIVISOR, math.prod(config.strides[: config.num_encoder_blocks]))
    sides = range(step, max(step, _MAX_SMALLEST_SIDE_PX) + 1, step)
    smallest = next((side for side in sides if not _is_too_small(config, side, side)), None)
    if smallest is None or smallest > _MAX_SMALLEST_SIDE_PX:
        raise ConfigError(
            f"sr_ratios {config.sr_ratios} and strides {config.strides} need images of more than "
            f"{_MAX_SMALLEST_SIDE_PX} pixels per side"
        )
    if not all(_is_halved(config, side, side) for side in (smallest, smallest + step)):
        raise ConfigError(
            f"patch_sizes {config.patch_sizes} and strides {config.strides} do not halve the image at every stage"
        )
    output = _DECODER_FACTOR * stage_sizes(config, smallest, smallest)[0][0]
    if output > _LARGEST_OUTPUT_FACTOR * smallest or max(output, smallest) % min(output, smallest):
        raise ConfigError(f"strides {config.strides} give depth of {output} px for {smallest} px of the image")
    return smallest, step


def _is_too_small(config: GLPNConfig, height: int, width: int) -> bool:
    """Return whether a stage has fewer positions per side than its attention reduces to one."""
    sizes = stage_sizes(config, height, width)
    return any(min(size) < reduction for size, reduction in zip(sizes, config.sr_ratios, strict=False))


def _is_halved(config: GLPNConfig, height: int, width: int) -> bool:
    """Return whether each stage has half the height and width of the one before, as the decoder requires."""
    sizes = stage_sizes(config, height, width)
    return [(2 * height, 2 * width) for height, width in sizes[1:]] == sizes[:-1]

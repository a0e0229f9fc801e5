"""GLPN, the whole network: what a faster engine is measured against, so written to be read.

Source: Global-Local Path Networks for Monocular Depth Estimation with Vertical CutDepth, arXiv 2201.07436.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glpn_cli.model.decoder import Decoder
from glpn_cli.model.encoder import Encoder, stage_sizes
from glpn_cli.model.head import DepthHead
from glpn_cli.model.loss import silog_loss
from glpn_cli.model.outputs import BaseModelOutput, DepthEstimatorOutput
from glpn_cli.model.pretrained import PretrainedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from glpn_cli.model.config import GLPNConfig

__all__ = ["GLPNForDepthEstimation", "GLPNModel", "check_pixel_values"]

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

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from glpn_cli.benchmark.stages import make_photo, published_network


def test_the_network_is_the_published_architecture_and_uses_its_range() -> None:
    network = published_network()
    assert sum(parameter.numel() for parameter in network.parameters()) == 61_220_903
    with torch.no_grad():
        depth = network(torch.rand(1, 3, 96, 128)).predicted_depth
    assert depth.isfinite().all()
    assert depth.max() - depth.min() > 0.5 * network.config.max_depth


def test_the_network_and_the_photo_are_the_same_every_time() -> None:
    assert torch.equal(published_network().head.head[2].weight, published_network().head.head[2].weight)
    assert make_photo(40, 60) == make_photo(40, 60)


def test_the_photo_has_its_size_and_something_to_see() -> None:
    with Image.open(io.BytesIO(make_photo(120, 200))) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (200, 120), "RGB")
        assert np.asarray(image).std() > 20

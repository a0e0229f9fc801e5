"""The published weights on the published image give the published numbers.

Source: the integration test and the conversion script of transformers, which use a `max_depth` of 10 for both.
"""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network

IMAGE = "http://images.cocodataset.org/val2017/000000039769.jpg"
TOP_LEFT = {
    "kitti": [[3.4291, 2.7865, 2.5151], [3.2841, 2.7021, 2.3502], [3.1147, 2.4625, 2.2481]],
    "nyu": [[4.4147, 4.0873, 4.0673], [3.7890, 3.2881, 3.1525], [3.7674, 3.5423, 3.4913]],
}


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """(1, 3, 480, 640) float32, 0 to 1. Both sides are multiples of 32, so nothing is resized."""
    file: Path = tmp_path_factory.mktemp("image") / "cats.jpg"
    urllib.request.urlretrieve(IMAGE, file)
    with Image.open(file) as image:
        values = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(values).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", ["kitti", "nyu"])
def test_published_weights_give_the_published_depth(name: str, cats: torch.Tensor) -> None:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(f"vinvino02/glpn-{name}", allow_patterns=["config.json", "pytorch_model.bin"])
    model = GLPNForDepthEstimation.from_pretrained(folder)
    with torch.no_grad():
        depth = model(cats).predicted_depth
        features = GLPNModel.from_pretrained(folder)(cats).last_hidden_state
    assert depth.shape == (1, 480, 640)
    torch.testing.assert_close(depth[0, :3, :3], torch.tensor(TOP_LEFT[name]), atol=1e-4, rtol=1e-4)
    assert features.shape == (1, 512, 15, 20)

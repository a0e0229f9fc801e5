"""From an image to meters through the whole command, compared with transformers' processor, model and resizing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import glpn_cli

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

BOUND = 1e-5
ROCKET = Path(__file__).parents[2] / "examples" / "rocket.jpg"


def reference_meters(model: Any, path: Path, limit_m: float) -> np.ndarray:
    """Return what transformers computes for an image, with the steps of its documentation."""
    from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil

    with Image.open(path) as image:
        rgb = image.convert("RGB")
    inputs = GLPNImageProcessorPil()(images=rgb, return_tensors="pt")
    with torch.no_grad():
        predicted = model(**inputs).predicted_depth
        resized = torch.nn.functional.interpolate(
            predicted.unsqueeze(1), size=rgb.size[::-1], mode="bicubic", align_corners=False
        )
    raw = resized.squeeze().clamp(0, limit_m).numpy()
    return without_overshoot(raw, predicted[0].numpy())


def without_overshoot(resized: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Limit bicubic interpolation to the 4x4 pixels that it reads: the one deliberate difference to transformers.

    Most pixels are not affected; the others are at one end of the range.
    """
    read = []
    for length, small in zip(resized.shape, predicted.shape, strict=True):
        first = np.floor((np.arange(length) + 0.5) * small / length - 0.5).astype(int) - 1
        read.append(np.clip(first[:, None] + np.arange(4), 0, small - 1))
    around = predicted[read[0][:, None, :, None], read[1][None, :, None, :]]
    low, high = around.min(axis=(2, 3)), around.max(axis=(2, 3))
    assert np.mean((resized >= low) & (resized <= high)) > 0.8
    return np.clip(resized, low, high)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "pickle"])
def test_checkpoint_saved_by_transformers(
    tmp_path: Path, glpn: Glpn, build_pair: Callable[..., Any], *, safe: bool
) -> None:
    theirs = build_pair("published").theirs
    theirs.save_pretrained(tmp_path / "weights")
    if not safe:
        (tmp_path / "weights" / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), tmp_path / "weights" / "pytorch_model.bin")
    with Image.open(ROCKET) as image:
        image.resize((299, 203)).save(tmp_path / "photo.jpg")
    run = glpn("predict", "photo.jpg", "--weights", "weights", "-f", "npy", "--json")
    assert run.returncode == 0, run.stderr
    meters = np.load(tmp_path / "photo.depth.npy")
    expected = reference_meters(theirs, tmp_path / "photo.jpg", 10.0)
    assert meters.shape == expected.shape == (203, 299)
    assert expected.max() - expected.min() > 0.6 * 10
    assert np.abs(meters - expected).max() / expected.max() < BOUND
    record = json.loads(run.stdout)
    assert record["network_size"] == {"height": 192, "width": 288}
    assert record["weights"]["metric"] is None
    assert record["depth_limit_m"] == 10


def test_bundled_weights(tmp_path: Path, glpn: Glpn) -> None:
    import transformers

    weights = Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
    ours = glpn_cli.GLPNForDepthEstimation.from_pretrained(weights)
    theirs = transformers.GLPNForDepthEstimation(transformers.GLPNConfig(**ours.config.to_dict())).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    run = glpn("predict", ROCKET, "--weights", "tiny", "--input-size", "native", "-o", "rocket.npy")
    assert run.returncode == 0, run.stderr
    expected = reference_meters(theirs, ROCKET, 80.0)
    meters = np.load(tmp_path / "rocket.npy")
    assert meters.shape == expected.shape == (427, 640)
    assert np.abs(meters - expected).max() / expected.max() < BOUND


def test_documented_example_with_local_weights_and_image(tmp_path: Path) -> None:
    folder = tmp_path / "glpn-local"
    weights = Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
    glpn_cli.GLPNForDepthEstimation.from_pretrained(weights).save_pretrained(folder)
    glpn_cli.GLPNImageProcessor().save_pretrained(folder)
    image = Image.open(ROCKET)

    from glpn_cli import GLPNForDepthEstimation
    from glpn_cli import GLPNImageProcessor as AutoImageProcessor

    image_processor = AutoImageProcessor.from_pretrained(folder)
    model = GLPNForDepthEstimation.from_pretrained(folder)

    # prepare image for the model
    inputs = image_processor(images=image, return_tensors="pt")

    with torch.no_grad():
        outputs = model(**inputs)
        predicted_depth = outputs.predicted_depth

    # interpolate to original size
    prediction = torch.nn.functional.interpolate(
        predicted_depth.unsqueeze(1),
        size=image.size[::-1],
        mode="bicubic",
        align_corners=False,
    )

    # visualize the prediction
    output = prediction.squeeze().cpu().numpy()
    formatted = (output * 255 / np.max(output)).astype("uint8")
    depth = Image.fromarray(formatted)

    assert depth.size == image.size
    with pytest.warns(FutureWarning):
        processor = glpn_cli.GLPNFeatureExtractor.from_pretrained(folder)
    assert torch.equal(processor(image, return_tensors="pt").pixel_values, inputs.pixel_values)
    (post_processed,) = image_processor.post_process_depth_estimation(outputs, target_sizes=[image.size[::-1]])
    assert torch.equal(post_processed["predicted_depth"], prediction[0, 0])
    depth_map = glpn_cli.load(folder, input_size="native").predict(ROCKET)
    depth_map.save(tmp_path / "x.png")
    expected = without_overshoot(output, predicted_depth[0].numpy())
    assert np.abs(depth_map.meters - expected).max() / output.max() < BOUND
    with Image.open(tmp_path / "x.png") as image_file:
        saved = np.asarray(image_file)
    np.testing.assert_array_equal(saved, (depth_map.meters * 255 / np.max(depth_map.meters)).astype("uint8"))
    # The documented cast truncates, so a tiny difference can change a value by 1.
    assert np.abs(saved.astype(int) - formatted).max() <= 1
    assert (saved != formatted).mean() < 1e-3


def test_documented_example_of_encoder(build_pair: Callable[..., Any]) -> None:
    model = build_pair("published").ours.glpn
    with Image.open(ROCKET) as image:
        inputs = glpn_cli.GLPNImageProcessor()(image.resize((640, 480)), return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    assert list(outputs.last_hidden_state.shape) == [1, 512, 15, 20]

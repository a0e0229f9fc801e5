"""Programs of transformers that run with the classes of this package instead of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import glpn_cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers, about its own future


def test_pipeline_predicts_the_same_depth(build_pair: Callable[..., Any], photo: Path) -> None:
    from transformers import pipeline
    from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil

    pair = build_pair("tiny")
    with Image.open(photo) as opened:
        image = opened.convert("RGB").resize((97, 65))
    ours = pipeline("depth-estimation", model=pair.ours, image_processor=glpn_cli.GLPNImageProcessor(), device="cpu")
    theirs = pipeline("depth-estimation", model=pair.theirs, image_processor=GLPNImageProcessorPil(), device="cpu")
    found, expected = ours(image), theirs(image)
    assert found["depth"].size == image.size
    torch.testing.assert_close(found["predicted_depth"], expected["predicted_depth"], rtol=1e-4, atol=1e-4)
    assert np.abs(np.asarray(found["depth"], int) - np.asarray(expected["depth"], int)).max() <= 1
    assert len(ours([image, image])) == 2
    assert "cpu" in repr(ours)


def test_trainer_trains_evaluates_and_saves(build_pair: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 32, 32, generator=generator)
    labels = images.mean(dim=1) * 20 + 1
    data = [{"pixel_values": image, "labels": label} for image, label in zip(images, labels, strict=True)]
    model = build_pair("tiny").ours
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "run"), max_steps=6, per_device_train_batch_size=4, learning_rate=3e-3,
        report_to=[], use_cpu=True, save_steps=6, disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert {"glpn.encoder.block.0.0.mlp.dense1.weight", "head.head.0.weight"} <= changed
    evaluated, predicted = trainer.evaluate()["eval_loss"], trainer.predict(data).predictions
    with torch.no_grad():
        output = model.eval()(images, labels)
    assert evaluated == pytest.approx(output.loss.item(), rel=1e-4)
    np.testing.assert_allclose(predicted, output.predicted_depth, rtol=1e-4)
    saved = load_file(tmp_path / "run" / "checkpoint-6" / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()


def test_model_is_saved_and_loaded_by_transformers(build_pair: Callable[..., Any], tmp_path: Path) -> None:
    import transformers

    model = build_pair("tiny").ours
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    glpn_cli.GLPNImageProcessor().save_pretrained(tmp_path)
    estimator = transformers.pipeline("depth-estimation", model=str(tmp_path), device="cpu")
    assert type(estimator.model).__module__.startswith("transformers.")
    assert estimator(Image.new("RGB", (64, 64)))["depth"].size == (64, 64)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["GLPNForDepthEstimation"]

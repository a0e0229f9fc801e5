"""`glpn export`: an ONNX file that predicts the same depth."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of torch's exporter

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small network as transformers saves it."""
    torch.manual_seed(1)
    config = GLPNConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 12, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8
    )
    network = GLPNForDepthEstimation(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.08)
    network.save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def test_the_documented_program_predicts_the_same(
    glpn: Glpn, weights: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_image("photo.jpg", 100, 150)
    run = glpn("export", "--onnx", "glpn.onnx", "--weights", weights, "--size", "64x96", "--with-preprocessing")
    assert run.returncode == 0, run.stderr
    assert (run.stdout, b"ONNX Runtime" in run.stderr) == (b"", True)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    assert "torch" not in example
    assert "glpn_cli" not in example
    monkeypatch.chdir(photo.parent)
    namespace: dict[str, np.ndarray] = {}
    exec(example, namespace)  # noqa: S102 - that it runs is the point
    assert namespace["meters"].shape == (1, 64, 96)
    made = glpn("predict", photo, "--weights", weights, "--input-size", "64x96", "--format", "npy", "-o", "p.npy")
    assert made.returncode == 0, made.stderr
    # predict resizes depth to the image, the graph returns the size of its input.
    whole = torch.from_numpy(np.load("p.npy"))[None, None]
    small = torch.nn.functional.interpolate(whole, (64, 96), mode="area")[0, 0].numpy()
    assert np.abs(namespace["meters"][0] - small).mean() < 0.02 * np.ptp(small) + 0.01


def test_the_file_is_an_argument_or_an_option(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"mine")
    assert glpn("export", "a.onnx").returncode == 6
    assert b"--onnx" in glpn("export", "a.onnx", "--onnx", "b.onnx").stderr
    missing = glpn("export")
    assert (missing.returncode, b"OUT.onnx" in missing.stderr) == (2, True)


def test_an_existing_file_needs_overwrite(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"mine")
    run = glpn("export", "--onnx", "a.onnx", "--weights", "tiny")
    assert run.returncode == 6
    assert b"--overwrite" in run.stderr
    assert (tmp_path / "a.onnx").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--onnx", "a.bin"), 2, "error: --onnx: "),
        (("--onnx", ""), 2, "error: --onnx: "),
        (("--onnx", "a.onnx", "--size", "30x32"), 2, "error: --size: "),
        (("--onnx", "a.onnx", "--size", "big"), 2, "error: --size: "),
        (("--onnx", "a.onnx", "--precision", "bfloat16"), 2, "error: --precision: "),
        (("--onnx", "a.onnx", "--weights", "gone.safetensors"), 3, "gone.safetensors"),
    ],
)
def test_invalid_arguments_are_refused(
    glpn: Glpn, tmp_path: Path, arguments: tuple[str, ...], code: int, named: str
) -> None:
    run = glpn("export", *arguments)
    assert run.returncode == code, run.stderr
    assert named in run.stderr.decode()
    assert not list(tmp_path.iterdir())


def test_an_unverified_file_gets_a_note(
    glpn: Glpn, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glpn_cli.export.can_verify", lambda: False)
    monkeypatch.setattr("glpn_cli.export.build_onnx", lambda _: b"a model")
    run = glpn("export", "--onnx", "new/a.onnx", "--weights", weights)
    assert run.returncode == 0, run.stderr
    assert b"note: " in run.stderr
    assert b"onnxruntime" in run.stderr
    assert (tmp_path / "new" / "a.onnx").read_bytes() == b"a model"


def test_an_interrupt_is_not_lost_in_the_exporter(glpn: Glpn, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exporter(_: object) -> bytes:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("this is a bug, create an issue") from error
        return b""

    monkeypatch.setattr("glpn_cli.export.build_onnx", exporter)
    before = signal.getsignal(signal.SIGINT)
    run = glpn("export", "--onnx", "x.onnx", "--weights", weights)
    assert run.returncode == 130, run.stderr
    assert signal.getsignal(signal.SIGINT) is before

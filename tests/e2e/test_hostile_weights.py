"""Weights of strangers: every command refuses them in one line, quickly and in little memory."""

from __future__ import annotations

import json
import struct
import subprocess
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from stand_in_hub import SMALL, random_glpn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

FIELDS = SMALL.to_dict()
PAIRS = Path(__file__).parents[1] / "data" / "pairs"

# What a configuration states of a network that its file has no tensors for, or that no image suits.
CONFIGS: dict[str, dict[str, Any]] = {
    "depths-1e9": {"depths": [10**9, 1, 1, 1]},
    "depths-1e5": {"depths": [10**5, 1, 1, 1]},
    "depths-1000": {"depths": [1000, 1, 1, 1]},
    "stages-1e6": {"num_encoder_blocks": 10**6, **{name: [1] * 10**6 for name in ("depths", "strides", "sr_ratios")}},
    "stages-1": {"num_encoder_blocks": 1},
    "hidden-1e9": {"hidden_sizes": [10**9] * 4},
    "hidden-2e62": {"hidden_sizes": [2**62] * 4},
    "hidden-1e30": {"hidden_sizes": [10**30] * 4},
    "hidden-65536": {"hidden_sizes": [2**16] * 4},
    "channels-1": {"num_channels": 1},
    "channels-1e9": {"num_channels": 10**9},
    "patch-1e9": {"patch_sizes": [10**9, 3, 3, 3]},
    "patch-2e40": {"patch_sizes": [2**40, 3, 3, 3]},
    "patch-1024": {"patch_sizes": [1024] * 4},
    "strides-0": {"strides": [0, 2, 2, 2]},
    "strides-1": {"strides": [1, 1, 1, 1]},
    "strides-first-1": {"strides": [1, 2, 2, 2]},
    "strides-3": {"strides": [3, 2, 2, 2]},
    "strides-1000": {"strides": [4, 2, 2, 1000]},
    "strides-1e9": {"strides": [10**9, 2, 2, 2]},
    "strides-2e63": {"strides": [2**63, 2, 2, 2]},
    "sr-2e40": {"sr_ratios": [2**40, 4, 2, 1]},
    "mlp-1e12": {"mlp_ratios": [10**12] * 4},
    "decoder-1e12": {"decoder_hidden_size": 10**12},
    "depth-1e308": {"max_depth": 1e308},
    "depth-5e-324": {"max_depth": 5e-324},
    "labels": {"label2id": 5, "id2label": {"0": ["a"]}},
    "nested": {"x": json.loads("[" * 400 + "]" * 400)},
}
METADATA: dict[str, dict[str, str]] = {
    "working-huge": {"working_size": "1000000x1000000"},
    "working-wide": {"working_size": "1x1000000"},
    "working-digits": {"working_size": "9" * 5000 + "x9"},
    "working-4-megapixels": {"working_size": "4096x4096"},
    "factor-nan": {"meters_per_unit": "nan"},
    "factor-1e300": {"meters_per_unit": "1e300"},
    "limit-1e308": {"depth_limit_m": "1e308"},
    "limit-1e-320": {"depth_limit_m": "1e-320"},
}
TENSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "bool": lambda tensor: torch.zeros(tensor.shape, dtype=torch.bool),
    "int": lambda tensor: torch.zeros(tensor.shape, dtype=torch.int64),
    "uint8": lambda tensor: torch.zeros(tensor.shape, dtype=torch.uint8),
}
PICKLED: dict[str, Callable[[Tensor], Tensor]] = {
    "complex": lambda tensor: tensor.to(torch.complex64),
    "meta": lambda tensor: tensor.to("meta"),
    "sparse": lambda tensor: tensor.float().to_sparse(),
    "quantized": lambda tensor: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.quint8),
    "expanded": lambda _: torch.zeros(1, dtype=torch.float16).expand(10**9),
    "strided": lambda _: torch.zeros(1, dtype=torch.float64).as_strided((2**30, 2**30), (0, 0)),
}

# Loads each weights file, and prints what came of it with the seconds and the largest memory so far.
LOAD_ALL = """
import json, sys, time
from pathlib import Path
from glpn_cli.errors import GLPNError
from glpn_cli.inference.load import load_weights
from read_images import peak_mib
load_weights(sys.argv[2])
for file in sorted(Path(sys.argv[1]).rglob("*.*")):
    if file.suffix == ".json":
        continue
    start_s = time.process_time()
    try:
        load_weights(str(file))
    except GLPNError as error:
        ended = [error.exit_code, error.message]
    else:
        ended = [0, ""]
    print(json.dumps([file.name, *ended, time.process_time() - start_s, peak_mib()]))
"""


def save(file: Path, tensors: dict[str, Tensor], fields: dict[str, Any] | None = None, **metadata: str) -> None:
    save_file(tensors, file, {"config": json.dumps(FIELDS | (fields or {})), **metadata})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights files that no command may load."""
    folder = tmp_path_factory.mktemp("hostile")
    tensors = random_glpn()
    for name, fields in CONFIGS.items():
        save(folder / f"{name}.safetensors", tensors, fields)
    for name, metadata in METADATA.items():
        save(folder / f"{name}.safetensors", tensors, **metadata)
    for name, change in TENSORS.items():
        save(folder / f"{name}.safetensors", {key: change(tensor) for key, tensor in tensors.items()})
    (folder / "header.safetensors").write_bytes(struct.pack("<Q", 99_999_999) + b'{"a":' + b"[" * 10**6)
    pickles = folder / "pickles"  # a configuration beside weights wins over theirs
    pickles.mkdir()
    (pickles / "config.json").write_text(json.dumps(FIELDS))
    with warnings.catch_warnings(action="ignore"):  # quantized tensors are deprecated
        for name, change in PICKLED.items():
            torch.save({key: change(tensor) for key, tensor in tensors.items()}, pickles / f"{name}.bin")
    whole = pickles / "whole.zip"
    torch.save(tensors, whole)
    target = pickles / "packed.bin"
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name) if name.endswith("data.pkl") else bytes(10**5))
    whole.unlink()
    return folder


def test_hostile_weights_are_refused_quickly_and_in_little_memory(
    hostile: Path, tmp_path: Path, warm_python: list[str]
) -> None:
    save(tmp_path / "fine.safetensors", random_glpn())
    tests = Path(__file__).parents[1]
    run = subprocess.run(
        [*warm_python, "-c", LOAD_ALL, hostile, tmp_path / "fine.safetensors"],
        cwd=tests, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    loaded = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(loaded) == len(CONFIGS) + len(METADATA) + len(TENSORS) + len(PICKLED) + 2
    for name, code, message, seconds, peak_mib in loaded:
        assert (code, "\n" in message, len(message) < 1000) == (3, False, True), (name, code, message)
        assert seconds < 2, (name, seconds)
        assert peak_mib < 500, (name, peak_mib)


@pytest.mark.parametrize("name", ["depths-1e5", "strides-3", "limit-1e308", "int", "meta"])
def test_every_command_refuses_them(glpn: Glpn, hostile: Path, photo: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.png").symlink_to(photo)
    (file,) = hostile.rglob(f"{name}.*")
    for arguments in (
        ("predict", photo, "-o", "depth.png", "--weights", file),
        ("measure", photo, "--weights", file),
        ("batch", "in", "--output", "out", "--weights", file),
        ("weights", "import", file, "--as", "mine"),
        ("export", "x.onnx", "--weights", file),
        ("train", "--data", PAIRS, "--units-per-meter", "1000", "--init", file, "--out", "run", "--workers", "0"),
    ):
        run = glpn(*arguments, GLPN_HOME="home")
        assert run.returncode == 3, (arguments, run.stderr)
        assert run.stderr.count(b"error: ") == 1, run.stderr
        assert b"Traceback" not in run.stderr

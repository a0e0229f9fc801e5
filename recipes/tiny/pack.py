"""Make the file of the bundled weights from a checkpoint: float16 tensors and the metadata of the weights.

    python recipes/tiny/pack.py build/tiny/4/best build/tiny/glpn-tiny.safetensors [--working-size 192x256]

It prints the values for src/glpn_cli/weights/catalog.py; copy the file into the same folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from glpn_cli.files import file_sha256, write_whole
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint
from glpn_cli.weights.header import seal

VERSION, LICENSE = "2", "CC-BY-4.0"
WORKING_SIZE = "160x224"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint folder of `glpn train`")
    parser.add_argument("packed", type=Path, help="the file to write")
    parser.add_argument("--working-size", default=WORKING_SIZE, help=f"HxW (default: {WORKING_SIZE})")
    options = parser.parse_args()
    print(json.dumps(pack_weights(options.checkpoint, options.packed, options.working_size), indent=2))


def pack_weights(checkpoint: Path, packed: Path, working_size: str = WORKING_SIZE) -> dict[str, Any]:
    """Write the weights of a checkpoint as float16.

    Args:
        checkpoint: a checkpoint folder of `glpn train`, or a weights file.
        packed: the file to write; replaced if it exists.
        working_size: HxW; the size of the last training images unless another size has better metrics. An empty text
            keeps that of the checkpoint.

    Returns:
        The values for the weights catalog: `working_size`, `size_bytes`, `sha256` and `parameters`.

    Raises:
        WeightsError: there is no checkpoint, or it is damaged.
        OutputError: the file cannot be written.
    """
    weights = read_checkpoint(checkpoint)
    # Batch norm statistics are sums over many images and may overflow float16; they are small and stay as they are.
    tensors = {
        key: value if "running" in key or not value.is_floating_point() else value.to(torch.float16)
        for key, value in weights.tensors.items()
    }
    metadata = {key: value for key, value in weights.metadata.items() if key not in ("config", "format")}
    metadata |= {"name": "tiny", "version": VERSION, "license": LICENSE}
    if working_size:
        metadata["working_size"] = working_size
    with tempfile.TemporaryDirectory() as folder:
        data = write_checkpoint(folder, weights.config, tensors, metadata).read_bytes()
    write_whole(packed, b"".join(seal(data)), overwrite=True)  # sealed, the same weights always give the same bytes
    return {
        "working_size": metadata["working_size"],
        "size_bytes": packed.stat().st_size,
        "sha256": file_sha256(packed),
        "parameters": sum(value.numel() for key, value in tensors.items() if "running" not in key and value.dim()),
    }


if __name__ == "__main__":
    main()

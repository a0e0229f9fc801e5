"""Make the file of the bundled weights from what a training kept: half the bytes, and the facts that go with them.

    python docs/pack_tiny.py build/tiny/best build/tiny/glpn-tiny.safetensors [--working-size 192x256]

What it prints belongs into `weights/catalog.py`, once the file has been copied beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch

from glpn_cli.files import file_sha256
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint

VERSION, LICENSE = "2", "CC-BY-4.0"


def main() -> None:
    """Read, convert, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("packed", type=Path)
    parser.add_argument(
        "--working-size", default="160x224", help="where another one than that of the training's end is better"
    )
    arguments = parser.parse_args()
    checkpoint = read_checkpoint(arguments.trained)
    # Statistics of batch norms are sums over many images and may be large; they are few and stay as they are.
    tensors = {
        key: value if "running" in key or not value.is_floating_point() else value.to(torch.float16)
        for key, value in checkpoint.tensors.items()
    }
    metadata = {key: value for key, value in checkpoint.metadata.items() if key not in ("config", "format")}
    metadata |= {"name": "tiny", "version": VERSION, "license": LICENSE}
    if arguments.working_size:
        metadata["working_size"] = arguments.working_size
    with tempfile.TemporaryDirectory() as folder:
        arguments.packed.write_bytes(write_checkpoint(folder, checkpoint.config, tensors, metadata).read_bytes())
    parameters = sum(value.numel() for key, value in tensors.items() if "running" not in key and value.dim())
    facts = {
        "working_size": metadata["working_size"],
        "size_bytes": arguments.packed.stat().st_size,
        "sha256": file_sha256(arguments.packed),
        "parameters": parameters,
    }
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()

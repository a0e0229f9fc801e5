"""The files that a GLPN is published in: what they are called, and which of a folder counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import WeightsError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["BEST_NAME", "CONFIG_NAME", "LAST_NAME", "PICKLE_NAME", "SAFETENSORS_NAME", "find_weights_file"]

SAFETENSORS_NAME = "model.safetensors"
PICKLE_NAME = "pytorch_model.bin"
CONFIG_NAME = "config.json"
BEST_NAME, LAST_NAME = "best", "last"
"""The folders of weights that every training has."""


def find_weights_file(path: str | PathLike[str]) -> Path:
    """Give the weights file that a path means: itself, or the one in a folder; safetensors before a pickle.

    Raises:
        WeightsError: there is none.
    """
    path = Path(path)
    # As `os.path` asks, what may not be looked at is not there.
    if os.path.isdir(path):
        for name in (SAFETENSORS_NAME, PICKLE_NAME):
            if os.path.isfile(path / name):
                return path / name
        raise WeightsError(f"{path}: has neither {SAFETENSORS_NAME} nor {PICKLE_NAME}")
    if not os.path.isfile(path):
        raise WeightsError(f"{path}: no weights there")
    return path

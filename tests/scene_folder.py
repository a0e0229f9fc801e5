"""A scene folder with arrays of known content, in the layout that docs/training.md describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def write_scenes(folder: Path, *numbers: int, height: int = 40, width: int = 72) -> Path:
    """Write one pair of files per number. Scene 64 * number + row has `row` as red and a depth of 1 + row / 8 m."""
    folder.mkdir(exist_ok=True)
    (folder / "scenes.json").write_text("{}", encoding="utf-8")
    rows = np.arange(64)
    for number in numbers:
        rgb = np.full((64, height, width, 3), 90, np.uint8)
        rgb[..., 0] = rows[:, None, None]
        depth = np.broadcast_to((1 + rows / 8)[:, None, None], (64, height, width)).astype(np.float16)
        np.save(folder / f"{number:05d}.depth.npy", depth)
        np.save(folder / f"{number:05d}.rgb.npy", rgb)
    return folder

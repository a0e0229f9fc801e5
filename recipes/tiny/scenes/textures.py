"""Textures: procedural ones and patches of images, as mipmaps in one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Grid = NDArray[np.float32]

TEXTURE_SIDE_PX = 256
LEVELS = 6
"""Number of mipmap levels, 256 pixels down to 8; they avoid aliasing at a distance."""

_PER_FAMILY = 10
_PATCHES = 48


class Atlas:
    """All textures in one tensor.

    Attributes:
        texels: (textures, texels, 3) uint8; the levels of a texture one after the other, the largest first.
    """

    def __init__(self, images: Sequence[NDArray[np.uint8]], families: dict[str, range]) -> None:
        """Compute the mipmaps.

        Args:
            images: (256, 256, 3) uint8 each.
            families: indices of the textures of each family of surfaces.
        """
        self.texels = torch.from_numpy(np.stack([_mipmaps(image) for image in images]))
        self._planes = self.texels.reshape(-1, 3).T.contiguous()
        self._families = families
        self._count = len(images)

    def planes(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return red, green and blue of all textures, (textures · texels,) uint8 each, on a device."""
        if self._planes.device != device:
            self._planes = self._planes.to(device)
        red, green, blue = self._planes.unbind()
        return red, green, blue

    def pick(self, rng: random.Random, family: str) -> int:
        """Return the index of a random texture of a family; of any family if the name is unknown."""
        members = self._families.get(family) or range(self._count)
        return rng.choice(members)


def build_atlas(seed: int = 0, images: Sequence[NDArray[np.uint8]] = ()) -> Atlas:
    """Return a new set of textures.

    Args:
        seed: random seed.
        images: (H, W, 3) uint8 each; patches of them become the family "print", which is procedural without images.
    """
    rng = np.random.default_rng([seed, 7])
    textures: list[NDArray[np.uint8]] = []
    families: dict[str, range] = {}
    for name, draw in _PROCEDURES.items():
        start = len(textures)
        textures += [_colorize(draw(rng), rng, name) for _ in range(_PER_FAMILY)]
        families[name] = range(start, len(textures))
    if images:
        start = len(textures)
        textures += [_patch(images[int(rng.integers(len(images)))], rng) for _ in range(_PATCHES)]
        families["print"] = range(start, len(textures))
    return Atlas(textures, families)


def _mipmaps(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(rgb)
    sides = [TEXTURE_SIDE_PX >> level for level in range(LEVELS)]
    return np.concatenate(
        [np.asarray(image.resize((side, side), Image.Resampling.BOX)).reshape(-1, 3) for side in sides]
    )


def _patch(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    side = int(min(height, width) * rng.uniform(0.25, 1.0))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    piece = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(piece.resize((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX), Image.Resampling.BILINEAR))


def _colorize(pattern: Grid, rng: np.random.Generator, family: str) -> NDArray[np.uint8]:
    """Map a pattern from 0 to 1 to the range between two random colors."""
    vivid = {"print": 0.3, "fabric": 0.25, "ground": 0.03, "clouds": 0.0}.get(family, 0.07)
    if family == "foliage":
        first = np.array([rng.uniform(0.05, 0.25), rng.uniform(0.15, 0.35), rng.uniform(0.02, 0.12)])
        second = first * rng.uniform(2.2, 5.0)
    elif family == "wood":
        first = rng.uniform(0.15, 0.8) * np.array([1.1, rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.8)])
        second = first * rng.uniform(0.35, 0.8)
    else:
        first = rng.uniform(0.15, 0.95) + rng.normal(0, vivid, 3)
        second = first + rng.choice([-1, 1]) * rng.uniform(0.1, 0.5) + rng.normal(0, vivid, 3)
    mixed = first * (1 - pattern[..., None]) + second * pattern[..., None]
    return (mixed.clip(0.02, 1) * 255).astype(np.uint8)


def _noise(rng: np.random.Generator, cells: int = 3, octaves: int = 6, decay: float = 0.55) -> Grid:
    """Return periodic fractal noise, (256, 256) float32 from 0 to 1."""
    total = np.zeros((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX), np.float32)
    for octave in range(octaves):
        count = min(cells << octave, TEXTURE_SIDE_PX)
        grid = np.pad(rng.normal(size=(count, count)).astype(np.float32), 2, mode="wrap")
        side = TEXTURE_SIDE_PX * (count + 4) // count
        large = np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC))
        margin = (side - TEXTURE_SIDE_PX) // 2
        total += decay**octave * large[margin : margin + TEXTURE_SIDE_PX, margin : margin + TEXTURE_SIDE_PX]
    low, high = np.percentile(total, [1, 99])
    spread: Grid = ((total - low) / (high - low)).clip(0, 1).astype(np.float32)
    return spread


def _axes() -> tuple[Grid, Grid]:
    steps = np.arange(TEXTURE_SIDE_PX, dtype=np.float32) / TEXTURE_SIDE_PX
    return np.broadcast_to(steps[:, None], (len(steps),) * 2), np.broadcast_to(steps[None], (len(steps),) * 2)


def _plaster(rng: np.random.Generator) -> Grid:
    return 0.4 * _noise(rng, 2, 7, 0.7) + 0.2 * rng.random((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX)).astype(np.float32)


def _wood(rng: np.random.Generator) -> Grid:
    _, x = _axes()
    planks = int(rng.integers(1, 7))
    board = np.floor(x * planks)
    offsets = rng.random(planks).astype(np.float32)[board.astype(int)]
    rings = np.sin(2 * np.pi * (rng.integers(3, 12) * (x + offsets) + 2.5 * _noise(rng, 2, 3)))
    grain = _noise(rng, 4, 5)
    gap = (x * planks % 1) < 0.04 * (planks > 1)
    boards: Grid = ((0.5 + 0.3 * rings * grain + 0.3 * (offsets - 0.5)) * ~gap).clip(0, 1).astype(np.float32)
    return boards


def _bricks(rng: np.random.Generator) -> Grid:
    y, x = _axes()
    rows, columns = int(rng.integers(3, 8)) * 2, int(rng.integers(2, 7))
    row = np.floor(y * rows)
    across = (x * columns + rng.choice([0.0, 0.5]) * (row % 2)) % 1
    tone = rng.random((rows, columns + 1)).astype(np.float32)[row.astype(int), np.floor(x * columns).astype(int)]
    inside = (across > 0.05) & (y * rows % 1 > 0.09)
    return np.where(inside, 0.35 + 0.35 * tone + 0.3 * _noise(rng, 8, 4), 0.05).astype(np.float32)


def _tiles(rng: np.random.Generator) -> Grid:
    y, x = _axes()
    count = int(rng.integers(1, 7))
    across, down = x * count, y * count
    joint = (across % 1 < 0.03) | (down % 1 < 0.03)
    checker = (np.floor(across) + np.floor(down)) % 2 if rng.random() < 0.3 else np.zeros_like(x)
    return np.where(joint, 0.0, 0.3 + 0.5 * checker + 0.25 * _noise(rng, 3, 6)).astype(np.float32)


def _fabric(rng: np.random.Generator) -> Grid:
    y, x = _axes()
    count = int(rng.integers(2, 24))
    line = x if rng.random() < 0.5 else y
    pattern = [
        np.floor(line * count) % 2,
        (np.floor(x * count) + np.floor(y * count)) % 2,
        0.5 * (np.floor(x * count) % 2) + 0.5 * (np.floor(y * count) % 2),
        ((x * count % 1 - 0.5) ** 2 + (y * count % 1 - 0.5) ** 2) < 0.08,
        _noise(rng, 4, 5),
    ][int(rng.integers(5))]
    weave = rng.random((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX))
    return (0.7 * pattern + 0.15 * _noise(rng) + 0.15 * weave).astype(np.float32)


def _ground(rng: np.random.Generator) -> Grid:
    speckle = rng.random((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX)).astype(np.float32)
    return (0.5 * _noise(rng, 2, 7, 0.75) + 0.5 * speckle).astype(np.float32)


def _foliage(rng: np.random.Generator) -> Grid:
    fine = _noise(rng, 16, 4, 0.8)
    return (fine**1.5 * (0.3 + 0.7 * _noise(rng, 5, 4, 0.7))).astype(np.float32)


def _print(rng: np.random.Generator) -> Grid:
    """Draw blocks and lines of text, as on a page, cover or poster."""
    page = np.full((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX), rng.uniform(0, 1), np.float32)
    for _ in range(int(rng.integers(2, 9))):
        top, left = rng.integers(0, TEXTURE_SIDE_PX - 40, 2)
        height, width = rng.integers(12, 160, 2)
        block = page[top : top + height, left : left + width]
        if rng.random() < 0.5:
            rows = np.arange(block.shape[0])[:, None]
            words = rng.random((block.shape[0] // 8 + 1, block.shape[1] // 6 + 1)) < 0.75
            ink = words[rows // 8, np.arange(block.shape[1])[None] // 6] & (rows % 8 < 4)
            block[ink] = rng.uniform(0, 1)
        else:
            block[:] = rng.uniform(0, 1) + 0.4 * (_noise(rng, 3, 4)[: block.shape[0], : block.shape[1]] - 0.5)
    return page.clip(0, 1)


def _facade(rng: np.random.Generator) -> Grid:
    """Draw rows of windows, for houses that are too far away for details."""
    y, x = _axes()
    count = int(rng.integers(2, 6))
    across, down = x * count % 1, y * count % 1
    low, high = rng.uniform(0.15, 0.35), rng.uniform(0.6, 0.9)
    window = (across > low) & (across < 1 - low) & (down > 0.2) & (down < high)
    cross = (abs(across - 0.5) < 0.025) | (abs(down - 0.45) < 0.02)
    tone = rng.random((count, count)).astype(np.float32)
    glass = tone[np.floor(y * count).astype(int), np.floor(x * count).astype(int)] * 0.5
    return np.where(window & ~cross, glass, 0.75 + 0.25 * _noise(rng, 4, 5)).astype(np.float32)


_PROCEDURES: dict[str, Callable[[np.random.Generator], Grid]] = {
    "plaster": _plaster,
    "wood": _wood,
    "bricks": _bricks,
    "tiles": _tiles,
    "fabric": _fabric,
    "ground": _ground,
    "foliage": _foliage,
    "clouds": _noise,
    "facade": _facade,
    "print": _print,
}

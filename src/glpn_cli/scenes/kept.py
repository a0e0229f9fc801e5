"""Scenes as samples: rendered when they are asked for, or rendered once and kept.

Kept scenes lie in pieces of 64 of one size: images as uint8, depth as float16 (its digits are good to one part in two
thousand), both as plain `.npy` that is mapped into memory, so that a sample is read as fast as the disk gives it. A
piece is there whole or not at all, and which seeds it has follows from its number; so several processes may make pieces
at once, and what was interrupted goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, overload

import numpy as np

from glpn_cli.data.sample import Sample
from glpn_cli.errors import InputError, OutputError, UsageError
from glpn_cli.image.folder import walk_images
from glpn_cli.image.reading import read_image
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from glpn_cli.scenes.textures import Atlas


PIECE_SCENES = 64
"""How many scenes a piece has."""

_RECIPE_NAME = "scenes.json"
_BATCH = 4
_MOST_TEXTURE_IMAGES = 400
_LARGEST_TEXTURE_PX = 640
_SHAPES: tuple[tuple[float, float, int], ...] = (
    (1.0, 1.0, 11),
    (4 / 3, 3 / 4, 4),
    (7 / 6, 7 / 8, 2),
    (3 / 4, 11 / 8, 3),
)
"""Factors on height and width, and how many of twenty pieces have them: as given, upright, square, wide."""


_SCENES_OF_A_SEED = 2**48  # more than anybody renders


@dataclass(frozen=True, slots=True)
class SceneRecipe:
    """What scenes are made of.

    Attributes:
        seed: of the textures and of all scenes, none of which any other seed has.
        size: (height, width) in pixels; some pieces are upright, square or wide, with about as many.
        textures: folders of images of which pieces become textures.
        kinds: kinds of scenes and their shares, as of `rendering.SCENE_KINDS`; empty for the usual ones.
    """

    seed: int = 0
    size: tuple[int, int] = (192, 256)
    textures: tuple[str, ...] = ()
    kinds: tuple[tuple[str, float], ...] = ()

    def scene_seed(self, number: int) -> int:
        """Give the seed of a scene."""
        return self.seed * _SCENES_OF_A_SEED + number

    def atlas(self) -> Atlas:
        """Draw the textures."""
        from glpn_cli.scenes.textures import build_atlas

        return build_atlas(self.seed, read_texture_images(self.textures))


def read_texture_images(folders: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Read images for textures, not more than 400 of a folder and not larger than a texture needs.

    Raises:
        UsageError: there is no such folder.
        InputError: there is no image in one.
    """
    return [image for folder in folders for image in _read_texture_folder(folder)]


def _read_texture_folder(folder: str) -> list[NDArray[np.uint8]]:
    images = []
    for path in _texture_files(folder):
        rgb = read_image(path).rgb
        coarser = max(1, min(rgb.shape[:2]) // _LARGEST_TEXTURE_PX)
        images.append(np.ascontiguousarray(rgb[::coarser, ::coarser]))
    return images


def _texture_files(folder: str) -> list[Path]:
    if not os.path.isdir(folder):
        raise UsageError(f"--textures {folder}: there is no such folder")
    found = [
        path
        for path in walk_images(Path(folder), search=SearchSettings(recursive=True), is_output=lambda _: False)
        if isinstance(path, Path)
    ]
    # Beside an image of a pair lies its depth, which is no texture.
    found = [path for path in found if path.suffix.lower() != ".png" or not path.with_suffix(".jpg").exists()]
    if not found:
        raise InputError(f"--textures {folder}: there are no images")
    step = max(1, len(found) // _MOST_TEXTURE_IMAGES)
    return found[::step]


def _fingerprint(folders: Sequence[str]) -> str:
    """Give what tells folders of images apart that are called alike: the names and sizes of the images."""
    files = [
        f"{path.relative_to(folder)} {path.stat().st_size}" for folder in folders for path in _texture_files(folder)
    ]
    return hashlib.sha256("\n".join(files).encode(errors="surrogateescape")).hexdigest()


class RenderedScenes(Sequence[Sample]):
    """Scenes without end, rendered when they are asked for; may go to other processes."""

    def __init__(self, recipe: SceneRecipe, length: int) -> None:
        """Take what they are made of, and how many there are said to be."""
        self._recipe = recipe
        self._length = length
        self._atlas: Atlas | None = None

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Render one scene, or several."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        from glpn_cli.scenes.rendering import render_scenes

        self._atlas = self._atlas or self._recipe.atlas()
        height, width = _shaped(self._recipe.size, index)
        seed = self._recipe.scene_seed(index)
        rgb, depth = render_scenes([seed], self._atlas, height, width, kinds=dict(self._recipe.kinds))
        return Sample(f"scene {seed}", rgb[0].numpy(), depth[0].numpy(), (height, width))


class KeptScenes(Sequence[Sample]):
    """Scenes that were rendered once; may go to other processes."""

    def __init__(self, folder: Path, pieces: Sequence[int]) -> None:
        """Take the pieces that are there."""
        self._folder = folder
        self._pieces = list(pieces)
        self._open: dict[int, tuple[NDArray[np.uint8], NDArray[np.float16]]] = {}

    def __len__(self) -> int:
        return PIECE_SCENES * len(self._pieces)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped files behind: another process maps them itself."""
        return {"_folder": self._folder, "_pieces": self._pieces, "_open": {}}

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Read one scene, or several.

        Raises:
            InputError: its piece is damaged.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        piece, place = self._pieces[index // PIECE_SCENES], index % PIECE_SCENES
        rgb, depth = self._mapped(piece)
        meters = depth[place].astype(np.float32)
        height, width = meters.shape
        return Sample(f"scene {piece * PIECE_SCENES + place}", np.array(rgb[place]), meters, (height, width))

    def _mapped(self, piece: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        if piece not in self._open:
            image, depth = _files(self._folder, piece)
            try:
                self._open[piece] = np.load(image, mmap_mode="r"), np.load(depth, mmap_mode="r")
            except (OSError, ValueError, EOFError) as error:
                raise InputError(f"{image}: cannot be read: {error}", hint="delete it and render again") from error
        return self._open[piece]


def open_kept_scenes(folder: str) -> KeptScenes | None:
    """Open scenes that were kept in a folder; None if it is another folder.

    Raises:
        InputError: there are none yet.
    """
    if not os.path.isfile(os.path.join(folder, _RECIPE_NAME)):
        return None
    there = sorted(_present(Path(folder)))
    if not there:
        raise InputError(f"{folder}: no scenes have been rendered yet", hint=f"glpn scenes --out {folder}")
    return KeptScenes(Path(folder), there)


def start_keeping(folder: str, recipe: SceneRecipe) -> None:
    """Make a folder for scenes, or see that the one that is there has scenes of the same recipe.

    Raises:
        UsageError: it has others.
        OutputError: it cannot be made.
    """
    file = Path(folder) / _RECIPE_NAME
    named = {"textures": [Path(folder).name for folder in recipe.textures]}
    mine = json.loads(json.dumps(asdict(recipe) | named | {"texture_set": _fingerprint(recipe.textures)}))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            theirs = json.loads(file.read_text(encoding="utf-8"))
            # What an earlier version did not write down cannot differ.
            different = [key for key in mine if theirs.get(key, mine[key]) != mine[key]]
            if different:
                what = different[0].replace("_", " ")
                raise UsageError(
                    f"{folder}: has scenes of another {what} ({theirs[different[0]]})",
                    hint="another --out, or the options that those were made with",
                )
        else:
            with _whole(file) as stream:
                stream.write((json.dumps(mine, indent=2) + "\n").encode())
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}: cannot be used: {error}") from error


def pieces_to_make(folder: str, count: int) -> list[int]:
    """List the pieces that are missing until there are at least so many scenes."""
    there = set(_present(Path(folder)))
    return [piece for piece in range(-(-count // PIECE_SCENES)) if piece not in there]


def make_piece(
    folder: str, recipe: SceneRecipe, piece: int, atlas: Atlas, *, device: torch.device | str = "cpu"
) -> None:
    """Render a piece and keep it.

    Raises:
        OutputError: it cannot be written.
    """
    import torch

    from glpn_cli.scenes.rendering import render_scenes

    height, width = _shaped(recipe.size, piece)
    first = recipe.scene_seed(piece * PIECE_SCENES)
    rgb = np.empty((PIECE_SCENES, height, width, 3), np.uint8)
    depth = np.empty((PIECE_SCENES, height, width), np.float16)
    batch = _BATCH if torch.device(device).type == "cpu" else PIECE_SCENES
    for start in range(0, PIECE_SCENES, batch):
        part = slice(start, start + batch)
        images, meters = render_scenes(
            range(first + start, first + start + batch),
            atlas,
            height,
            width,
            kinds=dict(recipe.kinds),
            device=device,
        )
        rgb[part], depth[part] = images.cpu().numpy(), meters.cpu().numpy()
    image_file, depth_file = _files(Path(folder), piece)
    try:
        # The image's name is given last; a piece is there when it is.
        for file, values in ((depth_file, depth), (image_file, rgb)):
            with _whole(file) as stream:
                np.save(stream, values)
    except OSError as error:
        raise OutputError(f"{image_file}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _whole(file: Path) -> Iterator[BinaryIO]:
    """Write a file that has its name once it is whole."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            yield stream
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _files(folder: Path, piece: int) -> tuple[Path, Path]:
    return folder / f"{piece:05d}.rgb.npy", folder / f"{piece:05d}.depth.npy"


def _present(folder: Path) -> list[int]:
    numbers = (path.name.partition(".")[0] for path in folder.glob("[0-9]*.rgb.npy"))
    return [int(number) for number in numbers if number.isdecimal()]


def _shaped(size: tuple[int, int], number: int) -> tuple[int, int]:
    """Give the size of a piece: some are upright, square or wide; sides are even."""
    rng = random.Random(f"shape {number}")
    tall, wide, _ = rng.choices(_SHAPES, [share for _, _, share in _SHAPES])[0]
    return round(size[0] * tall / 2) * 2, round(size[1] * wide / 2) * 2

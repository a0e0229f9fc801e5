"""Lists of samples: an image and its depth in each line, as the authors and others write them.

How data sets lie on the disk: those of the paper as rows of a table, and plain folders.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.data.sample import SampleFiles, Samples
from glpn_cli.errors import InputError, UsageError
from glpn_cli.image.folder import walk_images
from glpn_cli.settings import DATA_VARIABLE, Crop, DataSettings, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


_NO_DEPTH = "none"


@dataclass(frozen=True, slots=True)
class ListedPair:
    """One line of a list.

    Attributes:
        image: a path as it is written, without a slash in front.
        depth: likewise, or None where the line says that there is none.
    """

    image: str
    depth: str | None


def read_list(path: str | os.PathLike[str]) -> list[ListedPair]:
    """Read a list of samples.

    A line is an image and a depth file, with tabs between them or else spaces; what follows (some lists have a
    focal length there) is ignored, as are empty lines and those that begin with #. Paths may begin with a slash, as
    in the authors' lists, and are below the root of the data all the same. "None" stands for depth that is not there.

    Raises:
        InputError: it cannot be read, a line holds no pair, or no line does.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except (OSError, ValueError) as error:  # ValueError: bytes that are no UTF-8
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{path}: cannot be read: {reason or error}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
        if len(fields) < 2 or not (fields[0] and fields[1]):
            raise InputError(f"{path}: line {number} is no pair of an image and its depth")
        depth = None if fields[1].lower() == _NO_DEPTH else _relative(fields[1])
        pairs.append(ListedPair(_relative(fields[0]), depth))
    if not pairs:
        raise InputError(f"{path}: lists nothing")
    return pairs


def find_listed(relative: str, bases: Iterable[Path]) -> Path:
    """Find a listed file below the first of several folders that has it; below the first of all if none has."""
    candidates = [base / relative for base in bases]
    return next((candidate for candidate in candidates if os.path.exists(candidate)), candidates[0])


def _relative(written: str) -> str:
    return written.lstrip("/\\")


class Split(StrEnum):
    """Which part of a data set."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set lies on the disk and how it is evaluated.

    Attributes:
        name: as `--data` names it.
        folder: its folder below the root; the root itself may be that folder.
        units_per_meter: what a meter is in its depth files; None where the user has to say.
        kb_crop: whether images and depth are cropped as KITTI's are.
        crop: in which true depth counts in an evaluation.
        cap_m: true depth of this or more does not count.
        list_name: where its lists are by default, below the root; {} is the split.
        image_bases: folders below its own in which listed images may lie.
        depth_bases: likewise for depth.
        pairs: finds the pairs of a split where there is no list; None where only a list tells which they are.
        sample_name: what a sample is called after its image's path below the data set's folder.
    """

    name: str
    folder: str
    units_per_meter: float | None
    kb_crop: bool
    crop: Crop
    cap_m: float
    list_name: str
    image_bases: tuple[str, ...]
    depth_bases: tuple[str, ...]
    pairs: Callable[[Path, Split], Iterator[tuple[Path, Path | None]]] | None
    sample_name: Callable[[Path], str]


def _nyu_pairs(folder: Path, split: Split) -> Iterator[tuple[Path, Path | None]]:
    """Find rgb_N.jpg with sync_depth_N.png: in official_splits/test, or everywhere but in official_splits."""
    test = folder / "official_splits" / "test"
    for image in _images(test if split is Split.TEST else folder):
        if split is Split.TRAIN and image.is_relative_to(folder / "official_splits"):
            continue
        kind, _, number = image.stem.partition("_")
        if kind == "rgb":
            depth = image.with_name(f"sync_depth_{number}.png")
            yield image, depth if os.path.exists(depth) else None


def _folder_pairs(folder: Path, split: Split) -> Iterator[tuple[Path, Path | None]]:
    """Find NAME.jpg (or another image, but no PNG) with NAME.png, in all folders below."""
    del split  # a plain folder is one set
    for image in _images(folder):
        if image.suffix.lower() != ".png":
            beside = [image.with_suffix(ending) for ending in (".png", ".PNG")]
            yield image, next((depth for depth in beside if os.path.exists(depth)), None)


def _nyu_name(image: Path) -> str:
    return f"{image.parent.name}_{image.stem}"


def _kitti_name(image: Path) -> str:
    drive = next((part for part in image.parts if part.endswith("_sync")), image.parent.name)
    return f"{drive}_{image.stem}"


def _folder_name(image: Path) -> str:
    return image.with_suffix("").as_posix()


LAYOUTS: dict[str, Layout] = {
    row.name: row
    for row in (
        Layout(
            name="nyu",
            folder="nyu_depth_v2",
            units_per_meter=1000.0,
            kb_crop=False,
            crop=Crop.NYU,
            cap_m=10.0,
            list_name="filenames/nyudepthv2/{}_list.txt",
            image_bases=("", "official_splits/test"),
            depth_bases=("", "official_splits/test"),
            pairs=_nyu_pairs,
            sample_name=_nyu_name,
        ),
        Layout(
            name="kitti",
            folder="kitti",
            units_per_meter=256.0,
            kb_crop=True,
            crop=Crop.GARG,
            cap_m=80.0,
            list_name="filenames/eigen_benchmark/{}_list.txt",
            image_bases=("", "raw_data"),
            depth_bases=("", "data_depth_annotated", "data_depth_annotated/train", "data_depth_annotated/val"),
            pairs=None,
            sample_name=_kitti_name,
        ),
    )
}

_FOLDER = Layout(
    name="folder",
    folder="",
    units_per_meter=None,
    kb_crop=False,
    crop=Crop.NONE,
    cap_m=80.0,
    list_name="",
    image_bases=("",),
    depth_bases=("",),
    pairs=_folder_pairs,
    sample_name=_folder_name,
)


def layout_of(data: str) -> Layout:
    """Give the layout that `--data` names: a row of the table, or that of a plain folder."""
    return LAYOUTS.get(data, _FOLDER)


def find_samples(settings: DataSettings, split: Split) -> Samples:
    """Find the samples of a data set; none of them is read yet.

    Args:
        settings: which data, where, and what its files count in.
        split: which part; a plain folder has only one.

    Raises:
        UsageError: the folder is not there, or it is not said what the depth files count in.
        InputError: there is no sample.
    """
    layout = layout_of(settings.data)
    folder, root = _folders(settings, layout)
    units_per_meter = settings.units_per_meter or layout.units_per_meter
    if units_per_meter is None:
        raise UsageError(
            f"--data {settings.data}: it is not said what its depth files count in",
            hint="--units-per-meter 1000 for millimeters, 256 for files like KITTI's",
        )
    list_file = settings.list_file or _default_list(layout, split, folder, root)
    if list_file is not None:
        pairs = _listed(layout, folder, str(list_file))
    elif layout.pairs is not None:
        pairs = _one_image_each(layout.pairs(folder, split))
    else:
        raise UsageError(
            f"--data {layout.name}: which images belong to the {split} split is said by a list",
            hint=f"put it at {root / layout.list_name.format(split)}; evaluate also takes --list FILE",
        )
    files = tuple(_named(layout, folder, pairs))
    if not files:
        raise InputError(f"{folder}: no images with true depth", hint=_what_is_expected(layout))
    return Samples(files, units_per_meter, layout.kb_crop, without_depth=len(pairs) - len(files))


def _folders(settings: DataSettings, layout: Layout) -> tuple[Path, Path]:
    """Give the folder of the data set, and the root, where lists are looked for."""
    if layout is _FOLDER:
        folder = root = Path(settings.data)
        if settings.root is not None:
            raise UsageError("--root goes with --data nyu or kitti", hint="a plain folder is its own root")
    else:
        root = Path(settings.root or os.environ.get(DATA_VARIABLE) or ".")
        folder = root / layout.folder if os.path.isdir(root / layout.folder) else root
    if not os.path.isdir(folder):
        named = ", ".join(LAYOUTS)
        raise UsageError(f"--data {settings.data}: there is no folder {folder}", hint=f"{named}, or a folder")
    return folder, root


def _default_list(layout: Layout, split: Split, folder: Path, root: Path) -> Path | None:
    if not layout.list_name:
        return None
    candidates = [base / layout.list_name.format(split) for base in (root, folder, folder.parent)]
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)


def _listed(layout: Layout, folder: Path, list_file: str) -> list[tuple[Path, Path | None]]:
    image_bases = [folder / base for base in layout.image_bases]
    depth_bases = [folder / base for base in layout.depth_bases]
    pairs = [
        (find_listed(pair.image, image_bases), None if pair.depth is None else find_listed(pair.depth, depth_bases))
        for pair in read_list(list_file)
    ]
    if not any(os.path.exists(image) for image, _ in pairs):
        raise InputError(f"{list_file}: none of its images is in {folder}", hint=f"the first would be {pairs[0][0]}")
    return pairs


def _named(layout: Layout, folder: Path, pairs: Iterable[tuple[Path, Path | None]]) -> Iterator[SampleFiles]:
    found = []
    for image, depth in pairs:
        if depth is not None:
            relative = Path(os.path.relpath(image, folder))
            found.append(SampleFiles(layout.sample_name(relative), image, depth, relative))
    count = Counter(files.name for files in found)
    for files in found:
        # Two cameras of one drive, say: then the whole path is the name.
        yield files if count[files.name] == 1 else replace(files, name="_".join(files.relative.with_suffix("").parts))


def _one_image_each(pairs: Iterable[tuple[Path, Path | None]]) -> list[tuple[Path, Path | None]]:
    """See that no two images of a folder claim the same depth: nothing would tell whose it is."""
    owners: dict[Path, Path] = {}
    pairs = list(pairs)
    for image, depth in pairs:
        if depth is not None and owners.setdefault(depth, image) != image:
            raise InputError(
                f"{depth}: is the depth of {owners[depth].name} and of {image.name}",
                hint="take one of them away, or name the pairs in a list, for glpn evaluate --list",
            )
    return pairs


def _images(folder: Path) -> Iterator[Path]:
    if not os.path.isdir(folder):
        return
    for found in walk_images(folder, search=SearchSettings(recursive=True), is_output=lambda _: False):
        if not isinstance(found, Path):
            raise InputError(found[1].message)
        yield found


def _what_is_expected(layout: Layout) -> str:
    if layout is _FOLDER:
        return "NAME.jpg with NAME.png beside it; evaluate also takes --list FILE, an image and its depth in each line"
    return "--root is the folder that holds " + layout.folder

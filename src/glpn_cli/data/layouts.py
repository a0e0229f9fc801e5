"""Data set layouts: where the images and depth files of NYU, KITTI and plain folders are.

`LAYOUTS` has one row per named data set. A list file can select the pairs of any layout.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.data.sample import SampleFiles, Samples
from glpn_cli.data.settings import Crop, DataSettings
from glpn_cli.errors import InputError, UsageError
from glpn_cli.files import os_reason
from glpn_cli.image.folder import walk_images
from glpn_cli.settings import DATA_VARIABLE, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Pair = tuple[Path, Path | None]
    """An image and its depth file, or None if it has none."""

_NO_DEPTH = "none"
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?", re.IGNORECASE)
_SUFFIX_IN_PATH = re.compile(r"^(?!.*\.\w{2,5}\s).*\.[A-Za-z]\w{1,4}$")
_TWO_PATHS = re.compile(r"(.+?\.[A-Za-z]\w{1,4})\s+(.+?\.[A-Za-z]\w{1,4}|none)(?:\s+[^\s.]+(?:\.\d+)?)?", re.IGNORECASE)


class Split(StrEnum):
    """A part of a data set."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Layout:
    """How the files of a data set are arranged, and how predictions for it are evaluated.

    Attributes:
        name: the value of `DataSettings.data`.
        folder: name of the data set's folder below the root; the root itself may be that folder.
        units_per_meter: value of a depth file that stands for one meter; None if the user has to set it.
        kb_crop: whether images and ground truth are cropped as for the KITTI benchmark.
        crop: the part of an image that is evaluated.
        cap_m: ground truth of this or more is not evaluated, meters.
        list_name: default path of the list files below the root, with {} for the split; empty if there are none.
        image_bases: folders below `folder` that the image paths of a list may be relative to.
        depth_bases: folders below `folder` that the depth paths of a list may be relative to.
        pairs: finds the pairs of a split without a list; None if a list is required.
        sample_name: returns the name of a sample for the path of its image below `folder`.
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
    pairs: Callable[[Path, Split], Iterator[Pair]] | None
    sample_name: Callable[[Path], str]


def _nyu_pairs(folder: Path, split: Split) -> Iterator[Pair]:
    """Find rgb_N.jpg with sync_depth_N.png: in official_splits/test, or everywhere except in official_splits."""
    test = folder / "official_splits" / "test"
    for image in _find_images(test if split is Split.TEST else folder):
        if split is Split.TRAIN and image.is_relative_to(folder / "official_splits"):
            continue
        kind, _, number = image.stem.partition("_")
        if kind == "rgb":
            depth = image.with_name(f"sync_depth_{number}.png")
            yield image, depth if os.path.exists(depth) else None


def _folder_pairs(folder: Path, split: Split) -> Iterator[Pair]:
    """Find NAME.jpg (or another image format, except PNG) with NAME.png, including subfolders."""
    del split  # a plain folder has no splits
    for image in _find_images(folder):
        if image.suffix.lower() != ".png":
            candidates = [image.with_suffix(suffix) for suffix in (".png", ".PNG")]
            yield image, next((depth for depth in candidates if os.path.exists(depth)), None)


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
"""The data sets that have a name."""

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
    """Return the layout for a value of `DataSettings.data`: a row of `LAYOUTS`, or that of a plain folder."""
    return LAYOUTS.get(data, _FOLDER)


def find_samples(settings: DataSettings, split: Split) -> Samples:
    """Find the samples of a data set without reading them.

    Args:
        settings: the data set, its folder and the unit of its depth files.
        split: which part; a plain folder has only one.

    Raises:
        UsageError: the folder does not exist, the unit of the depth files is unknown, or a list is required.
        InputError: there are no samples, or the list cannot be used.
    """
    layout = layout_of(settings.data)
    folder, root = _locate(settings, layout)
    units_per_meter = settings.units_per_meter or layout.units_per_meter
    if units_per_meter is None:
        raise UsageError(
            f"{settings.data}: the unit of its depth files is unknown",
            hint="set `units_per_meter`: 1000 for millimeters, 256 for files like those of KITTI",
        )
    list_file = settings.list_file or _default_list(layout, split, folder, root)
    if list_file is not None:
        pairs = _listed_pairs(layout, folder, str(list_file))
    elif layout.pairs is not None:
        pairs = _refuse_shared_depth(layout.pairs(folder, split))
    else:
        raise UsageError(
            f"{layout.name}: its {split} split requires a list",
            hint=f"save it as {root / layout.list_name.format(split)}, or set `list_file` for an evaluation",
        )
    files = tuple(_name_samples(layout, folder, pairs))
    if not files:
        raise InputError(f"{folder}: no images with ground truth", hint=_layout_hint(layout))
    return Samples(files, units_per_meter, layout.kb_crop, without_depth=len(pairs) - len(files))


@dataclass(frozen=True, slots=True)
class ListedPair:
    """One line of a list.

    Attributes:
        image: path of the image, without a leading slash.
        depth: path of the depth file, without a leading slash; None if the line says "None".
    """

    image: str
    depth: str | None


def read_list(path: str | os.PathLike[str]) -> list[ListedPair]:
    """Read a list of samples.

    A line has the paths of an image and its depth file, separated by tabs, commas or spaces; paths with spaces need one
    of the others. The lines of TUM's association files, with a timestamp before each path, are read too. Further fields
    (some lists have a focal length) are ignored, as are empty lines, lines that start with "#", and the header of a
    table. A leading slash is removed: the authors' lists have one, although their paths are relative to the data
    folder. "None" stands for missing depth. The text is UTF-8, or UTF-16 with a byte order mark.

    Raises:
        InputError: the file cannot be read, is empty, or has a line without two paths.
    """
    pairs: list[ListedPair] = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        paths = _split_line(line)
        if paths is None and not pairs and _is_header(line):
            continue
        if paths is None:
            raise InputError(f"{path}: line {number} must have an image and its depth file")
        image, depth = paths
        found = None if depth.lower() == _NO_DEPTH else depth.lstrip("/\\")
        pairs.append(ListedPair(image.lstrip("/\\"), found))
    if not pairs:
        raise InputError(f"{path}: the list is empty")
    return pairs


def _read_text(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, "rb") as stream:
            data = stream.read()
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be read: not UTF-8 text", hint="save it as UTF-8") from error


def _split_line(line: str) -> tuple[str, str] | None:
    """Return the paths of an image and its depth file, by the first separator that gives two; None if none does."""
    try:
        by_comma = next(csv.reader([line], skipinitialspace=True))
    except csv.Error:  # such as a NUL
        by_comma = []
    by_suffix = _TWO_PATHS.fullmatch(line.strip())
    ways = (line.split("\t"), by_comma, line.split(), by_suffix.groups() if by_suffix else ())
    splits = [[field.strip() for field in fields if field and field.strip()] for fields in ways]
    for fields in splits:
        if len(fields) >= 4 and _NUMBER.fullmatch(fields[0]) and _NUMBER.fullmatch(fields[2]):  # TUM's associations
            image, depth = fields[1], fields[3]
            return (depth, image) if image.lstrip("/").startswith("depth") else (image, depth)
        if len(fields) >= 2 and all(map(_is_path, fields[:2])):
            return fields[0], fields[1]
    # Names without a suffix, as long as nothing else is between them.
    plain = splits[0] if len(splits[0]) > 1 else splits[2]
    is_plain = len(plain) >= 2 and not any(map(_NUMBER.fullmatch, plain[:2])) and "," not in line
    return (plain[0], plain[1]) if is_plain else None


def _is_path(text: str) -> bool:
    """Return whether a field of a list is a file name with one suffix, or says that there is none."""
    return text.lower() == _NO_DEPTH or (_SUFFIX_IN_PATH.search(text) is not None and not _NUMBER.fullmatch(text))


def _is_header(line: str) -> bool:
    return "," in line and _SUFFIX_IN_PATH.search(line) is None


def _locate(settings: DataSettings, layout: Layout) -> tuple[Path, Path]:
    """Return the folder of the data set, and the root that contains lists."""
    if layout is _FOLDER:
        folder = root = Path(settings.data)
        if settings.root is not None:
            raise UsageError(
                f"only for {' and '.join(LAYOUTS)}", setting="root", hint="leave it out: a plain folder is its own root"
            )
    else:
        root = Path(settings.root or os.environ.get(DATA_VARIABLE) or ".")
        folder = root / layout.folder if os.path.isdir(root / layout.folder) else root
    if not os.path.isdir(folder):
        raise UsageError(f"{folder} is not a folder", setting="data", hint=f"{', '.join(LAYOUTS)}, or a folder")
    return folder, root


def _default_list(layout: Layout, split: Split, folder: Path, root: Path) -> Path | None:
    if not layout.list_name:
        return None
    candidates = [base / layout.list_name.format(split) for base in (root, folder, folder.parent)]
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)


def _listed_pairs(layout: Layout, folder: Path, list_file: str) -> list[Pair]:
    image_bases = [folder / base for base in layout.image_bases]
    depth_bases = [folder / base for base in layout.depth_bases]
    pairs = [
        (_find_below(image_bases, pair.image), None if pair.depth is None else _find_below(depth_bases, pair.depth))
        for pair in read_list(list_file)
    ]
    if not any(os.path.exists(image) for image, _ in pairs):
        raise InputError(f"{list_file}: none of its images exists in {folder}", hint=f"first path: {pairs[0][0]}")
    return pairs


def _find_below(bases: Iterable[Path], relative: str) -> Path:
    """Return the path in the first folder that contains it, else in the first folder."""
    candidates = [base / relative for base in bases]
    return next((candidate for candidate in candidates if os.path.exists(candidate)), candidates[0])


def _refuse_shared_depth(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs; two images with the same depth file are an error, as it can only belong to one."""
    owners: dict[Path, Path] = {}
    pairs = list(pairs)
    for image, depth in pairs:
        if depth is not None and owners.setdefault(depth, image) != image:
            raise InputError(
                f"{depth}: is the depth of both {owners[depth].name} and {image.name}",
                hint="remove one of the images, or set `list_file` for an evaluation",
            )
    return pairs


def _name_samples(layout: Layout, folder: Path, pairs: Iterable[Pair]) -> Iterator[SampleFiles]:
    found = []
    for image, depth in pairs:
        if depth is not None:
            relative = Path(os.path.relpath(image, folder))
            found.append(SampleFiles(layout.sample_name(relative), image, depth, relative))
    count = Counter(files.name for files in found)
    for files in found:
        # Names can collide, for example for the two cameras of a KITTI drive. Then the whole path is the name.
        yield files if count[files.name] == 1 else replace(files, name="_".join(files.relative.with_suffix("").parts))


def _find_images(folder: Path) -> Iterator[Path]:
    if not os.path.isdir(folder):
        return
    for found in walk_images(folder, search=SearchSettings(recursive=True), is_output=lambda _: False):
        if not isinstance(found, Path):
            raise InputError(found[1].message)
        yield found


def _layout_hint(layout: Layout) -> str:
    if layout is _FOLDER:
        return "expected NAME.jpg with NAME.png beside it; an evaluation also takes a list of pairs, `list_file`"
    return f"set `root` to the folder that contains {layout.folder}"

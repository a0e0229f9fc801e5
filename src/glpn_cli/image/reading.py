"""Read an image from a path, bytes or memory as upright 8-bit RGB."""

from __future__ import annotations

import ctypes
import difflib
import io
import logging
import os
import stat
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

from glpn_cli.errors import GLPNError, ImageError, MissingPackageError
from glpn_cli.files import os_reason, read_bounded
from glpn_cli.image.decoding import (
    BoundedReads,
    LargeTextError,
    LoadedImage,
    check_size,
    decode,
    has_several_frames,
    read_lens_early,
    translate,
    with_lens,
)
from glpn_cli.image.exif import find_upright_transpose, read_focal, read_panorama, read_tiff_lens, upright_transpose
from glpn_cli.image.memory import is_file_object, name_of_file, read_file_object, to_array
from glpn_cli.image.sniffing import (
    FORMATS,
    HEAD_BYTES,
    HEIC,
    RAW_SUFFIXES,
    SUFFIX_ONLY_FORMATS,
    find_jpeg_excess,
    is_netpbm_image,
    recognize,
    webp_size,
    without_texts,
)
from glpn_cli.image.tiff import read_layout, read_values
from glpn_cli.settings import MAX_IMAGE_PIXELS, MAX_STREAM_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from glpn_cli.image.tiff import TiffLayout


class ReadableFile(Protocol):
    """A binary file object: an open file, an upload, a response, a member of an archive. It need not be seekable."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many of the next bytes; none at the end."""


ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile | Image.Image | NDArray[Any] | Tensor"
)
"""What `read_image` accepts."""

_ACCEPT_BYTES = 16
_MAX_NEIGHBORS = 10_000


_DNG_VERSION_TAG = 50706
_SUBFILE_TYPE_TAG = 254
_SEVERAL_FRAMES_NOTE = "animated: only the first frame is used"
_SEVERAL_FRAMES_NOTES = {
    "TIFF": "several pages: only the first page is used",
    "HEIF": "several images: only the main one is used",
}

_TIFF_STARTS = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+")


def read_image(
    source: ImageInput,
    *,
    name: str | None = None,
    max_pixels: int = MAX_IMAGE_PIXELS,
    stretch: bool = False,
) -> LoadedImage:
    """Read an image and turn it upright.

    The format is determined by the content, not by the suffix. Of several frames or pages, the first is read.

    Args:
        source: a path; the bytes of a file; a binary file object, which is read from its position to its end; a PIL
            image of any mode; an array, (H, W) or (H, W, C), see `conversion.array_to_rgb`, whose RGB channels are not
            copied if they are uint8 and contiguous; or a torch tensor, (C, H, W) or (H, W).
        name: how messages call the image; defaults to the path, or the name of a file object.
        max_pixels: an image with more pixels is refused before it is decoded.
        stretch: stretch 16-bit and float values to the range that the image uses.

    Raises:
        ImageError: the file does not exist, is not an image, or is damaged or too large.
        MissingPackageError: the image is HEIC, and pillow-heif is not installed.
    """
    path = os.fsdecode(source) if isinstance(source, str | os.PathLike) else None
    if name is None:
        name = path if path is not None else name_of_file(source)
    try:
        if path is None:
            return _read_memory(source, name, max_pixels, stretch)
        with _open_file(path) as stream:
            return _read_stream(stream, name, suffix=_suffix(path), max_pixels=max_pixels, stretch=stretch)
    except (ImageError, MissingPackageError) as error:
        label = "the image" if name is None else name
        raise type(error)(f"{label}: {error.message}", hint=error.hint) from error


def read_size(path: str) -> tuple[int, int] | None:
    """Return the (height, width) of the upright image in a file, from its header; None if there is none."""
    from PIL.Image import Transpose

    try:
        with _open_file(path) as stream:
            image = _identify(stream, _suffix(path), MAX_IMAGE_PIXELS)
            transpose, _ = find_upright_transpose(image)
    except (GLPNError, OSError):
        return None
    swaps = transpose in (Transpose.TRANSPOSE, Transpose.TRANSVERSE, Transpose.ROTATE_90, Transpose.ROTATE_270)
    return image.size if swaps else (image.height, image.width)


def missing_image(path: str) -> ImageError:
    """Return the error for a path that is not a file; its hint names the closest file name in the folder."""
    error = _missing(path)
    return ImageError(f"{path}: {error.message}", hint=error.hint)


# Sources


def _read_memory(source: object, name: str | None, max_pixels: int, stretch: bool) -> LoadedImage:
    from PIL import Image

    from glpn_cli.image.conversion import array_to_rgb

    if is_file_object(source):
        source = read_file_object(source)
    if isinstance(source, bytes | bytearray | memoryview):
        stream = io.BytesIO(source)
        return _read_stream(stream, name, suffix=_suffix(name or ""), max_pixels=max_pixels, stretch=stretch)
    if isinstance(source, Image.Image):
        focal, panorama = read_lens_early(source)
        rgb, notes = decode(source, max_pixels, stretch)
        return with_lens(
            LoadedImage(rgb, name, source.format, notes), focal or read_focal(source), panorama or read_panorama(source)
        )
    values = to_array(source)
    if values.ndim >= 2:
        check_size(values.shape[0], values.shape[1], max_pixels)
    rgb, notes = array_to_rgb(values, stretch=stretch)
    return LoadedImage(rgb, name, notes=notes)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _open_file(path: str) -> BinaryIO:
    """Open a file, or read a pipe into memory, because Pillow has to seek."""
    try:
        stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        if os.path.isdir(path):
            raise ImageError("is a folder, not an image") from error
        raise ImageError(f"cannot be opened: {os_reason(error)}") from error
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return stream
    with stream:
        try:
            data = read_bounded(stream, MAX_STREAM_BYTES)
        except OSError as error:
            raise ImageError(f"cannot be read: {os_reason(error)}") from error
    if data is None:
        raise ImageError(f"endless, or longer than {MAX_STREAM_BYTES >> 20} MiB")
    return io.BytesIO(data)


def _missing(path: str) -> ImageError:
    if "://" in path:
        return ImageError("is a URL, not a file", hint="download it first")
    if os.path.islink(path):
        return ImageError("broken link: its target does not exist")
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = {
                entry.name.casefold(): entry.name for entry, _ in zip(entries, range(_MAX_NEIGHBORS), strict=False)
            }
    except (FileNotFoundError, NotADirectoryError):
        return ImageError("no such file", hint=f"there is no folder {folder}")
    except OSError:  # a folder that cannot be listed
        return ImageError("no such file")
    closest = difflib.get_close_matches(name.casefold(), names, n=1, cutoff=0.75)
    if not closest:
        return ImageError("no such file")
    suggestion = names[closest[0]]
    return ImageError(
        "no such file", hint=f'did you mean "{suggestion}"?' if " " in suggestion else f"did you mean {suggestion}?"
    )


# Files: find the format, refuse what is dangerous to decode, decode


def _read_stream(
    stream: BinaryIO, name: str | None, *, suffix: str, max_pixels: int, stretch: bool = False
) -> LoadedImage:
    try:
        return _read_file(stream, name, suffix, max_pixels, stretch)
    except LargeTextError:
        return _read_file(without_texts(stream), name, suffix, max_pixels, stretch)


def _read_file(stream: BinaryIO, name: str | None, suffix: str, max_pixels: int, stretch: bool) -> LoadedImage:
    layout = read_layout(stream) if _read_head(stream).startswith(_TIFF_STARTS) else None
    stream.seek(0)
    if layout is not None and layout.is_misread:
        return _read_tiff(stream, layout, name, suffix, max_pixels, stretch)
    try:
        image = _identify(stream, suffix, max_pixels)
    except ImageError as error:
        if layout is None or not isinstance(error.__cause__, SyntaxError):
            raise
        return _read_tiff(stream, layout, name, suffix, max_pixels, stretch)
    _refuse_raw_preview(getattr(image, "tag_v2", {}) if image.format == "TIFF" else None, suffix)
    focal, panorama = read_lens_early(image)
    rgb, notes = decode(image, max_pixels, stretch)
    if image.format != "MPO" and has_several_frames(image):  # the second image of an MPO is a phone's extra data
        notes = (*notes, _SEVERAL_FRAMES_NOTES.get(image.format or "", _SEVERAL_FRAMES_NOTE))
    return with_lens(
        LoadedImage(rgb, name, image.format, notes), focal or read_focal(image), panorama or read_panorama(image)
    )


def _read_tiff(
    stream: BinaryIO, layout: TiffLayout, name: str | None, suffix: str, max_pixels: int, stretch: bool
) -> LoadedImage:
    """Read a TIFF that Pillow does not read, or reads wrong."""
    import numpy as np
    from PIL import Image

    from glpn_cli.image.conversion import numbers_to_rgb

    _refuse_raw_preview(layout.tags, suffix)
    if 0 in (layout.height, layout.width):
        raise ImageError(f"{layout.height}x{layout.width}: has no pixels")
    check_size(layout.height, layout.width, max_pixels)
    try:
        rgb, notes = numbers_to_rgb(read_values(stream, layout), stretch=stretch)
        transpose = upright_transpose(layout.orientation)
        if transpose is not None:
            rgb = np.array(Image.fromarray(rgb).transpose(Image.Transpose(transpose)))
    except MemoryError as error:
        raise translate(error, "TIFF") from error
    lens = read_tiff_lens(stream, max(layout.height, layout.width))
    return with_lens(LoadedImage(rgb, name, "TIFF", notes), *lens)


def _identify(stream: BinaryIO, suffix: str, max_pixels: int) -> Image.Image:
    """Open a stream with the first format that recognizes the content; pixels are not decoded yet.

    `PIL.Image.open` does not fit: it warns about large images, and warnings cannot be silenced for one thread only.
    It also does not distinguish a damaged image from a file that is not an image.
    """
    head = _read_head(stream)
    failure: ImageError | None = None
    for format_name, factory, accept in _openers(suffix):
        try:
            accepted = True if accept is None else accept(head[:_ACCEPT_BYTES])
            if not accepted or (format_name == "PPM" and not is_netpbm_image(head)):
                continue
            if isinstance(accepted, str):
                failure = ImageError(f"{format_name}, which the installed Pillow does not support")
                continue
            _refuse_dangerous(stream, head, format_name, max_pixels)
            stream.seek(0)
            # Without a file name Pillow does not map the file into memory, where another program could truncate it.
            image: Image.Image = factory(BoundedReads(stream), "")
        except ImageError:
            raise
        except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything
            failure = failure or translate(error, format_name)
        else:
            return image
    content = recognize(head)
    if content is HEIC:
        return _open_heic(stream)
    if content is not None:
        raise ImageError(f"{content.what}, not an image", hint=content.hint or _supported_formats())
    raise failure or ImageError("not an image in a supported format", hint=_supported_formats())


def _read_head(stream: BinaryIO) -> bytes:
    try:
        head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise ImageError(f"cannot be read: {os_reason(error)}") from error
    if not head:
        raise ImageError("an empty file", hint="copy or download it again")
    return head


def _openers(suffix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, opener and recognizer of each format to try; Pillow's rare plugins are imported only if needed."""
    from PIL import Image

    tried = set()
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for format_name, suffixes in FORMATS.items():
            if format_name in tried or format_name not in Image.OPEN:  # the JPEG plugin opens MPO
                continue
            tried.add(format_name)
            if format_name not in SUFFIX_ONLY_FORMATS or suffix in suffixes:
                yield format_name, *Image.OPEN[format_name]


def _open_heic(stream: BinaryIO) -> Image.Image:
    """Open a HEIC image; decoding turns it upright, as the format requires, whatever its EXIF orientation is.

    The opener is not registered with Pillow, so that a program that imports this package reads what it did before.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise MissingPackageError(
            "a HEIC image requires pillow-heif, which is not installed",
            hint="pip install pillow-heif, or convert the image to JPEG",
        ) from error
    opener: Any = HeifImageFile
    stream.seek(0)
    try:
        image: Image.Image = opener(stream, "")
    except Exception as error:
        raise translate(error, "HEIC") from error
    return image


def _supported_formats() -> str:
    names = [name for name in FORMATS if name != "HEIF" or find_spec("pillow_heif") is not None]
    return f"supported formats: {', '.join(names)}"


def _refuse_dangerous(stream: BinaryIO, head: bytes, format_name: str, max_pixels: int) -> None:
    """Refuse files that cost excessive time or memory as soon as they are opened."""
    if format_name == "TIFF":
        _silence_libtiff()
    elif format_name == "WEBP" and (size := webp_size(head)) is not None:
        check_size(*size, max_pixels)
    elif format_name == "JPEG" and (excess := find_jpeg_excess(stream)) is not None:
        raise ImageError(
            f"a JPEG with more than {excess}", hint="cameras do not write such files, and decoding one can take hours"
        )


@cache
def _silence_libtiff() -> None:
    """Stop libtiff and Pillow from printing about damaged TIFFs; our error names the problem.

    Pillow already disables libtiff's warnings. This removes the handler that prints errors, unless libtiff cannot be
    reached through Pillow, as on Windows.
    """
    from PIL import _imaging

    # Python prints logged errors if there is no handler at all. Handlers of the application still get them.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler  # found in the libraries that Pillow loaded
    except (AttributeError, OSError):
        return
    set_handler.argtypes = [ctypes.c_void_p]
    set_handler.restype = ctypes.c_void_p
    set_handler(None)


def _refuse_raw_preview(tags: Mapping[int, Any] | None, suffix: str) -> None:
    """Refuse raw camera files, which are TIFF files whose first page is only a thumbnail."""
    if tags is None:
        return
    if suffix in RAW_SUFFIXES or _DNG_VERSION_TAG in tags or tags.get(_SUBFILE_TYPE_TAG) == 1:
        raise ImageError(
            "a raw camera file, of which only the preview can be read",
            hint="export it as JPEG or TIFF with a raw converter first",
        )


# Errors of decoders

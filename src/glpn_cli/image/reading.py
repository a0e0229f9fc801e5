"""HEIC images, as phones take them: read by an optional package, and only when there is one to read.

What libtiff and Pillow print by themselves of damaged TIFFs, switched off: what is wrong, our error says.

From a file, bytes or an image in memory to upright 8-bit RGB, or to a sentence that says why not.
"""

from __future__ import annotations

import ctypes
import difflib
import io
import logging
import os
import re
import stat
import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import ImageError, MissingPackageError
from glpn_cli.files import read_bounded
from glpn_cli.image.exif import read_focal
from glpn_cli.settings import MAX_IMAGE_PIXELS, MAX_STREAM_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from glpn_cli.image.exif import ExifFocal


def open_heif(stream: BinaryIO) -> Image.Image:
    """Open a HEIC image; it is turned upright by being decoded, whatever its EXIF says, as its format wants it.

    The package is not made a part of Pillow, so that the program around us reads what it always read.

    Raises:
        MissingPackageError: the package is not installed.
        Exception: whatever the package thinks of a broken file.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise MissingPackageError(
            "a HEIC image, and the package that reads them is not installed",
            hint="pip install pillow-heif; or convert it to JPEG first",
        ) from error
    opener: Any = HeifImageFile
    image: Image.Image = opener(stream, "")
    return image


@cache
def silence_tiff() -> None:
    """Take away the function with which libtiff prints errors; Pillow has taken away the one for warnings.

    Where libtiff cannot be reached through Pillow, as on Windows, it goes on printing.
    """
    from PIL import _imaging

    # Without any handler, Python prints what is logged as an error; a handler that somebody set up still gets it.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler  # found in the libraries that it loaded
    except (AttributeError, OSError):
        return
    set_handler.argtypes = [ctypes.c_void_p]
    set_handler.restype = ctypes.c_void_p
    set_handler(None)


FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "AVIF": (".avif", ".avifs"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "QOI": (".qoi",),
    "DIB": (".dib",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "HEIF": (".heic", ".heif", ".hif"),
}

"""The formats that are read, by Pillow's names, and the suffixes of their files. No format that starts a program
(EPS, PostScript) or that Pillow cannot decode by itself (WMF, GRIB, HDF5) belongs here; HEIF has its own module."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

"""What the names of images end in, in lower case, with the dot."""

# These begin with bytes that any file may begin with, so they are tried only where the suffix names them.
_BY_SUFFIX_ONLY = frozenset({"DIB", "SGI", "TGA"})

# Pillow also takes PFM and kinds of its own for PPM; those are maps of numbers, not images.
_NETPBM_IMAGE = re.compile(rb"P[1-6][\s#]")

_ACCEPT_BYTES = 16

_MAX_NEIGHBORS = 10_000

_ORIENTATION_TAG = 0x0112

_DNG_VERSION_TAG = 50706

_SUBFILE_TYPE_TAG = 254

_RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".dng", ".erf", ".iiq", ".kdc", ".nef", ".nrw", ".pef", ".sr2", ".srw"}
)

_OF_SEVERAL = {
    "TIFF": "several pages: only the first page is used",
    "HEIF": "several images: only the main one is used",
}

_TRUNCATED = re.compile(
    r"truncat|not enough|not large enough|incomplete|\beof\b|unexpected end|expected to read", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedImage:
    """An image as the processor wants it.

    Attributes:
        rgb: (H, W, 3) uint8, in [0, 255], upright, contiguous.
        name: what to call it, or None.
        format: Pillow's name of the file's format, or None for an array.
        notes: a short line for each thing that was done to it and that a user may want to know.
        focal: what it says of the lens that took it, or None.
    """

    rgb: NDArray[np.uint8]
    name: str | None = None
    format: str | None = None
    notes: tuple[str, ...] = ()
    focal: ExifFocal | None = None


def read_image(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8],
    *,
    name: str | None = None,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> LoadedImage:
    """Read an image and turn it upright.

    Only the first frame or page of several is read. What the file holds counts, not its suffix.

    Args:
        source: a path, the bytes of a file, a PIL image, or an (H, W, 3) uint8 RGB array, which is used as it is.
        name: what to call it in messages; a path is its own name.
        max_pixels: an image of more is refused before it is decoded.

    Raises:
        ImageError: there is no such file, or it is no image, broken or too large.
        MissingPackageError: it is a HEIC image, and the package for them is not installed.
    """
    path = os.fsdecode(source) if isinstance(source, str | os.PathLike) else None
    name = path if name is None else name
    try:
        if path is None:
            return _read_memory(source, name, max_pixels)
        with _open_file(path) as stream:
            return _read_stream(stream, name, suffix=os.path.splitext(path)[1].lower(), max_pixels=max_pixels)
    except (ImageError, MissingPackageError) as error:
        label = "the image" if name is None else name
        raise type(error)(f"{label}: {error.message}", hint=error.hint) from error


def missing_image(path: str) -> ImageError:
    """Say that a path leads to no file, and which one there was perhaps meant."""
    error = _missing(path)
    return ImageError(f"{path}: {error.message}", hint=error.hint)


def _read_memory(source: object, name: str | None, max_pixels: int) -> LoadedImage:
    import numpy as np
    from PIL import Image

    if isinstance(source, bytes | bytearray | memoryview):
        suffix = os.path.splitext(name or "")[1].lower()
        return _read_stream(io.BytesIO(source), name, suffix=suffix, max_pixels=max_pixels)
    if isinstance(source, Image.Image):
        focal = _focal_before_decoding(source)
        rgb, notes = _decode(source, max_pixels)
        return LoadedImage(rgb, name, source.format, notes, focal or read_focal(source))
    if not isinstance(source, np.ndarray):
        raise ImageError(f"a {type(source).__name__} is no image; give a path, bytes, a PIL image or a NumPy array")
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or source.size == 0:
        raise ImageError(
            f"an array of shape {source.shape} and dtype {source.dtype}; expected (height, width, 3) uint8 in RGB order"
        )
    _check_size(source.shape[0], source.shape[1], max_pixels)
    return LoadedImage(np.ascontiguousarray(source), name)


def _open_file(path: str) -> BinaryIO:
    try:
        stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if os.path.isdir(path):
            raise ImageError("a folder, not an image") from error
        if isinstance(error, PermissionError):
            raise ImageError("no permission to read it") from error
        reason = error.strerror if isinstance(error, OSError) else None
        raise ImageError(f"cannot be opened: {reason or error}") from error
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return stream
    with stream:  # a pipe, or /dev/stdin: Pillow has to seek
        try:
            data = read_bounded(stream, MAX_STREAM_BYTES)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror or error}") from error
    if data is None:
        raise ImageError(f"endless, or longer than {MAX_STREAM_BYTES >> 20} MiB")
    return io.BytesIO(data)


def _missing(path: str) -> ImageError:
    if "://" in path:
        return ImageError("an address, not a file", hint="download it first; --allow-url fetches http and https")
    if os.path.islink(path):
        return ImageError("a link to a file that is not there")
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = {
                entry.name.casefold(): entry.name for entry, _ in zip(entries, range(_MAX_NEIGHBORS), strict=False)
            }
    except OSError:
        return ImageError("no such file", hint=f"there is no folder {folder}")
    near = difflib.get_close_matches(name.casefold(), names, n=1, cutoff=0.75)
    hint = f"did you mean {names[near[0]]}?" if near else f"nothing in {folder or 'this folder'} has a name like it"
    return ImageError("no such file", hint=hint)


def _read_stream(stream: BinaryIO, name: str | None, *, suffix: str, max_pixels: int) -> LoadedImage:
    image = _identify(stream, suffix, max_pixels)
    _refuse_raw_preview(image, suffix)
    focal = _focal_before_decoding(image)
    rgb, notes = _decode(image, max_pixels)
    if image.format != "MPO" and _has_several_frames(image):  # an MPO's second image is a phone's extra, not a frame
        notes = (*notes, _OF_SEVERAL.get(image.format or "", "animated: only the first frame is used"))
    return LoadedImage(rgb, name, image.format, notes, focal or read_focal(image))


def _identify(stream: BinaryIO, suffix: str, max_pixels: int) -> Image.Image:
    """Open with the first format of the list that recognizes the content.

    Pillow's own `Image.open` is not used: it warns about large images, and warnings cannot be silenced for one
    thread alone; it also does not tell a broken image from none.
    """
    from glpn_cli.image.sniffing import HEAD_BYTES, HEIC, recognize

    head = _read_head(stream, HEAD_BYTES)
    failure: ImageError | None = None
    for format_name, factory, accept in _openers(suffix):
        try:
            accepted = True if accept is None else accept(head[:_ACCEPT_BYTES])
            if not accepted or (format_name == "PPM" and not _NETPBM_IMAGE.match(head)):
                continue
            if isinstance(accepted, str):
                failure = ImageError(f"{format_name}, which the installed Pillow was built without")
                continue
            _refuse_hostile(stream, head, format_name, max_pixels)
            stream.seek(0)
            # Without a file name Pillow does not map the file into memory, where another program could cut it short.
            image: Image.Image = factory(stream, "")
        except ImageError:
            raise
        except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything
            failure = failure or _translate(error, format_name)
        else:
            return image
    content = recognize(head)
    if content is HEIC:
        return _open_heic(stream)
    known = f"the formats that are read are {', '.join(FORMATS)}"
    if content is not None:
        raise ImageError(f"{content.what}, not an image", hint=content.hint or known)
    raise failure or ImageError("not an image in a known format", hint=known)


def _open_heic(stream: BinaryIO) -> Image.Image:

    stream.seek(0)
    try:
        return open_heif(stream)
    except MissingPackageError:
        raise
    except Exception as error:
        raise _translate(error, "HEIC") from error


def _read_head(stream: BinaryIO, length: int) -> bytes:
    try:
        head = stream.read(length)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error
    if not head:
        raise ImageError("an empty file", hint="copy or download it again")
    return head


def _openers(suffix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, opener and recognizer of each format to try; Pillow's rarer plugins are imported only if needed."""
    from PIL import Image

    tried = set()
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for format_name, suffixes in FORMATS.items():
            if format_name in tried or format_name not in Image.OPEN:  # MPO comes out of JPEG
                continue
            tried.add(format_name)
            if format_name not in _BY_SUFFIX_ONLY or suffix in suffixes:
                yield format_name, *Image.OPEN[format_name]


def _refuse_hostile(stream: BinaryIO, head: bytes, format_name: str, max_pixels: int) -> None:
    """Refuse what would cost time or memory out of all proportion, and cannot be refused once it is open."""
    from glpn_cli.image.sniffing import MAX_SCANS, has_too_many_scans, webp_size

    if format_name == "TIFF":
        silence_tiff()
    elif format_name == "WEBP" and (size := webp_size(head)) is not None:
        _check_size(*size, max_pixels)
    elif format_name == "JPEG" and has_too_many_scans(stream):
        raise ImageError(
            f"a JPEG of more than {MAX_SCANS} scans", hint="no camera makes such files, and decoding one can take hours"
        )


def _refuse_raw_preview(image: Image.Image, suffix: str) -> None:
    """Refuse raw camera files: they are TIFF files whose first page is only a thumbnail."""
    if image.format != "TIFF":
        return
    tags = getattr(image, "tag_v2", {})
    if suffix in _RAW_SUFFIXES or _DNG_VERSION_TAG in tags or tags.get(_SUBFILE_TYPE_TAG) == 1:
        raise ImageError(
            "a raw camera file; only its preview could be read",
            hint="export it as JPEG or TIFF with a raw converter first",
        )


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageError(
            f"{height}x{width} pixels are {_megapixels(height * width)} megapixels,"
            f" more than the limit of {_megapixels(max_pixels)}",
            hint="make it smaller first, or raise --max-pixels if you know it; "
            "a file that is small for so many pixels was made to fill the memory",
        )


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.3g}" if pixels < 1e7 else f"{pixels / 1e6:.0f}"


def _decode(image: Image.Image, max_pixels: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    import numpy as np
    from PIL import Image

    from glpn_cli.image.conversion import to_rgb

    _check_size(image.height, image.width, max_pixels)
    try:
        _spare_size_warning(image)
        image.load()
    except Exception as error:  # Pillow's decoders raise anything
        raise _translate(error, image.format or "image") from error
    try:
        rgb, notes = to_rgb(image)
        method, orientation_notes = _upright_method(image)
        if method is not None:
            rgb = rgb.transpose(Image.Transpose(method))
        return np.array(rgb), (*notes, *orientation_notes)
    except MemoryError as error:
        raise _translate(error, image.format or "image") from error


def _spare_size_warning(image: Image.Image) -> None:
    """Give a large TIFF its memory beforehand: getting it itself, it would warn of its size."""
    from PIL import Image

    stored_size = getattr(image, "_tile_size", None)  # as in the file, before the orientation
    limit = Image.MAX_IMAGE_PIXELS
    if stored_size is not None and limit is not None and image.width * image.height > limit:
        image.im = Image.new(image.mode, stored_size).im


def _upright_method(image: Image.Image) -> tuple[int | None, tuple[str, ...]]:
    """Read the EXIF orientation of a loaded image; a TIFF has been turned by loading it and says so itself."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - EXIF is parsed from whatever a camera or an attacker wrote
        return None, ("EXIF orientation unreadable, ignored",)
    methods: dict[object, int] = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return (methods.get(orientation) if isinstance(orientation, int) else None), ()


def _focal_before_decoding(image: Image.Image) -> ExifFocal | None:
    """Read a TIFF's focal length while Pillow holds on to its file; a PNG's may come after the pixels."""
    return read_focal(image) if image.format == "TIFF" else None


def _has_several_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - something follows the first frame, and it is broken
        return True


def _translate(error: Exception, format_name: str) -> ImageError:
    from PIL.Image import DecompressionBombError

    # What a parser stumbles over in Python says nothing about the image.
    detail = "" if isinstance(error, LookupError | TypeError) else " ".join(str(error).split())
    if isinstance(error, DecompressionBombError):
        translated = ImageError(f"too large to be decoded: {detail}", hint="make it smaller first")
    elif isinstance(error, MemoryError):
        translated = ImageError(f"not enough memory to decode this {format_name}", hint="make it smaller first")
    elif _is_short(error) or _TRUNCATED.search(detail):
        translated = ImageError(f"a truncated {format_name}, its end is missing", hint="copy or download it again")
    else:
        what = f"a broken or incomplete {format_name}"
        translated = ImageError(f"{what}: {detail}" if detail else what, hint="copy or download it again")
    translated.__cause__ = error
    return translated


def _is_short(error: BaseException | None) -> bool:
    """Tell whether a parser ran out of bytes, now or in an error that it turned into this one."""
    return error is not None and (isinstance(error, EOFError | IndexError | struct.error) or _is_short(error.__cause__))

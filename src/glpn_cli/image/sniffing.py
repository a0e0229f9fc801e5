"""How often a JPEG goes over its pixels, counted without decoding it.

Each scan of a progressive JPEG costs the decoder a pass over all pixels and the file a dozen bytes, so a file of one
megabyte can keep a decoder busy for hours. Cameras and optimizers use about ten scans.

The size of a WebP image from its header, because its decoder takes the memory for it as soon as it is opened.

What a file holds that is no image, told from its first bytes: for error messages that help.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO


MAX_SCANS = 100

"""More scans than any encoder makes."""

_CHUNK_BYTES = 2**16

_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA

_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# In the pixels' data, 0xff before 0x00, a restart marker or another 0xff begins nothing.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def has_too_many_scans(stream: BinaryIO) -> bool:
    """Tell whether a JPEG has more than `MAX_SCANS` scans; what stands behind its end does not count.

    Args:
        stream: from its beginning; it is left anywhere.

    Source: ITU-T T.81, annex B.
    """
    scans = 0
    stream.seek(2)
    after_scan = False
    # A segment follows the one before at once; only behind the pixels of a scan the next has to be looked for.
    while (marker := _next_marker(stream, _CHUNK_BYTES if after_scan else 2)) not in (None, _END_OF_IMAGE):
        after_scan = marker == _START_OF_SCAN
        if after_scan:
            scans += 1
            if scans > MAX_SCANS:
                return True
        elif marker not in _WITHOUT_LENGTH:
            length = int.from_bytes(stream.read(2), "big")
            stream.seek(max(0, length - 2), 1)
    return False


def _next_marker(stream: BinaryIO, first_bytes: int) -> int | None:
    """Go behind the next marker and give its code; None if there is none. Reads few bytes first, then more."""
    position = stream.tell()
    size = first_bytes
    while chunk := stream.read(size):
        size = min(_CHUNK_BYTES, 32 * size)
        found = _MARKER.search(chunk)
        if found is not None:
            stream.seek(position + found.end())
            return chunk[found.end() - 1]
        if len(chunk) == 1:
            return None
        position += len(chunk) - 1  # the last byte may begin a marker
        stream.seek(position)
    return None


_SIDE_BITS = 14


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Read (height, width) in pixels from the first 30 bytes of a file; None if they do not say it.

    Source: RFC 9649, section 2.
    """
    side = (1 << _SIDE_BITS) - 1
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & side) + 1, ((bits >> _SIDE_BITS) & side) + 1
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & side for at in (26, 28))
    else:
        return None
    return height, width


HEAD_BYTES = 4096

"""How much of the beginning of a file `recognize` wants to see."""


class Content(NamedTuple):
    """What was recognized.

    Attributes:
        what: a noun phrase, such as "a PDF document".
        hint: how to get an image out of it, or None.
    """

    what: str
    hint: str | None = None


_TO_JPEG_OR_PNG = "convert it to JPEG or PNG first"

_FRAMES = "take single frames out of it first, for example: ffmpeg -i VIDEO -vf fps=1 frame_%05d.png"

_UNPACK = "unpack it first"

_DEVELOP = "export it as JPEG or TIFF with a raw converter first"

_RENDER = "render it as PNG first"

_VIDEO = Content("a video", _FRAMES)

_SOUND = Content("a sound")

HEIC = Content("a HEIC image")

_JPEG_XL = Content("a JPEG XL image", _TO_JPEG_OR_PNG)

_RAW = Content("a raw camera file", _DEVELOP)

_POSTSCRIPT = Content("PostScript, which is a program and never opened", _RENDER)

_SVG = Content("an SVG drawing", _RENDER)

_HTML = Content("an HTML page", "download the image itself, not the page that shows it")

_METAFILE = Content("a Windows metafile", _RENDER)

# What the bytes begin with, as a pattern, and what that means; the first match wins. Sources: the formats'
# specifications.
_SIGNATURES: tuple[tuple[bytes, Content], ...] = (
    (rb"%PDF-", Content("a PDF document", _RENDER)),
    (rb"%!", _POSTSCRIPT),
    (rb"\xc5\xd0\xd3\xc6", _POSTSCRIPT),  # EPS with a preview for DOS
    (rb"\xd7\xcd\xc6\x9a", _METAFILE),
    (rb"\x01\x00\x09\x00\x00\x03", _METAFILE),
    (rb"\x01\x00\x00\x00.{36} EMF", _METAFILE),
    (rb"PK\x03\x04", Content("a zip archive or an office document", _UNPACK)),
    (rb"PK\x05\x06", Content("an empty zip archive")),
    (rb"\x1f\x8b", Content("a gzip archive", _UNPACK)),
    (rb"BZh[1-9]1AY", Content("a bzip2 archive", _UNPACK)),
    (rb"\xfd7zXZ\x00", Content("an xz archive", _UNPACK)),
    (rb"\x28\xb5\x2f\xfd", Content("a zstd archive", _UNPACK)),
    (rb"7z\xbc\xaf\x27\x1c", Content("a 7z archive", _UNPACK)),
    (rb"Rar!\x1a\x07", Content("a rar archive", _UNPACK)),
    (rb".{257}ustar", Content("a tar archive", _UNPACK)),
    (rb"\x1aE\xdf\xa3", _VIDEO),  # Matroska and WebM
    (rb"RIFF.{4}AVI ", _VIDEO),
    (rb"RIFF.{4}WAVE", _SOUND),
    (rb"ID3[\x00-\x05]", _SOUND),
    (rb"FLV\x01", _VIDEO),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _VIDEO),  # Windows media
    (rb"\x00\x00\x01[\xb3\xba]", _VIDEO),  # MPEG-1 and MPEG-2
    (rb"\x47.{187}\x47.{187}\x47", _VIDEO),  # an MPEG transport stream: packets of 188 bytes
    (rb"OggS\x00", Content("an Ogg video or sound", _FRAMES)),
    (rb"\x00.{3}(?:moov|mdat|wide|skip)", _VIDEO),  # QuickTime from before ftyp
    (rb"\xff\x0a", _JPEG_XL),
    (rb"\x00\x00\x00\x0cJXL \r\n\x87\n", _JPEG_XL),
    (rb"FUJIFILMCCD-RAW", _RAW),
    (rb"IIRO|IIRS|MMOR|IIU\x00", _RAW),  # Olympus and Panasonic
    (rb"\x00MRM|FOVb|II.{4}HEAPCCDR", _RAW),  # Minolta, Sigma, Canon before CR2
    (rb"8BPS", Content("a Photoshop document", _TO_JPEG_OR_PNG)),
    (rb"gimp xcf", Content("a GIMP document", _TO_JPEG_OR_PNG)),
    (rb"\x76\x2f\x31\x01", Content("an OpenEXR image", _TO_JPEG_OR_PNG)),
    (rb"#\?RADIANCE|#\?RGBE", Content("a Radiance HDR image", _TO_JPEG_OR_PNG)),
    (rb"\x00\x00\x01\x00", Content("a Windows icon", _TO_JPEG_OR_PNG)),
    (rb"P[fF]\n", Content("a PFM map of floats")),
    (rb"P7\n", Content("a PAM image", _TO_JPEG_OR_PNG)),
    (rb"\x93NUMPY", Content("a NumPy array")),
    (rb"version https://git-lfs", Content("a Git LFS pointer", "fetch what it stands for: git lfs pull")),
)

_PATTERNS = tuple((re.compile(signature, re.DOTALL), content) for signature, content in _SIGNATURES)

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})

_AVIF_BRANDS = frozenset({b"avif", b"avis"})

_NETPBM = re.compile(rb"P[1-6][\s#]")

_MARKUP_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*<")

_LONGEST_UTF8 = 4

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def recognize(head: bytes) -> Content | None:
    """Say what a file holds that Pillow could not read as an image.

    Args:
        head: the first `HEAD_BYTES` of it, or all of it.

    Returns:
        None if nothing is known about these bytes, or if they begin like an image.
    """
    for pattern, content in _PATTERNS:
        if pattern.match(head):
            return content
    if head[4:8] == b"ftyp":
        return _recognize_iso_media(head)
    if not head.strip(b"\x00"):
        return Content("nothing but zero bytes", "the file was damaged or not copied to its end")
    return _recognize_text(head)


def _recognize_iso_media(head: bytes) -> Content | None:
    length = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
    if head[8:12] == b"crx ":
        return _RAW
    if brands & _AVIF_BRANDS:
        return None  # an image that Pillow knows, only broken
    return HEIC if brands & _HEIF_BRANDS else _VIDEO


def _recognize_text(head: bytes) -> Content | None:
    if _MARKUP_START.match(head):
        lower = head.lower()
        if b"<html" in lower or b"<!doctype html" in lower:
            return _HTML
        if b"<svg" in lower:
            return _SVG
    return Content("text") if _is_text(head) and not _NETPBM.match(head) else None


def _is_text(head: bytes) -> bool:
    if head.startswith(_UTF16_MARKS):
        return True
    if _NOT_IN_TEXT.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:  # a character that the end of the head cuts in two is no fault
        return len(head) >= HEAD_BYTES and error.start > len(head) - _LONGEST_UTF8
    return True

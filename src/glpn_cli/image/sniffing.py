"""File formats by their first bytes: which are read, what other content is, and which headers are dangerous."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

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
"""The formats that are read, by Pillow's names, with their suffixes. Excluded are formats that start other programs
(EPS, PostScript) and those that Pillow cannot decode alone (WMF, GRIB, HDF5). HEIF requires pillow-heif."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""The suffixes of all formats, in lower case, with the dot."""

SUFFIX_ONLY_FORMATS = frozenset({"DIB", "SGI", "TGA"})
"""Formats without a reliable signature: they are tried only if the suffix matches."""

HEAD_BYTES = 4096
"""The number of bytes from the start of a file that `recognize` needs."""

MAX_SCANS = 100
"""The largest number of scans in a JPEG; encoders write about ten."""

MAX_SEGMENTS = 20_000
"""The largest number of segments in a JPEG: a color profile or XMP of 1 GB takes 16,000."""

MAX_FILLER_BYTES = 2**16
"""The largest number of bytes between the segments of a JPEG, where there should be none."""

MAX_TEXT_BYTES = 2**20
"""The largest text of a PNG that Pillow reads."""

# Pillow's PPM plugin also reads PFM and formats of its own: maps of numbers, not images.
_NETPBM_IMAGE = re.compile(rb"P[1-6][\s#]")


def is_netpbm_image(head: bytes) -> bool:
    """Return whether a file starts like a PBM, PGM or PPM image."""
    return _NETPBM_IMAGE.match(head) is not None


# How files of `FORMATS` start. Those of `SUFFIX_ONLY_FORMATS` have no signature.
_IMAGE_START = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|BM.{4}\0\0\0\0|GIF8[79]a|P[1-6][\s#]|qoif"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|.{4}ftyp(?:avif|avis|heic|heix|hevc|heim|heis|mif1|msf1)",
    re.DOTALL,
)


def may_be_image(head: bytes) -> bool:
    """Return whether a file starts like an image of a format that is read."""
    return _IMAGE_START.match(head) is not None


def is_16_bit_gray_png(head: bytes) -> bool:
    """Return whether a file starts like a 16-bit gray PNG, as RGB-D cameras store depth."""
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR" and head[24:26] == b"\x10\x00"


RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2"}
    | {".sr2", ".srw", ".x3f"}
)
"""The suffixes of raw camera files, in lower case; they are not read."""

UNREAD_SUFFIXES = frozenset({".hdr", ".jxl", ".jxr", ".kra", ".psb", ".psd", ".svg", ".xcf"})
"""Suffixes of other images that are not read, in lower case; a search counts them, so that none is missed silently."""


# Content that is not a readable image


class Content(NamedTuple):
    """What a file contains.

    Attributes:
        what: a noun phrase, such as "a PDF document".
        hint: how to get an image from it, or None.
    """

    what: str
    hint: str | None = None


_CONVERT = "convert it to JPEG or PNG first"
_EXTRACT_FRAMES = "extract frames first, for example: ffmpeg -i VIDEO -vf fps=1 frame_%05d.png"
_UNPACK = "unpack it first"
_DEVELOP = "export it as JPEG or TIFF with a raw converter first"
_RENDER = "render it as PNG first"

HEIC = Content("a HEIC image")
_VIDEO = Content("a video", _EXTRACT_FRAMES)
_AUDIO = Content("an audio file")
_JPEG_XL = Content("a JPEG XL image", _CONVERT)
_RAW = Content("a raw camera file", _DEVELOP)
_POSTSCRIPT = Content("PostScript, which is a program and never opened", _RENDER)
_SVG = Content("an SVG drawing", _RENDER)
_HTML = Content("an HTML page", "download the image itself, not the page that shows it")
_METAFILE = Content("a Windows metafile", _RENDER)

# Regular expressions for the first bytes; the first match wins. Source: the specifications of the formats.
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
    (rb"RIFF.{4}WAVE", _AUDIO),
    (rb"ID3[\x00-\x05]", _AUDIO),
    (rb"FLV\x01", _VIDEO),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _VIDEO),  # Windows media
    (rb"\x00\x00\x01[\xb3\xba]", _VIDEO),  # MPEG-1 and MPEG-2
    (rb"\x47.{187}\x47.{187}\x47", _VIDEO),  # MPEG transport stream: packets of 188 bytes
    (rb"OggS\x00", Content("an Ogg video or audio file", _EXTRACT_FRAMES)),
    (rb"\x00.{3}(?:moov|mdat|wide|skip)", _VIDEO),  # QuickTime before ftyp existed
    (rb"\xff\x0a", _JPEG_XL),
    (rb"\x00\x00\x00\x0cJXL \r\n\x87\n", _JPEG_XL),
    (rb"FUJIFILMCCD-RAW", _RAW),
    (rb"IIRO|IIRS|MMOR|IIU\x00", _RAW),  # Olympus and Panasonic
    (rb"\x00MRM|FOVb|II.{4}HEAPCCDR", _RAW),  # Minolta, Sigma, Canon before CR2
    (rb"8BPS", Content("a Photoshop document", _CONVERT)),
    (rb"gimp xcf", Content("a GIMP document", _CONVERT)),
    (rb"\x76\x2f\x31\x01", Content("an OpenEXR image", _CONVERT)),
    (rb"#\?RADIANCE|#\?RGBE", Content("a Radiance HDR image", _CONVERT)),
    (rb"\x00\x00\x01\x00", Content("a Windows icon", _CONVERT)),
    (rb"P[fF]\n", Content("a PFM map of floats")),
    (rb"P7\n", Content("a PAM image", _CONVERT)),
    (rb"\x93NUMPY", Content("a NumPy array")),
    (rb"version https://git-lfs", Content("a Git LFS pointer", "download the file itself: git lfs pull")),
)

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MARKUP_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*<")
_LONGEST_UTF8 = 4
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def recognize(head: bytes) -> Content | None:
    """Return what a file contains that could not be read as an image.

    Args:
        head: the first `HEAD_BYTES` of the file, or all of it.

    Returns:
        None if the bytes are unknown or start like a readable image.
    """
    for signature, content in _SIGNATURES:  # compiled here, not at import: this is needed only after a failure
        if re.match(signature, head, re.DOTALL):
            return content
    if head[4:8] == b"ftyp":
        return _recognize_iso_media(head)
    if not head.strip(b"\x00"):
        return Content("nothing but zero bytes", "the file is damaged or incomplete: copy it again")
    return _recognize_text(head)


def _recognize_iso_media(head: bytes) -> Content | None:
    length = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
    if head[8:12] == b"crx ":
        return _RAW
    if brands & _AVIF_BRANDS:
        return None  # a readable format, so this file is damaged
    return HEIC if brands & _HEIF_BRANDS else _VIDEO


def _recognize_text(head: bytes) -> Content | None:
    if _MARKUP_START.match(head):
        lower = head.lower()
        if b"<html" in lower or b"<!doctype html" in lower:
            return _HTML
        if b"<svg" in lower:
            return _SVG
    return Content("text") if _is_text(head) and not is_netpbm_image(head) else None


def _is_text(head: bytes) -> bool:
    if head.startswith(_UTF16_MARKS):
        return True
    if _NOT_IN_TEXT.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:  # the end of the head may split a character
        return len(head) >= HEAD_BYTES and error.start > len(head) - _LONGEST_UTF8
    return True


# Headers of readable formats

_CHUNK_BYTES = 2**16
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# In the entropy-coded data, 0xff followed by 0x00, a restart marker or another 0xff does not start a segment.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_WEBP_SIDE_BITS = 14
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_PNG_XMP = b"XML:com.adobe.xmp"


def find_jpeg_excess(stream: BinaryIO) -> str | None:
    """Return what a JPEG has too much of to be decoded in a reasonable time, without decoding it; None if nothing.

    Each scan of a progressive JPEG takes a dozen bytes in the file and costs the decoder a pass over all pixels. So
    one megabyte can occupy a decoder for hours. Pillow reads segments, and what is between them, in Python. Data after
    the end of the image does not count.

    Args:
        stream: the file; its position is undefined afterwards.

    Source: ITU-T T.81, annex B.
    """
    scans = segments = filler_bytes = 0
    position = stream.seek(2)
    after_scan = False
    # Segments follow each other directly; only after the pixels of a scan the next one has to be searched.
    while (marker := _next_marker(stream, _CHUNK_BYTES if after_scan else 2)) != _END_OF_IMAGE:
        if not after_scan:
            filler_bytes += max(0, stream.tell() - position - 2)
            if filler_bytes > MAX_FILLER_BYTES:
                return f"{MAX_FILLER_BYTES >> 10} KiB between its segments"
        if marker is None:
            return None
        segments += 1
        if segments > MAX_SEGMENTS:
            return f"{MAX_SEGMENTS:,} segments"
        after_scan = marker == _START_OF_SCAN
        if after_scan:
            scans += 1
            if scans > MAX_SCANS:
                return f"{MAX_SCANS} scans"
        elif marker not in _WITHOUT_LENGTH:
            length = int.from_bytes(stream.read(2), "big")
            stream.seek(max(0, length - 2), 1)
        position = stream.tell()
    return None


def without_texts(stream: BinaryIO) -> BytesIO:
    """Return a PNG without its texts and color profile; pixels, colors and EXIF stay.

    Pillow refuses a PNG whose texts or profile are larger than 1 MiB. They are no part of the image. Uncompressed
    international text stays up to that size, because it may say that the image is a panorama.

    Args:
        stream: the file; its position is undefined afterwards.

    Source: PNG specification, third edition, section 5.
    """
    rest = BytesIO()
    stream.seek(0)
    rest.write(stream.read(len(_PNG_SIGNATURE)))
    while len(head := stream.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in _PNG_TEXTS:
            rest.write(head + stream.read(length + 4))
        elif kind == b"iTXt" and length < MAX_TEXT_BYTES:
            body = stream.read(length + 4)
            keyword, _, flags = body.partition(b"\0")
            if keyword == _PNG_XMP and flags[:1] == b"\0":
                rest.write(head + body)
        else:
            stream.seek(length + 4, 1)
    rest.write(head)
    rest.seek(0)
    return rest


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Return (height, width) in pixels from the first 30 bytes of a WebP file, or None if they do not contain it.

    Pillow's WebP decoder allocates the pixels when it opens a file, so the size must be checked before.

    Source: RFC 9649, section 2.
    """
    side = (1 << _WEBP_SIDE_BITS) - 1
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & side) + 1, ((bits >> _WEBP_SIDE_BITS) & side) + 1
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & side for at in (26, 28))
    else:
        return None
    return height, width


def _next_marker(stream: BinaryIO, first_bytes: int) -> int | None:
    """Move behind the next marker and return its code, or None at the end; reads few bytes first, then more."""
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
        position += len(chunk) - 1  # the last byte may start a marker
        stream.seek(position)
    return None

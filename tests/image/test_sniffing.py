from __future__ import annotations

import pytest

from glpn_cli.image.sniffing import HEAD_BYTES, recognize


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    return (4 + len(body)).to_bytes(4, "big") + body + b"\0\0\0\x08mdat"


KNOWN = {
    b"%PDF-1.7\n%\xe2\xe3": "a PDF document",
    b"%!PS-Adobe-3.0 EPSF-3.0\n": "PostScript, which is a program and never opened",
    b"%!\n/Helvetica findfont": "PostScript, which is a program and never opened",
    b"\xc5\xd0\xd3\xc6\x20\0\0\0": "PostScript, which is a program and never opened",
    b"\xd7\xcd\xc6\x9a\0\0": "a Windows metafile",
    b"\x01\0\0\0" + bytes(36) + b" EMF": "a Windows metafile",
    b"PK\x03\x04\x14\0": "a zip archive or an office document",
    b"\x1f\x8b\x08\0": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c\0\x04": "a 7z archive",
    bytes([1]) * 257 + b"ustar\x00": "a tar archive",
    ftyp(b"isom", b"iso2", b"mp41"): "a video",
    ftyp(b"qt  "): "a video",
    b"\0\0\x0b\x1cmoov\0\0": "a video",
    b"RIFF\x24\x10\0\0AVI LIST": "a video",
    b"\x1aE\xdf\xa3\x01\0": "a video",
    b"FLV\x01\x05": "a video",
    b"\0\0\x01\xba\x44": "a video",
    (b"\x47" + b"\x11" * 187) * 3: "a video",
    b"RIFF\x24\x10\0\0WAVEfmt ": "an audio file",
    ftyp(b"heic", b"mif1", b"heic"): "a HEIC image",
    ftyp(b"mif1", b"heic"): "a HEIC image",
    ftyp(b"crx ", b"isom"): "a raw camera file",
    b"FUJIFILMCCD-RAW 0201": "a raw camera file",
    b"\xff\x0a\xfa\x7f": "a JPEG XL image",
    b"8BPS\0\x01": "a Photoshop document",
    b"\x76\x2f\x31\x01\x02": "an OpenEXR image",
    b"\0\0\x01\0\x01\0": "a Windows icon",
    b"Pf\n4 3\n-1.0\n": "a PFM map of floats",
    b"PF\n4 3\n-1.0\n": "a PFM map of floats",
    b"\x93NUMPY\x01\0v\0": "a NumPy array",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "a Git LFS pointer",
    b"<!DOCTYPE html>\n<html lang='en'>": "an HTML page",
    b"\n  <HTML><head>": "an HTML page",
    b"\xef\xbb\xbf<!doctype HTML><title>404</title>": "an HTML page",
    b"<svg xmlns='http://www.w3.org/2000/svg'>": "an SVG drawing",
    b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg>": "an SVG drawing",
    b"<?xml version='1.0'?>\n<note/>": "text",
    b'{"error": "not found"}': "text",
    "Gr\u00fc\u00dfe\n".encode(): "text",
    "Gr\u00fc\u00dfe\n".encode("utf-16"): "text",
    b"The wide road": "text",
    b"P2P networks": "text",
    bytes(100): "nothing but zero bytes",
}


@pytest.mark.parametrize(("head", "what"), KNOWN.items(), ids=[f"{what}-{i}" for i, what in enumerate(KNOWN.values())])
def test_content_is_named(head: bytes, what: str) -> None:
    content = recognize(head)
    assert content is not None
    assert content.what == what


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"RIFF\x24\x10\0\0WEBPVP8 ",
        ftyp(b"avif", b"mif1", b"miaf"),
        ftyp(b"mif1", b"avif"),
        b"P3 2 2 255 1 2 3",
        b"P5\n# made by hand\n2 2 255\n",
        b"\x93\xfa\x00\x01",
        b"caf\xe9",
    ],
)
def test_images_and_unknown_bytes_are_not_recognized(head: bytes) -> None:
    assert recognize(head) is None


def test_hint_for_a_video_names_the_command() -> None:
    content = recognize(ftyp(b"mp42"))
    assert content is not None
    assert content.hint is not None
    assert "glpn video" in content.hint


@pytest.mark.parametrize("shift", range(4))
def test_text_with_split_last_character_is_text(shift: int) -> None:
    text = ("x" * shift + "\U0001f600" * HEAD_BYTES).encode()
    content = recognize(text[:HEAD_BYTES])
    assert content is not None
    assert content.what == "text"


def test_incomplete_character_before_the_head_ends_is_not_text() -> None:
    assert recognize(b"x\xf0\x9f") is None

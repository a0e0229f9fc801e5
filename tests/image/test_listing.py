from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from glpn_cli.errors import InputError
from glpn_cli.image.discovery import ImageList, parse_list, read_list

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("data", "entries"),
    [
        (b"a.jpg\nb c.jpg\n", ["a.jpg", "b c.jpg"]),
        (b"a.jpg\r\n\r\n\nb.jpg", ["a.jpg", "b.jpg"]),
        (b" a.jpg \n\t\n", [" a.jpg ", "\t"]),
        (b"#recycle/a.jpg\n'b'.jpg\n*.jpg\n-\n", ["#recycle/a.jpg", "'b'.jpg", "*.jpg", "-"]),
        (b"a\nb.jpg\0c\r\0\0d", ["a\nb.jpg", "c\r", "d"]),
        (b"\xef\xbb\xbft\xc3\xbcr.jpg\n", ["t\u00fcr.jpg"]),
        ("t\u00fcr.jpg\r\nb.jpg\r\n".encode("utf-16"), ["t\u00fcr.jpg", "b.jpg"]),
        (b"\n\r\n", []),
        (b"\0\0", []),
    ],
)
def test_what_a_list_says(data: bytes, entries: list[str]) -> None:
    assert parse_list(data) == entries


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_no_text_is_still_a_name() -> None:
    assert [os.fsencode(entry) for entry in parse_list(b"\xff\xfeb.jpg"[2:] + b"\n\xff.jpg\n")] == [
        b"b.jpg",
        b"\xff.jpg",
    ]


def test_a_list_comes_from_a_file_or_a_stream(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.jpg\n")
    assert read_list(str(tmp_path / "list.txt")) == ImageList(("a.jpg",), str(tmp_path))
    assert read_list(io.BytesIO(b"a.jpg\n")) == ImageList(("a.jpg",), None)


@pytest.mark.parametrize("name", ["gone.txt", ".", "a\0b"])
def test_a_list_that_cannot_be_read_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cannot be read as a list"):
        read_list(name)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "TIFF", "AVIF"])
def test_a_image_is_no_list(format_name: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo", format_name)
    with pytest.raises(InputError, match="is an image, not a list"):
        read_list(str(tmp_path / "photo"))


def test_an_empty_and_an_endless_list_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="names no images"):
        read_list(io.BytesIO(b"\n"))
    monkeypatch.setattr("glpn_cli.image.discovery.MAX_LIST_BYTES", 10)
    with pytest.raises(InputError, match="endless"):
        read_list(io.BytesIO(b"a.jpg\n" * 2))

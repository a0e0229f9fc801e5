from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from glpn_cli.errors import ImageError, InputError, UsageError
from glpn_cli.image.discovery import (
    STDIN,
    FoundImages,
    ImageList,
    address_of,
    find_images,
    parse_list,
    read_arriving_list,
    read_list,
)
from glpn_cli.image.fetching import Address
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULTS = SearchSettings()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def find(*arguments: str, search: SearchSettings = _DEFAULTS) -> FoundImages:
    return find_images(arguments, is_output=lambda path: path.name.endswith(".depth.png"), search=search)


def names(*arguments: str, search: SearchSettings = _DEFAULTS) -> list[str]:
    return [path.as_posix() for path in find(*arguments, search=search).images]


def test_file_is_used_whatever_its_name() -> None:
    touch("scan", "x.jpg")
    assert names("scan", "x.jpg") == ["scan", "x.jpg"]


def test_folder_yields_its_images_sorted() -> None:
    touch("d/b.JPG", "d/a.png", "d/notes.txt", "d/.hidden.png", "d/sub/c.png", "d/a.depth.png")
    Path("d/folder.png").mkdir()
    found = find("d")
    assert [path.as_posix() for path in found.images] == ["d/a.png", "d/b.JPG"]
    assert found.skipped_outputs == 1


def test_folder_without_images_is_a_failure() -> None:
    Path("d").mkdir()
    ((argument, error),) = find("d").failures
    assert argument == "d"
    assert "`recursive`" in str(error.hint)


def test_empty_argument_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        find("a.jpg", "")


def test_url_requires_permission() -> None:
    allowed = SearchSettings(allow_url=True)
    assert find("https://h/a.jpg", search=allowed).images == [Address.parse("https://h/a.jpg")]
    assert isinstance(address_of("https://", search=allowed), ImageError)
    with pytest.raises(UsageError, match=r"https://h/a\.jpg") as caught:
        find("https://h/a.jpg")
    assert "`allow_url`" in str(caught.value.hint)


def test_quoted_pattern_is_expanded() -> None:
    touch("d/a.jpg", "d/b.jpg", "d/deep/er/c.jpg", "d/b.txt", "d/a.depth.png")
    assert names("d/*.jpg") == ["d/a.jpg", "d/b.jpg"]
    assert names("d/**/*.jpg") == ["d/a.jpg", "d/b.jpg", "d/deep/er/c.jpg"]
    assert names("d/[ab].*") == ["d/a.jpg", "d/b.jpg"]
    assert names(str(Path("d").resolve() / "*.jpg")) == [str(Path("d").resolve() / f"{x}.jpg") for x in "ab"]


def test_existing_file_wins_over_pattern() -> None:
    touch("a[1].png", "a1.png")
    assert names("a[1].png") == ["a[1].png"]


def test_pattern_without_match_is_a_failure() -> None:
    assert [argument for argument, _ in find("*.jpg").failures] == ["*.jpg"]


def test_missing_file_is_a_failure_with_a_suggestion() -> None:
    touch("photo.jpg")
    ((argument, error),) = find("phto.jpg").failures
    assert argument == "phto.jpg"
    assert "photo.jpg" in str(error.hint)


def test_duplicates_are_dropped() -> None:
    touch("d/a.jpg")
    Path("link.jpg").symlink_to("d/a.jpg")
    assert names("d/a.jpg", "d", "./d/a.jpg", "d/*.jpg", "link.jpg") == ["d/a.jpg"]


def test_dash_is_standard_input_unless_given_as_path() -> None:
    touch("-")
    assert find("-", "-").images == [STDIN]
    (image,) = find("./-").images
    assert image is not STDIN


@pytest.mark.skipif(os.name == "nt", reason="such names are not allowed there")
def test_unusual_names_are_found() -> None:
    odd = ["t\u00fcr \u56fe.jpg", "new\nline.jpg", "-rf.jpg", "a'b\"c.jpg", os.fsdecode(b"\xff\xfe.jpg")]
    touch(*(f"d/{name}" for name in odd))
    assert sorted(path.name for path in find("d").images) == sorted(odd)


def test_nul_in_a_name_is_a_failure() -> None:
    assert len(find("a\0b.jpg").failures) == 1


def test_recursive_pattern_survives_link_loops() -> None:
    touch("d/a.jpg", "d/sub/b.jpg", "d/.hidden/c.jpg")
    for index in range(12):
        Path(f"d/up{index}").symlink_to("..")
        Path(f"d/sub/down{index}").symlink_to("../sub")
    assert names("d/**/*.jpg") == ["d/a.jpg", "d/sub/b.jpg"]
    assert names("**/b.jpg") == ["d/sub/b.jpg"]
    assert names("./d/**/sub/*.jpg") == ["d/sub/b.jpg"]
    assert names("gone/**/*.jpg") == names("d/**/[z-a].jpg") == []
    assert names("d/**/*.jpg", search=SearchSettings(hidden=True)) == ["d/.hidden/c.jpg", "d/a.jpg", "d/sub/b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "reported"),
    [
        ("d/**/*.jpg", ["d/a/locked", "d/locked"]),
        ("d/l*/**/*.jpg", ["d/locked"]),
        ("d/?/**/*.jpg", ["d/a/locked"]),
        ("**/*.jpg", ["d/a/locked", "d/locked"]),
        ("d/locked/**/*.jpg", ["d/locked"]),
    ],
)
def test_recursive_pattern_reports_folders_that_cannot_be_listed(
    pattern: str, reported: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("d/locked/x.jpg", "d/a/locked/y.jpg", "d/a/z.jpg")
    scandir = os.scandir

    def refusing(path: str | Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    found = find(pattern)
    assert [name for name, _ in found.failures] == reported
    assert all(isinstance(error, ImageError) for _, error in found.failures)
    assert ("d/a/z.jpg" in map(str, found.images)) is ("locked/" not in pattern and "l*" not in pattern)


def test_folder_search_follows_the_settings() -> None:
    touch("d/a.jpg", "d/.b.jpg", "d/sub/c.png", "d/sub/a.depth.png", "d/raw/e.jpg")
    assert names("d", search=SearchSettings(recursive=True)) == ["d/a.jpg", "d/raw/e.jpg", "d/sub/c.png"]
    assert names("d", search=SearchSettings(hidden=True)) == ["d/.b.jpg", "d/a.jpg"]
    only = SearchSettings(recursive=True, include=("*.JPG",), exclude=("raw",))
    assert names("d", "d/raw/e.jpg", search=only) == ["d/a.jpg", "d/raw/e.jpg"]
    assert find("d", search=SearchSettings(recursive=True)).skipped_outputs == 1


@pytest.mark.parametrize(
    ("search", "setting"),
    [
        (SearchSettings(), "`recursive`"),
        (SearchSettings(recursive=True), "subfolders"),
        (SearchSettings(include=("*.png",)), "`include`"),
        (SearchSettings(exclude=("*",)), "`exclude`"),
    ],
)
def test_empty_folder_error_names_the_setting(search: SearchSettings, setting: str) -> None:
    touch("d/notes.txt")
    ((_, error),) = find("d", search=search).failures
    assert setting in f"{error.message} {error.hint}"


# Lists


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
def test_list_is_split_into_entries(data: bytes, entries: list[str]) -> None:
    assert parse_list(data) == entries


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_list_preserves_undecodable_names() -> None:
    assert [os.fsencode(entry) for entry in parse_list(b"\xff\xfeb.jpg"[2:] + b"\n\xff.jpg\n")] == [
        b"b.jpg",
        b"\xff.jpg",
    ]


def test_list_is_read_from_file_or_stream(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.jpg\n")
    listed = read_list(str(tmp_path / "list.txt"))
    assert listed == ImageList(("a.jpg",), str(tmp_path), str(tmp_path / "list.txt"))
    listed = read_list(io.BytesIO(b"a.jpg\n"))
    assert (listed.entries, listed.folder) == (("a.jpg",), None)


@pytest.mark.parametrize("name", ["gone.txt", ".", "a\0b"])
def test_unreadable_list_is_an_input_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read_list(name)
    assert caught.value.message.startswith(f"{name}: ")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "TIFF", "AVIF"])
def test_image_is_refused_as_a_list(format_name: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo", format_name)
    with pytest.raises(InputError, match="photo: is an image"):
        read_list(str(tmp_path / "photo"))


def test_empty_and_endless_lists_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="names no images"):
        read_list(io.BytesIO(b"\n"))
    monkeypatch.setattr("glpn_cli.image.discovery.MAX_LIST_BYTES", 10)
    with pytest.raises(InputError, match="endless"):
        read_list(io.BytesIO(b"a.jpg\n" * 2))


class Pieces(io.RawIOBase):
    """A stream that returns what arrives, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def read(self, _size: int = -1) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


@pytest.mark.parametrize(
    ("pieces", "entries"),
    [
        ([b"a.jpg\n"], ["a.jpg"]),
        ([b"a.jpg\r\nb c.jpg\r\n\r\n", b"last.jpg"], ["a.jpg", "b c.jpg", "last.jpg"]),
        ([b"a.jpg\0b\nc.jpg\0", b"d.j", b"pg\0"], ["a.jpg", "b\nc.jpg", "d.jpg"]),
        ([b"\xef\xbb\xbfa.j", b"pg\nb.jpg"], ["a.jpg", "b.jpg"]),
        (["a.jpg\r\nb.jpg".encode("utf-16")[:5], "a.jpg\r\nb.jpg".encode("utf-16")[5:]], ["a.jpg", "b.jpg"]),
        ([b"\xff.png\n"], ["\udcff.png"]),
    ],
)
def test_an_arriving_list_is_split_like_a_file(pieces: list[bytes], entries: list[str]) -> None:
    assert list(read_arriving_list(Pieces(*pieces)).entries) == entries  # type: ignore[arg-type]


def test_entries_arrive_before_the_list_ends() -> None:
    stream = Pieces(b"a.jpg\nb.j", b"pg\n")
    arriving = iter(read_arriving_list(stream).entries)  # type: ignore[arg-type]
    assert next(arriving) == "a.jpg"
    assert len(stream.pieces) == 1


@pytest.mark.parametrize("data", [b"", b"\n\r\n", b"\0\0", b"\xff\xd8\xff\xe0"])
def test_an_arriving_list_without_images_is_an_error(data: bytes) -> None:
    with pytest.raises(InputError):
        list(read_arriving_list(Pieces(data)).entries)  # type: ignore[arg-type]


def test_file_urls_are_paths() -> None:
    touch("a b.jpg")
    assert find(Path("a b.jpg").resolve().as_uri()).images == [Path("a b.jpg").resolve()]
    ((argument, _),) = find("file://elsewhere/a.jpg").failures
    assert argument == "file://elsewhere/a.jpg"

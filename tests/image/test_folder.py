from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from glpn_cli.errors import ImageError, UsageError
from glpn_cli.image.folder import LeftOut, PathFilter, RecordedDepth, image_names, walk_images
from glpn_cli.image.sniffing import IMAGE_SUFFIXES, RAW_SUFFIXES, UNREAD_SUFFIXES
from glpn_cli.settings import SearchSettings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def walk(folder: str, *, without: str | None = None, recursive: bool = True, **search: object) -> list[str]:
    settings = SearchSettings(recursive=recursive, **search)  # type: ignore[arg-type]
    left_out = None if without is None else Path(without)
    found = walk_images(Path(folder), search=settings, is_output=lambda path: "depth" in path.name, without=left_out)
    return [path.as_posix() for path in found if isinstance(path, Path)]


def test_images_and_subfolders_are_sorted_by_name() -> None:
    touch("d/b.jpg", "d/a.png", "d/aa/z.jpg", "d/c/y.jpg", "d/notes.txt", "d/b.depth.png")
    assert walk("d") == ["d/a.png", "d/aa/z.jpg", "d/b.jpg", "d/c/y.jpg"]
    assert walk("d", recursive=False) == ["d/a.png", "d/b.jpg"]


def test_raw_camera_files_are_counted() -> None:
    touch("d/a.jpg", "d/b.NEF", "d/sub/c.dng", "d/skip/d.cr2")
    left_out = LeftOut()
    settings = SearchSettings(recursive=True, exclude=("skip",))
    list(walk_images(Path("d"), search=settings, is_output=lambda _: False, left_out=left_out))
    assert (left_out.raw, left_out.suffixes) == (2, {".nef", ".dng"})
    assert len(list(left_out.notes())) == 1
    left_out.clear()
    assert not list(left_out.notes())


def test_images_of_unread_formats_are_counted() -> None:
    touch("d/a.jpg", "d/b.JXL", "d/sub/c.psd", "d/notes.txt", "d/skip/d.jxl")
    left_out = LeftOut()
    settings = SearchSettings(recursive=True, exclude=("skip",))
    found = list(walk_images(Path("d"), search=settings, is_output=lambda _: False, left_out=left_out))
    assert found == [Path("d/a.jpg")]
    assert (left_out.unread, left_out.unread_suffixes, left_out.raw) == (2, {".jxl", ".psd"}, 0)
    (note,) = left_out.notes()
    assert ".jxl" in note
    assert ".psd" in note
    left_out.clear()
    assert not list(left_out.notes())


def test_suffixes_that_are_read_are_not_counted_as_unread() -> None:
    assert not IMAGE_SUFFIXES & (RAW_SUFFIXES | UNREAD_SUFFIXES)


@pytest.mark.parametrize(
    ("path", "photo", "bits", "expected"),
    [
        ("a.png", "a.jpg", 16, True),
        ("a.png", "b.jpg", 16, False),
        ("a.png", "a.jpg", 8, False),
        ("depth/1.png", "rgb/2.jpg", 16, True),
        ("depth_raw/1.png", "color/2.jpg", 16, True),
        ("deep/1.png", "rgb/2.jpg", 16, False),
        ("depth/1.png", "other/2.jpg", 16, False),
    ],
)
def test_depth_of_rgbd_cameras_is_recognized(path: str, photo: str, bits: int, expected: bool) -> None:
    touch(path, photo)
    Image.new("I;16" if bits == 16 else "L", (4, 3)).save(path)
    assert RecordedDepth()(Path(path)) == expected


def test_hidden_files_and_folders_are_optional() -> None:
    touch("d/a.jpg", "d/.b.jpg", "d/.thumbnails/c.jpg")
    assert walk("d") == ["d/a.jpg"]
    assert walk("d", hidden=True) == ["d/.b.jpg", "d/.thumbnails/c.jpg", "d/a.jpg"]


def test_patterns_match_the_path_from_the_start_folder() -> None:
    touch("d/sub/a.jpg", "d/sub/b.jpg", "d/raw/a.jpg", "d/a.jpg")
    assert walk("d", include=("sub/*",)) == ["d/sub/a.jpg", "d/sub/b.jpg"]
    assert walk("d", include=("a.*",), exclude=("d", "raw/")) == ["d/a.jpg", "d/sub/a.jpg"]


def test_excluded_folder_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("d/a.jpg", "d/raw/b.jpg")
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    assert walk("d", exclude=("raw",)) == ["d/a.jpg"]
    assert listed == ["d"]


def test_links_are_followed_but_loops_end() -> None:
    touch("d/sub/a.jpg", "other/b.jpg")
    Path("d/sub/loop").symlink_to("../../d")
    Path("d/link").symlink_to("../other")
    Path("d/itself").symlink_to("itself")
    assert walk("d") == ["d/link/b.jpg", "d/sub/a.jpg"]


def test_folders_linked_to_each_other_do_not_multiply() -> None:
    """There are half a billion paths through twelve such folders."""
    folders = [f"d/{index:02}" for index in range(12)]
    for folder in folders:
        touch(f"{folder}/a.jpg")
    for folder in folders:
        for other in folders:
            Path(folder, f"to{Path(other).name}").symlink_to(f"../{Path(other).name}")
    found = walk("d")
    assert {f"{folder}/a.jpg" for folder in folders} <= set(found)
    assert len(found) < 12**3


def test_output_folder_is_skipped_unless_it_is_searched() -> None:
    touch("d/a.jpg", "d/out/b.jpg")
    assert walk("d", without="d/out") == ["d/a.jpg"]
    assert walk("d", without="d") == ["d/a.jpg", "d/out/b.jpg"]


def test_unreadable_folder_has_no_image_names() -> None:
    assert image_names(Path("gone")) == []


def test_unlistable_folder_is_an_error_among_the_images() -> None:
    ((folder, error),) = walk_images(Path("gone"), search=SearchSettings(), is_output=lambda _: False)
    assert folder == Path("gone")
    assert isinstance(error, ImageError)
    assert error.message.startswith("gone: ")


# Patterns

PATHS = ["a.jpg", "b.PNG", "raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg", "sub/[x].jpg"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*.jpg", ["a.jpg", "raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg", "sub/[x].jpg"]),
        ("*.png", ["b.PNG"]),
        ("?.jpg", ["a.jpg", "raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg"]),
        ("[!a].*", ["b.PNG", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg"]),
        ("[a-b].*", ["a.jpg", "b.PNG", "raw/a.jpg"]),
        ("raw", ["raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg"]),
        ("raw/", ["raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg"]),
        ("/raw", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("./raw", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("raw/*.jpg", ["raw/a.jpg"]),
        ("raw/**", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("**/raw/*.jpg", ["raw/a.jpg", "sub/raw/d.jpg"]),
        ("*/raw/*", ["sub/raw/d.jpg"]),
        ("raw/**/*.jpg", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("sub/raw*", ["sub/raw/d.jpg", "sub/rawish/e.jpg"]),
        ("[[]x[]].jpg", ["sub/[x].jpg"]),
        ("a[/]b", []),
        ("*a", []),
    ],
)
def test_pattern_selects_files(pattern: str, matched: list[str]) -> None:
    include, exclude = PathFilter.of([pattern], []), PathFilter.of([], [pattern])
    assert [path for path in PATHS if include.wants(path)] == matched
    assert [path for path in PATHS if not exclude.wants(path)] == matched


def test_exclude_wins_and_includes_add_up() -> None:
    chosen = PathFilter.of(["*.png", "raw"], ["deep"])
    assert [path for path in PATHS if chosen.wants(path)] == ["b.PNG", "raw/a.jpg", "sub/raw/d.jpg"]


def test_only_excluded_folders_are_not_entered() -> None:
    chosen = PathFilter.of(["raw/*.jpg"], ["deep", "sub/raw"])
    assert [path for path in ("raw", "raw/deep", "sub", "sub/raw", "other") if chosen.enters(path)] == [
        "raw",
        "sub",
        "other",
    ]


@pytest.mark.parametrize("odd", ["^", "\\", "a&&b", "~", "a|b", "]", "x--y", "(", "{a}", "+", "$", "new\nline", "[x"])
def test_regex_characters_are_literal(odd: str) -> None:
    """Also inside a set, and without a warning, which pytest turns into an error."""
    assert PathFilter.of([f"{odd}.jpg"], []).wants(f"{odd}.jpg")
    inside = odd[0] if odd[0] not in "![" else "x"
    assert PathFilter.of([f"[{inside}q].jpg"], []).wants(f"{inside}.jpg")


@pytest.mark.parametrize("pattern", ["", "/", "./", "../x", "a/../b", "[z-a]"])
def test_invalid_pattern_is_a_usage_error(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        PathFilter.of([pattern], [])
    assert caught.value.setting == "include"
    with pytest.raises(UsageError) as caught:
        PathFilter.of([], [pattern])
    assert caught.value.setting == "exclude"

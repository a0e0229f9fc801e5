from __future__ import annotations

import os
from pathlib import Path

import pytest

from glpn_cli.image.discovery import STDIN, FoundImages, find_images
from glpn_cli.settings import SearchSettings

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


def test_a_file_is_taken_whatever_its_name() -> None:
    touch("scan", "x.jpg")
    assert names("scan", "x.jpg") == ["scan", "x.jpg"]


def test_a_folder_gives_its_own_images_sorted() -> None:
    touch("d/b.JPG", "d/a.png", "d/notes.txt", "d/.hidden.png", "d/sub/c.png", "d/a.depth.png")
    Path("d/folder.png").mkdir()
    found = find("d")
    assert [path.as_posix() for path in found.images] == ["d/a.png", "d/b.JPG"]
    assert found.skipped_outputs == 1


def test_a_folder_without_images_is_a_failure_with_a_hint() -> None:
    Path("d").mkdir()
    ((argument, error),) = find("d").failures
    assert argument == "d"
    assert "--recursive" in str(error.hint)


def test_a_quoted_pattern_is_expanded_here() -> None:
    touch("d/a.jpg", "d/b.jpg", "d/deep/er/c.jpg", "d/b.txt", "d/a.depth.png")
    assert names("d/*.jpg") == ["d/a.jpg", "d/b.jpg"]
    assert names("d/**/*.jpg") == ["d/a.jpg", "d/b.jpg", "d/deep/er/c.jpg"]
    assert names("d/[ab].*") == ["d/a.jpg", "d/b.jpg"]
    assert names(str(Path("d").resolve() / "*.jpg")) == [str(Path("d").resolve() / f"{x}.jpg") for x in "ab"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file() -> None:
    touch("a[1].png", "a1.png")
    assert names("a[1].png") == ["a[1].png"]


def test_a_pattern_that_matches_nothing_is_a_failure() -> None:
    assert [argument for argument, _ in find("*.jpg").failures] == ["*.jpg"]


def test_a_missing_file_fails_before_anything_is_loaded() -> None:
    touch("photo.jpg")
    ((argument, error),) = find("phto.jpg").failures
    assert argument == "phto.jpg"
    assert "photo.jpg" in str(error.hint)


def test_a_image_that_is_named_twice_is_done_once() -> None:
    touch("d/a.jpg")
    Path("link.jpg").symlink_to("d/a.jpg")
    assert names("d/a.jpg", "d", "./d/a.jpg", "d/*.jpg", "link.jpg") == ["d/a.jpg"]


def test_a_dash_is_standard_input_and_a_file_of_that_name_can_still_be_meant() -> None:
    touch("-")
    assert find("-", "-").images == [STDIN]
    (image,) = find("./-").images
    assert image is not STDIN


@pytest.mark.skipif(os.name == "nt", reason="such names are not allowed there")
def test_odd_names_are_names() -> None:
    odd = ["t\u00fcr \u56fe.jpg", "new\nline.jpg", "-rf.jpg", "a'b\"c.jpg", os.fsdecode(b"\xff\xfe.jpg")]
    touch(*(f"d/{name}" for name in odd))
    assert sorted(path.name for path in find("d").images) == sorted(odd)


def test_a_nul_in_a_name_is_a_failure_not_a_crash() -> None:
    assert len(find("a\0b.jpg").failures) == 1


def test_a_pattern_of_folders_survives_links_in_circles() -> None:
    touch("d/a.jpg", "d/sub/b.jpg", "d/.hidden/c.jpg")
    for index in range(12):
        Path(f"d/up{index}").symlink_to("..")
        Path(f"d/sub/down{index}").symlink_to("../sub")
    assert names("d/**/*.jpg") == ["d/a.jpg", "d/sub/b.jpg"]
    assert names("**/b.jpg") == ["d/sub/b.jpg"]
    assert names("./d/**/sub/*.jpg") == ["d/sub/b.jpg"]
    assert names("gone/**/*.jpg") == names("d/**/[z-a].jpg") == []
    assert names("d/**/*.jpg", search=SearchSettings(hidden=True)) == ["d/.hidden/c.jpg", "d/a.jpg", "d/sub/b.jpg"]


def test_a_folder_is_searched_as_told() -> None:
    touch("d/a.jpg", "d/.b.jpg", "d/sub/c.png", "d/sub/a.depth.png", "d/raw/e.jpg")
    assert names("d", search=SearchSettings(recursive=True)) == ["d/a.jpg", "d/raw/e.jpg", "d/sub/c.png"]
    assert names("d", search=SearchSettings(hidden=True)) == ["d/.b.jpg", "d/a.jpg"]
    only = SearchSettings(recursive=True, include=("*.JPG",), exclude=("raw",))
    assert names("d", "d/raw/e.jpg", search=only) == ["d/a.jpg", "d/raw/e.jpg"]
    assert find("d", search=SearchSettings(recursive=True)).skipped_outputs == 1


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (SearchSettings(), "--recursive"),
        (SearchSettings(recursive=True), "below it"),
        (SearchSettings(include=("*.png",)), "--include"),
    ],
)
def test_a_folder_without_images_says_what_was_looked_for(search: SearchSettings, said: str) -> None:
    touch("d/notes.txt")
    ((_, error),) = find("d", search=search).failures
    assert said in f"{error.message} {error.hint}"

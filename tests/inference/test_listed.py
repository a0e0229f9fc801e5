from __future__ import annotations

import os
from pathlib import Path

import pytest
from glpn_cli.inference.listed import place_listed

from glpn_cli.errors import UsageError
from glpn_cli.image.discovery import ImageList
from glpn_cli.settings import SearchSettings

SEARCH = SearchSettings(recursive=True)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with something beside it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def places(*entries: str, search: SearchSettings = SEARCH) -> dict[str, str]:
    listed = ImageList(entries)
    found = place_listed(listed, search=search, is_output=lambda path: "depth" in path.name)
    return {str(image.source): image.place.as_posix() for image in found if image.failure is None}


def test_below_the_current_folder_the_path_from_there_counts(here: Path) -> None:
    touch("a.jpg", "sub/b.jpg", "sub/odd")
    assert places("a.jpg", "./sub/../sub/b.jpg", str(here / "sub/odd")) == {
        str(here / "a.jpg"): ".",
        str(here / "sub/b.jpg"): "sub",
        str(here / "sub/odd"): "sub",
    }


def test_what_lies_elsewhere_gets_its_whole_path_and_nothing_leads_out(here: Path, tmp_path: Path) -> None:
    touch("../beside/a.jpg", "../beside/sub/b.jpg", "sub/c.jpg")
    Path("link").symlink_to("../beside")
    whole = tmp_path.relative_to(tmp_path.anchor).as_posix()
    entries = ["../beside/a.jpg", str(tmp_path / "beside/sub/b.jpg"), "sub/../link/a.jpg", "link/sub/../../sub/c.jpg"]
    found = places(*entries)
    assert found == {
        str(tmp_path / "beside/a.jpg"): f"{whole}/beside",
        str(tmp_path / "beside/sub/b.jpg"): f"{whole}/beside/sub",
    }
    for place in found.values():
        assert not Path(place).is_absolute()
        assert ".." not in Path(place).parts


def test_a_link_to_a_image_keeps_its_own_name(here: Path) -> None:
    touch("../beside/a.jpg")
    Path("mine.jpg").symlink_to("../beside/a.jpg")
    assert places("mine.jpg") == {str(here / "mine.jpg"): "."}


def test_a_folder_in_a_list_is_searched_as_told(here: Path) -> None:
    touch("sub/a.jpg", "sub/deep/b.jpg", "sub/a.depth.png", "sub/.c.jpg")
    assert places("sub") == {str(here / "sub/a.jpg"): "sub", str(here / "sub/deep/b.jpg"): "sub/deep"}
    assert places("sub", search=SearchSettings()) == {str(here / "sub/a.jpg"): "sub"}


def test_depth_files_are_left_out_and_patterns_are_names(here: Path) -> None:
    touch("a.depth.png", "*.jpg", "-", "b.jpg")
    assert places("a.depth.png", "*.jpg", "-") == {str(here / "*.jpg"): ".", str(here / "-"): "."}


def test_what_is_not_there_is_a_failure_that_says_where_it_is(tmp_path: Path) -> None:
    touch("../lists/a.jpg")
    listed = ImageList(("a.jpg", "b.jpg", "a\0b"), "../lists")
    first, second, third = (image.failure for image in place_listed(listed, search=SEARCH, is_output=lambda _: False))
    assert first is not None
    assert "count from the current folder" in str(first.hint)
    assert second is not None
    assert "count from" not in str(second.hint)
    assert third is not None


def test_an_address_gets_a_folder_of_its_host_and_has_to_be_allowed() -> None:
    allowed = SearchSettings(allow_url=True)
    assert places("https://me:pw@h.org/x/a.jpg", search=allowed) == {"https://h.org/x/a.jpg": "h.org/x"}
    with pytest.raises(UsageError, match="nothing is fetched unasked") as caught:
        places("https://me:pw@h.org/x/a.jpg")
    assert "pw" not in caught.value.message
    assert "--allow-url" in str(caught.value.hint)
    (broken,) = place_listed(ImageList(("http://pw@",)), search=allowed, is_output=lambda _: False)
    assert broken.failure is not None
    assert "pw" not in f"{broken.source} {broken.failure}"


@pytest.mark.skipif(os.name == "nt", reason="such names are not allowed there")
def test_odd_names_are_names(here: Path) -> None:
    odd = ["new\nline.jpg", "-rf.jpg", os.fsdecode(b"\xff.jpg"), " .jpg", "..jpg", "...", "~"]
    touch(*odd)
    assert list(places(*odd)) == [str(here / name) for name in odd]

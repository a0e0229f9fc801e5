from __future__ import annotations

import os
from pathlib import Path

import pytest

from glpn_cli.image.folder import image_names, walk_images
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


def test_images_come_in_the_order_of_names_and_folders_in_their_place() -> None:
    touch("d/b.jpg", "d/a.png", "d/aa/z.jpg", "d/c/y.jpg", "d/notes.txt", "d/b.depth.png")
    assert walk("d") == ["d/a.png", "d/aa/z.jpg", "d/b.jpg", "d/c/y.jpg"]
    assert walk("d", recursive=False) == ["d/a.png", "d/b.jpg"]


def test_hidden_files_and_folders_are_left_out_unless_asked_for() -> None:
    touch("d/a.jpg", "d/.b.jpg", "d/.thumbnails/c.jpg")
    assert walk("d") == ["d/a.jpg"]
    assert walk("d", hidden=True) == ["d/.b.jpg", "d/.thumbnails/c.jpg", "d/a.jpg"]


def test_patterns_are_held_against_the_path_from_the_folder() -> None:
    touch("d/sub/a.jpg", "d/sub/b.jpg", "d/raw/a.jpg", "d/a.jpg")
    assert walk("d", include=("sub/*",)) == ["d/sub/a.jpg", "d/sub/b.jpg"]
    assert walk("d", include=("a.*",), exclude=("d", "raw/")) == ["d/a.jpg", "d/sub/a.jpg"]


def test_a_folder_that_is_left_out_is_not_even_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("d/a.jpg", "d/raw/b.jpg")
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    assert walk("d", exclude=("raw",)) == ["d/a.jpg"]
    assert listed == ["d"]


def test_a_loop_ends_and_a_link_elsewhere_is_followed() -> None:
    touch("d/sub/a.jpg", "other/b.jpg")
    Path("d/sub/loop").symlink_to("../../d")
    Path("d/link").symlink_to("../other")
    Path("d/itself").symlink_to("itself")
    assert walk("d") == ["d/link/b.jpg", "d/sub/a.jpg"]


def test_folders_that_all_link_to_each_other_do_not_multiply() -> None:
    """Twelve such folders have half a billion ways through them."""
    folders = [f"d/{index:02}" for index in range(12)]
    for folder in folders:
        touch(f"{folder}/a.jpg")
    for folder in folders:
        for other in folders:
            Path(folder, f"to{Path(other).name}").symlink_to(f"../{Path(other).name}")
    found = walk("d")
    assert {f"{folder}/a.jpg" for folder in folders} <= set(found)
    assert len(found) < 12**3


def test_the_folder_for_depth_is_not_entered_unless_it_is_the_one_that_is_searched() -> None:
    touch("d/a.jpg", "d/out/b.jpg")
    assert walk("d", without="d/out") == ["d/a.jpg"]
    assert walk("d", without="d") == ["d/a.jpg", "d/out/b.jpg"]


def test_an_unreadable_folder_lists_nothing() -> None:
    assert image_names(Path("gone")) == []

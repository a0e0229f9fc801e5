from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.weights.store import (
    alone_with,
    clear_downloads,
    downloads_folder,
    list_stored,
    put_whole,
    remove_stored,
    stored_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")


def test_what_is_put_is_whole_and_what_was_there_is_replaced() -> None:
    assert put_whole("mine", [b"ab", b"cd"]).read_bytes() == b"abcd"
    put_whole("mine", [b"ef"])
    assert stored_file("mine").read_bytes() == b"ef"


def test_a_failure_in_the_middle_leaves_what_was_there() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    put_whole("mine", [b"whole"])
    with pytest.raises(WeightsError, match="no room to write: No space left on device") as caught:
        put_whole("mine", pieces())
    assert "GLPN_HOME" in str(caught.value.hint)
    assert stored_file("mine").read_bytes() == b"whole"
    assert not list(downloads_folder("mine").iterdir())


def test_removing_takes_the_weights_and_what_is_left_of_a_download(home: Path) -> None:
    put_whole("someone/x", [b"weights"])
    (downloads_folder("someone/x") / "abc.part").write_bytes(b"half")
    assert remove_stored("someone/x")
    assert not remove_stored("someone/x")
    assert not list(home.rglob("someone*.safetensors"))
    assert not list(home.rglob("*.part"))


def test_what_is_left_of_a_download_can_be_removed_alone() -> None:
    downloads_folder("kitti").mkdir(parents=True)
    assert remove_stored("kitti")
    assert not remove_stored("kitti")


def test_the_bundled_weights_stay() -> None:
    with pytest.raises(UsageError, match="stay"):
        remove_stored("tiny")


def test_what_somebody_is_busy_with_is_not_removed() -> None:
    put_whole("mine", [b"weights"])
    with alone_with("mine"), pytest.raises(WeightsError, match="busy"):
        remove_stored("mine")
    assert list_stored() == {"mine": stored_file("mine")}
    assert remove_stored("mine")


def test_one_waits_for_the_other() -> None:
    order: list[str] = []
    begun = threading.Event()

    def first() -> None:
        with alone_with("mine"):
            begun.set()
            threading.Event().wait(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait()
    with alone_with("mine"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_parts_are_cleared_but_for_the_one_that_goes_on() -> None:
    folder = downloads_folder("kitti")
    folder.mkdir(parents=True)
    for name in ("old.part", "new.part"):
        (folder / name).touch()
    clear_downloads("kitti", but=folder / "new.part")
    assert [path.name for path in folder.iterdir()] == ["new.part"]
    clear_downloads("nyu", but=downloads_folder("nyu") / "x.part")


@pytest.mark.parametrize("text", ["", ".", "..", "../weights", "a/../..", "..\\..", "weights/"])
def test_a_text_that_is_no_name_removes_nothing(home: Path, text: str) -> None:
    put_whole("mine", [b"weights"])
    (downloads_folder("kitti") / "abc.part").parent.mkdir(parents=True)
    before = sorted(home.rglob("*"))
    assert not remove_stored(text)
    assert sorted(home.rglob("*")) == before

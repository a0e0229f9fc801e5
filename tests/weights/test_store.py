from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest

from glpn_cli.errors import MissingWeightsError, UsageError, WeightsError
from glpn_cli.weights.store import (
    clear_downloads,
    downloads_folder,
    find_weights_file,
    home_folder,
    is_repository,
    list_stored,
    lock_weights,
    remove_stored,
    stored_file,
    write_stored,
)
from stand_in_hub import Recorder
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_home_is_the_variable_else_the_platform_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLPN_HOME", "~/somewhere")
    assert home_folder() == Path.home() / "somewhere"
    monkeypatch.setenv("GLPN_HOME", "relative")
    assert home_folder() == Path.cwd() / "relative"
    for nothing in ("", None):
        if nothing is None:
            monkeypatch.delenv("GLPN_HOME")
        else:
            monkeypatch.setenv("GLPN_HOME", nothing)
        assert home_folder() == Path(platformdirs.user_cache_dir("glpn", appauthor=False))


def test_names_and_files_correspond(home: Path) -> None:
    for name in ("kitti", "someone/glpn-x", "my.weights"):
        stored_file(name).parent.mkdir(parents=True, exist_ok=True)
        stored_file(name).touch()
        assert stored_file(name).parent == home / "weights"
    (home / "weights" / ".hidden.safetensors").touch()
    (home / "weights" / "note.txt").touch()
    assert {name: stored_file(name) for name in ("kitti", "someone/glpn-x", "my.weights")} == list_stored()


def test_unreadable_home_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "file"))
    assert list_stored() == {}


@pytest.mark.parametrize("text", ["vinvino02/glpn-nyu", "a/b", "A_1/b.c-d", "1/2"])
def test_repositories_have_an_owner_and_a_name(text: str) -> None:
    assert is_repository(text)


@pytest.mark.parametrize(
    "text", ["", "nyu", "a/b/c", "/a", "a/", "../a", "a/..", "./a", "a--b/c", "a b/c", "a/b\n", "ü/x"]
)
def test_other_texts_are_not_repositories(text: str) -> None:
    assert not is_repository(text)


@pytest.mark.usefixtures("home")
def test_written_file_replaces_the_old_one() -> None:
    assert write_stored("mine", [b"ab", b"cd"]).read_bytes() == b"abcd"
    write_stored("mine", [b"ef"])
    assert stored_file("mine").read_bytes() == b"ef"


@pytest.mark.usefixtures("home")
def test_failed_write_keeps_the_old_file() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    write_stored("mine", [b"whole"])
    with pytest.raises(WeightsError, match="No space left on device") as caught:
        write_stored("mine", pieces())
    assert "GLPN_HOME" in str(caught.value.hint)
    assert stored_file("mine").read_bytes() == b"whole"
    assert not list(downloads_folder("mine").iterdir())


def test_remove_deletes_weights_and_incomplete_downloads(home: Path) -> None:
    write_stored("someone/x", [b"weights"])
    (downloads_folder("someone/x") / "abc.part").write_bytes(b"half")
    assert remove_stored("someone/x")
    assert not remove_stored("someone/x")
    assert not list(home.rglob("someone*.safetensors"))
    assert not list(home.rglob("*.part"))


@pytest.mark.usefixtures("home")
def test_incomplete_download_can_be_removed() -> None:
    downloads_folder("kitti").mkdir(parents=True)
    assert remove_stored("kitti")
    assert not remove_stored("kitti")


@pytest.mark.usefixtures("home")
def test_bundled_weights_cannot_be_removed() -> None:
    with pytest.raises(UsageError, match="tiny"):
        remove_stored("tiny")


@pytest.mark.usefixtures("home")
def test_locked_weights_are_not_removed() -> None:
    write_stored("mine", [b"weights"])
    with lock_weights("mine"), pytest.raises(WeightsError, match="mine"):
        remove_stored("mine")
    assert list_stored() == {"mine": stored_file("mine")}
    assert remove_stored("mine")


@pytest.mark.usefixtures("home")
def test_second_waits_for_the_first() -> None:
    order: list[str] = []
    locked, waiting = threading.Event(), threading.Event()

    class Waiter(Recorder):
        def note(self, text: str) -> None:
            super().note(text)
            waiting.set()

    def first() -> None:
        with lock_weights("mine"):
            locked.set()
            waiting.wait(HANG_S)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert locked.wait(HANG_S)
    waiter = Waiter()
    with lock_weights("mine", progress=waiter):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert len(waiter.notes) == 1


def test_home_that_is_a_file_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError) as caught, lock_weights("mine"):
        pass
    assert "GLPN_HOME" in str(caught.value.hint)


@pytest.mark.usefixtures("home")
def test_clearing_keeps_the_download_to_resume() -> None:
    folder = downloads_folder("kitti")
    folder.mkdir(parents=True)
    for name in ("old.part", "new.part"):
        (folder / name).touch()
    clear_downloads("kitti", keep=folder / "new.part")
    assert [path.name for path in folder.iterdir()] == ["new.part"]
    clear_downloads("nyu", keep=downloads_folder("nyu") / "x.part")


def test_a_folder_in_the_way_of_a_repository_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "repo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingWeightsError) as caught:
        find_weights_file("owner/repo")
    assert "Hub" in str(caught.value.hint)
    with pytest.raises(MissingWeightsError) as caught:
        find_weights_file(tmp_path / "owner" / "repo")
    assert caught.value.hint is None


@pytest.mark.parametrize("text", ["", ".", "..", "../weights", "a/../..", "..\\..", "weights/"])
def test_invalid_name_removes_nothing(home: Path, text: str) -> None:
    write_stored("mine", [b"weights"])
    (downloads_folder("kitti") / "abc.part").parent.mkdir(parents=True)
    before = sorted(home.rglob("*"))
    assert not remove_stored(text)
    assert sorted(home.rglob("*")) == before


def test_a_user_without_a_home_folder_has_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> str:
        raise RuntimeError("could not determine the home directory")

    for answer in (refuse, lambda *_: "~/.cache/glpn"):  # newer and older versions of platformdirs
        monkeypatch.setattr(platformdirs, "user_cache_dir", answer)
        monkeypatch.delenv("GLPN_HOME", raising=False)
        assert list_stored() == {}
        with pytest.raises(WeightsError) as caught:
            stored_file("nyu")
        assert "GLPN_HOME" in str(caught.value.hint)
        monkeypatch.setenv("GLPN_HOME", "somewhere")
        assert home_folder() == Path.cwd() / "somewhere"


# Folders above the weights


def test_weights_one_folder_below_are_found(tmp_path: Path) -> None:
    file = tmp_path / "clone" / "glpn" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    (tmp_path / "clone" / "images").mkdir()
    assert find_weights_file(tmp_path / "clone") == file


def test_several_folders_with_weights_are_named(tmp_path: Path) -> None:
    for name in ("best", "last"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "model.safetensors").touch()
    with pytest.raises(MissingWeightsError) as caught:
        find_weights_file(tmp_path / "run")
    assert str(tmp_path / "run" / "best") in str(caught.value.hint)
    with pytest.raises(MissingWeightsError) as caught:
        find_weights_file(tmp_path)  # two folders above
    assert caught.value.hint is None


@pytest.mark.parametrize("commits", [("a1",), ("a1", "b2")])
def test_cache_of_the_hub_client_is_read(tmp_path: Path, commits: tuple[str, ...]) -> None:
    cache = tmp_path / "models--someone--glpn"
    for commit in commits:
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "snapshots" / commit / "pytorch_model.bin").touch()
    (cache / "blobs").mkdir()
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commits[-1])
    assert find_weights_file(cache) == cache / "snapshots" / commits[-1] / "pytorch_model.bin"
    (cache / "refs" / "main").unlink()
    if len(commits) == 1:
        assert find_weights_file(cache).parent.name == "a1"

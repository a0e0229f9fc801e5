from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from glpn_cli.weights.store import home_folder, is_repository, list_stored, stored_file


def test_the_home_is_what_the_variable_says_else_the_cache_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_names_and_files_belong_together(home: Path) -> None:
    for name in ("kitti", "someone/glpn-x", "my.weights"):
        stored_file(name).parent.mkdir(parents=True, exist_ok=True)
        stored_file(name).touch()
        assert stored_file(name).parent == home / "weights"
    (home / "weights" / ".hidden.safetensors").touch()
    (home / "weights" / "note.txt").touch()
    assert {name: stored_file(name) for name in ("kitti", "someone/glpn-x", "my.weights")} == list_stored()


def test_a_home_that_cannot_be_looked_into_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "file"))
    assert list_stored() == {}


@pytest.mark.parametrize("text", ["vinvino02/glpn-nyu", "a/b", "A_1/b.c-d", "1/2"])
def test_repositories_have_an_owner_and_a_name(text: str) -> None:
    assert is_repository(text)


@pytest.mark.parametrize(
    "text", ["", "nyu", "a/b/c", "/a", "a/", "../a", "a/..", "./a", "a--b/c", "a b/c", "a/b\n", "ü/x"]
)
def test_anything_else_is_none(text: str) -> None:
    assert not is_repository(text)

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.location import locate_weights

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLPN_WEIGHTS", raising=False)


def test_auto_is_what_the_package_carries_and_nobody_asked_for() -> None:
    located = locate_weights("auto")
    assert located.name == "tiny"
    assert located.path.is_file()
    assert not located.chosen
    assert locate_weights("tiny").chosen


def test_auto_is_the_environment_variable_where_it_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.safetensors").touch()
    monkeypatch.setenv("GLPN_WEIGHTS", str(tmp_path / "mine.safetensors"))
    located = locate_weights("auto")
    assert (located.name, located.chosen) == ("mine.safetensors", True)
    assert locate_weights("tiny").name == "tiny"


@pytest.mark.parametrize("value", ["", "auto"])
def test_an_environment_variable_that_says_nothing_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLPN_WEIGHTS", value)
    assert locate_weights("auto").name == "tiny"


def test_a_folder_is_called_by_its_name_even_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glpn-mine").mkdir()
    monkeypatch.chdir(tmp_path / "glpn-mine")
    assert locate_weights(".").name == "glpn-mine"


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(WeightsError) as caught:
        locate_weights("kiti")
    assert caught.value.hint == "did you mean kitti?"


def test_a_path_that_is_not_there_is_answered_with_the_names() -> None:
    with pytest.raises(WeightsError) as caught:
        locate_weights("some/where/else.safetensors")
    assert all(name in str(caught.value.hint) for name in CATALOG)


def test_every_row_of_the_catalogue_is_either_bundled_or_has_a_source() -> None:
    for name, entry in CATALOG.items():
        assert name == entry.card.name
        assert (entry.bundled_file is None) != (entry.source is None)


def test_the_published_weights_have_the_scales_that_they_were_trained_at() -> None:
    assert (CATALOG["nyu"].card.metres_per_unit, CATALOG["nyu"].card.depth_limit_m) == (1, 10)
    assert (CATALOG["kitti"].card.metres_per_unit, CATALOG["kitti"].card.depth_limit_m) == (8, 80)

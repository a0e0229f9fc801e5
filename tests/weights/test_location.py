from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.location import LocatedWeights, locate_weights, obtain_weights
from glpn_cli.weights.store import stored_file
from stand_in_hub import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stand_in_hub import StandInHub


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


def test_every_row_of_the_catalog_is_either_bundled_or_has_a_source() -> None:
    for name, entry in CATALOG.items():
        assert name == entry.card.name
        assert (entry.bundled_file is None) != (entry.source is None)


def test_the_published_weights_have_the_scales_that_they_were_trained_at() -> None:
    assert (CATALOG["nyu"].card.meters_per_unit, CATALOG["nyu"].card.depth_limit_m) == (1, 10)
    assert (CATALOG["kitti"].card.meters_per_unit, CATALOG["kitti"].card.depth_limit_m) == (8, 80)


@pytest.fixture
def kept(home: Path) -> Callable[[str], Path]:
    """Pretend that weights are kept under a name."""

    def keep(name: str) -> Path:
        path = stored_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return keep


def test_auto_is_nyu_once_it_is_here_and_nobody_asked_for_it_either(kept: Callable[[str], Path]) -> None:
    kept("kitti")
    assert locate_weights("auto").name == "tiny"
    path = kept("nyu")
    located = locate_weights("auto")
    assert (located.name, located.path, located.chosen) == ("nyu", path, False)
    assert located.entry is CATALOG["nyu"]


@pytest.mark.parametrize("name", ["kitti", "mine", "someone/glpn-x"])
def test_what_is_kept_is_found_by_its_name(kept: Callable[[str], Path], name: str) -> None:
    path = kept(name)
    assert locate_weights(name) == LocatedWeights(name, path, CATALOG.get(name))


def test_a_repository_of_the_catalog_has_its_name_there(kept: Callable[[str], Path]) -> None:
    kept("kitti")
    for text in ("vinvino02/glpn-kitti", "Vinvino02/GLPN-kitti"):
        assert locate_weights(text).name == "kitti"


def test_a_bare_name_is_never_taken_for_a_folder_that_lies_about(
    kept: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("kitti", "mine", "other"):
        (tmp_path / name).mkdir()
    path = kept("mine")
    assert locate_weights("mine").path == path
    assert locate_weights("./mine").path.resolve() == tmp_path / "mine"
    assert locate_weights("other").path.resolve() == tmp_path / "other"
    with pytest.raises(WeightsError, match="not on this machine"):
        locate_weights("kitti")


def test_a_folder_of_the_form_of_a_repository_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vinvino02" / "glpn-kitti").mkdir(parents=True)
    assert locate_weights("vinvino02/glpn-kitti").path.resolve() == tmp_path / "vinvino02" / "glpn-kitti"


@pytest.mark.parametrize("name", ["kitti", "someone/glpn-x"])
def test_looking_never_downloads(hub: StandInHub, name: str) -> None:
    with pytest.raises(WeightsError, match="not on this machine") as caught:
        locate_weights(name)
    assert caught.value.hint == f"glpn download-weights {name} gets them"
    assert hub.asked == []


def test_obtaining_downloads_what_is_named_and_not_here(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish("vinvino02/glpn-kitti")
    recorder = Recorder()
    located = obtain_weights("vinvino02/glpn-kitti", watcher=recorder)
    assert located.name == "kitti"
    assert recorder.done
    hub.asked.clear()
    assert obtain_weights("kitti") == located
    monkeypatch.setenv("GLPN_WEIGHTS", "kitti")
    assert obtain_weights("auto") == located
    assert hub.asked == []


def test_obtaining_by_the_environment_variable_downloads_too(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish("someone/glpn-x")
    monkeypatch.setenv("GLPN_WEIGHTS", "someone/glpn-x")
    assert obtain_weights("auto").name == "someone/glpn-x"


def test_nothing_is_downloaded_that_nobody_named_or_offline(hub: StandInHub) -> None:
    hub.publish("vinvino02/glpn-nyu")
    assert obtain_weights("auto").name == "tiny"
    with pytest.raises(WeightsError):
        obtain_weights("nyu", offline=True)
    for unknown in ("kiti", "gone/model.safetensors", "./gone/x"):
        with pytest.raises(WeightsError, match="no weights are called"):
            obtain_weights(unknown)
    assert hub.asked == []


def test_finding_what_is_here_needs_neither_torch_nor_the_client_of_the_hub() -> None:
    code = (
        "import sys; from glpn_cli.weights.location import obtain_weights; obtain_weights('auto')\n"
        "from glpn_cli.weights.store import take_inventory; take_inventory()\n"
        "print({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"

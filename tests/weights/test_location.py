from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.files import file_sha256
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.checkpoint import write_checkpoint
from glpn_cli.weights.download import download
from glpn_cli.weights.install import import_weights
from glpn_cli.weights.location import (
    LocatedWeights,
    Status,
    locate_weights,
    obtain_weights,
    take_inventory,
    to_download_name,
    unknown_name_error,
    verify,
)
from glpn_cli.weights.store import stored_file
from stand_in_hub import COMMIT, SMALL, Recorder, random_glpn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stand_in_hub import StandInHub


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLPN_WEIGHTS", raising=False)


def test_auto_is_the_bundled_weights_and_not_chosen() -> None:
    located = locate_weights("auto")
    assert located.name == "tiny"
    assert located.path.is_file()
    assert not located.chosen
    assert locate_weights("tiny").chosen


def test_auto_is_the_environment_variable_if_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.safetensors").touch()
    monkeypatch.setenv("GLPN_WEIGHTS", str(tmp_path / "mine.safetensors"))
    located = locate_weights("auto")
    assert (located.name, located.chosen) == ("mine.safetensors", True)
    assert locate_weights("tiny").name == "tiny"


@pytest.mark.parametrize("value", ["", "auto"])
def test_empty_environment_variable_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLPN_WEIGHTS", value)
    assert locate_weights("auto").name == "tiny"


def test_folder_is_named_even_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glpn-mine").mkdir()
    monkeypatch.chdir(tmp_path / "glpn-mine")
    assert locate_weights(".").name == "glpn-mine"


def test_misspelled_name_suggests_the_nearest() -> None:
    with pytest.raises(WeightsError) as caught:
        locate_weights("kiti")
    assert caught.value.hint == "did you mean 'kitti'?"


@pytest.mark.parametrize("text", ["./none.safetensors", "none/", "/none", "~/none", "run/none.ckpt"])
def test_missing_path_is_no_unknown_name(text: str) -> None:
    with pytest.raises(WeightsError, match=r"no such file"):
        locate_weights(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("TINY", "tiny"),
        ("Nyu", "nyu"),
        ("https://huggingface.co/vinvino02/glpn-kitti", "kitti"),
        ("https://huggingface.co/vinvino02/glpn-nyu/tree/main?x=1", "nyu"),
        ("huggingface.co/someone/glpn-x", "someone/glpn-x"),
        (" https://hf.co/someone/glpn-x/blob/main/config.json#a ", "someone/glpn-x"),
        ("https://huggingface.co/datasets/a/b", None),
    ],
)
def test_names_in_any_case_and_pasted_addresses_are_understood(text: str, name: str | None) -> None:
    assert to_download_name(text) == name


def test_installed_names_match_in_any_case(
    pretend_installed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pretend_installed("Mine")
    assert locate_weights("mine") == LocatedWeights("Mine", path, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "NYU").mkdir()
    assert locate_weights("NYU").path.resolve() == tmp_path / "NYU"  # what exists has precedence over another case
    assert locate_weights((tmp_path / "NYU").as_uri()).path == tmp_path / "NYU"


def test_missing_path_lists_the_names() -> None:
    with pytest.raises(WeightsError) as caught:
        locate_weights("some/where/else.safetensors")
    assert all(name in str(caught.value.hint) for name in CATALOG)


@pytest.mark.parametrize("variable", [None, "kitti"])
def test_empty_text_is_refused(variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable:
        monkeypatch.setenv("GLPN_WEIGHTS", variable)
    with pytest.raises(UsageError) as caught:
        locate_weights("")
    assert caught.value.setting == "weights"


@pytest.mark.parametrize(
    ("text", "name"),
    [("tiny", "tiny"), ("a/b", "a/b"), ("Vinvino02/glpn-NYU", "nyu"), ("kiti", None), ("a/b.ckpt", None)],
)
def test_download_names_are_catalog_names_and_repositories(text: str, name: str | None) -> None:
    assert to_download_name(text) == name


def test_unknown_name_error_lists_names_and_other_forms() -> None:
    error = unknown_name_error("???", ["tiny", "all"], others="OWNER/REPO")
    assert "???" in error.message
    assert all(part in str(error.hint) for part in ("tiny", "all", "OWNER/REPO"))


@pytest.fixture
def pretend_installed(home: Path) -> Callable[[str], Path]:
    """Pretend that weights of a name are installed."""

    def keep(name: str) -> Path:
        path = stored_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return keep


def test_auto_is_nyu_if_installed_and_not_chosen(pretend_installed: Callable[[str], Path]) -> None:
    pretend_installed("kitti")
    assert locate_weights("auto").name == "tiny"
    path = pretend_installed("nyu")
    located = locate_weights("auto")
    assert (located.name, located.path, located.chosen) == ("nyu", path, False)
    assert located.entry is CATALOG["nyu"]


@pytest.mark.parametrize("name", ["kitti", "mine", "someone/glpn-x"])
def test_installed_weights_are_located_by_name(pretend_installed: Callable[[str], Path], name: str) -> None:
    path = pretend_installed(name)
    assert locate_weights(name) == LocatedWeights(name, path, CATALOG.get(name))


def test_repository_of_the_catalog_has_its_catalog_name(pretend_installed: Callable[[str], Path]) -> None:
    pretend_installed("kitti")
    for text in ("vinvino02/glpn-kitti", "Vinvino02/GLPN-kitti"):
        assert locate_weights(text).name == "kitti"


def test_known_name_has_precedence_over_a_folder(
    pretend_installed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("kitti", "mine", "other"):
        (tmp_path / name).mkdir()
    path = pretend_installed("mine")
    assert locate_weights("mine").path == path
    assert locate_weights("./mine").path.resolve() == tmp_path / "mine"
    assert locate_weights("other").path.resolve() == tmp_path / "other"
    with pytest.raises(WeightsError, match="'kitti'"):
        locate_weights("kitti")


def test_existing_folder_has_precedence_over_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vinvino02" / "glpn-kitti").mkdir(parents=True)
    assert locate_weights("vinvino02/glpn-kitti").path.resolve() == tmp_path / "vinvino02" / "glpn-kitti"


@pytest.mark.parametrize("name", ["kitti", "someone/glpn-x"])
def test_locating_never_downloads(hub: StandInHub, name: str) -> None:
    with pytest.raises(WeightsError, match=name) as caught:
        locate_weights(name)
    assert f"glpn download-weights {name}" in str(caught.value.hint)
    assert hub.asked == []


def test_obtaining_downloads_missing_weights_once(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish("vinvino02/glpn-kitti")
    recorder = Recorder()
    located = obtain_weights("vinvino02/glpn-kitti", progress=recorder)
    assert located.name == "kitti"
    assert recorder.done
    hub.asked.clear()
    assert obtain_weights("kitti") == located
    monkeypatch.setenv("GLPN_WEIGHTS", "kitti")
    assert obtain_weights("auto") == located
    assert hub.asked == []


def test_obtaining_downloads_the_environment_variable_too(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish("someone/glpn-x")
    monkeypatch.setenv("GLPN_WEIGHTS", "someone/glpn-x")
    assert obtain_weights("auto").name == "someone/glpn-x"


def test_nothing_is_downloaded_for_auto_offline_or_unknown_names(hub: StandInHub) -> None:
    hub.publish("vinvino02/glpn-nyu")
    assert obtain_weights("auto").name == "tiny"
    with pytest.raises(WeightsError):
        obtain_weights("nyu", offline=True)
    for unknown in ("kiti", "gone/model.safetensors", "./gone/x"):
        with pytest.raises(WeightsError, match=unknown):
            obtain_weights(unknown)
    assert hub.asked == []


def test_locating_imports_neither_torch_nor_the_hub_client() -> None:
    code = (
        "import sys; from glpn_cli.weights.location import obtain_weights; obtain_weights('auto')\n"
        "from glpn_cli.weights.location import take_inventory; take_inventory()\n"
        "print({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.fixture
def some_weights(hub: StandInHub, tmp_path: Path) -> None:
    """One downloaded, one imported."""
    hub.publish("vinvino02/glpn-kitti")
    download("kitti")
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {})
    import_weights(tmp_path / "w", "mine")


def test_inventory_of_an_empty_home_is_the_catalog(home: Path) -> None:
    rows = take_inventory()
    assert [row.name for row in rows] == list(CATALOG)
    assert [row.status for row in rows] == [Status.BUNDLED, Status.ABSENT, Status.ABSENT]
    for row in rows:
        entry = CATALOG[row.name]
        assert (row.card, row.license, row.domain, row.source) == (
            entry.card,
            entry.license,
            entry.domain,
            entry.source,
        )


@pytest.mark.usefixtures("some_weights")
def test_inventory_describes_installed_weights(tmp_path: Path) -> None:
    _, nyu, kitti, mine = take_inventory()
    assert nyu.status is Status.ABSENT
    assert (kitti.status, kitti.source, kitti.revision) == (Status.DOWNLOADED, "vinvino02/glpn-kitti", COMMIT)
    assert kitti.card == CATALOG["kitti"].card
    assert kitti.path is not None
    assert kitti.size_bytes == kitti.path.stat().st_size
    assert (mine.name, mine.status, mine.revision) == ("mine", Status.IMPORTED, None)
    assert mine.source == str(tmp_path / "w" / "model.safetensors")
    assert (mine.license, mine.domain) == ("unknown", "")


@pytest.mark.usefixtures("some_weights")
def test_inventory_lists_damaged_files() -> None:
    locate_weights("mine").path.write_bytes(b"damage")
    assert take_inventory()[-1].status is Status.DAMAGED
    assert take_inventory()[-1].card is None


@pytest.mark.usefixtures("some_weights")
@pytest.mark.parametrize("name", ["tiny", "kitti", "mine"])
def test_intact_weights_verify(name: str) -> None:
    assert verify(locate_weights(name))


@pytest.mark.usefixtures("some_weights")
@pytest.mark.parametrize("name", ["kitti", "mine"])
@pytest.mark.parametrize("damage", ["a bit", "the end", "everything"])
def test_damage_is_detected(name: str, damage: str) -> None:
    path = locate_weights(name).path
    data = path.read_bytes()
    damaged = {"a bit": data[:-5] + bytes([data[-5] ^ 4]) + data[-4:], "the end": data[:-1], "everything": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(WeightsError):
        verify(locate_weights(name))


def test_bundled_file_has_the_hash_of_the_catalog() -> None:
    path = locate_weights("tiny").path
    assert file_sha256(path) == CATALOG["tiny"].sha256
    assert path.stat().st_size == CATALOG["tiny"].size_bytes


def test_weights_without_a_seal_are_only_readable(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {})
    assert not verify(locate_weights(str(tmp_path / "w")))

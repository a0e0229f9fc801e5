from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from huggingface_hub import hf_hub_download

from glpn_cli.errors import WeightsError
from glpn_cli.weights.download import download, find_cached
from glpn_cli.weights.header import is_sealed_intact, read_metadata
from stand_in_hub import COMMIT, Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub

KITTI = "vinvino02/glpn-kitti"


@pytest.fixture
def filled(hub: StandInHub, tmp_path: Path) -> Path:
    """Fill the client's cache as another program does: with the client itself. Gives the weights in it."""
    hub.publish(KITTI)
    for name in ("config.json", "pytorch_model.bin"):
        file = hf_hub_download(KITTI, name, endpoint=hub.url, cache_dir=tmp_path / "hf" / "hub", token=False)
    hub.asked.clear()
    return tmp_path / "hf" / "hub" / file


@pytest.mark.parametrize("offline", [False, True])
def test_what_another_program_has_downloaded_is_used_instead_of_the_network(
    hub: StandInHub, filled: Path, offline: bool
) -> None:
    recorder = Recorder()
    kept = download("kitti", offline=offline, watcher=recorder)
    assert kept is not None
    assert is_sealed_intact(kept.path)
    assert read_metadata(kept.path)["revision"] == COMMIT
    assert kept.card.meters_per_unit == 8
    assert hub.asked == []
    assert "Hugging Face cache" in recorder.notes[0]


def test_a_damaged_copy_in_the_cache_is_not_used(hub: StandInHub, filled: Path) -> None:
    blob = filled.resolve()
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    recorder = Recorder()
    with pytest.raises(WeightsError, match="not on this machine"):
        download("kitti", offline=True, watcher=recorder)
    assert "damaged and not used" in recorder.notes[0]
    assert download("kitti") is not None
    assert hub.asked


def test_overwrite_goes_past_the_cache_unless_offline(hub: StandInHub, filled: Path) -> None:
    assert download("kitti", overwrite=True) is not None
    assert hub.asked
    hub.asked.clear()
    assert download("kitti", overwrite=True, offline=True) is not None
    assert hub.asked == []


def test_a_cache_without_symbolic_links_has_no_hash_and_is_used(filled: Path) -> None:
    data = filled.read_bytes()
    filled.unlink()
    filled.write_bytes(data)
    assert download("kitti", offline=True) is not None


def test_half_a_repository_in_the_cache_is_not_enough(hub: StandInHub, filled: Path) -> None:
    filled.unlink()
    assert find_cached(KITTI) is None
    assert download("kitti") is not None
    assert hub.asked


def test_the_cache_is_where_the_environment_says(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_cached(KITTI) is not None
    monkeypatch.setenv("HF_HOME", str(tmp_path / "elsewhere"))
    assert find_cached(KITTI) is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    assert find_cached(KITTI) is not None


def test_a_cache_that_cannot_be_read_is_not_used(
    hub: StandInHub, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("glpn_cli.weights.hub.try_to_load_from_cache", refuse)
    recorder = Recorder()
    assert download("kitti", watcher=recorder) is not None
    assert "cannot be read" in recorder.notes[0]
    assert hub.asked

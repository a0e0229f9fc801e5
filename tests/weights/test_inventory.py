from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.files import file_sha256
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.checkpoint import write_checkpoint
from glpn_cli.weights.download import download
from glpn_cli.weights.install import import_weights
from glpn_cli.weights.location import Status, locate_weights, take_inventory, verify
from stand_in_hub import COMMIT, SMALL, random_glpn

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub


@pytest.fixture
def some_weights(hub: StandInHub, tmp_path: Path) -> None:
    """One that was downloaded, one that was imported."""
    hub.publish("vinvino02/glpn-kitti")
    download("kitti")
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {})
    import_weights(tmp_path / "w", "mine")


def test_without_anything_kept_the_catalog_is_all_there_is(home: Path) -> None:
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
def test_what_is_kept_says_what_it_is(tmp_path: Path) -> None:
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
def test_a_damaged_file_is_listed_as_such() -> None:
    locate_weights("mine").path.write_bytes(b"damage")
    assert take_inventory()[-1].status is Status.DAMAGED
    assert take_inventory()[-1].card is None


@pytest.mark.usefixtures("some_weights")
@pytest.mark.parametrize("name", ["tiny", "kitti", "mine"])
def test_intact_weights_are_intact(name: str) -> None:
    assert verify(locate_weights(name))


@pytest.mark.usefixtures("some_weights")
@pytest.mark.parametrize("name", ["kitti", "mine"])
@pytest.mark.parametrize("damage", ["a bit", "the end", "everything"])
def test_damage_is_found(name: str, damage: str) -> None:
    path = locate_weights(name).path
    data = path.read_bytes()
    damaged = {"a bit": data[:-5] + bytes([data[-5] ^ 4]) + data[-4:], "the end": data[:-1], "everything": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(WeightsError):
        verify(locate_weights(name))


def test_the_bundled_file_is_the_one_that_the_catalog_means() -> None:
    path = locate_weights("tiny").path
    assert file_sha256(path) == CATALOG["tiny"].sha256
    assert path.stat().st_size == CATALOG["tiny"].size_bytes


def test_weights_of_others_are_readable_and_nobody_knows_more(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {})
    assert not verify(locate_weights(str(tmp_path / "w")))

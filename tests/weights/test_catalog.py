from __future__ import annotations

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.weights.catalog import CATALOG, WeightsCard, find_entry_beyond


def read(**metadata: str) -> WeightsCard:
    return WeightsCard.from_metadata(metadata, name="x", max_depth=10.0)


def test_missing_metadata_defaults_to_the_published_convention() -> None:
    assert read() == WeightsCard("x", depth_limit_m=10.0, meters_per_unit=1.0, working_size=(480, 640), metric=None)
    assert not read().shrink
    assert not read().sharp_edges


def test_depth_limit_follows_the_scale() -> None:
    assert read(meters_per_unit="8").depth_limit_m == 80.0


def test_approximate_weights_shrink_to_their_working_size() -> None:
    card = read(metric="approximate", working_size="96x128")
    assert card.shrink
    assert card.metric is False
    assert not read(metric="metric", working_size="96x128").shrink


@pytest.mark.parametrize(
    "card",
    [
        WeightsCard("x", 80.0, 8.0, (352, 1216), metric=True),
        WeightsCard("x", 80.0, 1.0, (96, 128), metric=False, shrink=True),
        WeightsCard("x", 80.0, sharp_edges=True),
        WeightsCard("x", 80.0, metric=False, canonical_depth=True),
        WeightsCard("x", 10.0),
    ],
)
def test_card_round_trips_through_metadata(card: WeightsCard) -> None:
    assert WeightsCard.from_metadata(card.to_metadata(), name="x", max_depth=1.0) == card


@pytest.mark.parametrize(
    "metadata",
    [
        {"working_size": "large"},
        {"working_size": "480"},
        {"working_size": "0x640"},
        {"depth_limit_m": "ten"},
        {"meters_per_unit": "-1"},
        {"depth_limit_m": "nan"},
        {"depth_limit_m": "1e308"},
        {"depth_limit_m": "1e-320"},
        {"meters_per_unit": "1e300"},
        {"meters_per_unit": "1e-300", "depth_limit_m": "1e-300"},
        {"working_size": "1000000x1000000"},
        {"working_size": "1x1000000"},
        {"working_size": "4096x4096"},
        {"working_size": "9" * 5000 + "x9"},
    ],
)
def test_invalid_metadata_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(WeightsError, match="weights x"):
        read(**metadata)


def test_entries_are_either_bundled_or_have_a_source() -> None:
    for name, entry in CATALOG.items():
        assert name == entry.card.name
        assert (entry.bundled_file is None) != (entry.source is None)


def test_published_weights_have_their_training_scale() -> None:
    assert (CATALOG["nyu"].card.meters_per_unit, CATALOG["nyu"].card.depth_limit_m) == (1, 10)
    assert (CATALOG["kitti"].card.meters_per_unit, CATALOG["kitti"].card.depth_limit_m) == (8, 80)


@pytest.mark.parametrize(("limit_m", "name"), [(5, "nyu"), (10, "kitti"), (80, None)])
def test_entry_beyond_a_limit_is_metric_and_the_nearest(limit_m: float, name: str | None) -> None:
    entry = find_entry_beyond(limit_m)
    assert (entry.card.name if entry else None) == name

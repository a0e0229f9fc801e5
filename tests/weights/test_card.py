from __future__ import annotations

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.weights.catalog import WeightsCard


def read(**metadata: str) -> WeightsCard:
    return WeightsCard.from_metadata(metadata, name="x", max_depth=10.0)


def test_weights_without_metadata_get_the_published_convention() -> None:
    assert read() == WeightsCard("x", depth_limit_m=10.0, meters_per_unit=1.0, working_size=(480, 640), metric=None)
    assert not read().shrink


def test_the_depth_limit_follows_the_scale() -> None:
    assert read(meters_per_unit="8").depth_limit_m == 80.0


def test_approximate_weights_work_at_their_own_size() -> None:
    card = read(metric="approximate", working_size="96x128")
    assert card.shrink
    assert card.metric is False
    assert not read(metric="metric", working_size="96x128").shrink


@pytest.mark.parametrize(
    "card",
    [
        WeightsCard("x", 80.0, 8.0, (352, 1216), metric=True),
        WeightsCard("x", 80.0, 1.0, (96, 128), metric=False, shrink=True),
        WeightsCard("x", 10.0),
    ],
)
def test_a_card_survives_its_metadata(card: WeightsCard) -> None:
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
    ],
)
def test_nonsense_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(WeightsError, match="makes no sense"):
        read(**metadata)

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.errors import ConfigError, UsageError, WeightsError
from glpn_cli.model.config import PUBLISHED_CONFIG_FIELDS, GLPNConfig
from glpn_cli.training.initialization import ARCHITECTURES, create_network, restore_network
from glpn_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

NEW = TrainSettings(data=("x",), init="none")


def test_a_new_network_starts_around_three_meters() -> None:
    initial = create_network(NEW, "mine")
    with torch.inference_mode():
        meters = initial.network.eval()(torch.rand(1, 3, 64, 96)).predicted_depth
    assert 2 < meters.median() < 4.5
    assert meters.log().std() < 0.6


def test_a_new_network_follows_from_the_seed() -> None:
    networks = [create_network(replace(NEW, seed=seed), "mine").network for seed in (0, 0, 1)]
    first, again, other = (network.glpn.encoder.patch_embeddings[0].proj.weight for network in networks)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_depth_limit_is_that_of_the_data_by_default() -> None:
    assert create_network(NEW, "mine").card.depth_limit_m == 80
    nyu = create_network(replace(NEW, data=("nyu=2",)), "mine").card
    assert (nyu.depth_limit_m, nyu.metric, nyu.shrink) == (10, True, False)
    assert create_network(replace(NEW, data=("nyu", "kitti")), "mine").card.metric is True
    assert create_network(replace(NEW, data=("nyu", "x")), "mine").card.metric is False
    assert create_network(replace(NEW, depth_limit_m=25.0), "mine").network.config.max_depth == 25


def test_initial_weights_define_the_architecture() -> None:
    initial = create_network(replace(NEW, init="tiny", drop_path=0.3, sizes=((64, 96, 1.0),)), "mine")
    assert initial.network.training
    assert initial.network.config.drop_path_rate == 0.3
    assert (initial.card.name, initial.card.working_size, initial.card.metric) == ("mine", (64, 96), False)
    with pytest.raises(UsageError) as raised:
        create_network(replace(NEW, init="tiny", config="tiny"), "mine")
    assert raised.value.setting == "config"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_named_architectures_are_valid(name: str) -> None:
    GLPNConfig(**ARCHITECTURES[name])


def test_the_published_architecture_is_that_of_the_published_weights() -> None:
    config = GLPNConfig(**ARCHITECTURES["published"], max_depth=10)
    assert config.to_dict() == GLPNConfig(**PUBLISHED_CONFIG_FIELDS).to_dict()
    config.depths[0] = 99
    assert PUBLISHED_CONFIG_FIELDS["depths"][0] == 3


def test_an_unknown_architecture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="huge") as raised:
        create_network(replace(NEW, config="huge"), "mine")
    assert raised.value.setting == "config"
    (tmp_path / "c.json").write_text("{", encoding="utf-8")
    for name in ("c.json", "gone.json"):
        with pytest.raises(ConfigError, match=name):
            create_network(replace(NEW, config=str(tmp_path / name)), "mine")


def test_missing_initial_weights_are_named() -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        create_network(replace(NEW, init="gone.safetensors"), "mine")


def test_the_papers_size_is_used_unless_another_is_set() -> None:
    assert create_network(NEW, "mine", paper_size=(352, 704)).card.working_size == (352, 704)
    sized = replace(NEW, sizes=((64, 96, 1.0),))
    assert create_network(sized, "mine", paper_size=(352, 704)).card.working_size == (64, 96)


def test_a_depth_limit_can_only_lower_that_of_weights() -> None:
    assert create_network(replace(NEW, init="tiny", depth_limit_m=20.0), "mine").card.depth_limit_m == 20
    assert create_network(replace(NEW, init="tiny", depth_limit_m=200.0), "mine").card.depth_limit_m == 80


@pytest.mark.parametrize(("fields", "limit_m"), [({"max_depth": 25}, 25), ({"decoder_hidden_size": 32}, 80)])
def test_a_configuration_may_set_the_depth_limit(tmp_path: Path, fields: dict[str, int], limit_m: int) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(fields), encoding="utf-8")
    initial = create_network(replace(NEW, config=str(file)), "mine")
    assert (initial.card.depth_limit_m, initial.network.config.max_depth) == (limit_m, limit_m)
    assert create_network(replace(NEW, config=str(file), depth_limit_m=40.0), "mine").card.depth_limit_m == 40


def test_a_network_is_restored_from_its_configuration_and_card() -> None:
    initial = create_network(replace(NEW, depth_limit_m=25.0), "mine")
    restored = restore_network(initial.network.config.to_dict(), initial.card.to_metadata(), "other")
    assert restored.network.training
    assert restored.network.config.to_dict() == initial.network.config.to_dict()
    assert restored.card == replace(initial.card, name="other")


def test_metadata_of_version_0_1_is_read() -> None:
    initial = create_network(NEW, "mine")
    card = replace(initial.card, meters_per_unit=8.0)
    old = {key.replace("meters_per_unit", "metres_per_unit"): value for key, value in card.to_metadata().items()}
    assert "metres_per_unit" in old
    assert restore_network(initial.network.config.to_dict(), old, "mine").card == card

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.errors import ConfigError, UsageError
from glpn_cli.training.initialization import ARCHITECTURES, load_start
from glpn_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

NEW = TrainSettings(data=("x",), init="none")


def test_a_new_network_begins_around_three_meters_and_follows_from_the_seed() -> None:
    start = load_start(NEW, "mine")
    with torch.inference_mode():
        meters = start.network.eval()(torch.rand(1, 3, 64, 96)).predicted_depth
    assert 2 < meters.median() < 4.5
    assert meters.log().std() < 0.6
    again, other = load_start(NEW, "mine").network, load_start(replace(NEW, seed=1), "mine").network
    key = "glpn.encoder.patch_embeddings.0.proj.weight"
    assert torch.equal(start.network.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(start.network.state_dict()[key], other.state_dict()[key])


def test_the_depth_limit_is_that_of_the_data_unless_it_is_said() -> None:
    assert load_start(NEW, "mine").card.depth_limit_m == 80
    nyu = load_start(replace(NEW, data=("nyu",)), "mine").card
    assert (nyu.depth_limit_m, nyu.metric, nyu.shrink) == (10, True, False)
    assert load_start(replace(NEW, depth_limit_m=25.0), "mine").network.config.max_depth == 25


def test_weights_keep_their_architecture_and_get_another_name_and_drop_path() -> None:
    start = load_start(replace(NEW, init="tiny", drop_path=0.3, sizes=((64, 96, 1.0),)), "mine")
    assert start.network.training
    assert start.network.config.drop_path_rate == 0.3
    assert (start.card.name, start.card.working_size, start.card.metric) == ("mine", (64, 96), False)


def test_named_architectures_are_within_what_a_configuration_can_be() -> None:
    from glpn_cli.model.config import GLPNConfig

    for fields in ARCHITECTURES.values():
        GLPNConfig(**fields)


def test_an_architecture_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no architecture"):
        load_start(replace(NEW, config="huge"), "mine")
    (tmp_path / "c.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no JSON"):
        load_start(replace(NEW, config=str(tmp_path / "c.json")), "mine")
    with pytest.raises(UsageError, match="goes with --init none"):
        load_start(replace(NEW, init="tiny", config="tiny"), "mine")


def test_the_size_of_the_paper_is_what_weights_are_made_for_where_nobody_says_another() -> None:
    assert load_start(NEW, "mine", paper_size=(352, 704)).card.working_size == (352, 704)
    said = replace(NEW, sizes=((64, 96, 1.0),))
    assert load_start(said, "mine", paper_size=(352, 704)).card.working_size == (64, 96)


def test_a_lower_limit_of_depth_holds_for_weights_that_see_deeper() -> None:
    assert load_start(replace(NEW, init="tiny", depth_limit_m=20.0), "mine").card.depth_limit_m == 20
    assert load_start(replace(NEW, init="tiny", depth_limit_m=200.0), "mine").card.depth_limit_m == 80


def test_a_configuration_that_says_how_deep_it_sees_is_believed(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    for fields, limit_m in (({"max_depth": 25}, 25), ({"decoder_hidden_size": 32}, 80)):
        file.write_text(json.dumps(fields), encoding="utf-8")
        start = load_start(replace(NEW, config=str(file)), "mine")
        assert (start.card.depth_limit_m, start.network.config.max_depth) == (limit_m, limit_m)
    assert load_start(replace(NEW, config=str(file), depth_limit_m=40.0), "mine").card.depth_limit_m == 40

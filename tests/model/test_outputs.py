from __future__ import annotations

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput as TheirBaseModelOutput
from transformers.modeling_outputs import DepthEstimatorOutput as TheirDepthEstimatorOutput

from glpn_cli.model.glpn import BaseModelOutput, DepthEstimatorOutput

LOSS, DEPTH, MAP = torch.tensor(1.0), torch.ones(1, 4, 4), torch.ones(1, 8, 2, 2)


def test_names_and_their_order_are_those_of_transformers() -> None:
    every = {"loss": LOSS, "predicted_depth": DEPTH, "hidden_states": (MAP,), "attentions": (MAP,)}
    assert DepthEstimatorOutput(**every).keys() == tuple(TheirDepthEstimatorOutput(**every).keys())
    every = {"last_hidden_state": MAP, "hidden_states": (MAP,), "attentions": (MAP,)}
    assert BaseModelOutput(**every).keys() == tuple(TheirBaseModelOutput(**every).keys())


def test_values_are_reached_by_name_position_and_slice() -> None:
    output = DepthEstimatorOutput(loss=LOSS, predicted_depth=DEPTH, hidden_states=(MAP,))
    assert output.loss is output["loss"] is output[0] is LOSS
    assert output.predicted_depth is output["predicted_depth"] is output[1] is DEPTH
    assert output[-1] == (MAP,)
    assert output[:2] == (LOSS, DEPTH)


def test_unpacking_gives_the_values_that_are_there() -> None:
    depth, attentions = DepthEstimatorOutput(predicted_depth=DEPTH, attentions=(MAP,))
    assert depth is DEPTH
    assert attentions == (MAP,)


def test_an_absent_value_has_no_position_and_no_key() -> None:
    output = DepthEstimatorOutput(predicted_depth=DEPTH)
    assert output.loss is None
    assert len(output) == 1
    assert output[0] is DEPTH
    assert output.to_tuple() == (DEPTH,)
    assert output.keys() == ("predicted_depth",)
    assert "predicted_depth" in output
    assert "loss" not in output
    with pytest.raises(KeyError, match="loss"):
        output["loss"]
    with pytest.raises(IndexError):
        output[1]


def test_only_fields_are_keys() -> None:
    output = BaseModelOutput(last_hidden_state=MAP)
    with pytest.raises(KeyError, match="to_tuple"):
        output["to_tuple"]


def test_it_becomes_a_dictionary() -> None:
    output = DepthEstimatorOutput(loss=LOSS, predicted_depth=DEPTH)
    assert dict(output) == {"loss": LOSS, "predicted_depth": DEPTH}
    assert {**output} == {"loss": LOSS, "predicted_depth": DEPTH}

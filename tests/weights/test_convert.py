from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.checkpoint import PUBLISHED_CONFIG, is_authors, to_published_keys
from stand_in_hub import SMALL, random_glpn, to_authors_keys

if TYPE_CHECKING:
    from torch import Tensor


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_the_authors_keys_become_the_published_ones(prefix: str) -> None:
    published = random_glpn()
    authors = to_authors_keys(published, prefix)
    assert is_authors(authors)
    assert not is_authors(published)
    assert_same(to_published_keys(authors), published)


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_published_keys_stay_but_for_the_prefix(prefix: str) -> None:
    published = random_glpn()
    assert_same(to_published_keys({prefix + key: tensor for key, tensor in published.items()}), published)


def test_the_published_network_has_as_many_tensors_as_the_released_files() -> None:
    with torch.device("meta"):
        published = GLPNForDepthEstimation(PUBLISHED_CONFIG).state_dict()
    assert len(published) == 972
    authors = to_authors_keys(published)
    assert len(authors) == 890
    assert to_published_keys(authors).keys() == published.keys()


def test_a_key_that_nobody_knows_stays_for_the_network_to_name() -> None:
    authors = to_authors_keys(random_glpn()) | {"module.decoder.linear_fuse.weight": torch.zeros(1)}
    assert set(to_published_keys(authors)) - set(random_glpn()) == {"decoder.linear_fuse.weight"}


def test_keys_come_before_values_in_the_joint_layer() -> None:
    published = random_glpn()
    joint = to_authors_keys(published)["module.encoder.block2.0.attn.kv.weight"]
    assert joint.shape == (2 * SMALL.hidden_sizes[1], SMALL.hidden_sizes[1])
    name = "glpn.encoder.block.1.0.attention.self.key.weight"
    assert torch.equal(joint[: SMALL.hidden_sizes[1]], published[name])
    assert re.search("key", name)

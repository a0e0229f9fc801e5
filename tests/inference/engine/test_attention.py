from __future__ import annotations

import pytest
import torch

from glpn_cli import GLPNConfig
from glpn_cli.inference.engine import attention as attention_module
from glpn_cli.inference.engine.attention import FoldedKeyValues, KeyValues, fold_projections
from glpn_cli.inference.engine.engine import packed_operations_work
from glpn_cli.inference.engine.operations import Target, linear_mkldnn
from glpn_cli.model import encoder as readable

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
HEADS, CHANNELS = 3, 24


@pytest.fixture(params=["dense", "mkldnn"], autouse=True)
def scores_format(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one tensor format for the scores, independent of their size and dtype."""
    monkeypatch.setattr(attention_module, "_has_long_rows", lambda _: request.param == "mkldnn")
    return str(request.param)


def make_target(dtype: torch.dtype, *, packed: bool, scores_bytes: int = 2**20) -> Target:
    return Target(torch.device("cpu"), dtype, packed, strip_bytes=1, cache_bytes=1, scores_bytes=scores_bytes)


def attend(
    queries: int, keys: int, *, dtype: torch.dtype, packed: bool, scores_bytes: int = 2**20, batch: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the engine's output and the output by the definition of attention, both float64."""
    if packed and not packed_operations_work(dtype):
        pytest.skip(f"no packed operations in {dtype} on this machine")
    generator = torch.Generator().manual_seed(queries * keys)
    query = torch.randn(batch, queries, CHANNELS, generator=generator).to(dtype)
    key_values = torch.randn(batch, keys, 2 * CHANNELS, generator=generator).to(dtype)
    target = make_target(dtype, packed=packed, scores_bytes=scores_bytes)
    with torch.inference_mode():
        found = KeyValues(key_values, HEADS, target).attend(query)
    query, key, value = (
        part.double().view(batch, -1, HEADS, CHANNELS // HEADS).transpose(1, 2)
        for part in (query, *key_values.chunk(2, dim=2))
    )
    probabilities = (query @ key.transpose(2, 3)).softmax(dim=3)
    return found.double(), (probabilities @ value).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keys", [1, 15, 16, 27, 64])
def test_output_matches_definition(keys: int, dtype: torch.dtype, packed: bool) -> None:
    found, expected = attend(10, keys, dtype=dtype, packed=packed)
    assert (found - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scores_bytes", [1, 300, 1000, 4096])
def test_block_size_does_not_change_output(scores_bytes: int, dtype: torch.dtype) -> None:
    found, expected = attend(37, 27, dtype=dtype, packed=True, scores_bytes=scores_bytes)
    assert (found - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()


@pytest.mark.parametrize("keys", [16, 27, 64])
def test_second_factor_of_products_is_contiguous(
    keys: int, scores_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise oneDNN needs a thousand times as long, which no result shows.
    contiguous = []

    def linear(x: torch.Tensor, weight: torch.Tensor, *more: torch.Tensor | None) -> torch.Tensor:
        contiguous.append(weight.is_contiguous() or weight.T.is_contiguous())
        return torch.nn.functional.linear(x, weight, more[0])

    def attend_mkldnn(
        query: torch.Tensor, key: torch.Tensor, score_bias: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        contiguous.append(key.is_contiguous() and value.is_contiguous())
        return torch.zeros(len(query), len(value))

    monkeypatch.setattr(attention_module, "linear_mkldnn", linear)
    if scores_format == "mkldnn":
        monkeypatch.setattr(attention_module, "attend_mkldnn", attend_mkldnn)
    attend(10, keys, dtype=torch.float32, packed=True)
    assert contiguous
    assert all(contiguous)


def test_strided_second_factor_is_made_contiguous() -> None:
    if not packed_operations_work(torch.float32):
        pytest.skip("no packed operations on this machine")
    x, weight = torch.randn(4, 6), torch.randn(5, 12)[:, ::2]
    expected = x @ weight.T
    assert not weight.is_contiguous()
    assert torch.allclose(linear_mkldnn(x, weight), expected, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
def test_scores_too_large_for_exp(packed: bool) -> None:
    key_values = torch.zeros(1, 5, 2 * CHANNELS)
    key_values[0, 3] = 100
    target = make_target(torch.float32, packed=packed)
    attended = KeyValues(key_values, HEADS, target).attend(torch.full((1, 2, CHANNELS), 100.0))
    assert torch.equal(attended, torch.full((1, 2, CHANNELS), 100.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scores_bytes", [1, 700, 2**20])
def test_folded_projections_match_readable_attention(scores_bytes: int, dtype: torch.dtype) -> None:
    if not packed_operations_work(dtype):
        pytest.skip(f"no packed operations in {dtype} on this machine")
    generator = torch.Generator().manual_seed(3)
    channels, size = 32, (24, 16)
    attention = readable.Attention(GLPNConfig(hidden_sizes=[channels, 64, 160, 256]), 0).eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    tokens, residual = torch.randn(2, 2, size[0] * size[1], channels, generator=generator).to(dtype)
    target = make_target(dtype, packed=True, scores_bytes=scores_bytes)
    with torch.inference_mode():
        expected = attention(tokens.float(), size, output_attentions=False)[0] + residual.float()
        split = attention.self
        patches = readable.to_tokens(split.sr(readable.to_map(tokens.float(), size)))
        weight, bias = fold_projections(attention)
        folded = torch.nn.functional.linear(split.layer_norm(patches), weight, bias)
        output_bias = target.copy_weight(attention.output.dense.bias)
        found = FoldedKeyValues(folded, output_bias, target).attend(tokens, residual)
    assert found.dtype == dtype
    assert (found.float() - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()

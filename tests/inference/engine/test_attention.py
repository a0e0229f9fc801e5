from __future__ import annotations

import pytest
import torch

from glpn_cli import GLPNConfig
from glpn_cli.inference.engine import attention as attention_module
from glpn_cli.inference.engine.attention import FoldedHead, KeysValues, fold_head
from glpn_cli.inference.engine.engine import packed_operations_work
from glpn_cli.inference.engine.operations import Target, multiply
from glpn_cli.model import encoder as readable

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
HEADS, CHANNELS = 3, 24


@pytest.fixture(params=["plain", "own"], autouse=True)
def tables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which tensors tables are in, whatever their size and numbers."""
    monkeypatch.setattr(attention_module, "_has_long_rows", lambda _: request.param == "own")
    return str(request.param)


def look(
    places: int, keys: int, *, dtype: torch.dtype, packed: bool, table_bytes: int = 2**20, batch: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give what the engine sees and what the definition of attention says, both float64."""
    if packed and not packed_operations_work(dtype):
        pytest.skip(f"no packed operations in {dtype} here")
    generator = torch.Generator().manual_seed(places * keys)
    query = torch.randn(batch, places, CHANNELS, generator=generator).to(dtype)
    keys_values = torch.randn(batch, keys, 2 * CHANNELS, generator=generator).to(dtype)
    target = Target(torch.device("cpu"), dtype, packed, strip_bytes=1, tile_bytes=1, table_bytes=table_bytes)
    with torch.inference_mode():
        seen = KeysValues(keys_values, HEADS, target).seen_by(query)
    by_head = [
        part.double().view(batch, -1, HEADS, CHANNELS // HEADS).transpose(1, 2)
        for part in (query, *keys_values.chunk(2, dim=2))
    ]
    table = (by_head[0] @ by_head[1].transpose(2, 3)).softmax(dim=3)
    return seen.double(), (table @ by_head[2]).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keys", [1, 15, 16, 27, 64])
def test_every_place_sees_what_the_definition_says(keys: int, dtype: torch.dtype, packed: bool) -> None:
    seen, wanted = look(10, keys, dtype=dtype, packed=packed)
    assert (seen - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("table_bytes", [1, 300, 1000, 4096])
def test_the_height_of_a_piece_of_the_table_makes_no_difference(table_bytes: int, dtype: torch.dtype) -> None:
    seen, wanted = look(37, 27, dtype=dtype, packed=True, table_bytes=table_bytes)
    assert (seen - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()


@pytest.mark.parametrize("keys", [16, 27, 64])
def test_no_product_has_a_second_factor_in_pieces(keys: int, tables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # oneDNN would need a thousand times as long, and that shows in no number: it is seen only by who waits.
    seen = []

    def note(rows: torch.Tensor, columns: torch.Tensor, *more: torch.Tensor | None) -> torch.Tensor:
        seen.append(columns.is_contiguous() or columns.T.is_contiguous())
        return torch.nn.functional.linear(rows, columns, more[0])

    def note_own(rows: torch.Tensor, columns: torch.Tensor, scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        seen.append(columns.is_contiguous() and values.is_contiguous())
        return torch.zeros(len(rows), len(values))

    monkeypatch.setattr(attention_module, "multiply", note)
    if tables == "own":
        monkeypatch.setattr(attention_module, "look_in_own_tensors", note_own)
    look(10, keys, dtype=torch.float32, packed=True)
    assert seen
    assert all(seen)


def test_a_second_factor_in_pieces_is_gathered() -> None:
    if not packed_operations_work(torch.float32):
        pytest.skip("no packed operations here")
    rows, columns = torch.randn(4, 6), torch.randn(5, 12)[:, ::2]
    wanted = rows @ columns.T
    assert not columns.is_contiguous()
    assert torch.allclose(multiply(rows, columns), wanted, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "public"])
def test_scores_beyond_what_exp_can_hold_are_no_trouble(packed: bool) -> None:
    target = Target(torch.device("cpu"), torch.float32, packed, strip_bytes=1, tile_bytes=1, table_bytes=2**20)
    keys_values = torch.zeros(1, 5, 2 * CHANNELS)
    keys_values[0, 3] = 100
    seen = KeysValues(keys_values, HEADS, target).seen_by(torch.full((1, 2, CHANNELS), 100.0))
    assert torch.equal(seen, torch.full((1, 2, CHANNELS), 100.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("table_bytes", [1, 700, 2**20])
def test_a_folded_head_sees_what_the_readable_one_sees(table_bytes: int, dtype: torch.dtype) -> None:
    if not packed_operations_work(dtype):
        pytest.skip(f"no packed operations in {dtype} here")
    generator = torch.Generator().manual_seed(3)
    channels, size = 32, (24, 16)
    attention = readable.Attention(GLPNConfig(hidden_sizes=[channels, 64, 160, 256]), 0).eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    tokens, added = torch.randn(2, 2, size[0] * size[1], channels, generator=generator).to(dtype)
    target = Target(torch.device("cpu"), dtype, packed=True, strip_bytes=1, tile_bytes=1, table_bytes=table_bytes)
    with torch.inference_mode():
        wanted = attention(tokens.float(), size, output_attentions=False)[0] + added.float()
        split = attention.self
        patches = readable.to_tokens(split.sr(readable.to_map(tokens.float(), size)))
        weight, bias = fold_head(attention)
        folded = torch.nn.functional.linear(split.layer_norm(patches), weight, bias)
        seen = FoldedHead(folded, target.place(attention.output.dense.bias), target).seen_by(tokens, added)
    assert seen.dtype == dtype
    assert (seen.float() - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()

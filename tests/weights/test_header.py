from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from glpn_cli.errors import WeightsError
from glpn_cli.weights.header import is_sealed_intact, read_metadata, seal

if TYPE_CHECKING:
    from pathlib import Path

TENSORS = {"b": torch.arange(7.0), "a": torch.arange(3), "ü": torch.zeros(0)}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "sealed.safetensors"
    path.write_bytes(b"".join(seal(save(TENSORS, {"name": "Zoë", "format": "pt"}))))
    return path


def test_a_sealed_file_is_a_safetensors_file_with_the_same_contents(sealed: Path) -> None:
    loaded = load_file(sealed)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[key], TENSORS[key]) for key in TENSORS)
    with safe_open(sealed, framework="pt") as opened:
        assert opened.metadata() == read_metadata(sealed)
    assert read_metadata(sealed)["name"] == "Zoë"
    assert (8 + struct.unpack("<Q", sealed.read_bytes()[:8])[0]) % 8 == 0


def test_the_same_contents_give_the_same_bytes() -> None:
    first, second = ({"x": "1", "y": "2", "z": "3"}, {"z": "3", "y": "2", "x": "1"})
    assert b"".join(seal(save(TENSORS, first))) == b"".join(seal(save(TENSORS, second)))


def test_sealing_again_changes_nothing(sealed: Path) -> None:
    assert b"".join(seal(sealed.read_bytes())) == sealed.read_bytes()


def test_every_bit_of_a_sealed_file_counts(sealed: Path) -> None:
    assert is_sealed_intact(sealed)
    whole = sealed.read_bytes()
    for place in range(len(whole)):
        sealed.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            assert not is_sealed_intact(sealed)
        except WeightsError:
            continue


def test_a_file_without_a_seal_cannot_tell(tmp_path: Path) -> None:
    (tmp_path / "plain.safetensors").write_bytes(save(TENSORS))
    assert is_sealed_intact(tmp_path / "plain.safetensors") is None
    assert read_metadata(tmp_path / "plain.safetensors") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\xff" * 16,
        struct.pack("<Q", 9) + b"[1, 2, 3]",
        struct.pack("<Q", 20) + b'{"__metadata__": 1}  ',
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
)
def test_what_is_no_safetensors_file_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    for function in (read_metadata, is_sealed_intact):
        with pytest.raises(WeightsError, match="damaged"):
            function(tmp_path / "x")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        read_metadata(tmp_path / "gone")

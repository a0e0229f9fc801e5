from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from glpn_cli.errors import WeightsError
from glpn_cli.weights.header import read_metadata, seal, verify_seal

if TYPE_CHECKING:
    from pathlib import Path


TENSORS = {"b": torch.arange(7.0), "a": torch.arange(3), "ü": torch.zeros(0)}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "sealed.safetensors"
    path.write_bytes(b"".join(seal(save(TENSORS, {"name": "Zoë", "format": "pt"}))))
    return path


def test_sealed_file_is_a_safetensors_file_with_the_same_contents(sealed: Path) -> None:
    loaded = load_file(sealed)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[key], TENSORS[key]) for key in TENSORS)
    with safe_open(sealed, framework="pt") as opened:
        assert opened.metadata() == read_metadata(sealed)
    assert read_metadata(sealed)["name"] == "Zoë"
    assert (8 + struct.unpack("<Q", sealed.read_bytes()[:8])[0]) % 8 == 0


def test_equal_contents_give_equal_bytes() -> None:
    first, second = ({"x": "1", "y": "2", "z": "3"}, {"z": "3", "y": "2", "x": "1"})
    assert b"".join(seal(save(TENSORS, first))) == b"".join(seal(save(TENSORS, second)))


def test_sealing_again_changes_nothing(sealed: Path) -> None:
    assert b"".join(seal(sealed.read_bytes())) == sealed.read_bytes()


def test_seal_of_a_file_with_old_names_stays_valid(tmp_path: Path) -> None:
    """Files of version 0.1 are sealed with the British names in their header."""
    old = {"metres_per_unit": "8.0", "licence": "CC-BY-4.0", "name": "old"}
    (tmp_path / "old.safetensors").write_bytes(b"".join(seal(save(TENSORS, old))))
    metadata = read_metadata(tmp_path / "old.safetensors")
    assert metadata.items() >= {"meters_per_unit": "8.0", "license": "CC-BY-4.0", "name": "old"}.items()
    assert not metadata.keys() & {"metres_per_unit", "licence"}
    assert verify_seal(tmp_path / "old.safetensors")


def test_seal_detects_every_flipped_bit(sealed: Path) -> None:
    assert verify_seal(sealed)
    whole = sealed.read_bytes()
    for index in range(len(whole)):
        sealed.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        try:
            assert not verify_seal(sealed)
        except WeightsError:
            continue


def test_file_without_a_seal_is_neither_intact_nor_damaged(tmp_path: Path) -> None:
    (tmp_path / "plain.safetensors").write_bytes(save(TENSORS))
    assert verify_seal(tmp_path / "plain.safetensors") is None
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
def test_invalid_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    for function in (read_metadata, verify_seal):
        with pytest.raises(WeightsError, match=r"[/\\]x: "):
            function(tmp_path / "x")


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gone"):
        read_metadata(tmp_path / "gone")

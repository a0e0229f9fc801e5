"""The SHA-256 of a weights file, while something else goes on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from glpn_cli import files as digest
from glpn_cli.errors import WeightsError
from glpn_cli.files import begin_digest, digest_of, file_sha256

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("content", [b"", b"glpn", b"weights" * 300_000])
def test_it_is_the_sha256_of_the_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    assert file_sha256(file) == hashlib.sha256(content).hexdigest()


def test_what_was_begun_is_taken_up_once(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"before")
    begin_digest(file)
    begun = digest._begun[file]
    assert begun() == hashlib.sha256(b"before").hexdigest()
    file.write_bytes(b"after")
    assert digest_of(file) is begun
    assert digest_of(file)() == hashlib.sha256(b"after").hexdigest()


def test_a_file_that_cannot_be_read_is_said_where_it_is_asked_for(tmp_path: Path) -> None:
    begin_digest(tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match=r"gone\.safetensors: cannot be read: No such file"):
        digest_of(tmp_path / "gone.safetensors")()

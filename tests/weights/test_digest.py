from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.files import FileDigest, file_sha256

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("content", [b"", b"glpn", b"weights" * 300_000])
def test_digest_is_the_sha256_of_the_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    assert file_sha256(file) == FileDigest(file).hexdigest() == hashlib.sha256(content).hexdigest()


def test_digest_is_computed_once(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"before")
    digest = FileDigest(file)
    first = digest.hexdigest()
    file.write_bytes(b"after")
    assert digest.hexdigest() == first == hashlib.sha256(b"before").hexdigest()


def test_unreadable_file_is_an_error_of_hexdigest(tmp_path: Path) -> None:
    digest = FileDigest(tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        digest.hexdigest()

"""The header of a safetensors file: its metadata, and a seal that tells whether the file is still as it was written.

Standard library only, so that listing what is there loads no torch. The format is eight bytes that say how long the
header is, the header as JSON, and the bytes of the tensors.

The seal is a SHA-256 in the metadata: of the header without it (as compact JSON with sorted keys) and of everything
that follows. One file says all about itself this way; there is no second file that could be lost or of another day.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import WeightsError
from glpn_cli.files import modernize

if TYPE_CHECKING:
    from os import PathLike


MAX_HEADER_BYTES = 100_000_000
"""The limit that the format itself sets."""

_METADATA = "__metadata__"
_SEAL = "content_sha256"
_LENGTH_BYTES = 8
_CHUNK_BYTES = 2**20


def read_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """Read the strings that a safetensors file carries.

    Raises:
        WeightsError: the file cannot be read, or is none.
    """
    with _opened(path) as file:
        return dict(modernize(_metadata(_read_header(file, path))))


def seal(data: bytes) -> tuple[bytes, memoryview]:
    """Seal a safetensors file.

    The metadata comes out in sorted order, so that the same contents always give the same bytes.

    Args:
        data: the file.

    Returns:
        The beginning and the rest of the sealed file, apart because the rest is large and stays as it is.
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    body = memoryview(data)[_LENGTH_BYTES + length :]
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    digest = hashlib.sha256(_to_bytes(_without_seal(header)))
    digest.update(body)
    header[_METADATA] = _metadata(header) | {_SEAL: digest.hexdigest()}
    text = _to_bytes(header)
    text += b" " * (-len(text) % _LENGTH_BYTES)  # so that the tensors begin where processors like it
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text, body


def is_sealed_intact(path: str | PathLike[str]) -> bool | None:
    """Tell whether a file is as it was when it was sealed; None if it carries no seal.

    Raises:
        WeightsError: the file cannot be read, or is none.
    """
    with _opened(path) as file:
        header = _read_header(file, path)
        recorded = _metadata(header).get(_SEAL)
        if recorded is None:
            return None
        digest = hashlib.sha256(_to_bytes(_without_seal(header)))
        try:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        except OSError as error:
            raise _unreadable(path, error) from error
    return digest.hexdigest() == recorded


def _opened(path: str | PathLike[str]) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_header(file: BinaryIO, path: str | PathLike[str]) -> dict[str, Any]:
    try:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length)) if length <= MAX_HEADER_BYTES else None
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not isinstance(header.get(_METADATA, {}), dict):
        raise WeightsError(f"{path}: is a damaged safetensors file")
    return header


def _unreadable(path: str | PathLike[str], error: OSError) -> WeightsError:
    return WeightsError(f"{path}: cannot be read: {error.strerror or error}")


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in header.get(_METADATA, {}).items()}


def _without_seal(header: dict[str, Any]) -> dict[str, Any]:
    return header | {_METADATA: {key: value for key, value in _metadata(header).items() if key != _SEAL}}


def _to_bytes(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()

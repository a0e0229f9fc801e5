"""The header of a safetensors file: its metadata, and a seal that shows whether the file has changed.

Uses the standard library only, so that listing weights does not import torch. A safetensors file is the length of
the header (8 bytes), the header (JSON), and the bytes of the tensors.

The seal is a SHA-256 in the metadata: of the header without the seal (compact JSON, sorted keys) followed by the
tensors. It needs no second file, which could be lost or out of date.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import WeightsError
from glpn_cli.files import load_json, modernize, os_reason

if TYPE_CHECKING:
    from os import PathLike

MAX_HEADER_BYTES = 2**23
"""Of a header: far more than that of any GLPN. The format allows 100 MB, which take gigabytes when they are parsed."""

_METADATA = "__metadata__"
_SEAL = "content_sha256"
_LENGTH_BYTES = 8
_CHUNK_BYTES = 2**20


def read_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """Read the metadata of a safetensors file, with the key names of today.

    Raises:
        WeightsError: the file cannot be read, or is not a safetensors file.
    """
    with _open(path) as file:
        return dict(modernize(_metadata(_read_header(file, path))))


def seal(data: bytes) -> tuple[bytes, memoryview]:
    """Add a seal to a safetensors file.

    The header is written with sorted keys, so equal contents give equal bytes.

    Args:
        data: the file.

    Returns:
        The new header and the unchanged tensors; apart, because the tensors are large and need no copy.
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    tensors = memoryview(data)[_LENGTH_BYTES + length :]
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    digest = hashlib.sha256(_to_bytes(_without_seal(header)))
    digest.update(tensors)
    header[_METADATA] = _metadata(header) | {_SEAL: digest.hexdigest()}
    text = _to_bytes(header)
    text += b" " * (-len(text) % _LENGTH_BYTES)  # aligns the tensors
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text, tensors


def verify_seal(path: str | PathLike[str]) -> bool | None:
    """Return whether a file is unchanged since it was sealed, or None if it has no seal.

    Raises:
        WeightsError: the file cannot be read, or is not a safetensors file.
    """
    with _open(path) as file:
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


def _open(path: str | PathLike[str]) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_header(file: BinaryIO, path: str | PathLike[str]) -> dict[str, Any]:
    try:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = load_json(file.read(length)) if length <= MAX_HEADER_BYTES else None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError:
        header = None
    if not isinstance(header, dict) or not isinstance(header.get(_METADATA, {}), dict):
        raise WeightsError(f"{path}: damaged, or not a safetensors file", hint="download or copy it again")
    return header


def _unreadable(path: str | PathLike[str], error: OSError) -> WeightsError:
    return WeightsError(f"{path}: cannot be read: {os_reason(error)}")


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in header.get(_METADATA, {}).items()}


def _without_seal(header: dict[str, Any]) -> dict[str, Any]:
    return header | {_METADATA: {key: value for key, value in _metadata(header).items() if key != _SEAL}}


def _to_bytes(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()

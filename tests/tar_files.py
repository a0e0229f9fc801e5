"""Tars for tests, and their content."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable


def png(seed: int = 0, height: int = 40, width: int = 48) -> bytes:
    """Return an image file that differs for each seed."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def make_tar(members: Iterable[tuple[str, bytes] | tarfile.TarInfo], **options: Any) -> bytes:
    """Return a tar; members without data are given as headers."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", errors="surrogateescape", **options) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                name, data = member
                header = tarfile.TarInfo(name)
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))
    return stream.getvalue()


def samples(count: int, first: int = 0) -> list[tuple[str, bytes]]:
    """Return the members of WebDataset samples: an image and a label each."""
    return [
        member
        for index in range(first, first + count)
        for member in ((f"{index:05}.png", png(index)), (f"{index:05}.json", b"{}"))
    ]


def content(tar: bytes) -> dict[str, bytes]:
    """Return the data of all members of a tar, by name, in its order."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape") as opened:
        for member in opened:
            data = opened.extractfile(member)
            assert data is not None
            assert member.name not in found
            found[member.name] = data.read()
    return found

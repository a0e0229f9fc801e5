"""Addresses of images on the network: what to show of them, and what to call what comes from there."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit

from glpn_cli.errors import ImageError
from glpn_cli.image.folder import is_image_name

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Address", "is_address", "safe_name"]

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_MAX_NAME_BYTES = 100
_HASH_DIGITS = 8
_WIRE_SAFE = "%/:=&~+!$,;'@()*"

# What file systems keep for themselves, Windows' rules included; and names that are devices there.
_UNSAFE = re.compile(r'[<>:"/\\|?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Tell whether a user means an address and not a file."""
    return bool(_SCHEME.match(text))


@dataclass(frozen=True, slots=True)
class Address:
    """An http(s) address.

    As text it is without name and password, and with a short hash in place of the query, which often is a key.

    Attributes:
        url: ready for a request, without name and password.
        userinfo: "name:password", still quoted; or empty. Never to be shown.
        host: its name.
        query_hash: a few digits that tell it from addresses with another query; empty without a query.
    """

    url: str = field(repr=False)
    userinfo: str = field(repr=False)
    host: str
    query_hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address as a user writes it.

        Raises:
            ImageError: it makes no sense; what it was is not said, as it may hold a password.
        """
        nonsense = ImageError("an address that makes no sense", hint="it begins like https://HOST/PATH")
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname or "", parts.port
            # ":" is that of an IPv6 address, which needs no translation.
            wire_host = f"[{host}]" if ":" in host else host.encode("idna").decode()
            path = quote(parts.path or "/", safe=_WIRE_SAFE)
            query = quote(parts.query, safe=_WIRE_SAFE + "?")
        except ValueError as error:  # UnicodeError is one
            raise nonsense from error
        if not host:
            raise nonsense
        userinfo = parts.netloc.rpartition("@")[0]
        netloc = wire_host if port is None else f"{wire_host}:{port}"
        url = SplitResult(parts.scheme, netloc, path, query, "").geturl()
        digest = hashlib.sha256(query.encode()).hexdigest()[:_HASH_DIGITS] if query else ""
        return cls(url, userinfo, host, digest)

    def __str__(self) -> str:
        """Show it without what is secret."""
        parts = urlsplit(self.url)
        shown = f"{parts.scheme}://{parts.netloc}{unquote(parts.path, errors='replace')}".rstrip("/")
        return f"{shown}?...{self.query_hash}" if self.query_hash else shown

    @property
    def name(self) -> str:
        """A file name that is safe everywhere: the last part of the path, or else the host.

        Where that is no image's name and there is a query, which then tells the images apart, it has the hash.
        """
        last = PurePosixPath(urlsplit(self.url).path).name
        name = safe_name(unquote(last) or self.host)
        return f"{name}-{self.query_hash}" if self.query_hash and not is_image_name(name) else name

    @property
    def folders(self) -> tuple[str, ...]:
        """Safe folder names for a place of its own: the host, and the path without its last part."""
        parts = urlsplit(self.url)
        above = PurePosixPath(parts.path).parts[1:-1]
        port = "" if parts.port is None else f"_{parts.port}"
        return (safe_name(self.host + port), *(safe_name(unquote(part)) for part in above))


def safe_name(text: str) -> str:
    """Make a text into a file name that every file system takes and that stays where it is put."""
    printable = "".join(character if character.isprintable() else "_" for character in text)
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", printable)).rstrip(" .")
    name = re.sub(r"^[.\s]+", "_", name) or "_"
    if _DEVICE.fullmatch(name):
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)
    room = _MAX_NAME_BYTES - len(suffix.encode())
    if room < 1:
        stem, suffix, room = name, "", _MAX_NAME_BYTES
    return stem.encode()[:room].decode(errors="ignore") + suffix

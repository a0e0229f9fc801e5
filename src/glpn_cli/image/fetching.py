"""Addresses of images on the network: what to show of them, and what to call what comes from there.

Images from the network, within limits of time and size; what arrived is judged by the reader alone.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import ssl
import threading
import time
import unicodedata
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urljoin, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from glpn_cli._version import __version__
from glpn_cli.errors import ImageError
from glpn_cli.image.folder import is_image_name
from glpn_cli.settings import FetchSettings

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from email.message import Message
    from typing import Self


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


_DEFAULTS = FetchSettings()

_CHUNK_BYTES = 2**16

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Stopper:
    """Ends the fetches of several threads at once, as an interrupt wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines: set[_Deadline] = set()
        self._stopped = False

    def stop(self) -> None:
        """End what is being fetched, and whatever comes later."""
        with self._lock:
            self._stopped = True
            for deadline in self._deadlines:
                deadline.come_now()

    @contextmanager
    def stopping(self, deadline: _Deadline) -> Iterator[None]:
        """Have a deadline come when everything is stopped."""
        with self._lock:
            self._deadlines.add(deadline)
            if self._stopped:
                deadline.come_now()
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.discard(deadline)


def fetch_image(address: Address, settings: FetchSettings = _DEFAULTS, *, stopper: Stopper | None = None) -> bytes:
    """Fetch what is at an address; proxies of the environment are used.

    Name and password are sent to the server that the user named and to no other.

    Args:
        address: where it is.
        settings: the limits.
        stopper: may end it early; the error is that of a deadline.

    Raises:
        ImageError: there is nothing, or it is too large, too slow, cut off, or redirected too often or elsewhere.
    """
    try:
        with (
            _Deadline(settings.timeout_s).watching() as deadline,
            (stopper or Stopper()).stopping(deadline),
        ):
            return _follow(address, settings, deadline)
    except ImageError as error:
        raise ImageError(f"{address}: {error.message}", hint=error.hint) from error


class _Deadline:
    """A moment at which the connection is cut, however busy the server keeps it."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []

    @property
    def is_over(self) -> bool:
        """Whether the moment has come."""
        return time.monotonic() >= self._end_s

    def error(self) -> ImageError:
        """Say that it has."""
        return ImageError(f"not here after {self.timeout_s:g} s", hint="download it first")

    @contextmanager
    def watching(self) -> Iterator[_Deadline]:
        """Cut the connections of the block when the moment comes."""
        timer = threading.Timer(self.timeout_s, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield self
        finally:
            timer.cancel()
            with self._lock:
                for connection in self._connections:
                    connection.close()
                self._connections = []

    def watch(self, connection: socket.socket) -> None:
        """Add a connection; a second handle is kept, because encryption takes over the first."""
        with self._lock:
            self._connections.append(connection.dup())
        if self.is_over:
            self._cut()

    def come_now(self) -> None:
        """Let the moment be now."""
        self._end_s = time.monotonic()
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    """A connection that the deadline can cut."""

    deadline: _Deadline

    def connect(self) -> None:
        """Connect, and have the deadline know of it."""
        super().connect()
        self.deadline.watch(self.sock)


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """The same, encrypted; the class between the two calls `_Connection.connect` before it encrypts."""


class _Plain(HTTPHandler):
    """What opens http addresses."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> Any:
        """Make a request."""

        def connection(host: str, **options: Any) -> _Connection:
            made = _Connection(host, **options)
            made.deadline = self._deadline
            return made

        return self.do_open(connection, req)


class _Secure(HTTPSHandler):
    """What opens https addresses."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Request) -> Any:
        """Make a request."""

        def connection(host: str, **options: Any) -> _SecureConnection:
            made = _SecureConnection(host, context=ssl.create_default_context(), **options)
            made.deadline = self._deadline
            return made

        return self.do_open(connection, req)


def _opener(deadline: _Deadline) -> OpenerDirector:
    """Build what makes one request: http and https, no other schemes, no redirects of its own."""
    opener = OpenerDirector()
    opener.addheaders = []
    handlers = (ProxyHandler(), _Plain(deadline), _Secure(deadline), HTTPDefaultErrorHandler(), HTTPErrorProcessor())
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _follow(address: Address, settings: FetchSettings, deadline: _Deadline) -> bytes:
    """Fetch from an address or from where it leads to."""
    opener = _opener(deadline)
    first = address
    for _ in range(settings.max_redirects + 1):
        try:
            with opener.open(_request(address), timeout=min(settings.silence_timeout_s, settings.timeout_s)) as answer:
                return _read(answer, settings, deadline)
        except HTTPError as error:
            with error:
                if error.code not in _REDIRECTS:
                    raise _refusal(error.code) from None
                address = _redirected(address, error.headers, first)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Not as the cause: what the library says may hold the address as it was sent.
            raise _translate(error, settings, deadline) from None
    raise ImageError(f"redirected more than {settings.max_redirects} times", hint="download it first")


def _request(address: Address) -> Request:
    headers = {"User-Agent": f"glpn-cli/{__version__}", "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
    request = Request(address.url, headers=headers)  # noqa: S310 - an Address is http or https
    if address.userinfo:
        name, _, password = address.userinfo.partition(":")
        login = base64.b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password)).decode()
        request.add_unredirected_header("Authorization", f"Basic {login}")
    return request


def _redirected(address: Address, headers: Message[str, str], first: Address) -> Address:
    """Give the address that a redirect leads to; only the server that the user named gets their name and password."""
    location = headers.get("Location", "")
    target = urljoin(address.url, location)
    if not location or not is_address(target):
        scheme = urlsplit(target).scheme if location else ""
        raise ImageError(f"redirected to {scheme or 'nowhere'}, which is not followed")
    to = Address.parse(target)
    same_server = urlsplit(to.url)[:2] == urlsplit(first.url)[:2]
    return replace(to, userinfo=first.userinfo if same_server else "")


def _read(answer: Any, settings: FetchSettings, deadline: _Deadline) -> bytes:
    """Read the body, and see that it is whole."""
    expected: int | None = answer.length  # None where the end of the connection is the end of the body, or in chunks
    if expected is not None and expected > settings.max_bytes:
        raise _too_large(settings)
    data = bytearray()
    while chunk := answer.read(_CHUNK_BYTES):
        data += chunk
        if len(data) > settings.max_bytes:
            raise _too_large(settings)
        if deadline.is_over:
            raise deadline.error()
    if deadline.is_over:
        raise deadline.error()
    if expected is not None and len(data) < expected:
        raise ImageError(f"cut off after {len(data)} of {expected} bytes", hint="try again")
    return bytes(data)


def _too_large(settings: FetchSettings) -> ImageError:
    return ImageError(f"larger than {settings.max_bytes >> 20} MiB", hint="download it first")


def _refusal(code: int) -> ImageError:
    reasons = {401: "a login is needed", 403: "access is refused", 404: "there is no such image", 410: "it is gone"}
    said = reasons.get(code) or http.client.responses.get(code, "an unknown answer").lower()
    return ImageError(f"the server answers {code}: {said}")


def _translate(error: Exception, settings: FetchSettings, deadline: _Deadline) -> ImageError:
    if isinstance(error, ImageError):
        return error
    if deadline.is_over:
        return deadline.error()
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        said = f"the server was silent for {settings.silence_timeout_s:g} s"
    elif isinstance(reason, ssl.SSLError):
        said = f"no secure connection: {reason.reason or 'it failed'}"
    elif isinstance(reason, http.client.IncompleteRead):
        said = "cut off in the middle"
    elif isinstance(reason, ConnectionError) and not reason.strerror:
        said = "the server hung up without an answer"
    elif isinstance(reason, OSError):
        said = f"cannot be reached: {reason.strerror or type(reason).__name__}"
    else:
        said = "the server does not speak HTTP as it should"
    return ImageError(said, hint="try again later, or download it yourself")

"""Download images from URLs, within limits of time and size."""

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
from glpn_cli.certificates import CERTIFICATES_HINT, certificate_errors, find_certificates
from glpn_cli.errors import ImageError
from glpn_cli.image.folder import is_image_name

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from email.message import Message
    from typing import Self


@dataclass(frozen=True)
class FetchSettings:
    """Limits on downloading an image.

    Attributes:
        max_bytes: larger responses are refused.
        timeout_s: for one image, from connecting to the last byte, with redirects.
        silence_timeout_s: without any data from the server.
        max_redirects: in a row.
    """

    max_bytes: int = 256 * 2**20
    timeout_s: float = 60.0
    silence_timeout_s: float = 10.0
    max_redirects: int = 5


_DEFAULTS = FetchSettings()
_CHUNK_BYTES = 2**16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_URL_SAFE = "%/:=&~+!$,;'@()*"
_HASH_DIGITS = 8
_MAX_NAME_BYTES = 100
# Characters and device names that some file systems reserve, Windows included.
_RESERVED_CHARACTERS = re.compile(r'[<>:"/\\|?*]')
_RESERVED_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Return whether a text is an http or https URL and not a file name."""
    return bool(_SCHEME.match(text))


@dataclass(frozen=True, slots=True)
class Address:
    """An http or https URL.

    `str` of it omits user name and password, and replaces the query, which often contains a key, with a short hash.

    Attributes:
        url: encoded for a request, without user name and password.
        userinfo: "name:password", percent-encoded, or empty. Never show it.
        host: the host name.
        query_hash: a few digits that differ between queries; empty without a query.
    """

    url: str = field(repr=False)
    userinfo: str = field(repr=False)
    host: str
    query_hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL as the user writes it.

        Raises:
            ImageError: the URL is invalid; the message does not repeat it, because it may contain a password.
        """
        invalid = ImageError("invalid URL", hint="use the form https://HOST/PATH")
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname or "", parts.port
            # A colon is part of an IPv6 address, which needs no encoding.
            encoded_host = f"[{host}]" if ":" in host else host.encode("idna").decode()
            path = quote(parts.path or "/", safe=_URL_SAFE)
            query = quote(parts.query, safe=_URL_SAFE + "?")
        except ValueError as error:  # includes UnicodeError
            raise invalid from error
        if not host:
            raise invalid
        userinfo = parts.netloc.rpartition("@")[0]
        netloc = encoded_host if port is None else f"{encoded_host}:{port}"
        url = SplitResult(parts.scheme, netloc, path, query, "").geturl()
        digest = hashlib.sha256(query.encode()).hexdigest()[:_HASH_DIGITS] if query else ""
        return cls(url, userinfo, host, digest)

    def __str__(self) -> str:
        """Return the URL without secrets."""
        parts = urlsplit(self.url)
        shown = f"{parts.scheme}://{parts.netloc}{unquote(parts.path, errors='replace')}".rstrip("/")
        return f"{shown}?...{self.query_hash}" if self.query_hash else shown

    @property
    def name(self) -> str:
        """A safe file name: the last part of the path, or the host.

        Without an image suffix it is probably the query that identifies the image, so the name ends with its hash.
        """
        last = PurePosixPath(urlsplit(self.url).path).name
        name = safe_name(unquote(last) or self.host)
        return f"{name}-{self.query_hash}" if self.query_hash and not is_image_name(name) else name

    @property
    def folders(self) -> tuple[str, ...]:
        """Safe folder names: the host, and the path without its last part."""
        parts = urlsplit(self.url)
        above = PurePosixPath(parts.path).parts[1:-1]
        port = "" if parts.port is None else f"_{parts.port}"
        return (safe_name(self.host + port), *(safe_name(unquote(part)) for part in above))


def safe_name(text: str) -> str:
    """Convert a text to a file name that is valid on every file system and does not lead to another folder."""
    printable = "".join(character if character.isprintable() else "_" for character in text)
    name = _RESERVED_CHARACTERS.sub("_", unicodedata.normalize("NFC", printable)).rstrip(" .")
    name = re.sub(r"^[.\s]+", "_", name) or "_"
    if _RESERVED_NAME.fullmatch(name):
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)
    room = _MAX_NAME_BYTES - len(suffix.encode())
    if room < 1:
        stem, suffix, room = name, "", _MAX_NAME_BYTES
    return stem.encode()[:room].decode(errors="ignore") + suffix


def fetch_image(address: Address, settings: FetchSettings = _DEFAULTS, *, stopper: Stopper | None = None) -> bytes:
    """Download what a URL points to; proxies from the environment are used.

    User name and password are sent only to the server in the URL.

    Args:
        address: the URL.
        settings: limits of time and size.
        stopper: can end the download early; the error is then the same as for a timeout.

    Raises:
        ImageError: the download failed, was incomplete, too large or too slow, or was redirected too often or to a
            URL that is not http or https.
    """
    try:
        with (
            _Deadline(settings.timeout_s).watching() as deadline,
            (stopper or Stopper()).stopping(deadline),
        ):
            return _download(address, settings, deadline)
    except ImageError as error:
        raise ImageError(f"{address}: {error.message}", hint=error.hint) from error


class Stopper:
    """Stops the downloads of several threads at once, after an interrupt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines: set[_Deadline] = set()
        self._stopped = False

    def stop(self) -> None:
        """Stop all running downloads, and every later one as soon as it starts."""
        with self._lock:
            self._stopped = True
            for deadline in self._deadlines:
                deadline.expire()

    @contextmanager
    def stopping(self, deadline: _Deadline) -> Iterator[None]:
        """Expire a deadline if `stop` is called during the block."""
        with self._lock:
            self._deadlines.add(deadline)
            if self._stopped:
                deadline.expire()
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.discard(deadline)


class _Deadline:
    """Shuts connections down after a total time, even if the server keeps sending."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end_s

    def error(self) -> ImageError:
        return ImageError(f"not complete after {self.timeout_s:g} s", hint="download it first")

    @contextmanager
    def watching(self) -> Iterator[_Deadline]:
        """Shut down the connections of the block when the time is over."""
        timer = threading.Timer(self.timeout_s, self._shut_down)
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
        """Add a connection, through a second handle, because encryption takes over the first."""
        with self._lock:
            self._connections.append(connection.dup())
        if self.is_over:
            self._shut_down()

    def expire(self) -> None:
        """Expire the deadline now."""
        self._end_s = time.monotonic()
        self._shut_down()

    def _shut_down(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(SHUT_RDWR)


# Requests


def _download(address: Address, settings: FetchSettings, deadline: _Deadline) -> bytes:
    """Download from a URL, following redirects."""
    opener = _build_opener(deadline)
    first = address
    for _ in range(settings.max_redirects + 1):
        try:
            with opener.open(_request(address), timeout=min(settings.silence_timeout_s, settings.timeout_s)) as answer:
                return _read_body(answer, settings, deadline)
        except HTTPError as error:
            with error:
                if error.code not in _REDIRECTS:
                    raise _status_error(error.code) from None
                address = _redirect_target(address, error.headers, first)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # `from None`, because the library's message may contain the URL with its query.
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


def _redirect_target(address: Address, headers: Message[str, str], first: Address) -> Address:
    """Return where a redirect leads; only the server in the user's URL gets user name and password."""
    location = headers.get("Location", "")
    target = urljoin(address.url, location)
    if not location or not is_address(target):
        scheme = urlsplit(target).scheme if location else ""
        raise ImageError(f"redirected to {scheme or 'nowhere'}, which is not followed")
    parsed = Address.parse(target)
    same_server = urlsplit(parsed.url)[:2] == urlsplit(first.url)[:2]
    return replace(parsed, userinfo=first.userinfo if same_server else "")


def _read_body(answer: Any, settings: FetchSettings, deadline: _Deadline) -> bytes:
    # None if the body is chunked, or ends when the connection is closed.
    expected: int | None = answer.length
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
        raise ImageError(f"interrupted after {len(data)} of {expected} bytes", hint="try again")
    return bytes(data)


class _Connection(http.client.HTTPConnection):
    """A connection that a deadline watches."""

    deadline: _Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """The same for https: `HTTPSConnection.connect` calls `_Connection.connect` before it starts encryption."""


class _PlainHandler(HTTPHandler):
    """Opens http URLs."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> Any:
        def connect(host: str, **options: Any) -> _Connection:
            connection = _Connection(host, **options)
            connection.deadline = self._deadline
            return connection

        return self.do_open(connect, req)


class _SecureHandler(HTTPSHandler):
    """Opens https URLs."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Request) -> Any:
        def connect(host: str, **options: Any) -> _SecureConnection:
            connection = _SecureConnection(host, context=_secure_context(), **options)
            connection.deadline = self._deadline
            return connection

        return self.do_open(connect, req)


def _secure_context() -> ssl.SSLContext:
    """Return a context that trusts the certificates of the system, or those that `find_certificates` returns.

    Raises:
        ImageError: they cannot be read.
    """
    found = find_certificates()
    if found is None:
        return ssl.create_default_context()
    variable, path = found
    is_folder = os.path.isdir(path)
    with certificate_errors(variable, path, ImageError):
        return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)


def _build_opener(deadline: _Deadline) -> OpenerDirector:
    """Return an opener for http and https only, which does not follow redirects by itself."""
    opener = OpenerDirector()
    opener.addheaders = []
    for handler in (
        ProxyHandler(),
        _PlainHandler(deadline),
        _SecureHandler(deadline),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


# Errors


def _too_large(settings: FetchSettings) -> ImageError:
    return ImageError(f"larger than {settings.max_bytes >> 20} MiB", hint="download it first")


def _status_error(code: int) -> ImageError:
    reasons = {401: "a login is required", 403: "access is denied", 404: "not found", 410: "it was removed"}
    reason = reasons.get(code) or http.client.responses.get(code, "unknown status").lower()
    return ImageError(f"the server answers {code}: {reason}")


def _translate(error: Exception, settings: FetchSettings, deadline: _Deadline) -> ImageError:
    if isinstance(error, ImageError):
        return error
    if deadline.is_over:
        return deadline.error()
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        message = f"no data from the server for {settings.silence_timeout_s:g} s"
    elif isinstance(reason, ssl.SSLCertVerificationError):
        return ImageError(f"no secure connection: {reason.reason}", hint=CERTIFICATES_HINT)
    elif isinstance(reason, ssl.SSLError):
        message = f"no secure connection: {reason.reason or 'unknown reason'}"
    elif isinstance(reason, http.client.IncompleteRead):
        message = "interrupted by the server"
    elif isinstance(reason, ConnectionError) and not reason.strerror:
        message = "the server closed the connection without an answer"
    elif isinstance(reason, OSError):
        message = f"cannot be reached: {reason.strerror or type(reason).__name__}"
    else:
        message = "the answer of the server is not valid HTTP"
    return ImageError(message, hint="try again later, or download it yourself")

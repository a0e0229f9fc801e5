"""Against a server of our own that does everything a server can do wrong."""

from __future__ import annotations

import base64
import contextlib
import shutil
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from glpn_cli.errors import ImageError
from glpn_cli.image.fetching import Address, Stopper, fetch_image
from glpn_cli.settings import FetchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 300
LIMITS = FetchSettings(max_bytes=2**20, timeout_s=0.5, silence_timeout_s=0.3, max_redirects=3)


class Handler(BaseHTTPRequestHandler):
    """Each path is one way to behave."""

    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, urlsplit(self.path).path.strip("/"))()

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, code: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def whole(self) -> None:
        self.answer(length=len(BODY))
        self.wfile.write(BODY)

    def unannounced(self) -> None:
        self.answer()
        self.wfile.write(BODY)

    def short(self) -> None:
        self.answer(length=len(BODY) + 1)
        self.wfile.write(BODY)

    def long(self) -> None:
        self.answer(length=len(BODY) - 1)
        self.wfile.write(BODY)

    def endless(self) -> None:
        self.answer()
        while True:
            self.wfile.write(BODY)

    def announced_as_huge(self) -> None:
        self.answer(length=2**40)

    def silent(self) -> None:
        time.sleep(0.6)

    def slow(self) -> None:
        """Say something often enough, and never enough."""
        self.answer()
        for _ in range(30):
            self.wfile.write(b"x")
            time.sleep(0.1)

    def slow_to_begin(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(30):
            self.wfile.write(b"X-Wait: 1\r\n"[: 1 + _ % 11])
            time.sleep(0.1)

    def hangs_up(self) -> None:
        self.close_connection = True

    def babble(self) -> None:
        self.wfile.write(b"I am no web server\r\n\r\n")

    def loop(self) -> None:
        self.answer(302, 0, Location="/loop")

    def twice(self) -> None:
        self.answer(301, 0, Location="/once?of=two")

    def once(self) -> None:
        self.answer(307, 0, Location="whole")

    def to_file(self) -> None:
        self.answer(302, 0, Location="file:///etc/passwd")

    def to_ftp(self) -> None:
        self.answer(302, 0, Location="ftp://127.0.0.1/x")

    def to_nowhere(self) -> None:
        self.answer(302, 0)

    def endless_redirect(self) -> None:
        self.answer(302, Location="/whole")
        while True:
            self.wfile.write(BODY)

    def elsewhere(self) -> None:
        port = self.server.server_address[1]
        self.answer(302, 0, Location=f"http://localhost:{port}/whole")

    def missing(self) -> None:
        self.answer(404, 4)
        self.wfile.write(b"gone")

    def locked(self) -> None:
        self.answer(401, 0, WWW_Authenticate='Basic realm="x"')

    def teapot(self) -> None:
        self.answer(418, 0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("no_proxy", "*")
    Handler.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def fetch(server: ThreadingHTTPServer) -> Callable[..., bytes]:
    """Fetch a path of the server."""

    def fetched(path: str, login: str = "", settings: FetchSettings = LIMITS, stopper: Stopper | None = None) -> bytes:
        host, port = server.server_address[:2]
        return fetch_image(Address.parse(f"http://{login}{host!s}:{port}/{path}"), settings, stopper=stopper)

    return fetched


@pytest.mark.parametrize("path", ["whole", "unannounced", "twice", "endless_redirect"])
def test_what_is_there_arrives(fetch: Callable[..., bytes], path: str) -> None:
    assert fetch(path) == BODY


def test_a_body_longer_than_announced_is_what_was_announced(fetch: Callable[..., bytes]) -> None:
    assert fetch("long") == BODY[:-1]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("short", "cut off after 76800 of 76801 bytes"),
        ("endless", "larger than 1 MiB"),
        ("announced_as_huge", "larger than 1 MiB"),
        ("silent", "silent for 0.3 s"),
        ("slow", "not here after 0.5 s"),
        ("slow_to_begin", "not here after 0.5 s"),
        ("hangs_up", "hung up"),
        ("babble", "does not speak HTTP"),
        ("loop", "redirected more than 3 times"),
        ("to_file", "redirected to file"),
        ("to_ftp", "redirected to ftp"),
        ("to_nowhere", "redirected to nowhere"),
        ("missing", "404: there is no such image"),
        ("locked", "401: a login is needed"),
        ("teapot", "418"),
    ],
)
def test_what_goes_wrong_is_said_in_time(fetch: Callable[..., bytes], path: str, said: str) -> None:
    start_s = time.monotonic()
    with pytest.raises(ImageError, match=said) as caught:
        fetch(path, login="me:pass-word@")
    assert time.monotonic() - start_s < 3
    assert f"/{path}: " in caught.value.message
    assert "pass" not in caught.value.message
    assert caught.value.__cause__ is None or "pass" not in str(caught.value.__cause__)


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ImageError, match="cannot be reached: Connection refused"):
        fetch_image(Address.parse("http://127.0.0.1:9/a.jpg"), LIMITS)


def test_a_login_goes_to_the_server_that_was_named_and_to_no_other(fetch: Callable[..., bytes]) -> None:
    login = "Basic " + base64.b64encode(b"me:p@ss").decode()
    fetch("twice", login="me:p%40ss@")
    assert [headers.get("Authorization") for _, headers in Handler.seen] == [login] * 3
    Handler.seen.clear()
    fetch("elsewhere", login="me:p%40ss@")
    assert [headers.get("Authorization") for _, headers in Handler.seen] == [login, None]


def test_an_interrupt_does_not_wait_for_a_slow_server(fetch: Callable[..., bytes]) -> None:
    stopper = Stopper()
    patient = FetchSettings(timeout_s=30, silence_timeout_s=20)
    threading.Timer(0.1, stopper.stop).start()
    start_s = time.monotonic()
    with pytest.raises(ImageError):
        fetch("silent", settings=patient, stopper=stopper)
    with pytest.raises(ImageError):  # and what comes later is not even begun
        fetch("silent", settings=patient, stopper=stopper)
    assert time.monotonic() - start_s < 0.5


def test_a_proxy_of_the_environment_is_used(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_address[1]}")
    assert fetch_image(Address.parse("http://far.invalid/whole"), LIMITS) == BODY
    assert [path for path, _ in Handler.seen] == ["http://far.invalid/whole"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody has signed, and its key behind it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run(["openssl", "req", "-x509", *keys, *names, *files], check=True, capture_output=True)
    return tmp_path / "certificate.pem"


def test_encryption_is_checked_and_does_not_hide_a_slow_server(
    server: ThreadingHTTPServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(ImageError, match="no secure connection: CERTIFICATE_VERIFY_FAILED"):
        fetch_image(Address.parse(f"{address}/whole"), LIMITS)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch_image(Address.parse(f"{address}/whole"), LIMITS) == BODY
    start_s = time.monotonic()
    with pytest.raises(ImageError, match=r"not here after 0\.5 s"):
        fetch_image(Address.parse(f"{address}/slow"), LIMITS)
    assert time.monotonic() - start_s < 2


def test_nothing_is_left_running(fetch: Callable[..., bytes]) -> None:
    fetch("whole")
    with pytest.raises(ImageError):
        fetch("short")
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(0.2)  # less than is left of its time
            assert not thread.is_alive()

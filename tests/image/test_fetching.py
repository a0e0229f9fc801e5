"""URLs, and downloads from a local server that misbehaves in many ways."""

from __future__ import annotations

import base64
import contextlib
import select
import shutil
import ssl
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from glpn_cli.errors import ImageError
from glpn_cli.image.fetching import Address, FetchSettings, Stopper, fetch_image, is_address, safe_name
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 300
NEVER_S = 10 * HANG_S
LIMITS = FetchSettings(max_bytes=2**20, timeout_s=NEVER_S, silence_timeout_s=NEVER_S, max_redirects=3)
SHORT_SILENCE = replace(LIMITS, silence_timeout_s=0.3)
SHORT_TOTAL = replace(LIMITS, timeout_s=0.5)


# URLs


def test_http_urls_are_recognized() -> None:
    assert is_address("http://x/a.jpg")
    assert is_address("HTTPS://x")
    assert not any(map(is_address, ("ftp://x/a.jpg", "file:///etc/passwd", "http:/x", "a/http://x", "https.jpg")))


@pytest.mark.parametrize(
    "url", ["https://user:secret@host.org/a/b.jpg?key=secret#secret", "https://secret@host.org/a/b.jpg?secret"]
)
def test_secrets_are_not_shown(url: str) -> None:
    address = Address.parse(url)
    assert str(address).startswith("https://host.org/a/b.jpg?...")
    for shown in (str(address), repr(address), address.name, "/".join(address.folders)):
        assert "secret" not in shown


def test_urls_with_different_queries_get_different_names() -> None:
    one, two = (Address.parse(f"http://h/get?id={number}") for number in (1, 2))
    assert str(one) != str(two)
    assert one.name != two.name
    assert one.name.startswith("get-")
    assert str(Address.parse("http://h/a.jpg")) == "http://h/a.jpg"


@pytest.mark.parametrize(
    ("url", "name", "folders"),
    [
        ("https://h.org/a/b/photo.jpg", "photo.jpg", ("h.org", "a", "b")),
        ("https://h.org/photo.jpg?width=9", "photo.jpg", ("h.org",)),
        ("https://h.org", "h.org", ("h.org",)),
        ("http://h.org:8080/x/", "x", ("h.org_8080",)),
        ("https://h/t%C3%BCr%20%E5%9B%BE.jpg", "t\u00fcr \u56fe.jpg", ("h",)),
        ("https://h/t\u00fcr.jpg", "t\u00fcr.jpg", ("h",)),
        ("https://h/..%2f..%2fetc%2fpasswd", "__.._etc_passwd", ("h",)),
        ("https://h/../%2e%2e/..%5c/a.jpg", "a.jpg", ("h", "_", "_", "__")),
        ("https://h/.ssh/.a.jpg", "_a.jpg", ("h", "_ssh")),
        ("https://h/a%00b%0a%1b[2J.jpg", "a_b__[2J.jpg", ("h",)),
        ("https://h/con/NUL.jpg", "_NUL.jpg", ("h", "_con")),
        ("https://h/a:b*c.jpg", "a_b_c.jpg", ("h",)),
        ("http://[::1]:80/a.jpg", "a.jpg", ("__1_80",)),
    ],
)
def test_names_from_urls_are_safe(url: str, name: str, folders: tuple[str, ...]) -> None:
    address = Address.parse(url)
    assert address.name == name
    assert address.folders == folders


def test_long_name_is_shortened_before_the_suffix() -> None:
    name = safe_name("\u56fe" * 500 + ".jpg")
    assert name.endswith(".jpg")
    assert len(name.encode()) <= 100
    assert len(safe_name("." + "x" * 500).encode()) <= 100


@pytest.mark.parametrize("text", ["", ".", "..", "...", " ", "\n", "/", " .x"])
def test_safe_name_is_not_empty_hidden_or_relative(text: str) -> None:
    name = safe_name(text)
    assert name
    assert name[0] not in ". "
    assert "/" not in name


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///a.jpg", "http://h:99999/a", "http://h:x/a", "http://[::1/a", "http://a..b/x", "http://@"],
)
def test_invalid_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ImageError) as caught:
        Address.parse(url)
    assert url not in f"{caught.value} {caught.value.hint}"


def test_request_url_is_ascii() -> None:
    address = Address.parse("https://b\u00fccher.example/t\u00fcr 1.jpg?q=\u56fe &x=%20")
    assert address.url == "https://xn--bcher-kva.example/t%C3%BCr%201.jpg?q=%E5%9B%BE%20&x=%20"


# Downloads


class Handler(BaseHTTPRequestHandler):
    """A server; each path behaves in another way."""

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

    def is_waited_for(self, seconds: float) -> bool:
        """Wait, and return whether the client has not hung up in the meantime."""
        return not select.select([self.connection], [], [], seconds)[0]

    def silent(self) -> None:
        """Send nothing until the client hangs up."""
        if self.is_waited_for(HANG_S):
            self.whole()

    def slow(self) -> None:
        """Send a little again and again until the client hangs up."""
        self.answer()
        while self.is_waited_for(0.05):
            self.wfile.write(b"x")

    def slow_to_begin(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        sent = 0
        while self.is_waited_for(0.05):
            self.wfile.write(b"X-Wait: 1\r\n"[: 1 + sent % 11])
            sent += 1

    def hangs_up(self) -> None:
        self.close_connection = True

    def babble(self) -> None:
        self.wfile.write(b"this is not HTTP\r\n\r\n")

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
def test_image_is_downloaded(fetch: Callable[..., bytes], path: str) -> None:
    assert fetch(path) == BODY


def test_body_is_cut_at_the_announced_length(fetch: Callable[..., bytes]) -> None:
    assert fetch("long") == BODY[:-1]


@pytest.mark.parametrize(
    ("path", "detail", "settings"),
    [
        ("short", "76800 of 76801 bytes", LIMITS),
        ("endless", "1 MiB", LIMITS),
        ("announced_as_huge", "1 MiB", LIMITS),
        ("silent", "0.3 s", SHORT_SILENCE),
        ("slow", "0.5 s", SHORT_TOTAL),
        ("slow_to_begin", "0.5 s", SHORT_TOTAL),
        ("hangs_up", "closed", LIMITS),
        ("babble", "HTTP", LIMITS),
        ("loop", "more than 3 times", LIMITS),
        ("to_file", "redirected to file,", LIMITS),
        ("to_ftp", "redirected to ftp,", LIMITS),
        ("to_nowhere", "redirected to nowhere,", LIMITS),
        ("missing", "404", LIMITS),
        ("locked", "401", LIMITS),
        ("teapot", "418", LIMITS),
    ],
)
def test_failed_download_ends_with_its_reason(
    fetch: Callable[..., bytes], path: str, detail: str, settings: FetchSettings
) -> None:
    with pytest.raises(ImageError) as caught:
        fetch(path, login="me:pass-word@", settings=settings)
    url, _, problem = caught.value.message.partition(": ")
    assert url.endswith(f"/{path}")
    assert detail in problem
    assert "pass" not in caught.value.message
    assert caught.value.__cause__ is None or "pass" not in str(caught.value.__cause__)


def test_unreachable_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ImageError, match="Connection refused"):
        fetch_image(Address.parse("http://127.0.0.1:9/a.jpg"), LIMITS)


def test_login_is_sent_only_to_the_server_in_the_url(fetch: Callable[..., bytes]) -> None:
    login = "Basic " + base64.b64encode(b"me:p@ss").decode()
    fetch("twice", login="me:p%40ss@")
    assert [headers.get("Authorization") for _, headers in Handler.seen] == [login] * 3
    Handler.seen.clear()
    fetch("elsewhere", login="me:p%40ss@")
    assert [headers.get("Authorization") for _, headers in Handler.seen] == [login, None]


def test_stopper_ends_running_and_later_downloads(fetch: Callable[..., bytes]) -> None:
    stopper = Stopper()

    def stop_while_running() -> None:
        wait_until(lambda: Handler.seen)
        stopper.stop()

    thread = threading.Thread(target=stop_while_running)
    thread.start()
    with pytest.raises(ImageError):  # the server would answer in the end
        fetch("silent", stopper=stopper)
    thread.join()
    with pytest.raises(ImageError):  # a later download stops as soon as it starts
        fetch("silent", stopper=stopper)


def test_proxy_from_the_environment_is_used(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_address[1]}")
    assert fetch_image(Address.parse("http://far.invalid/whole"), LIMITS) == BODY
    assert [path for path, _ in Handler.seen] == ["http://far.invalid/whole"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same folder."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run(["openssl", "req", "-x509", *keys, *names, *files], check=True, capture_output=True)
    return tmp_path / "certificate.pem"


def test_https_checks_certificate_and_deadline(
    server: ThreadingHTTPServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_address[1]}"
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ImageError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        fetch_image(Address.parse(f"{address}/whole"), LIMITS)
    assert "SSL_CERT_FILE" in str(caught.value.hint)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate) + ".gone")
    with pytest.raises(ImageError, match="REQUESTS_CA_BUNDLE"):
        fetch_image(Address.parse(f"{address}/whole"), LIMITS)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert fetch_image(Address.parse(f"{address}/whole"), LIMITS) == BODY
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch_image(Address.parse(f"{address}/whole"), LIMITS) == BODY
    with pytest.raises(ImageError, match=r"0\.5 s"):
        fetch_image(Address.parse(f"{address}/slow"), SHORT_TOTAL)


def test_no_timer_is_left_running(fetch: Callable[..., bytes]) -> None:
    fetch("whole")
    with pytest.raises(ImageError):
        fetch("short")
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(HANG_S)  # less than the timer has left
            assert not thread.is_alive()

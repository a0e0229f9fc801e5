"""A local server with the protocol of the Hugging Face Hub, correct or faulty as a test requires.

Like the Hub, it serves small files itself and redirects requests for large files to another host, which must not
receive the token.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import pytest
import torch
from safetensors.torch import save as to_safetensors

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.store import ProgressCallback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

SMALL = GLPNConfig(
    hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 3, 4], depths=[1] * 4, decoder_hidden_size=8, max_depth=10
)
COMMIT = "c0b18810c5af73193f9830896e0f8be8cc93d080"
NEXT_COMMIT = "e9e8485000000000000000000000000000000000"


@dataclass(frozen=True)
class Asked:
    """A received request."""

    host: str
    method: str
    path: str
    range: str | None
    token: str | None
    encoding: str | None


@dataclass(frozen=True)
class Refusal:
    """A response without the requested file."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def coded(cls, status: int, code: str) -> Refusal:
        return cls(status, {"X-Error-Code": code, "X-Error-Message": f"{code}, in the words of the Hub"})


@dataclass
class StandInHub:
    """The files and the behavior of the server.

    Attributes:
        files: contents by (repository, name).
        moved: new names of repositories by their old names.
        commit: the commit of `main`.
        asked: all requests, in order.
        sent_bytes: bytes of large files that were sent.
        refuse: responses instead of files, by a part of HOST/PATH; a list is used from its front.
        cut_after: how many bytes of a large file are sent before the connection is closed, one per request; None
            sends all of them.
        body: changes the bytes of large files.
        takes_ranges: whether range requests for large files are supported.
        pause_before_s: delay before every response of the Hub itself.
        pause_s: delay between chunks of a large file.
        chunk_bytes: of a large file.
        hub_port: port of the Hub itself.
        store_port: port of the host for large files.
        store_url: URL of that host, if it is not just its port.
    """

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    commit: str = COMMIT
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: int = 0
    refuse: dict[str, list[Refusal] | Refusal] = field(default_factory=dict)
    cut_after: list[int | None] = field(default_factory=list)
    body: Callable[[bytes], bytes] = bytes
    takes_ranges: bool = True
    pause_before_s: float = 0.0
    pause_s: float = 0.0
    chunk_bytes: int = 2**16
    hub_port: int = 0
    store_port: int = 0
    store_url: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.hub_port}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range headers of the requests for large files, in order."""
        return [asked.range for asked in self.asked if asked.host == "store"]

    def publish(
        self,
        repository: str,
        name: str = "pytorch_model.bin",
        *,
        config: GLPNConfig = SMALL,
        seed: int = 0,
        data: bytes | None = None,
        half: bool = False,
        **config_changes: Any,
    ) -> dict[str, Tensor]:
        """Add a repository with a GLPN, or with any bytes instead of its weights."""
        tensors = random_glpn(config, seed)
        if half:
            tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
        fields = {key: value for key, value in config.to_dict().items() if key != "architectures"} | config_changes
        self.files[repository, "config.json"] = json.dumps(fields).encode()
        self.files[repository, name] = data if data is not None else to_bytes(tensors, name)
        return tensors

    def refusal(self, path: str) -> Refusal | None:
        for piece, refusals in self.refuse.items():
            if piece in path:
                if isinstance(refusals, Refusal):
                    return refusals
                if refusals:
                    return refusals.pop(0)
        return None


class Recorder(ProgressCallback):
    """Records the progress of a download."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, done_bytes: int) -> None:
        self.done.append(done_bytes)


def random_glpn(config: GLPNConfig = SMALL, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return GLPNForDepthEstimation(config).state_dict()


_TO_AUTHORS = (
    (r"glpn\.encoder\.patch_embeddings\.(\d+)\.proj", r"encoder.patch_embed<\1>.proj"),
    (r"glpn\.encoder\.patch_embeddings\.(\d+)\.layer_norm", r"encoder.patch_embed<\1>.norm"),
    (r"glpn\.encoder\.layer_norm\.(\d+)", r"encoder.norm<\1>"),
    (r"glpn\.encoder\.block\.(\d+)\.(\d+)\.", r"encoder.block<\1>.\2."),
    (r"layer_norm_([12])\.", r"norm\1."),
    (r"attention\.self\.query", "attn.q"),
    (r"attention\.self\.key", "attn.kv"),
    (r"attention\.self\.sr", "attn.sr"),
    (r"attention\.self\.layer_norm", "attn.norm"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"mlp\.dense([12])", r"mlp.fc\1"),
    (r"decoder\.stages\.0\.convolution", "decoder.bot_conv"),
    (r"decoder\.stages\.([12])\.convolution", r"decoder.skip_conv\1"),
    (r"decoder\.stages\.(\d)\.fusion\.convolutional_layer(\d)", r"decoder.fusion\1.conv\2"),
    (r"head\.head\.", "last_layer_depth."),
)


def to_authors_keys(published: Mapping[str, Tensor], prefix: str = "module.") -> dict[str, Tensor]:
    """Return tensors under the authors' keys, key and value layers joined; independent of the code under test."""
    authors: dict[str, Tensor] = {}
    for key, tensor in published.items():
        if ".self.value." in key:
            continue
        renamed = key
        for pattern, replacement in _TO_AUTHORS:
            renamed = re.sub(pattern, replacement, renamed)
        renamed = re.sub(r"<(\d+)>", lambda number: str(int(number[1]) + 1), renamed)
        value = published.get(key.replace(".self.key.", ".self.value.")) if ".self.key." in key else None
        authors[prefix + renamed] = tensor if value is None else torch.cat([tensor, value])
    return authors


def to_bytes(tensors: dict[str, Tensor], name: str) -> bytes:
    if name.endswith(".safetensors"):
        return to_safetensors({key: value.contiguous() for key, value in tensors.items()}, {"format": "pt"})
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """The handler of both hosts; also accepts absolute URLs, as sent to a proxy."""

    protocol_version = "HTTP/1.1"
    hub: ClassVar[StandInHub]
    host: ClassVar[str]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        wanted, token, encoding = (self.headers.get(name) for name in ("Range", "Authorization", "Accept-Encoding"))
        asked = Asked(self.host, self.command, path, wanted, token, encoding)
        self.hub.asked.append(asked)
        time.sleep(self.hub.pause_before_s if self.host == "hub" else 0.0)
        refusal = self.hub.refusal(f"{self.host}{path}")
        if refusal is not None:
            self._send(refusal.status, dict(refusal.headers), refusal.body)
        elif path.startswith("/blob/"):
            self._send_blob(path.removeprefix("/blob/"))
        else:
            self._send_file(path)

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # the client timed out
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

    def _send_file(self, path: str) -> None:
        if "/resolve/" not in path:
            return self._send(404, {})  # requests that only the client itself sends
        owner, repository, _, revision, name = path.strip("/").split("/", 4)
        if moved := self.hub.moved.get(f"{owner}/{repository}"):
            return self._send(307, {"Location": f"/{moved}/resolve/{revision}/{name}"})
        data = self.hub.files.get((f"{owner}/{repository}", name))
        if not any(known == f"{owner}/{repository}" for known, _ in self.hub.files):
            return self._send(404, dict(Refusal.coded(404, "RepoNotFound").headers))
        if data is None or revision not in {"main", self.hub.commit}:
            return self._send(404, dict(Refusal.coded(404, "EntryNotFound").headers))
        facts = {"X-Repo-Commit": self.hub.commit, "X-HF-Warning": "login; the Hub wishes you would log in"}
        if name.endswith(".json"):
            git_hash = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            return self._send(200, facts | {"ETag": f'"{git_hash}"'}, data)
        self.hub.files["blob", sha256(data)] = data
        facts |= {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
        store_url = self.hub.store_url or f"http://localhost:{self.hub.store_port}"
        return self._send(302, facts | {"Location": f"{store_url}/blob/{sha256(data)}?signature=x"})

    def _send_blob(self, blob: str) -> None:
        hub = self.hub
        data = hub.body(hub.files["blob", blob])
        wanted = self.headers.get("Range")
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and hub.takes_ranges else 0
        if wanted and begin >= len(data):
            return self._send(416, {"Content-Range": f"bytes */{len(data)}"})
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        cut_after = hub.cut_after.pop(0) if hub.cut_after else None
        end = len(data) if cut_after is None else min(begin + cut_after, len(data))
        with contextlib.suppress(ConnectionError):
            for start in range(begin, end, hub.chunk_bytes):
                chunk = data[start : min(start + hub.chunk_bytes, end)]
                self.wfile.write(chunk)
                hub.sent_bytes += len(chunk)
                time.sleep(hub.pause_s)
        if cut_after is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        return None

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def running_hub() -> Iterator[StandInHub]:
    """Run both hosts during the block."""
    hub = StandInHub()
    servers = []
    for host in ("hub", "store"):
        handler = type(host, (_Handler,), {"hub": hub, "host": host})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        # A small buffer, so that about as many bytes have arrived as were sent.
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
    hub.hub_port, hub.store_port = (server.server_address[1] for server in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, without the login, cache and settings of the user."""
    for variable in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "GLPN_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    for scheme in ("http", "https", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A local Hub, set as the endpoint."""
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the delays between retries, in seconds, instead of waiting."""
    waited: list[float] = []
    monkeypatch.setattr("glpn_cli.weights.hub.sleep", waited.append)
    return waited

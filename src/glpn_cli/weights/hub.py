"""Trying again: what may pass is waited for, within bounds.

What the Hugging Face Hub says of a repository's files: size, hash, commit; and what its refusals mean.

The client library reads its environment variables when it is imported. Here they are read when they are needed and
passed on as values, so that a program may set them at any time.

Source: the protocol of huggingface_hub 1.0 to 2.4 (HEAD of a file's address; X-Repo-Commit, X-Linked-Etag and
X-Linked-Size in the answer; X-Error-Code in a refusal).
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from glpn_cli._version import __version__
from glpn_cli.errors import WeightsError
from glpn_cli.settings import DownloadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from glpn_cli.weights.store import Watcher


Result = TypeVar("Result")


class PassingFaultError(Exception):
    """Something went wrong that may be right in a moment.

    Attributes:
        reason: one line.
        hint: what to do about it if it does not pass, or None.
        wait_s: how long the other side asked to be left alone, or None.
    """

    def __init__(self, reason: str, *, hint: str | None = None, wait_s: float | None = None) -> None:
        """Keep the parts."""
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.wait_s = wait_s


def persist(
    attempt: Callable[[], Result],
    *,
    settings: DownloadSettings,
    watcher: Watcher,
    done_bytes: Callable[[], int] = int,
) -> Result:
    """Attempt something until it succeeds, or until it has failed too often without getting on.

    Args:
        attempt: raises `PassingFaultError` for what may pass; anything else ends it.
        settings: how often and how long.
        watcher: is told of every wait.
        done_bytes: how far the attempts have come together.

    Raises:
        WeightsError: with the reason of the last fault.
    """
    failures, reached_bytes = 0, done_bytes()
    while True:
        try:
            return attempt()
        except PassingFaultError as fault:
            if done_bytes() - reached_bytes >= settings.progress_bytes:
                failures = 0
            failures, reached_bytes = failures + 1, done_bytes()
            wait_s = settings.first_wait_s * 2 ** (failures - 1) if fault.wait_s is None else fault.wait_s
            if failures >= settings.attempts or wait_s > settings.longest_wait_s:
                raise WeightsError(fault.reason, hint=fault.hint) from fault
            watcher.note(f"{fault.reason}; trying again in {wait_s:g} s")
            sleep(wait_s)


# The base class of everything that the HTTP client raises: it is httpx in huggingface_hub 1.x and httpx2 in 2.x. The
# others are what it lets through: no route, a proxy or an address that is none, a proxy of a kind it has no part for.
CLIENT_ERRORS: tuple[type[BaseException], ...] = (HfHubHTTPError.__bases__[0], OSError, ValueError, ImportError)

"""What talking to a server can raise."""

_RATE_LIMIT = re.compile(r"\br=0\s*;\s*t=(\d+)")

_LOGIN = "set HF_TOKEN, or run `hf auth login`"

_PASSING = {
    429: ("{host}: too many requests (429)", f"try again later; with a login more are allowed: {_LOGIN}"),
    500: ("{host}: has a fault of its own ({status})", "try again later"),
}

_NOT_FOUND = ("{what}: not on the Hub, or private ({status})", f"check the name; for a private one {_LOGIN}")

_REFUSALS = {
    "GatedRepo": (
        "{what}: its owner gives access only on request ({status})",
        f"ask for it on the page of the repository, then {_LOGIN}",
    ),
    "RevisionNotFound": ("{what}: the repository is empty ({status})", "check the name"),
    "RepoNotFound": _NOT_FOUND,
    "404": _NOT_FOUND,
    "410": _NOT_FOUND,
    "BadToken": ("{host}: does not accept the token ({status})", f"{_LOGIN}; public weights need no token at all"),
    "401": ("{what}: needs a login ({status})", _LOGIN),
    "403": ("{what}: access is forbidden ({status})", f"for a private repository {_LOGIN}"),
}

"""What a refusal means, by the Hub's own code for it, else by the status."""


@dataclass(frozen=True, slots=True)
class HubAccess:
    """How to talk to the Hub.

    Attributes:
        endpoint: its address, or None for the client's own.
        headers: what every request carries: who asks, and the token of HF_TOKEN or of the stored login.
        settings: how long to keep trying.
    """

    endpoint: str | None
    headers: Mapping[str, str]
    settings: DownloadSettings = field(default_factory=DownloadSettings)

    @property
    def sends_token(self) -> bool:
        """Whether a token goes with every request to the Hub."""
        return "Authorization" in self.headers

    @classmethod
    def from_environment(cls) -> HubAccess:
        """Read what the environment says now.

        Raises:
            WeightsError: it makes no sense.
        """
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
        if endpoint and not _is_address(endpoint):
            raise WeightsError(f"HF_ENDPOINT is no address: {endpoint!r}", hint="it begins with https://")
        try:
            token = None if _is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") else get_token()
        except Exception as error:  # whatever goes wrong while the client looks for a token is the client's own
            raise WeightsError(
                f"the login for the Hub cannot be read: {told(error)}", hint="set HF_TOKEN, or run `hf auth login`"
            ) from error
        login = {"Authorization": f"Bearer {token}"} if token else {}
        return cls(endpoint, {"User-Agent": f"glpn-cli/{__version__}", **login})


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository, at one commit.

    Attributes:
        repository: OWNER/REPO.
        name: within the repository.
        revision: the commit.
        size_bytes: how large it is.
        etag: the SHA-256 of its contents where it is kept by LFS (or Xet), else its git hash.
        url: where to get it; bound to the commit.
    """

    repository: str
    name: str
    revision: str
    size_bytes: int
    etag: str
    url: str

    def __str__(self) -> str:
        return f"{self.repository}: {self.name}"


def is_offline() -> bool:
    """Tell whether the environment forbids the network, as the client understands it."""
    return _is_set("HF_HUB_OFFLINE") or _is_set("TRANSFORMERS_OFFLINE")


def offline_error(repository: str) -> WeightsError:
    """Give the error for weights that only the network could bring."""
    return WeightsError(
        f"{repository}: not on this machine, and the network is not to be used",
        hint="go without --offline and HF_HUB_OFFLINE, or bring a file: glpn weights import",
    )


def ask_for_file(
    repository: str, name: str, *, access: HubAccess, watcher: Watcher, revision: str | None = None
) -> HubFile | None:
    """Ask the Hub what it knows of a file.

    Args:
        repository: OWNER/REPO.
        name: within the repository.
        access: how to talk to the Hub.
        watcher: is told of waits.
        revision: a commit, or None for the newest; given, the repository is known to be there.

    Returns:
        None if the repository has no such file.

    Raises:
        WeightsError: the Hub cannot be reached, refuses, or is none.
    """
    url = hf_hub_url(repository, name, revision=revision, endpoint=access.endpoint)

    def attempt() -> HubFile | None:
        try:
            found = get_hf_file_metadata(
                url, token=False, headers=dict(access.headers), timeout=access.settings.connect_timeout_s
            )
        except HfHubHTTPError as error:
            status, headers = error.response.status_code, error.response.headers
            if headers.get("X-Error-Code") == "EntryNotFound" or (status == 404 and revision):
                return None
            raise to_refusal(repository, status, headers, url=url, token_sent=access.sends_token) from error
        except OfflineModeIsEnabled as error:
            raise offline_error(repository) from error
        except CLIENT_ERRORS as error:
            raise WeightsError(
                f"{urlsplit(url).netloc}: cannot be reached: {told(error)}",
                hint="check the network, HF_ENDPOINT and the proxy; or bring a file: glpn weights import",
            ) from error
        if not (found.commit_hash and found.etag and found.size is not None):
            raise WeightsError(
                f"{urlsplit(url).netloc}: answers, but not as the Hugging Face Hub does",
                hint="is there a login page or a filter between? check HF_ENDPOINT and the proxy",
            )
        pinned = hf_hub_url(repository, name, revision=found.commit_hash, endpoint=access.endpoint)
        return HubFile(repository, name, found.commit_hash, found.size, found.etag, pinned)

    return persist(attempt, settings=access.settings, watcher=watcher)


def to_refusal(
    what: str, status: int, headers: Mapping[str, str], *, url: str, token_sent: bool
) -> WeightsError | PassingFaultError:
    """Turn a refusal of the Hub, or of where it sends one, into an error.

    Args:
        what: a repository, or a file of one.
        status: of the answer.
        headers: of the answer.
        url: that was asked.
        token_sent: whether the request carried a token.
    """
    host = urlsplit(url).netloc
    if status == 429 or status >= 500:
        message, hint = _PASSING[min(status, 500)]
        return PassingFaultError(message.format(host=host, status=status), hint=hint, wait_s=_asked_wait_s(headers))
    reason = headers.get("X-Error-Code", "")
    known = _REFUSALS.get(reason) or _REFUSALS.get("BadToken" if status == 401 and token_sent else str(status))
    message, hint = known or ("{what}: {host} answers with status {status}", "check HF_ENDPOINT and the proxy")
    return WeightsError(message.format(what=what, host=host, status=status), hint=hint)


def told(error: BaseException) -> str:
    """Give what an error says in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}


def _asked_wait_s(headers: Mapping[str, Any]) -> float | None:
    """Read how long a server wants to be left alone: seconds, a date, or the draft of a standard that the Hub uses."""
    wanted = str(headers.get("Retry-After", "")).strip()
    if wanted.isdecimal():
        return float(wanted)
    if wanted:
        try:
            return max(
                0.0, email.utils.parsedate_to_datetime(wanted).timestamp() - time.time()
            )  # wall clock: the server names a time of day
        except ValueError:
            return None
    limited = _RATE_LIMIT.search(str(headers.get("RateLimit", "")))
    return float(limited[1]) if limited else None

"""Requests to the Hugging Face Hub: what it knows about a file, what its errors mean, and when to retry.

The client library reads its environment variables once, when it is imported. This module reads them at each call and
passes them on, so that a program can change them at any time.

Source: the protocol of huggingface_hub 1.0 to 2.4 (HEAD of a file's URL; X-Repo-Commit, X-Linked-Etag and
X-Linked-Size in the response; X-Error-Code in an error).
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

from glpn_cli._version import __version__
from glpn_cli.certificates import CERTIFICATES_HINT
from glpn_cli.errors import WeightsError
from glpn_cli.weights.client import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    get_hf_file_metadata,
    get_token,
    hf_hub_url,
    open_session,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from glpn_cli.weights.store import ProgressCallback

Result = TypeVar("Result")

# What a request can raise: the base class of the HTTP client's errors (httpx in huggingface_hub 1.x, httpx2 in 2.x),
# and what the client passes through: no route, an invalid URL or proxy, a proxy type without its optional package.
CLIENT_ERRORS: tuple[type[BaseException], ...] = (HfHubHTTPError.__bases__[0], OSError, ValueError, ImportError)

_RATE_LIMIT = re.compile(r"\br=0\s*;\s*t=(\d+)")
_LOGIN_HINT = "set HF_TOKEN or run 'hf auth login'"
_NOT_FOUND = ("{what}: not found on the Hub, or private ({status})", f"check the name; if it is private, {_LOGIN_HINT}")
_TRANSIENT_ERRORS = {
    429: ("{host}: too many requests (429)", f"try again later, or {_LOGIN_HINT}, which raises the limit"),
    500: ("{host}: server error ({status})", "try again later"),
}
# Message and hint by the Hub's own error code, else by the HTTP status.
_REFUSALS = {
    "GatedRepo": (
        "{what}: gated, its owner grants access on request ({status})",
        f"request access on the page of the repository, then {_LOGIN_HINT}",
    ),
    "RevisionNotFound": ("{what}: the repository is empty ({status})", "check the name"),
    "RepoNotFound": _NOT_FOUND,
    "404": _NOT_FOUND,
    "410": _NOT_FOUND,
    "BadToken": ("{host}: invalid token ({status})", f"{_LOGIN_HINT}; public weights need no token"),
    "401": ("{what}: requires a login ({status})", _LOGIN_HINT),
    "403": ("{what}: access is forbidden ({status})", f"if it is private, {_LOGIN_HINT}"),
}


@dataclass(frozen=True)
class DownloadSettings:
    """How long a download of weights retries.

    Attributes:
        attempts: in a row without progress.
        first_wait_s: before the second attempt; doubled before each further one.
        longest_wait_s: longer waits, also those that the server asks for, are left to the user.
        progress_bytes: after this many bytes the next failure counts as the first.
        connect_timeout_s: for connecting, and for the answer about a file.
        silence_timeout_s: a connection without data for this long is broken.
    """

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    progress_bytes: int = 2**20
    connect_timeout_s: float = 10.0
    silence_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class HubAccess:
    """How to send requests to the Hub.

    Attributes:
        endpoint: URL of the Hub, or None for the client's default.
        headers: of every request: user agent, and the token of HF_TOKEN or of the stored login.
        settings: timeouts and retries.
    """

    endpoint: str | None
    headers: Mapping[str, str]
    settings: DownloadSettings = field(default_factory=DownloadSettings)

    @property
    def sends_token(self) -> bool:
        """Whether requests to the Hub carry a token."""
        return "Authorization" in self.headers

    @classmethod
    def from_environment(cls, token: str | bool | None = None) -> HubAccess:
        """Read endpoint and token from the environment and the stored login.

        Args:
            token: to use instead of the one that is found; False uses none.

        Raises:
            WeightsError: the endpoint or a certificate is invalid, or the stored login cannot be read.
        """
        open_session()
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
        if endpoint and not _is_url(endpoint):
            raise WeightsError(f"HF_ENDPOINT: not a URL: {endpoint!r}", hint="it must begin with https://")
        try:
            implicit = None if token is False or (token is None and _is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN")) else True
            token = token if isinstance(token, str) else implicit and get_token()
        except Exception as error:  # the client documents no exceptions here
            raise WeightsError(
                f"the stored login for the Hub cannot be read: {one_line(error)}", hint=_LOGIN_HINT
            ) from error
        login = {"Authorization": f"Bearer {token}"} if token else {}
        return cls(endpoint, {"User-Agent": f"glpn-cli/{__version__}", **login})


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository at one commit.

    Attributes:
        repository: OWNER/REPO.
        name: path in the repository.
        revision: the commit.
        size_bytes: of the file.
        etag: SHA-256 of the contents if the file is stored with LFS or Xet, else its git hash.
        url: where to download it, at this commit.
    """

    repository: str
    name: str
    revision: str
    size_bytes: int
    etag: str
    url: str

    def __str__(self) -> str:
        return f"{self.repository}: {self.name}"


def find_hub_file(
    repository: str, name: str, *, access: HubAccess, progress: ProgressCallback, revision: str | None = None
) -> HubFile | None:
    """Request what the Hub knows about a file.

    Args:
        repository: OWNER/REPO.
        name: path in the repository.
        access: how to send requests.
        progress: is notified of delays.
        revision: a commit that is known to exist, or None for the newest.

    Returns:
        None if the repository has no such file.

    Raises:
        WeightsError: the Hub cannot be reached, refuses access, or another server responded.
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
            raise http_error(repository, status, headers, url=url, token_sent=access.sends_token) from error
        except OfflineModeIsEnabled as error:
            raise offline_error(repository) from error
        except CLIENT_ERRORS as error:
            raise WeightsError(
                f"{urlsplit(url).netloc}: cannot be reached: {one_line(error)}",
                hint=CERTIFICATES_HINT
                if "CERTIFICATE_VERIFY" in str(error)
                else "check the network, HF_ENDPOINT and the proxy, or use a weights file: `weights=FILE`",
            ) from error
        if not (found.commit_hash and found.etag and found.size is not None):
            raise WeightsError(
                f"{urlsplit(url).netloc}: the response is not from the Hugging Face Hub",
                hint="check for a login page or a filter in this network, HF_ENDPOINT, and the proxy",
            )
        pinned = hf_hub_url(repository, name, revision=found.commit_hash, endpoint=access.endpoint)
        return HubFile(repository, name, found.commit_hash, found.size, found.etag, pinned)

    return retry(attempt, settings=access.settings, progress=progress)


# Errors and retries


class TransientError(Exception):
    """A failure that a retry may fix.

    Attributes:
        reason: one line.
        hint: what to do if retries fail, or None.
        wait_s: how long the server asked to wait, or None.
    """

    def __init__(self, reason: str, *, hint: str | None = None, wait_s: float | None = None) -> None:
        """Store the parts."""
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.wait_s = wait_s


def retry(
    attempt: Callable[[], Result],
    *,
    settings: DownloadSettings,
    progress: ProgressCallback,
    done_bytes: Callable[[], int] = int,
) -> Result:
    """Call a function until it succeeds, with exponentially growing delays.

    Args:
        attempt: the function; raises `TransientError` for what may be retried. Other exceptions are passed on.
        settings: how often to retry, and how long to wait.
        progress: is notified of every delay.
        done_bytes: returns how many bytes all attempts together have fetched; enough progress resets the count of
            failures.

    Raises:
        WeightsError: too many failures in a row, or the server asked to wait too long.
    """
    failures, reached_bytes = 0, done_bytes()
    while True:
        try:
            return attempt()
        except TransientError as failure:
            if done_bytes() - reached_bytes >= settings.progress_bytes:
                failures = 0
            failures, reached_bytes = failures + 1, done_bytes()
            wait_s = settings.first_wait_s * 2 ** (failures - 1) if failure.wait_s is None else failure.wait_s
            if failures >= settings.attempts or wait_s > settings.longest_wait_s:
                raise WeightsError(failure.reason, hint=failure.hint) from failure
            progress.note(f"{failure.reason}; retrying in {wait_s:g} s")
            sleep(wait_s)


def http_error(
    what: str, status: int, headers: Mapping[str, str], *, url: str, token_sent: bool
) -> WeightsError | TransientError:
    """Return the error for an HTTP error of the Hub or of the server that it redirects to.

    Args:
        what: the repository, or a file of it.
        status: of the response.
        headers: of the response.
        url: of the request.
        token_sent: whether the request carried a token.
    """
    host = urlsplit(url).netloc
    if status == 429 or status >= 500:
        message, hint = _TRANSIENT_ERRORS[min(status, 500)]
        return TransientError(message.format(host=host, status=status), hint=hint, wait_s=_requested_wait_s(headers))
    code = headers.get("X-Error-Code", "")
    known = _REFUSALS.get(code) or _REFUSALS.get("BadToken" if status == 401 and token_sent else str(status))
    message, hint = known or ("{what}: {host} responded with status {status}", "check HF_ENDPOINT and the proxy")
    return WeightsError(message.format(what=what, host=host, status=status), hint=hint)


def is_offline() -> bool:
    """Return whether the environment disables the network, by the same rules as the client library."""
    return _is_set("HF_HUB_OFFLINE") or _is_set("TRANSFORMERS_OFFLINE")


def offline_error(repository: str) -> WeightsError:
    """Return the error for weights that would have to be downloaded while the network is disabled."""
    return WeightsError(
        f"{repository}: not installed, and the network is disabled",
        hint="unset `offline` and HF_HUB_OFFLINE, or use a weights file: `weights=FILE`",
    )


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}


def _requested_wait_s(headers: Mapping[str, Any]) -> float | None:
    """Return the delay that a server asks for: Retry-After (seconds or a date), or RateLimit, an IETF draft."""
    wanted = str(headers.get("Retry-After", "")).strip()
    if wanted.isdecimal():
        return float(wanted)
    if wanted:
        try:
            date = email.utils.parsedate_to_datetime(wanted)
        except ValueError:
            return None
        return max(0.0, date.timestamp() - time.time())  # wall clock: the server sends a time of day
    limited = _RATE_LIMIT.search(str(headers.get("RateLimit", "")))
    return float(limited[1]) if limited else None

from __future__ import annotations

import email.utils
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import close_session

from glpn_cli.errors import WeightsError
from glpn_cli.weights import client as client_module
from glpn_cli.weights import hub as hub_module
from glpn_cli.weights.hub import (
    DownloadSettings,
    HubAccess,
    TransientError,
    find_hub_file,
    http_error,
    is_offline,
    retry,
)
from glpn_cli.weights.store import NO_PROGRESS
from stand_in_hub import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub


def wait_s(**headers: str) -> float | None:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    error = http_error("x", 503, fields, url="https://hub.example/x", token_sent=False)
    assert isinstance(error, TransientError)
    return error.wait_s


def test_wait_is_read_from_seconds_a_date_or_ratelimit() -> None:
    assert wait_s(Retry_After="12") == 12
    date = email.utils.format_datetime(email.utils.localtime().fromtimestamp(time.time() + 30).astimezone())
    assert wait_s(Retry_After=date) == pytest.approx(30, abs=2)
    assert wait_s(Retry_After="Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert wait_s(RateLimit='"resolvers";r=0;t=42') == 42
    assert wait_s(RateLimit='"resolvers";r=99;t=42') is None
    assert wait_s(Retry_After="soon") is None
    assert wait_s() is None


def test_environment_is_read_at_each_call(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    access = HubAccess.from_environment()
    assert (access.endpoint, access.headers["Authorization"]) == ("https://mirror.example", "Bearer hf_secret")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert not HubAccess.from_environment().sends_token
    monkeypatch.delenv("HF_ENDPOINT")
    assert HubAccess.from_environment().endpoint is None


@pytest.mark.parametrize(
    ("variable", "value", "offline"),
    [
        ("HF_HUB_OFFLINE", "1", True),
        ("HF_HUB_OFFLINE", "yes", True),
        ("HF_HUB_OFFLINE", "0", False),
        ("HF_HUB_OFFLINE", "", False),
        ("TRANSFORMERS_OFFLINE", "true", True),
    ],
)
def test_offline_follows_the_rules_of_the_client(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, offline: bool
) -> None:
    monkeypatch.setenv(variable, value)
    assert is_offline() is offline


def test_client_imported_offline_is_an_offline_error(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish("someone/x")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="someone/x") as caught:
        find_hub_file("someone/x", "config.json", access=HubAccess.from_environment(), progress=NO_PROGRESS)
    assert "`offline`" in str(caught.value.hint)


def test_unreadable_login_is_a_one_line_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(hub_module, "get_token", fail)
    with pytest.raises(WeightsError, match="two lines"):
        HubAccess.from_environment()


def test_moved_repository_is_found(hub: StandInHub) -> None:
    hub.publish("someone/new-name")
    hub.moved["someone/old-name"] = "someone/new-name"
    file = find_hub_file("someone/old-name", "config.json", access=HubAccess.from_environment(), progress=NO_PROGRESS)
    assert file is not None
    assert file.size_bytes == len(hub.files["someone/new-name", "config.json"])


def test_retries_wait_longer_each_time_and_stop(waits: list[float]) -> None:
    def attempt() -> None:
        raise TransientError("it failed", hint="a hint")

    recorder = Recorder()
    with pytest.raises(WeightsError, match="it failed") as caught:
        retry(attempt, settings=DownloadSettings(attempts=4), progress=recorder)
    assert caught.value.hint == "a hint"
    assert waits == [1.0, 2.0, 4.0]
    assert len(recorder.notes) == 3


@pytest.mark.parametrize("variable", ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"])
def test_invalid_time_limit_of_the_client_is_named(variable: str) -> None:
    program = "from glpn_cli.cli.app import main; import sys; sys.argv = ['glpn', 'download-weights', 'nyu']; main()"
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {variable: "30s"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 3
    assert variable in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_a_company_are_used(
    variable: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    seen: list[str | None] = []
    monkeypatch.setattr(client_module, "get_session", lambda: seen.append(os.environ.get("SSL_CERT_FILE")))
    HubAccess.from_environment()
    monkeypatch.setenv(variable, str(tmp_path / "company.pem"))
    HubAccess.from_environment()
    assert seen == [None, str(tmp_path / "company.pem")]
    assert os.environ.get("SSL_CERT_FILE") == (seen[1] if variable == "SSL_CERT_FILE" else None)


def test_missing_certificates_name_the_variable(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    close_session()
    with pytest.raises(WeightsError, match="REQUESTS_CA_BUNDLE"):
        HubAccess.from_environment()

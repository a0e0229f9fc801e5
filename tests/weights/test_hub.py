from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.weights import hub as hub_module
from glpn_cli.weights.hub import HubAccess, PassingFaultError, ask_for_file, is_offline, to_refusal
from glpn_cli.weights.store import QUIET

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub


def wait_s(**headers: str) -> float | None:
    refusal = to_refusal("x", 503, {name.replace("_", "-"): value for name, value in headers.items()}, **ASKED)
    assert isinstance(refusal, PassingFaultError)
    return refusal.wait_s


ASKED = {"url": "https://hub.example/x", "token_sent": False}


def test_seconds_a_date_and_the_hubs_own_header_say_how_long_to_wait() -> None:
    assert wait_s(Retry_After="12") == 12
    date = email.utils.format_datetime(email.utils.localtime().fromtimestamp(time.time() + 30).astimezone())
    assert wait_s(Retry_After=date) == pytest.approx(30, abs=2)
    assert wait_s(Retry_After="Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert wait_s(RateLimit='"resolvers";r=0;t=42') == 42
    assert wait_s(RateLimit='"resolvers";r=99;t=42') is None
    assert wait_s(Retry_After="soon") is None
    assert wait_s() is None


def test_what_the_environment_says_counts_when_it_is_needed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_offline_is_what_the_client_understands_by_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, offline: bool
) -> None:
    monkeypatch.setenv(variable, value)
    assert is_offline() is offline


def test_a_client_that_was_imported_offline_is_told_as_offline(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish("someone/x")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="the network is not to be used"):
        ask_for_file("someone/x", "config.json", access=HubAccess.from_environment(), watcher=QUIET)


def test_a_login_that_cannot_be_read_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(hub_module, "get_token", fail)
    with pytest.raises(WeightsError, match="two lines"):
        HubAccess.from_environment()


def test_the_repository_may_have_moved(hub: StandInHub) -> None:
    hub.publish("someone/new-name")
    hub.moved["someone/old-name"] = "someone/new-name"
    file = ask_for_file("someone/old-name", "config.json", access=HubAccess.from_environment(), watcher=QUIET)
    assert file is not None
    assert file.size_bytes == len(hub.files["someone/new-name", "config.json"])

"""`glpn download-weights` as a user runs it, against a Hub on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from glpn_cli.cli.download_progress import DownloadProgress

from glpn_cli.cli.console import Console
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.checkpoint import write_checkpoint
from stand_in_hub import SMALL, Refusal, random_glpn, sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stand_in_hub import StandInHub

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

KITTI = "vinvino02/glpn-kitti"
NYU = "vinvino02/glpn-nyu"

pytestmark = pytest.mark.usefixtures("waits")


def test_a_download_says_what_it_got_and_under_which_terms(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "kitti")
    assert run.returncode == 0, run.stderr
    assert run.stdout == b""
    said = run.stderr.decode()
    assert f"{KITTI}: downloading 289 kB" in said
    assert "checked; depth to 80 m, factor 8" in said
    assert CATALOG["kitti"].license in said
    assert (home / "weights" / "kitti.safetensors").is_file()


def test_what_is_here_already_is_said_and_done(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish(KITTI)
    glpn("download-weights", "kitti")
    for arguments in (["kitti"], ["kitti", "--offline"], [KITTI], ["kitti", "kitti"], ["tiny"]):
        run = glpn("download-weights", *arguments)
        assert run.returncode == 0
        assert b"already here and intact" in run.stderr or b"comes with the package" in run.stderr
        assert run.stderr.count(b"\n") == 1


def test_overwrite_gets_them_again(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish(KITTI)
    glpn("download-weights", "kitti")
    assert b"downloading" in glpn("download-weights", "kitti", "--overwrite").stderr


def test_all_are_both(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.publish(NYU, "model.safetensors")
    assert glpn("download-weights", "all").returncode == 0
    assert {path.stem for path in (home / "weights").iterdir()} == {"nyu", "kitti"}


def test_quiet_says_nothing_and_verbose_where_they_are(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "kitti", "--quiet")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    hub.publish(NYU)
    assert str(home / "weights" / "nyu.safetensors").encode() in glpn("download-weights", "nyu", "-v").stderr


def test_the_scale_of_a_repository_that_nobody_knows_is_one_line(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish("someone/glpn-x")
    said = glpn("download-weights", "someone/glpn-x").stderr.decode()
    assert said.count("nothing tells the scale") == 1
    assert "factor 1" in said
    assert "license" not in said


@pytest.mark.parametrize(
    ("name", "hint"), [("kity", "did you mean kitti?"), ("some where", "nyu, kitti, all"), ("./kitti", "kitti?")]
)
def test_a_name_that_nobody_knows_is_answered_with_the_nearest_before_anything_comes(
    glpn: Glpn, hub: StandInHub, name: str, hint: str
) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "kitti", name)
    assert run.returncode == 3
    assert hint in run.stderr.decode()
    assert hub.asked == []


@pytest.mark.parametrize(
    "refusal",
    [Refusal(401), Refusal.coded(403, "GatedRepo"), Refusal(404), Refusal(429), Refusal(500), Refusal(200)],
)
def test_a_refusal_is_one_line_and_a_hint_and_exit_code_3(glpn: Glpn, hub: StandInHub, refusal: Refusal) -> None:
    hub.publish(KITTI)
    hub.refuse = {"": refusal}
    run = glpn("download-weights", "kitti", "--quiet")
    assert run.returncode == 3
    first, second = run.stderr.decode().splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert b"Traceback" in glpn("download-weights", "kitti", "--quiet", "--debug").stderr


def test_of_several_the_others_are_done(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "nyu", "kitti")
    assert run.returncode == 7
    assert "1 of 2 failed" in run.stderr.decode()
    assert (home / "weights" / "kitti.safetensors").is_file()
    assert glpn("download-weights", "nyu", "someone/x").returncode == 3


def test_offline_is_an_error_where_only_the_network_could_help(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish(KITTI)
    for arguments, environment in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"})):
        run = glpn("download-weights", "kitti", *arguments, **environment)
        assert run.returncode == 3
        assert b"not on this machine" in run.stderr
    assert hub.asked == []


def test_kitti_gives_meters_that_are_eight_times_the_published_scale(
    glpn: Glpn, hub: StandInHub, tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    hub.publish(KITTI)
    assert glpn("download-weights", "kitti").returncode == 0
    write_checkpoint(tmp_path / "published", SMALL, random_glpn(), {})
    make_image("photo.png")
    for weights, output in (("kitti", "meters.npy"), ("./published", "published.npy")):
        run = glpn("predict", "photo.png", "--weights", weights, "-o", output)
        assert run.returncode == 0, run.stderr
    published = np.load(tmp_path / "published.npy")
    assert published.max() < 10
    np.testing.assert_allclose(np.load(tmp_path / "meters.npy"), 8 * published, rtol=1e-6)


def test_naming_absent_weights_downloads_them_unless_offline(
    glpn: Glpn, hub: StandInHub, make_image: Callable[..., Path]
) -> None:
    hub.publish(KITTI)
    make_image("photo.png")
    run = glpn("predict", "photo.png", "--weights", "kitti", "--offline")
    assert run.returncode == 3
    assert b"not on this machine" in run.stderr
    assert hub.asked == []
    run = glpn("predict", "photo.png", "--weights", "kitti")
    assert run.returncode == 0, run.stderr
    assert b"downloading" in run.stderr
    run = glpn("predict", "photo.png", "--weights", KITTI, "--offline", "--overwrite")
    assert run.returncode == 0, run.stderr


def test_nyu_is_the_default_once_it_is_here(glpn: Glpn, hub: StandInHub, make_image: Callable[..., Path]) -> None:
    hub.publish(NYU)
    make_image("photo.png")
    assert b"(tiny, " in glpn("predict", "photo.png").stderr
    assert hub.asked == []
    glpn("download-weights", "nyu")
    said = glpn("predict", "photo.png", "--overwrite").stderr
    assert b"(nyu, " in said
    assert b"approximate" not in said
    assert b"no weights named" in glpn("predict", "photo.png", "--overwrite", "-v").stderr


def test_what_a_process_says_without_a_terminal_is_plain_lines_and_only_ours(
    glpn_process: Glpn, hub: StandInHub
) -> None:
    hub.publish(KITTI)
    run = glpn_process("download-weights", "kitti")
    assert run.returncode == 0
    lines = run.stderr.decode().splitlines()
    assert len(lines) == 3, lines
    assert b"\x1b" not in run.stderr
    assert b"wishes" not in run.stderr  # the stand-in sends a warning that the client would print


def test_a_proxy_is_gone_through(glpn_process: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.store_url = "http://store.invalid"
    run = glpn_process(
        *("download-weights", "kitti"),
        HF_ENDPOINT="http://hub.invalid",
        HTTP_PROXY=hub.url,
        HF_TOKEN="hf_secret",  # noqa: S106 - nobody's
    )
    assert run.returncode == 0, run.stderr
    assert (home / "weights" / "kitti.safetensors").is_file()
    assert {asked.token for asked in hub.asked if asked.path.startswith("/blob/")} == {None}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_says_so_and_goes_on_the_next_time(
    hub: StandInHub, home: Path, ending: signal.Signals
) -> None:
    hub.publish(KITTI)
    hub.chunk_bytes, hub.pause_s = 2**13, 0.1
    process = subprocess.Popen(
        [sys.executable, "-m", "glpn_cli", "download-weights", "kitti"], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while hub.sent_bytes < 20_000 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(ending)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    (part,) = (home / "downloads" / "kitti").iterdir()
    assert part.stat().st_size > 0
    assert part.stem == sha256(hub.files[KITTI, "pytorch_model.bin"])


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("glpn_cli.cli.download_progress.monotonic", lambda: now_s[0])
    progress = DownloadProgress(Console())
    progress.begin("someone/x", total_bytes=245_000_000, done_bytes=45_000_000)
    for second in range(11):
        now_s[0] = float(second)
        progress.advance(45_000_000 + second * 10_000_000)
    progress.end()
    assert capsys.readouterr().err.splitlines() == [
        "someone/x: downloading 245 MB, of which 45 MB are here",
        "someone/x: 95 MB of 245 MB, 10 MB per second, 15 s left",
        "someone/x: 145 MB of 245 MB, 10 MB per second, 10 s left",
    ]


def test_on_a_terminal_there_is_a_bar_with_size_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console()
    progress = DownloadProgress(console)
    with console._stderr.capture() as captured:
        progress.begin("someone/x", total_bytes=245_000_000, done_bytes=0)
        for megabytes in (50, 75, 100):
            time.sleep(0.01)
            progress.advance(megabytes * 1_000_000)
        progress.note("the connection was cut")
        progress.end()
    shown = captured.get()
    assert "100.0/245.0 MB" in shown
    assert "B/s" in shown
    assert "note:" in shown

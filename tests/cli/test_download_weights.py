"""`glpn download-weights` with a stand-in for the Hub on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.checkpoint import write_checkpoint
from stand_in_hub import SMALL, Refusal, random_glpn, sha256
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stand_in_hub import StandInHub

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

KITTI = "vinvino02/glpn-kitti"
NYU = "vinvino02/glpn-nyu"

pytestmark = pytest.mark.usefixtures("waits")


def test_a_download_prints_size_scale_and_license(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "kitti")
    assert run.returncode == 0, run.stderr
    assert run.stdout == b""
    shown = run.stderr.decode()
    assert all(text in shown for text in (KITTI, "289 kB", "80 m", CATALOG["kitti"].license))
    assert (home / "weights" / "kitti.safetensors").is_file()


def test_installed_weights_are_left_alone(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish(KITTI)
    glpn("download-weights", "kitti")
    asked = len(hub.asked)
    for arguments in (["kitti"], ["kitti", "--offline"], [KITTI], ["kitti", "kitti"], ["tiny"]):
        run = glpn("download-weights", *arguments)
        assert run.returncode == 0
        assert run.stderr.count(b"\n") == 1
        assert run.stderr.split(b":")[0].decode() in ("kitti", "tiny")
    assert len(hub.asked) == asked


def test_overwrite_downloads_again(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish(KITTI)
    glpn("download-weights", "kitti")
    assert b"downloading" in glpn("download-weights", "kitti", "--overwrite").stderr


def test_all_downloads_every_named_weights(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.publish(NYU, "model.safetensors")
    assert glpn("download-weights", "all").returncode == 0
    assert {path.stem for path in (home / "weights").iterdir()} == {"nyu", "kitti"}


def test_quiet_prints_nothing_and_verbose_the_path(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "kitti", "--quiet")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    hub.publish(NYU)
    assert str(home / "weights" / "nyu.safetensors").encode() in glpn("download-weights", "nyu", "-v").stderr


def test_an_unknown_repository_gets_a_note_on_its_scale(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish("someone/glpn-x")
    shown = glpn("download-weights", "someone/glpn-x").stderr.decode()
    assert shown.count("note: ") == 1
    assert "license" not in shown


@pytest.mark.parametrize(("name", "hint"), [("kity", "kitti"), ("some where", "nyu, kitti, all"), ("./kitti", "kitti")])
def test_an_unknown_name_fails_before_any_download(glpn: Glpn, hub: StandInHub, name: str, hint: str) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "kitti", name)
    assert run.returncode == 3
    assert hint in run.stderr.decode().splitlines()[-1]
    assert hub.asked == []


@pytest.mark.parametrize(
    "refusal",
    [Refusal(401), Refusal.coded(403, "GatedRepo"), Refusal(404), Refusal(429), Refusal(500), Refusal(200)],
)
def test_a_refusal_is_one_error_with_a_hint(glpn: Glpn, hub: StandInHub, refusal: Refusal) -> None:
    hub.publish(KITTI)
    hub.refuse = {"": refusal}
    run = glpn("download-weights", "kitti", "--quiet")
    assert run.returncode == 3
    first, second = run.stderr.decode().splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert b"Traceback" in glpn("download-weights", "kitti", "--quiet", "--debug").stderr


def test_one_failed_download_does_not_stop_the_rest(glpn: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    run = glpn("download-weights", "nyu", "kitti")
    assert run.returncode == 7
    assert "1 of 2 failed" in run.stderr.decode()
    assert (home / "weights" / "kitti.safetensors").is_file()
    assert glpn("download-weights", "nyu", "someone/x").returncode == 3


def test_offline_fails_without_the_network(glpn: Glpn, hub: StandInHub) -> None:
    hub.publish(KITTI)
    for arguments, environment in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"})):
        run = glpn("download-weights", "kitti", *arguments, **environment)
        assert run.returncode == 3
        assert b"kitti" in run.stderr
    assert hub.asked == []


def test_kitti_meters_are_eight_times_the_published_scale(
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


def test_predict_downloads_missing_weights_unless_offline(
    glpn: Glpn, hub: StandInHub, make_image: Callable[..., Path]
) -> None:
    hub.publish(KITTI)
    make_image("photo.png")
    run = glpn("predict", "photo.png", "--weights", "kitti", "--offline")
    assert run.returncode == 3
    assert b"kitti" in run.stderr
    assert hub.asked == []
    run = glpn("predict", "photo.png", "--weights", "kitti")
    assert run.returncode == 0, run.stderr
    assert b"downloading" in run.stderr
    run = glpn("predict", "photo.png", "--weights", KITTI, "--offline", "--overwrite")
    assert run.returncode == 0, run.stderr


def test_nyu_is_the_default_once_installed(glpn: Glpn, hub: StandInHub, make_image: Callable[..., Path]) -> None:
    hub.publish(NYU)
    make_image("photo.png")
    assert b"(tiny, " in glpn("predict", "photo.png").stderr
    assert hub.asked == []
    glpn("download-weights", "nyu")
    shown = glpn("predict", "photo.png", "--overwrite").stderr
    assert b"(nyu, " in shown
    assert b"approximate" not in shown
    assert b"'nyu'" in glpn("predict", "photo.png", "--overwrite", "-v").stderr


def test_a_piped_download_prints_plain_lines(glpn_process: Glpn, hub: StandInHub) -> None:
    hub.publish(KITTI)
    run = glpn_process("download-weights", "kitti")
    assert run.returncode == 0
    lines = run.stderr.decode().splitlines()
    assert len(lines) == 3, lines
    assert b"\x1b" not in run.stderr
    assert b"wishes" not in run.stderr  # a warning of the stand-in that the Hub's client prints


def test_a_proxy_is_used(glpn_process: Glpn, hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.store_url = "http://store.invalid"
    run = glpn_process(
        *("download-weights", "kitti"),
        HF_ENDPOINT="http://hub.invalid",
        HTTP_PROXY=hub.url,
        HF_TOKEN="hf_secret",  # noqa: S106 - not a real one
    )
    assert run.returncode == 0, run.stderr
    assert (home / "weights" / "kitti.safetensors").is_file()
    assert {asked.token for asked in hub.asked if asked.path.startswith("/blob/")} == {None}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_leaves_a_part_to_resume(
    hub: StandInHub, home: Path, warm_python: list[str], ending: signal.Signals
) -> None:
    hub.publish(KITTI)
    hub.pause_s = HANG_S  # after the first chunk
    process = subprocess.Popen([*warm_python, "-m", "glpn_cli", "download-weights", "kitti"], stderr=subprocess.PIPE)
    wait_until(lambda: any(part.stat().st_size for part in (home / "downloads").rglob("*.part")), process)
    process.send_signal(ending)
    _, shown = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert b"kitti: interrupted" in shown
    assert b"Traceback" not in shown
    (part,) = (home / "downloads" / "kitti").iterdir()
    assert part.stat().st_size > 0
    assert part.stem == sha256(hub.files[KITTI, "pytorch_model.bin"])

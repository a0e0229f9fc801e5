from __future__ import annotations

import json
import os
import pickle
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch
from huggingface_hub import hf_hub_download

from glpn_cli.errors import ConfigError, WeightsError
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.catalog import CATALOG, WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint
from glpn_cli.weights.download import download, find_cached
from glpn_cli.weights.header import read_metadata, verify_seal
from stand_in_hub import COMMIT, NEXT_COMMIT, Recorder, Refusal, sha256, to_bytes
from waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub


KITTI = "vinvino02/glpn-kitti"
NYU = "vinvino02/glpn-nyu"

pytestmark = pytest.mark.usefixtures("waits")


def installed_file(home: Path, name: str = "kitti") -> Path:
    return home / "weights" / f"{name}.safetensors"


def files_in(home: Path) -> set[str]:
    """Return the relative paths of all files except lock files."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and path.parent.name != "locks"}


def assert_no_files(home: Path) -> None:
    assert files_in(home) == set()


def test_pickle_becomes_one_file_with_complete_metadata(hub: StandInHub, home: Path) -> None:
    tensors = hub.publish(KITTI)
    installed = download("kitti")
    assert installed is not None
    assert installed.path == installed_file(home)
    assert files_in(home) == {"weights/kitti.safetensors"}
    checkpoint = read_checkpoint(installed.path)
    assert checkpoint.tensors.keys() == tensors.keys()
    assert all(torch.equal(checkpoint.tensors[key], tensors[key]) for key in tensors)
    metadata = checkpoint.metadata
    assert (metadata["source"], metadata["revision"]) == (KITTI, COMMIT)
    assert metadata["source_sha256"] == sha256(hub.files[KITTI, "pytorch_model.bin"])
    assert metadata["license"] == CATALOG["kitti"].license
    assert json.loads(metadata["config"])["max_depth"] == 10
    assert WeightsCard.from_metadata(metadata, name="kitti", max_depth=10.0) == CATALOG["kitti"].card
    assert verify_seal(installed.path)


def test_kitti_has_a_factor_and_keeps_the_published_max_depth(hub: StandInHub) -> None:
    hub.publish(KITTI)
    installed = download("kitti")
    assert installed is not None
    assert (installed.card.meters_per_unit, installed.card.depth_limit_m, installed.scale_known) == (8.0, 80, True)
    assert GLPNForDepthEstimation.from_pretrained(installed.path).config.max_depth == 10


def test_corrected_published_max_depth_gives_meters_too(hub: StandInHub) -> None:
    hub.publish(KITTI, max_depth=80)
    installed = download("kitti")
    assert installed is not None
    assert (installed.card.meters_per_unit, installed.card.depth_limit_m) == (1.0, 80)


def test_safetensors_is_preferred_to_a_pickle(hub: StandInHub) -> None:
    hub.publish(NYU, "pytorch_model.bin", data=b"never asked for")
    hub.publish(NYU, "model.safetensors")
    assert download("nyu") is not None
    assert not [asked for asked in hub.asked if asked.path.endswith(".bin")]


def test_unknown_repository_gets_factor_one_and_a_note(hub: StandInHub, home: Path) -> None:
    hub.publish("someone/glpn-x", "model.safetensors")
    installed = download("someone/glpn-x")
    assert installed is not None
    assert installed.path == installed_file(home, "someone--glpn-x")
    assert (installed.card.meters_per_unit, installed.card.depth_limit_m, installed.card.metric) == (1.0, 10.0, None)
    assert "scale" in str(installed.scale_note)


def test_intact_weights_are_not_downloaded_again(hub: StandInHub) -> None:
    hub.publish(KITTI)
    download("kitti")
    hub.asked.clear()
    assert download("kitti") is None
    assert download("kitti", offline=True) is None
    assert hub.asked == []


def test_installed_weights_need_no_lock(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    download("kitti")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("locked")

    monkeypatch.setattr("glpn_cli.weights.download.lock_weights", refuse)
    assert download("kitti") is None


def test_damaged_weights_are_downloaded_again(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    whole = installed_file(home).read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2], b""):
        installed_file(home).write_bytes(damaged)
        recorder = Recorder()
        assert download("kitti", progress=recorder) is not None
        assert "'kitti'" in recorder.notes[0]
        assert installed_file(home).read_bytes() == whole


def test_overwrite_downloads_again(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    hub.publish(KITTI, seed=1)
    hub.commit = NEXT_COMMIT
    assert download("kitti") is None
    assert download("kitti", overwrite=True) is not None
    assert read_metadata(installed_file(home))["revision"] == NEXT_COMMIT


def test_same_source_gives_the_same_bytes(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    first = installed_file(home).read_bytes()
    download("kitti", overwrite=True)
    assert installed_file(home).read_bytes() == first


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.3, 0.999])
def test_interrupted_connection_resumes(hub: StandInHub, home: Path, waits: list[float], fraction: float) -> None:
    hub.publish(KITTI)
    size = len(hub.files[KITTI, "pytorch_model.bin"])
    cut = int(fraction * size)
    hub.cut_after = [cut]
    recorder = Recorder()
    assert download("kitti", progress=recorder) is not None
    assert verify_seal(installed_file(home))
    assert hub.ranges == [None, f"bytes={cut}-" if cut else None]
    assert hub.sent_bytes == size
    assert recorder.done[-1] == size
    assert waits == [1.0]
    assert f"{cut} of {size} bytes" in recorder.notes[0]


def test_next_run_resumes_after_too_many_interruptions(hub: StandInHub, home: Path, waits: list[float]) -> None:
    hub.publish(KITTI)
    size = len(hub.files[KITTI, "pytorch_model.bin"])
    hub.cut_after = [100, 20, 3, 0, 0]
    with pytest.raises(WeightsError, match=f"123 of {size} bytes") as caught:
        download("kitti")
    assert caught.value.hint
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert not installed_file(home).exists()
    assert download("kitti") is not None
    assert hub.ranges[-1] == "bytes=123-"
    assert hub.sent_bytes == size
    assert files_in(home) == {"weights/kitti.safetensors"}


def test_replaced_file_is_not_resumed(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000, 0, 0, 0, 0]
    with pytest.raises(WeightsError):
        download("kitti")
    tensors = hub.publish(KITTI, seed=1)
    hub.commit = NEXT_COMMIT
    assert download("kitti") is not None
    assert hub.ranges[-1] is None
    assert files_in(home) == {"weights/kitti.safetensors"}
    key = next(iter(tensors))
    assert torch.equal(read_checkpoint(installed_file(home)).tensors[key], tensors[key])


def test_there_is_at_most_one_partial_file(hub: StandInHub, home: Path) -> None:
    for seed in (0, 1):
        hub.publish(KITTI, seed=seed)
        hub.cut_after = [1000, 0, 0, 0, 0]
        with pytest.raises(WeightsError):
            download("kitti")
        assert files_in(home) == {f"downloads/kitti/{sha256(hub.files[KITTI, 'pytorch_model.bin'])}.part"}


def test_damaged_partial_file_starts_over(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000, 0, 0, 0, 0]
    with pytest.raises(WeightsError):
        download("kitti")
    (part,) = (home / "downloads" / "kitti").iterdir()
    part.write_bytes(bytes(1000))
    recorder = Recorder()
    assert download("kitti", progress=recorder) is not None
    assert hub.ranges[-2:] == ["bytes=1000-", None]
    assert any(KITTI in note for note in recorder.notes)


def test_partial_file_that_is_too_long_is_removed(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    data = hub.files[KITTI, "pytorch_model.bin"]
    part = home / "downloads" / "kitti" / f"{sha256(data)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(data + b"more")
    assert download("kitti") is not None
    assert hub.ranges == [None]


def test_server_without_ranges_starts_over(hub: StandInHub) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000]
    hub.takes_ranges = False
    recorder = Recorder()
    assert download("kitti", progress=recorder) is not None
    assert hub.ranges == [None, "bytes=1000-"]
    assert KITTI in recorder.notes[-1]
    assert recorder.done[-1] == len(hub.files[KITTI, "pytorch_model.bin"])


@pytest.mark.parametrize(
    ("refusals", "message", "hint"),
    [
        ({"config.json": Refusal(401)}, "requires a login", "HF_TOKEN"),
        ({"config.json": Refusal.coded(401, "RepoNotFound")}, "not found on the Hub, or private", "check the name"),
        ({"config.json": Refusal.coded(403, "GatedRepo")}, "gated", "request access"),
        ({"config.json": Refusal.coded(401, "GatedRepo")}, "gated", "request access"),
        ({"config.json": Refusal(403)}, "forbidden", "HF_TOKEN"),
        ({"config.json": Refusal(404)}, "not found on the Hub", "check the name"),
        ({"config.json": Refusal.coded(404, "RevisionNotFound")}, "empty", "check the name"),
        ({"config.json": Refusal.coded(404, "EntryNotFound")}, "has no config.json", "check the name"),
        ({"config.json": Refusal(418)}, "status 418", "proxy"),
        ({".bin": Refusal(404), ".safetensors": Refusal(404)}, "neither model.safetensors nor", "check the name"),
        ({"config.json": Refusal(429)}, "too many requests", "later"),
        ({"config.json": Refusal(500)}, "server error", "later"),
        ({"config.json": Refusal(503)}, "server error", "later"),
        ({"store/": Refusal(404)}, "not found on the Hub", "check the name"),
    ],
)
def test_refusal_is_a_one_line_error_with_a_hint(
    hub: StandInHub, home: Path, refusals: dict[str, Refusal], message: str, hint: str
) -> None:
    hub.publish(KITTI)
    hub.refuse = dict(refusals)
    with pytest.raises(WeightsError, match=message) as caught:
        download("kitti")
    assert "\n" not in caught.value.message
    assert hint in str(caught.value.hint)
    assert_no_files(home)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_transient_errors_are_retried(hub: StandInHub, waits: list[float], status: int) -> None:
    hub.publish(KITTI)
    blob = sha256(hub.files[KITTI, "pytorch_model.bin"])
    hub.refuse = {"config.json": [Refusal(status)], blob: [Refusal(status), Refusal(status)]}
    assert download("kitti") is not None
    assert waits == [1.0, 1.0, 2.0]


def test_requested_wait_is_respected(hub: StandInHub, waits: list[float]) -> None:
    hub.publish(KITTI)
    hub.refuse = {"config.json": [Refusal(429, {"Retry-After": "7"}), Refusal(429, {"RateLimit": '"api";r=0;t=5'})]}
    assert download("kitti") is not None
    assert waits == [7.0, 5.0]


def test_long_requested_wait_is_an_error(hub: StandInHub, waits: list[float]) -> None:
    hub.publish(KITTI)
    hub.refuse = {"config.json": Refusal(429, {"Retry-After": "3600"})}
    with pytest.raises(WeightsError, match="429"):
        download("kitti")
    assert waits == []


def test_login_page_instead_of_the_hub_is_an_error(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.refuse = {"": Refusal(200, {"Content-Type": "text/html"}, b"<html>Welcome to the airport</html>")}
    with pytest.raises(WeightsError, match="not from the Hugging Face Hub"):
        download("kitti")
    assert_no_files(home)


def test_web_page_instead_of_the_file_is_an_error(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    blob = sha256(hub.files[KITTI, "pytorch_model.bin"])
    page = Refusal(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Welcome to the airport</html>")
    hub.refuse = {blob: page}
    with pytest.raises(WeightsError, match="web page"):
        download("kitti")
    assert not installed_file(home).exists()
    hub.refuse = {}
    assert download("kitti") is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda data: data[:-10], "the Hub recorded"),
        (lambda data: data + b"more", "the Hub recorded"),
        (lambda data: data[:500] + b"?" + data[501:], "hash"),
        (lambda _: b"", "the Hub recorded"),
    ],
)
def test_wrong_bytes_are_refused(hub: StandInHub, home: Path, body: Any, message: str) -> None:
    hub.publish(KITTI)
    hub.body = body
    with pytest.raises(WeightsError, match=message):
        download("kitti")
    assert not installed_file(home).exists()


def test_file_that_became_shorter_is_refused(hub: StandInHub) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000]
    asked_before = iter([False, True, True])
    hub.body = lambda data: data[:500] if next(asked_before) else data
    with pytest.raises(WeightsError, match="500 bytes"):
        download("kitti")


def test_altered_configuration_is_refused(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    etag = '"0123456789012345678901234567890123456789"'
    whole = {"X-Repo-Commit": COMMIT, "ETag": etag}
    hub.refuse = {"config.json": Refusal(200, whole, hub.files[KITTI, "config.json"])}
    with pytest.raises(WeightsError, match=r"config\.json.*hash"):
        download("kitti")
    assert_no_files(home)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm-was-done",)


def test_pickle_with_code_runs_nothing_and_is_not_installed(
    hub: StandInHub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Harmful()}, tmp_path / "harmful.bin")
    hub.publish(KITTI, data=(tmp_path / "harmful.bin").read_bytes())
    with pytest.raises(WeightsError, match=r"glpn-kitti: pytorch_model\.bin"):
        download("kitti")
    hub.publish(KITTI, data=pickle.dumps({"weight": _Harmful()}, protocol=2))
    with pytest.raises(WeightsError):
        download("kitti")
    assert not (tmp_path / "harm-was-done").exists()
    assert_no_files(home)


def test_other_architecture_is_refused_before_the_large_download(hub: StandInHub) -> None:
    hub.publish("someone/segformer", model_type="segformer")
    with pytest.raises(ConfigError, match=r"someone/segformer: config\.json: model_type"):
        download("someone/segformer")
    assert hub.sent_bytes == 0


def test_tensors_that_do_not_match_are_named_and_not_installed(hub: StandInHub, home: Path) -> None:
    tensors = hub.publish(KITTI)
    tensors["backbone.layer1.weight"] = tensors.pop("head.head.0.weight")
    hub.publish(KITTI, data=to_bytes(tensors, "pytorch_model.bin"))
    with pytest.raises(WeightsError, match=r"missing: head\.head\.0\.weight; 1 unexpected: backbone\.layer1\.weight"):
        download("kitti")
    assert_no_files(home)


def test_error_keeps_the_installed_weights(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    before = installed_file(home).read_bytes()
    hub.publish(KITTI, data=b"no weights at all")
    with pytest.raises(WeightsError):
        download("kitti", overwrite=True)
    assert installed_file(home).read_bytes() == before


def test_missing_disk_space_is_an_early_error(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match=KITTI) as caught:
        download("kitti")
    assert "GLPN_HOME" in str(caught.value.hint)
    assert hub.sent_bytes == 0


def test_unwritable_home_is_an_error(hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="file") as caught:
        download("kitti")
    assert "GLPN_HOME" in str(caught.value.hint)
    assert hub.asked == []


def test_missing_network_is_not_retried(hub: StandInHub, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9") as caught:
        download("kitti")
    assert "`weights=" in str(caught.value.hint)
    assert waits == []


@pytest.mark.parametrize("endpoint", ["hub.example", "ftp://hub.example"])
def test_invalid_endpoint_is_an_error(hub: StandInHub, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(WeightsError, match="HF_ENDPOINT"):
        download("kitti")


@pytest.mark.parametrize("variable", [None, "HF_HUB_OFFLINE"])
def test_offline_sends_no_request(hub: StandInHub, variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(WeightsError, match=KITTI) as caught:
        download("kitti", offline=variable is None)
    assert "`offline`" in str(caught.value.hint)
    assert hub.asked == []


def test_token_is_sent_to_the_hub_only(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert download("kitti") is not None
    assert {asked.token for asked in hub.asked if asked.host == "hub"} == {"Bearer hf_secret"}
    assert {asked.token for asked in hub.asked if asked.host == "store"} == {None}


def test_requests_accept_no_encoding(hub: StandInHub) -> None:
    hub.publish(KITTI)
    download("kitti")
    assert {asked.encoding for asked in hub.asked} == {"identity"}


def test_no_login_sends_no_token(hub: StandInHub) -> None:
    hub.publish(KITTI)
    download("kitti")
    assert {asked.token for asked in hub.asked} == {None}


def test_invalid_token_is_an_error(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    hub.refuse = {"": Refusal(401, {"X-Error-Message": "Invalid credentials in Authorization header"})}
    with pytest.raises(WeightsError, match="token") as caught:
        download("kitti")
    assert "HF_TOKEN" in str(caught.value.hint)


def test_second_download_waits_for_the_first(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    waiting = threading.Event()

    class Waiter(Recorder):
        def note(self, text: str) -> None:
            super().note(text)
            waiting.set()

    def send_when_the_second_waits(data: bytes) -> bytes:
        waiting.wait(HANG_S)
        return data

    hub.body = send_when_the_second_waits
    results: list[object] = []
    recorders = [Waiter(), Waiter()]
    threads = [
        threading.Thread(target=lambda progress=progress: results.append(download("kitti", progress=progress)))  # type: ignore[misc]
        for progress in recorders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result is None for result in results) == [False, True]
    assert hub.sent_bytes == len(hub.files[KITTI, "pytorch_model.bin"])
    assert sorted(len(recorder.notes) for recorder in recorders) == [0, 1]
    assert verify_seal(installed_file(home))


def test_half_precision_is_installed_as_float32(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI, half=True)
    assert download("kitti") is not None
    assert {t.dtype for t in read_checkpoint(installed_file(home)).tensors.values()} == {torch.float32, torch.int64}


def test_tensors_that_share_memory_are_separated(hub: StandInHub, home: Path) -> None:
    tensors = hub.publish(KITTI)
    first, second = "glpn.encoder.layer_norm.0.weight", "glpn.encoder.patch_embeddings.0.layer_norm.weight"
    tensors[second] = tensors[first]
    hub.publish(KITTI, data=to_bytes(tensors, "pytorch_model.bin"))
    assert download("kitti") is not None
    installed = read_checkpoint(installed_file(home)).tensors
    assert torch.equal(installed[first], tensors[first])
    assert torch.equal(installed[second], tensors[first])


def test_bundled_weights_need_no_download(hub: StandInHub) -> None:
    assert download("tiny") is None
    assert hub.asked == []


def test_large_configuration_is_refused(hub: StandInHub) -> None:
    hub.publish("someone/glpn-x")
    hub.files["someone/glpn-x", "config.json"] = b" " * 2_000_000
    with pytest.raises(WeightsError, match=r"config\.json"):
        download("someone/glpn-x")


@pytest.mark.parametrize("text", [b"{", b"[1]", b'{"max_depth": "ten"}'])
def test_invalid_configuration_names_the_file(hub: StandInHub, text: bytes) -> None:
    hub.publish("someone/glpn-x")
    hub.files["someone/glpn-x", "config.json"] = text
    with pytest.raises(ConfigError, match=r"someone/glpn-x: config\.json"):
        download("someone/glpn-x")


def test_configuration_and_weights_are_of_one_commit(hub: StandInHub) -> None:
    hub.publish(KITTI)
    assert download("kitti") is not None
    revisions = [asked.path.split("/")[4] for asked in hub.asked if asked.host == "hub"]
    assert revisions[0] == "main"
    assert set(revisions[1:]) == {COMMIT}


@pytest.fixture
def cached(hub: StandInHub, tmp_path: Path) -> Path:
    """Weights in the cache of the client, put there by the client itself."""
    hub.publish(KITTI)
    for name in ("config.json", "pytorch_model.bin"):
        file = hf_hub_download(KITTI, name, endpoint=hub.url, cache_dir=tmp_path / "hf" / "hub", token=False)
    hub.asked.clear()
    return tmp_path / "hf" / "hub" / file


@pytest.mark.parametrize("offline", [False, True])
def test_cache_is_used_instead_of_the_network(hub: StandInHub, cached: Path, offline: bool) -> None:
    recorder = Recorder()
    installed = download("kitti", offline=offline, progress=recorder)
    assert installed is not None
    assert verify_seal(installed.path)
    assert read_metadata(installed.path)["revision"] == COMMIT
    assert installed.card.meters_per_unit == 8
    assert hub.asked == []
    assert "cache" in recorder.notes[0]


def test_damaged_cache_is_not_used(hub: StandInHub, cached: Path) -> None:
    blob = cached.resolve()
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    recorder = Recorder()
    with pytest.raises(WeightsError, match=KITTI):
        download("kitti", offline=True, progress=recorder)
    assert "cache" in recorder.notes[0]
    assert download("kitti") is not None
    assert hub.asked


def test_overwrite_ignores_the_cache_unless_offline(hub: StandInHub, cached: Path) -> None:
    assert download("kitti", overwrite=True) is not None
    assert hub.asked
    hub.asked.clear()
    assert download("kitti", overwrite=True, offline=True) is not None
    assert hub.asked == []


def test_cache_without_symbolic_links_is_used(cached: Path) -> None:
    data = cached.read_bytes()
    cached.unlink()
    cached.write_bytes(data)
    assert download("kitti", offline=True) is not None


def test_incomplete_cache_is_not_used(hub: StandInHub, cached: Path) -> None:
    cached.unlink()
    assert find_cached(KITTI) is None
    assert download("kitti") is not None
    assert hub.asked


def test_cache_folder_follows_the_environment(cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_cached(KITTI) is not None
    monkeypatch.setenv("HF_HOME", str(tmp_path / "elsewhere"))
    assert find_cached(KITTI) is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    assert find_cached(KITTI) is not None


def test_unreadable_cache_is_not_used(hub: StandInHub, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("glpn_cli.weights.download.try_to_load_from_cache", refuse)
    recorder = Recorder()
    assert download("kitti", progress=recorder) is not None
    assert "Permission denied" in recorder.notes[0]
    assert hub.asked

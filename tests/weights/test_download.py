from __future__ import annotations

import json
import os
import pickle
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch

from glpn_cli.errors import ConfigError, WeightsError
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.catalog import CATALOG, WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint
from glpn_cli.weights.download import download
from glpn_cli.weights.header import is_sealed_intact, read_metadata
from stand_in_hub import COMMIT, NEXT_COMMIT, Recorder, Refusal, sha256, to_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub

KITTI = "vinvino02/glpn-kitti"
NYU = "vinvino02/glpn-nyu"

pytestmark = pytest.mark.usefixtures("waits")


def kept_file(home: Path, name: str = "kitti") -> Path:
    return home / "weights" / f"{name}.safetensors"


def everything_in(home: Path) -> set[str]:
    """List what is kept or half kept, but not the empty files that are locked."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and path.parent.name != "locks"}


def assert_nothing_is_left(home: Path) -> None:
    assert everything_in(home) == set()


def test_a_pickle_becomes_one_safetensors_file_that_says_all_about_itself(hub: StandInHub, home: Path) -> None:
    tensors = hub.publish(KITTI)
    kept = download("kitti")
    assert kept is not None
    assert kept.path == kept_file(home)
    assert everything_in(home) == {"weights/kitti.safetensors"}
    checkpoint = read_checkpoint(kept.path)
    assert checkpoint.tensors.keys() == tensors.keys()
    assert all(torch.equal(checkpoint.tensors[key], tensors[key]) for key in tensors)
    metadata = checkpoint.metadata
    assert (metadata["source"], metadata["revision"]) == (KITTI, COMMIT)
    assert metadata["source_sha256"] == sha256(hub.files[KITTI, "pytorch_model.bin"])
    assert metadata["license"] == CATALOG["kitti"].license
    assert json.loads(metadata["config"])["max_depth"] == 10
    assert WeightsCard.from_metadata(metadata, name="kitti", max_depth=10.0) == CATALOG["kitti"].card
    assert is_sealed_intact(kept.path)


def test_kitti_gets_the_factor_to_meters_and_the_reference_classes_keep_the_published_scale(hub: StandInHub) -> None:
    hub.publish(KITTI)
    kept = download("kitti")
    assert kept is not None
    assert (kept.card.meters_per_unit, kept.card.depth_limit_m, kept.scale_known) == (8.0, 80, True)
    assert GLPNForDepthEstimation.from_pretrained(kept.path).config.max_depth == 10


def test_a_published_configuration_that_is_mended_one_day_gives_meters_too(hub: StandInHub) -> None:
    hub.publish(KITTI, max_depth=80)
    kept = download("kitti")
    assert kept is not None
    assert (kept.card.meters_per_unit, kept.card.depth_limit_m) == (1.0, 80)


def test_safetensors_are_preferred_and_a_pickle_is_the_second_choice(hub: StandInHub) -> None:
    hub.publish(NYU, "pytorch_model.bin", data=b"never asked for")
    hub.publish(NYU, "model.safetensors")
    assert download("nyu") is not None
    assert not [asked for asked in hub.asked if asked.path.endswith(".bin")]


def test_a_repository_of_nobody_we_know_gets_factor_one_and_a_note(hub: StandInHub, home: Path) -> None:
    hub.publish("someone/glpn-x", "model.safetensors")
    kept = download("someone/glpn-x")
    assert kept is not None
    assert kept.path == kept_file(home, "someone--glpn-x")
    assert (kept.card.meters_per_unit, kept.card.depth_limit_m, kept.card.metric) == (1.0, 10.0, None)
    assert "scale" in str(kept.scale_note)


def test_what_is_here_and_intact_is_left_alone(hub: StandInHub) -> None:
    hub.publish(KITTI)
    download("kitti")
    hub.asked.clear()
    assert download("kitti") is None
    assert download("kitti", offline=True) is None
    assert hub.asked == []


def test_a_home_that_may_only_be_read_is_enough_for_what_is_here(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(KITTI)
    download("kitti")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing has to be locked")

    monkeypatch.setattr("glpn_cli.weights.download.alone_with", refuse)
    assert download("kitti") is None


def test_what_is_here_and_damaged_is_got_again(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    whole = kept_file(home).read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2], b""):
        kept_file(home).write_bytes(damaged)
        recorder = Recorder()
        assert download("kitti", watcher=recorder) is not None
        assert "damaged" in recorder.notes[0]
        assert kept_file(home).read_bytes() == whole


def test_overwrite_fetches_again(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    hub.publish(KITTI, seed=1)
    hub.commit = NEXT_COMMIT
    assert download("kitti") is None
    assert download("kitti", overwrite=True) is not None
    assert read_metadata(kept_file(home))["revision"] == NEXT_COMMIT


def test_the_same_source_always_gives_the_same_bytes(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    first = kept_file(home).read_bytes()
    download("kitti", overwrite=True)
    assert kept_file(home).read_bytes() == first


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_connection_that_is_cut_once_goes_on_where_it_was(
    hub: StandInHub, home: Path, waits: list[float], share: float
) -> None:
    hub.publish(KITTI)
    size = len(hub.files[KITTI, "pytorch_model.bin"])
    cut = int(share * size)
    hub.cut_after = [cut]
    recorder = Recorder()
    assert download("kitti", watcher=recorder) is not None
    assert is_sealed_intact(kept_file(home))
    assert hub.ranges == [None, f"bytes={cut}-" if cut else None]
    assert hub.sent_bytes == size
    assert recorder.done[-1] == size
    assert waits == [1.0]
    assert f"{cut} of {size} bytes" in recorder.notes[0]


def test_a_connection_that_is_cut_again_and_again_is_an_error_and_the_next_run_goes_on(
    hub: StandInHub, home: Path, waits: list[float]
) -> None:
    hub.publish(KITTI)
    size = len(hub.files[KITTI, "pytorch_model.bin"])
    hub.cut_after = [100, 20, 3, 0, 0]
    with pytest.raises(WeightsError, match=f"123 of {size} bytes") as caught:
        download("kitti")
    assert "the same command goes on" in str(caught.value.hint)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert not kept_file(home).exists()
    assert download("kitti") is not None
    assert hub.ranges[-1] == "bytes=123-"
    assert hub.sent_bytes == size
    assert everything_in(home) == {"weights/kitti.safetensors"}


def test_a_part_of_a_file_that_its_owner_has_replaced_is_not_continued(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000, 0, 0, 0, 0]
    with pytest.raises(WeightsError):
        download("kitti")
    tensors = hub.publish(KITTI, seed=1)
    hub.commit = NEXT_COMMIT
    assert download("kitti") is not None
    assert hub.ranges[-1] is None
    assert everything_in(home) == {"weights/kitti.safetensors"}
    key = next(iter(tensors))
    assert torch.equal(read_checkpoint(kept_file(home)).tensors[key], tensors[key])


def test_there_is_never_more_than_one_part(hub: StandInHub, home: Path) -> None:
    for seed in (0, 1):
        hub.publish(KITTI, seed=seed)
        hub.cut_after = [1000, 0, 0, 0, 0]
        with pytest.raises(WeightsError):
            download("kitti")
        assert everything_in(home) == {f"downloads/kitti/{sha256(hub.files[KITTI, 'pytorch_model.bin'])}.part"}


def test_a_part_that_was_damaged_since_is_fetched_again_as_a_whole(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000, 0, 0, 0, 0]
    with pytest.raises(WeightsError):
        download("kitti")
    (part,) = (home / "downloads" / "kitti").iterdir()
    part.write_bytes(bytes(1000))
    recorder = Recorder()
    assert download("kitti", watcher=recorder) is not None
    assert hub.ranges[-2:] == ["bytes=1000-", None]
    assert "damaged" in " ".join(recorder.notes)


def test_a_part_that_is_longer_than_the_file_is_thrown_away(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    data = hub.files[KITTI, "pytorch_model.bin"]
    part = home / "downloads" / "kitti" / f"{sha256(data)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(data + b"more")
    assert download("kitti") is not None
    assert hub.ranges == [None]


def test_a_server_that_cannot_go_on_from_the_middle_is_let_begin_again(hub: StandInHub) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000]
    hub.takes_ranges = False
    recorder = Recorder()
    assert download("kitti", watcher=recorder) is not None
    assert hub.ranges == [None, "bytes=1000-"]
    assert "begins again" in recorder.notes[-1]


@pytest.mark.parametrize(
    ("refusals", "message", "hint"),
    [
        ({"config.json": Refusal(401)}, "needs a login", "HF_TOKEN"),
        ({"config.json": Refusal.coded(401, "RepoNotFound")}, "not on the Hub, or private", "check the name"),
        ({"config.json": Refusal.coded(403, "GatedRepo")}, "only on request", "on the page"),
        ({"config.json": Refusal.coded(401, "GatedRepo")}, "only on request", "on the page"),
        ({"config.json": Refusal(403)}, "forbidden", "HF_TOKEN"),
        ({"config.json": Refusal(404)}, "not on the Hub", "check the name"),
        ({"config.json": Refusal.coded(404, "RevisionNotFound")}, "empty", "check the name"),
        ({"config.json": Refusal.coded(404, "EntryNotFound")}, "has no config.json", "check the name"),
        ({"config.json": Refusal(418)}, "status 418", "proxy"),
        ({".bin": Refusal(404), ".safetensors": Refusal(404)}, "neither model.safetensors nor", "check the name"),
        ({"config.json": Refusal(429)}, "too many requests", "later"),
        ({"config.json": Refusal(500)}, "fault of its own", "later"),
        ({"config.json": Refusal(503)}, "fault of its own", "later"),
        ({"store/": Refusal(404)}, "not on the Hub", "check the name"),
    ],
)
def test_a_refusal_is_one_line_with_a_hint_and_leaves_nothing(
    hub: StandInHub, home: Path, refusals: dict[str, Refusal], message: str, hint: str
) -> None:
    hub.publish(KITTI)
    hub.refuse = dict(refusals)
    with pytest.raises(WeightsError, match=message) as caught:
        download("kitti")
    assert "\n" not in caught.value.message
    assert hint in str(caught.value.hint)
    assert_nothing_is_left(home)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_is_waited_for(hub: StandInHub, waits: list[float], status: int) -> None:
    hub.publish(KITTI)
    blob = sha256(hub.files[KITTI, "pytorch_model.bin"])
    hub.refuse = {"config.json": [Refusal(status)], blob: [Refusal(status), Refusal(status)]}
    assert download("kitti") is not None
    assert waits == [1.0, 1.0, 2.0]


def test_a_server_that_says_how_long_to_wait_is_heeded(hub: StandInHub, waits: list[float]) -> None:
    hub.publish(KITTI)
    hub.refuse = {"config.json": [Refusal(429, {"Retry-After": "7"}), Refusal(429, {"RateLimit": '"api";r=0;t=5'})]}
    assert download("kitti") is not None
    assert waits == [7.0, 5.0]


def test_a_wait_that_is_too_long_is_left_to_the_user(hub: StandInHub, waits: list[float]) -> None:
    hub.publish(KITTI)
    hub.refuse = {"config.json": Refusal(429, {"Retry-After": "3600"})}
    with pytest.raises(WeightsError, match="429"):
        download("kitti")
    assert waits == []


def test_a_login_page_in_place_of_the_hub_is_told_as_such(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.refuse = {"": Refusal(200, {"Content-Type": "text/html"}, b"<html>Welcome to the airport</html>")}
    with pytest.raises(WeightsError, match="not as the Hugging Face Hub does"):
        download("kitti")
    assert_nothing_is_left(home)


def test_a_web_page_in_place_of_the_bytes_is_told_as_such_and_harms_no_part(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    blob = sha256(hub.files[KITTI, "pytorch_model.bin"])
    page = Refusal(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Welcome to the airport</html>")
    hub.refuse = {blob: page}
    with pytest.raises(WeightsError, match="web page"):
        download("kitti")
    assert not kept_file(home).exists()
    hub.refuse = {}
    assert download("kitti") is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda data: data[:-10], "the Hub recorded"),
        (lambda data: data + b"more", "the Hub recorded"),
        (lambda data: data[:500] + b"?" + data[501:], "its hash differs"),
        (lambda _: b"", "the Hub recorded"),
    ],
)
def test_bytes_that_are_not_the_files_are_refused(hub: StandInHub, home: Path, body: Any, message: str) -> None:
    hub.publish(KITTI)
    hub.body = body
    with pytest.raises(WeightsError, match=message):
        download("kitti")
    assert not kept_file(home).exists()


def test_a_file_that_was_cut_and_is_shorter_now_is_refused(hub: StandInHub) -> None:
    hub.publish(KITTI)
    hub.cut_after = [1000]
    asked_before = iter([False, True, True])
    hub.body = lambda data: data[:500] if next(asked_before) else data
    with pytest.raises(WeightsError, match="the server has 500 bytes"):
        download("kitti")


def test_a_configuration_that_was_altered_on_the_way_is_refused(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    etag = '"0123456789012345678901234567890123456789"'
    whole = {"X-Repo-Commit": COMMIT, "ETag": etag}
    hub.refuse = {"config.json": Refusal(200, whole, hub.files[KITTI, "config.json"])}
    with pytest.raises(WeightsError, match=r"config\.json.*its hash differs"):
        download("kitti")
    assert_nothing_is_left(home)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm-was-done",)


def test_a_pickle_that_wants_to_run_code_runs_nothing_and_is_not_kept(
    hub: StandInHub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Harmful()}, tmp_path / "harmful.bin")
    hub.publish(KITTI, data=(tmp_path / "harmful.bin").read_bytes())
    with pytest.raises(WeightsError, match=r"glpn-kitti: pytorch_model\.bin: is a pickle that holds more than tensors"):
        download("kitti")
    hub.publish(KITTI, data=pickle.dumps({"weight": _Harmful()}, protocol=2))
    with pytest.raises(WeightsError):
        download("kitti")
    assert not (tmp_path / "harm-was-done").exists()
    assert_nothing_is_left(home)


def test_another_architecture_is_known_by_its_configuration_before_anything_large_comes(hub: StandInHub) -> None:
    hub.publish("someone/segformer", model_type="segformer")
    with pytest.raises(ConfigError, match=r"someone/segformer: config\.json: model_type is not 'glpn'"):
        download("someone/segformer")
    assert hub.sent_bytes == 0


def test_weights_that_do_not_fit_are_told_by_their_keys_and_not_kept(hub: StandInHub, home: Path) -> None:
    tensors = hub.publish(KITTI)
    tensors["backbone.layer1.weight"] = tensors.pop("head.head.0.weight")
    hub.publish(KITTI, data=to_bytes(tensors, "pytorch_model.bin"))
    with pytest.raises(WeightsError, match=r"missing: head\.head\.0\.weight; 1 unexpected: backbone\.layer1\.weight"):
        download("kitti")
    assert_nothing_is_left(home)


def test_an_error_leaves_what_was_kept_before_as_it_was(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    before = kept_file(home).read_bytes()
    hub.publish(KITTI, data=b"no weights at all")
    with pytest.raises(WeightsError):
        download("kitti", overwrite=True)
    assert kept_file(home).read_bytes() == before


def test_a_disk_without_room_is_told_before_anything_comes(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match="no room") as caught:
        download("kitti")
    assert "GLPN_HOME" in str(caught.value.hint)
    assert hub.sent_bytes == 0


def test_a_home_that_cannot_be_written_to_is_told(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(KITTI)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="cannot be written") as caught:
        download("kitti")
    assert "GLPN_HOME" in str(caught.value.hint)
    assert hub.asked == []


def test_no_network_is_told_at_once(hub: StandInHub, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9: cannot be reached") as caught:
        download("kitti")
    assert "weights import" in str(caught.value.hint)
    assert waits == []


@pytest.mark.parametrize("endpoint", ["hub.example", "ftp://hub.example"])
def test_an_endpoint_that_is_no_address_is_told(
    hub: StandInHub, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(WeightsError, match="HF_ENDPOINT"):
        download("kitti")


@pytest.mark.parametrize("variable", [None, "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(hub: StandInHub, variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(WeightsError, match="not on this machine") as caught:
        download("kitti", offline=variable is None)
    assert "--offline" in str(caught.value.hint)
    assert hub.asked == []


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert download("kitti") is not None
    assert {asked.token for asked in hub.asked if asked.host == "hub"} == {"Bearer hf_secret"}
    assert {asked.token for asked in hub.asked if asked.host == "store"} == {None}


def test_bytes_are_asked_for_as_they_are(hub: StandInHub) -> None:
    hub.publish(KITTI)
    download("kitti")
    assert {asked.encoding for asked in hub.asked} == {"identity"}


def test_without_a_login_no_token_goes_anywhere(hub: StandInHub) -> None:
    hub.publish(KITTI)
    download("kitti")
    assert {asked.token for asked in hub.asked} == {None}


def test_a_token_that_is_not_accepted_is_told(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(KITTI)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    hub.refuse = {"": Refusal(401, {"X-Error-Message": "Invalid credentials in Authorization header"})}
    with pytest.raises(WeightsError, match="does not accept the token") as caught:
        download("kitti")
    assert "public weights need no token" in str(caught.value.hint)


def test_of_two_at_once_one_waits_and_finds_it_done(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    hub.pause_s, hub.chunk_bytes = 0.05, 2**14
    results: list[object] = []
    recorders = [Recorder(), Recorder()]
    threads = [
        threading.Thread(target=lambda told=told: results.append(download("kitti", watcher=told)))  # type: ignore[misc]
        for told in recorders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result is None for result in results) == [False, True]
    assert hub.sent_bytes == len(hub.files[KITTI, "pytorch_model.bin"])
    assert "waiting" in " ".join(recorders[0].notes + recorders[1].notes)
    assert is_sealed_intact(kept_file(home))


def test_half_precision_weights_are_kept_as_float32(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI, half=True)
    assert download("kitti") is not None
    assert {t.dtype for t in read_checkpoint(kept_file(home)).tensors.values()} == {torch.float32, torch.int64}


def test_tensors_that_share_memory_are_kept_apart(hub: StandInHub, home: Path) -> None:
    tensors = hub.publish(KITTI)
    first, second = "glpn.encoder.layer_norm.0.weight", "glpn.encoder.patch_embeddings.0.layer_norm.weight"
    tensors[second] = tensors[first]
    hub.publish(KITTI, data=to_bytes(tensors, "pytorch_model.bin"))
    assert download("kitti") is not None
    kept = read_checkpoint(kept_file(home)).tensors
    assert torch.equal(kept[first], tensors[first])
    assert torch.equal(kept[second], tensors[first])


def test_the_weights_in_the_package_need_no_download(hub: StandInHub) -> None:
    assert download("tiny") is None
    assert hub.asked == []


def test_a_large_configuration_of_an_odd_repository_is_refused(hub: StandInHub) -> None:
    hub.publish("someone/glpn-x")
    hub.files["someone/glpn-x", "config.json"] = b" " * 2_000_000
    with pytest.raises(WeightsError, match="too large"):
        download("someone/glpn-x")


@pytest.mark.parametrize("text", [b"{", b"[1]", b'{"max_depth": "ten"}'])
def test_a_broken_configuration_is_one_line(hub: StandInHub, text: bytes) -> None:
    hub.publish("someone/glpn-x")
    hub.files["someone/glpn-x", "config.json"] = text
    with pytest.raises(ConfigError, match=r"someone/glpn-x: config\.json"):
        download("someone/glpn-x")


def test_the_configuration_is_that_of_the_commit_whose_weights_come(hub: StandInHub) -> None:
    hub.publish(KITTI)
    assert download("kitti") is not None
    revisions = [asked.path.split("/")[4] for asked in hub.asked if asked.host == "hub"]
    assert revisions[0] == "main"
    assert set(revisions[1:]) == {COMMIT}

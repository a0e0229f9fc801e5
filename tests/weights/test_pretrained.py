"""`from_pretrained` with names: the same door as the setting `weights`, and the Hub's client for what that lacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from huggingface_hub import hf_hub_download

import glpn_cli
from glpn_cli.errors import ConfigError, MissingWeightsError, WeightsError
from glpn_cli.image.processor import GLPNImageProcessor
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel
from glpn_cli.weights.download import download
from glpn_cli.weights.install import import_weights
from stand_in_hub import COMMIT, NEXT_COMMIT, SMALL, Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub

KITTI, OTHER = "vinvino02/glpn-kitti", "someone/glpn-garden"
CLASSES: list[Any] = [GLPNForDepthEstimation, GLPNModel, GLPNConfig, GLPNImageProcessor]

pytestmark = pytest.mark.usefixtures("waits")


def as_saved(network: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(network.state_dict()[key], tensors[key]) for key in tensors)


def test_documented_example_downloads_once(hub: StandInHub, home: Path) -> None:
    tensors = hub.publish(KITTI)
    image_processor = GLPNImageProcessor.from_pretrained(KITTI)
    model = GLPNForDepthEstimation.from_pretrained(KITTI)
    assert as_saved(model, tensors)
    assert not model.training
    assert (model.config.max_depth, model.name_or_path) == (10, KITTI)  # the published scale
    assert image_processor.size_divisor == 32
    assert (home / "weights" / "kitti.safetensors").exists()
    asked = len(hub.asked)
    encoder, config = GLPNModel.from_pretrained(KITTI), GLPNConfig.from_pretrained(KITTI, max_depth=80)
    assert torch.equal(encoder.encoder.layer_norm[0].weight, tensors["glpn.encoder.layer_norm.0.weight"])
    assert (config.hidden_sizes, config.max_depth) == (SMALL.hidden_sizes, 80)
    assert len(hub.asked) == asked


@pytest.mark.parametrize("kind", CLASSES)
def test_installed_weights_need_no_network(home: Path, tmp_path: Path, kind: Any) -> None:
    GLPNForDepthEstimation(SMALL).save_pretrained(tmp_path / "mine")
    import_weights(tmp_path / "mine", "kitti")
    import_weights(tmp_path / "mine", "garden")
    for name in (KITTI, "kitti", "garden"):
        for keywords in ({}, {"local_files_only": True}, {"revision": "main"}, {"cache_dir": str(tmp_path / "cache")}):
            if name == "garden" and "cache_dir" in keywords:
                continue
            loaded = kind.from_pretrained(name, **keywords)
            if isinstance(loaded, torch.nn.Module):
                assert loaded.config.hidden_sizes == SMALL.hidden_sizes
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("way", ["keyword", "variable", "no network", "cache"])
def test_absent_weights_offline_are_an_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: Any, way: str
) -> None:
    keywords: dict[str, Any] = {}
    if way == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    elif way != "no network":
        keywords["local_files_only"] = True
    if way == "cache":
        keywords["cache_dir"] = tmp_path / "cache"
    with pytest.raises(MissingWeightsError, match=KITTI if way != "no network" else "127.0.0.1") as caught:
        kind.from_pretrained(KITTI, **keywords)
    assert isinstance(caught.value, OSError)
    assert caught.value.hint
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("path", ["nowhere", "./nowhere", "no/where/at/all", "x" * 5000])
def test_missing_path_is_an_os_error(tmp_path: Path, kind: Any, path: str) -> None:
    for given in (path, tmp_path / path):
        with pytest.raises(OSError, match=path[:20]) as caught:
            kind.from_pretrained(given)
        assert isinstance(caught.value, WeightsError)


@pytest.mark.usefixtures("home")
def test_unknown_repository_is_an_os_error(hub: StandInHub) -> None:
    hub.publish(KITTI)
    with pytest.raises(MissingWeightsError, match=OTHER):
        GLPNModel.from_pretrained(OTHER)


def test_repository_of_another_network_is_a_configuration_error(hub: StandInHub) -> None:
    hub.publish(OTHER, model_type="dpt")
    with pytest.raises(ConfigError, match="model_type"):
        GLPNModel.from_pretrained(OTHER)


def test_force_download_replaces_what_is_installed(hub: StandInHub, home: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    tensors = hub.publish(KITTI, seed=1)
    assert not as_saved(GLPNForDepthEstimation.from_pretrained(KITTI), tensors)
    assert as_saved(GLPNForDepthEstimation.from_pretrained(KITTI, force_download=True), tensors)
    assert as_saved(GLPNForDepthEstimation.from_pretrained(KITTI), tensors)
    assert (home / "weights" / "kitti.safetensors").exists()


@pytest.mark.parametrize(
    ("keywords", "sent"),
    [({"token": "mine"}, "Bearer mine"), ({"use_auth_token": "mine"}, "Bearer mine"), ({"token": False}, None),
     ({}, "Bearer stored"), ({"token": True}, "Bearer stored")],
)  # fmt: skip
def test_token_is_sent(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, keywords: dict[str, Any], sent: str | None
) -> None:
    monkeypatch.setenv("HF_TOKEN", "stored")
    hub.publish(KITTI)
    GLPNConfig.from_pretrained(KITTI, **keywords)
    assert {asked.token for asked in hub.asked if asked.host == "hub"} == {sent}


def test_processor_of_other_weights_is_installed_with_them(hub: StandInHub, home: Path) -> None:
    hub.publish(OTHER)
    hub.files[OTHER, "preprocessor_config.json"] = json.dumps({"size_divisor": 64}).encode()
    GLPNForDepthEstimation.from_pretrained(OTHER)
    asked = len(hub.asked)
    assert GLPNImageProcessor.from_pretrained(OTHER).size_divisor == 64
    assert GLPNImageProcessor.from_pretrained(home / "weights" / "someone--glpn-garden.safetensors").size_divisor == 64
    assert len(hub.asked) == asked


def test_imported_and_cached_weights_have_their_processor(hub: StandInHub, tmp_path: Path) -> None:
    GLPNForDepthEstimation(SMALL).save_pretrained(tmp_path / "mine")
    GLPNImageProcessor(size_divisor=64).save_pretrained(tmp_path / "mine")
    import_weights(tmp_path / "mine", "garden")
    assert GLPNImageProcessor.from_pretrained("garden").size_divisor == 64
    hub.publish(OTHER)
    hub.files[OTHER, "preprocessor_config.json"] = json.dumps({"size_divisor": 96}).encode()
    for name in ("config.json", "pytorch_model.bin", "preprocessor_config.json"):
        hf_hub_download(OTHER, name, endpoint=hub.url, cache_dir=tmp_path / "hf" / "hub")
    hub.files.clear()
    assert GLPNImageProcessor.from_pretrained(OTHER, local_files_only=True).size_divisor == 96


# What the Hub's client provides


@pytest.mark.parametrize("kind", CLASSES)
def test_revision_comes_from_the_client(hub: StandInHub, home: Path, kind: Any) -> None:
    tensors = hub.publish(OTHER, max_depth=7)
    hub.files[OTHER, "preprocessor_config.json"] = json.dumps({"size_divisor": 64}).encode()
    loaded = kind.from_pretrained(OTHER, revision=COMMIT)
    if kind is GLPNForDepthEstimation:
        assert as_saved(loaded, tensors)
        assert loaded.config.max_depth == 7
    if kind is GLPNImageProcessor:
        assert loaded.size_divisor == 64
    assert not list((home / "weights").glob("*")) if (home / "weights").exists() else True
    assert len(list((home.parent / "hf" / "hub").glob("models--*"))) == 1


def test_installed_revision_is_used(hub: StandInHub, tmp_path: Path) -> None:
    hub.publish(KITTI)
    download("kitti")
    asked = len(hub.asked)
    for revision in (COMMIT, COMMIT[:8], "main", None):
        GLPNForDepthEstimation.from_pretrained(KITTI, revision=revision, cache_dir=tmp_path / "cache")
    assert len(hub.asked) == asked
    with pytest.raises(MissingWeightsError, match=KITTI):
        GLPNForDepthEstimation.from_pretrained(KITTI, revision=NEXT_COMMIT)


def test_cache_folder_of_the_caller_is_used(hub: StandInHub, home: Path, tmp_path: Path) -> None:
    tensors = hub.publish(KITTI)
    for kind in CLASSES:
        hub.files[KITTI, "preprocessor_config.json"] = b"{}"
        kind.from_pretrained(KITTI, cache_dir=tmp_path / "cache")
    assert not (home / "weights").exists()
    hub.refuse["hub/"] = Refusal(503)
    loaded = GLPNForDepthEstimation.from_pretrained(KITTI, cache_dir=str(tmp_path / "cache"), local_files_only=True)
    assert as_saved(loaded, tensors)


def test_subfolder_of_a_repository(hub: StandInHub) -> None:
    tensors = hub.publish(OTHER)
    for name in ("config.json", "pytorch_model.bin"):
        hub.files[OTHER, f"best/{name}"] = hub.files.pop((OTHER, name))
    assert as_saved(GLPNForDepthEstimation.from_pretrained(OTHER, subfolder="best"), tensors)
    assert GLPNConfig.from_pretrained(OTHER, subfolder="best").hidden_sizes == SMALL.hidden_sizes
    with pytest.raises(MissingWeightsError, match=f"{OTHER}/last: config.json"):
        GLPNForDepthEstimation.from_pretrained(OTHER, subfolder="last")


def test_several_files_of_a_repository(hub: StandInHub, tmp_path: Path) -> None:
    model = GLPNForDepthEstimation(SMALL)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    for file in (tmp_path / "shards").iterdir():
        hub.files[OTHER, file.name] = file.read_bytes()
    loaded = GLPNForDepthEstimation.from_pretrained(OTHER, revision=COMMIT)
    assert as_saved(loaded, model.state_dict())
    missing = next(name for _, name in hub.files if name.startswith("model-00002"))
    del hub.files[OTHER, missing]
    with pytest.raises(MissingWeightsError, match=missing):
        GLPNForDepthEstimation.from_pretrained(OTHER, revision=COMMIT, cache_dir=tmp_path / "other")


def test_public_classes_are_those_of_the_tests() -> None:
    assert {getattr(glpn_cli, kind.__name__) for kind in CLASSES} == set(CLASSES)

"""The OpenVINO engine: what it stores, refuses, and must not import. Its depth is tested in `engine/test_engine.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from glpn_cli.device import choose_runtime
from glpn_cli.errors import ConfigError, DeviceError
from glpn_cli.inference.openvino import cache as cache_module
from glpn_cli.inference.openvino.cache import NetworkCache
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from parity import TINY

pytest.importorskip("openvino", reason="needs the extra openvino")
from glpn_cli.inference.openvino.engine import OpenvinoEngine

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = (32, 32)


@pytest.fixture(scope="module")
def network() -> GLPNForDepthEstimation:
    torch.manual_seed(0)
    return GLPNForDepthEstimation(GLPNConfig(**TINY)).eval()


@pytest.fixture
def build(network: GLPNForDepthEstimation, tmp_path: Path) -> Callable[..., tuple[OpenvinoEngine, list[str]]]:
    """Return a function that builds an engine with a cache, and the notes that it gives."""

    def build(precision: str = "float32", weights: str = "a") -> tuple[OpenvinoEngine, list[str]]:
        notes: list[str] = []
        runtime = choose_runtime("cpu", precision)
        engine = OpenvinoEngine(network, runtime, weights_digest=lambda: weights, note=notes.append, folder=tmp_path)
        return engine, notes

    return build


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def entries(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}-*.bin"))


def test_compiled_network_is_stored_and_gives_same_bits(build: Callable[..., Any], tmp_path: Path) -> None:
    first, notes = build()
    expected = first(images())
    assert notes
    assert len(entries(tmp_path, "compiled")) == len(entries(tmp_path, "network")) == 1
    second, notes = build()
    assert torch.equal(second(images()), expected)
    assert not notes


def test_other_weights_are_other_entries(build: Callable[..., Any], tmp_path: Path) -> None:
    for weights in ("a", "b"):
        build(weights=weights)[0](images())
    assert len(entries(tmp_path, "network")) == len(entries(tmp_path, "compiled")) == 2


@pytest.mark.parametrize("damage", [b"", b"x" * 50, None], ids=["empty", "short", "one byte"])
@pytest.mark.parametrize("ending", [".bin", ".json"])
def test_damaged_entries_are_made_again(
    ending: str, damage: bytes | None, build: Callable[..., Any], tmp_path: Path
) -> None:
    expected = build()[0](images())
    for file in tmp_path.glob(f"*-*{ending}"):
        data = file.read_bytes()
        place = 20 if ending == ".json" else len(data) // 2  # in the hash, and in the network
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        file.write_bytes(changed if damage is None else damage)
    engine, notes = build()
    assert torch.equal(engine(images()), expected)
    assert notes
    again, notes = build()
    assert torch.equal(again(images()), expected)
    assert not notes


def test_only_recently_used_entries_stay(tmp_path: Path) -> None:
    cache = NetworkCache("compiled", 2, tmp_path)
    for number in range(2):
        cache.store(bytes([number]), number=number)
    seals = {number: cache._paths({"number": number})[1] for number in range(2)}
    os.utime(seals[0], (1, 1))
    os.utime(seals[1], (2, 2))
    assert cache.load(number=0) == b"\0"  # now used more recently than the other
    cache.store(b"\2", number=2)
    assert cache.load(number=1) is None
    assert cache.load(number=0) == b"\0"
    assert len(entries(tmp_path, "compiled")) == 2


def test_unwritable_home_falls_back_to_user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("GLPN_HOME", str(blocked))
    monkeypatch.setattr(cache_module.platformdirs, "user_cache_dir", lambda *_: str(tmp_path / "user"))
    assert NetworkCache("network", 1).folder == tmp_path / "user" / "openvino"


def test_without_any_folder_nothing_is_stored(
    network: GLPNForDepthEstimation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("GLPN_HOME", str(blocked))
    monkeypatch.setattr(cache_module.platformdirs, "user_cache_dir", lambda *_: str(blocked))
    notes: list[str] = []
    engine = OpenvinoEngine(network, choose_runtime("cpu"), weights_digest=lambda: "a", note=notes.append)
    assert engine(images()).shape == (1, *SIZE)
    assert len(notes) == 2  # what takes time, and that it is not stored


def test_threads_share_an_engine(build: Callable[..., Any]) -> None:
    engine, _ = build()
    expected = [engine(images(seed)) for seed in range(4)]
    found: dict[int, torch.Tensor] = {}

    def predict(seed: int) -> None:
        found[seed] = engine(images(seed))

    threads = [threading.Thread(target=predict, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[seed], expected[seed]) for seed in range(4))


def test_several_images_at_once_get_the_bits_of_each(network: GLPNForDepthEstimation) -> None:
    single, before = OpenvinoEngine(network, choose_runtime("cpu")), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = OpenvinoEngine(network, choose_runtime("cpu"))
    finally:
        torch.set_num_threads(before)
    for count in (1, 2, 5, 1):
        together = torch.cat([images(seed) for seed in range(count)])
        assert torch.equal(several(together), torch.cat([single(images(seed)) for seed in range(count)]))
    (compiled,) = several._compiled.values()
    assert compiled.streams == 3
    assert len(compiled._idle) == 3


def test_number_of_threads_does_not_change_depth(network: GLPNForDepthEstimation) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(OpenvinoEngine(network, choose_runtime("cpu"))(images()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_unknown_device_and_activation_are_refused(network: GLPNForDepthEstimation) -> None:
    with pytest.raises(DeviceError):
        OpenvinoEngine(network, choose_runtime("openvino:NPU.7"), device="NPU.7")
    changed = GLPNForDepthEstimation(GLPNConfig(**TINY, hidden_act=torch.sin)).eval()
    with pytest.raises(ConfigError):
        OpenvinoEngine(changed, choose_runtime("cpu"))(images())


def test_telemetry_is_never_imported(tmp_path: Path) -> None:
    (tmp_path / "openvino_telemetry.py").write_text("raise SystemExit('telemetry was imported')")
    code = (
        "from glpn_cli.inference.openvino.runtime import import_openvino, without_telemetry\n"
        "openvino = import_openvino()\n"
        "with without_telemetry():\n"
        "    import openvino.tools.ovc.convert_impl\n"
        "import sys; assert 'openvino_telemetry' not in sys.modules\n"
        "try:\n"
        "    import openvino_telemetry\n"
        "except SystemExit:\n"
        "    print('fine')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{Path(cache_module.__file__).parents[3]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "fine\n", ran.stderr

from __future__ import annotations

import io
import re
import threading
import zipfile

import pytest
import torch

from glpn_cli import device as device_module
from glpn_cli.device import (
    MemoryMeter,
    Runtime,
    available_devices,
    choose_runtime,
    describe_devices,
    exact_float32,
    memory_errors_named,
)
from glpn_cli.errors import DeviceError, ImageError, UsageError
from glpn_cli.values import Precision
from waiting import HANG_S


def test_cpu_is_always_available_and_last() -> None:
    assert available_devices()[-1] == "cpu"


def test_auto_is_first_available_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    assert str(choose_runtime("auto").device) == "cuda:0"
    assert str(choose_runtime("cuda").device) == "cuda:0"
    assert str(choose_runtime("cuda:1").device) == "cuda:1"
    assert str(choose_runtime("cpu").device) == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "xpu:3"])
def test_unavailable_device_error_lists_available_ones(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "available_devices", lambda: ["fast:0", "cpu"])
    with pytest.raises(DeviceError, match=device) as caught:
        choose_runtime(device)
    assert "fast:0, cpu" in str(caught.value.hint)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "", "cpu:0", "CUDA"])
def test_unknown_device_is_usage_error(device: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_runtime(device)
    assert caught.value.setting == "device"


def test_float16_needs_cpu_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_cpu_computes_float16", lambda: False)
    with pytest.raises(DeviceError, match="float16") as caught:
        choose_runtime("cpu", "float16")
    assert "bfloat16" in str(caught.value.hint)
    assert choose_runtime("cpu", "bfloat16").dtype is torch.bfloat16


def test_precision_becomes_torch_dtype() -> None:
    assert choose_runtime("cpu", Precision.FLOAT32).dtype is torch.float32
    with pytest.raises(UsageError) as caught:
        choose_runtime("cpu", "float64")
    assert caught.value.setting == "precision"


def test_threads_are_set_in_torch() -> None:
    before = torch.get_num_threads()
    try:
        choose_runtime("cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(UsageError) as caught:
        choose_runtime("cpu", threads=0)
    assert caught.value.setting == "threads"


def test_exact_float32_restores_torch_settings() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with exact_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_tf32_is_only_used_if_requested() -> None:
    with pytest.raises(DeviceError, match="tf32"):
        choose_runtime("cpu", "tf32")
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with Runtime(torch.device("cuda"), Precision.TF32).products():
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
    with Runtime(torch.device("cuda"), Precision.FLOAT32).products():
        assert not torch.backends.cuda.matmul.allow_tf32


def test_threads_share_the_settings_of_products() -> None:
    tf32 = Runtime(torch.device("cuda"), Precision.TF32)
    float32 = Runtime(torch.device("cuda"), Precision.FLOAT32)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    both_inside, wrong = threading.Barrier(2), []

    def meet() -> None:
        with float32.products():
            both_inside.wait(HANG_S)  # equal settings do not wait for each other

    def compute(runtime: Runtime) -> None:
        for _ in range(200):
            with runtime.products():
                if torch.backends.cudnn.allow_tf32 != (runtime is tf32):
                    wrong.append(runtime)

    for work in ([meet, meet], [lambda: compute(tf32), lambda: compute(float32), lambda: compute(float32)]):
        threads = [threading.Thread(target=function) for function in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert not both_inside.broken
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_every_device_is_described() -> None:
    facts = describe_devices()
    assert [item.name for item in facts] == available_devices()
    assert re.match(r"1 thread,|\d+ threads,", facts[-1].what)


def test_cpu_has_no_memory_meter() -> None:
    assert MemoryMeter.of(torch.device("cpu")) is None


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_becomes_device_error(error: Exception) -> None:
    with pytest.raises(DeviceError, match="the thing") as caught, memory_errors_named("the thing", hint="use less"):
        raise error
    assert caught.value.hint == "use less"
    with pytest.raises(DeviceError, match="the thing"), memory_errors_named("the thing"):
        torch.empty(2**60)


def test_memory_error_behind_another_error_is_found() -> None:
    archive = zipfile.ZipFile(io.BytesIO(), "w")
    expected = pytest.raises(DeviceError, match="the thing")
    with expected, memory_errors_named("the thing"), archive, archive.open("depth.npy", "w"):
        raise MemoryError  # the archive cannot be closed then, which is a ValueError
    with pytest.raises(ImageError), memory_errors_named("the thing"):
        raise ImageError("too large to decode") from MemoryError()


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="a bug"), memory_errors_named("x"):
        raise RuntimeError("a bug")

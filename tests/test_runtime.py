from __future__ import annotations

import pytest
import torch

from glpn_cli import device as runtime
from glpn_cli.device import Runtime, available_devices, choose_runtime, exact_float32, memory_errors_named
from glpn_cli.errors import DeviceError, UsageError
from glpn_cli.settings import Precision


def test_the_cpu_is_always_there_and_last() -> None:
    assert available_devices()[-1] == "cpu"


def test_auto_is_the_first_device_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    assert str(choose_runtime("auto").device) == "cuda:0"
    assert str(choose_runtime("cuda").device) == "cuda:0"
    assert str(choose_runtime("cuda:1").device) == "cuda:1"
    assert str(choose_runtime("cpu").device) == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "xpu:3"])
def test_an_absent_device_is_an_error_that_lists_what_is_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "available_devices", lambda: ["cpu"])
    with pytest.raises(DeviceError, match=device) as caught:
        choose_runtime(device)
    assert str(caught.value.hint) == "torch sees: cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "", "cpu:0", "CUDA"])
def test_a_device_that_is_no_name_is_a_usage_error(device: str) -> None:
    with pytest.raises(UsageError):
        choose_runtime(device)


def test_float16_on_a_cpu_that_lacks_it_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_cpu_computes_float16", lambda: False)
    with pytest.raises(DeviceError) as caught:
        choose_runtime("cpu", "float16")
    assert "bfloat16" in str(caught.value.hint)
    assert choose_runtime("cpu", "bfloat16").dtype is torch.bfloat16


def test_precisions_are_torchs_types() -> None:
    assert choose_runtime("cpu", Precision.FLOAT32).dtype is torch.float32
    with pytest.raises(UsageError):
        choose_runtime("cpu", "float64")


def test_threads_are_set_for_torch() -> None:
    before = torch.get_num_threads()
    try:
        choose_runtime("cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(UsageError):
        choose_runtime("cpu", threads=0)


def test_float32_is_exact_within_the_block_and_the_users_choice_comes_back() -> None:
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


def test_tf32_is_for_those_who_ask_for_it_on_a_gpu() -> None:
    with pytest.raises(DeviceError, match="only NVIDIA GPUs compute in tf32"):
        choose_runtime("cpu", "tf32")
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with Runtime(torch.device("cuda"), Precision.TF32).products():
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
    with Runtime(torch.device("cuda"), Precision.FLOAT32).products():
        assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_every_way_of_running_out_of_memory_is_one_error(error: Exception) -> None:
    with pytest.raises(DeviceError, match="the thing: not enough memory"), memory_errors_named("the thing"):
        raise error
    with pytest.raises(DeviceError, match="the thing: not enough memory"), memory_errors_named("the thing"):
        torch.empty(2**60)


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="a bug"), memory_errors_named("x"):
        raise RuntimeError("a bug")

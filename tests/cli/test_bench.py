from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

SMALL = ("--weights", "tiny", "--rounds", "2", "--device", "cpu")


def test_every_case_is_a_json_object(glpn: Glpn) -> None:
    run = glpn("bench", *SMALL, "--size", "60x80", "--size", "32x64", "--precision", "float32", "--json")
    assert run.returncode == 0, run.stderr
    first, second = (json.loads(line) for line in run.stdout.splitlines())
    assert (first["height_px"], first["width_px"], second["height_px"]) == (60, 80, 32)
    assert list(first["stages"]) == ["decode", "preprocess", "network", "upsample", "encode"]
    for timing in (*first["stages"].values(), first["whole"]):
        assert 0 < timing["fastest_s"] <= timing["median_s"] <= timing["slowest_s"]
    assert first["images_per_second"] == pytest.approx(1 / first["whole"]["median_s"])
    assert (first["precision"], first["device"]) == ("float32", "cpu")
    assert first["comparisons"] == []


def test_the_table_names_sizes_stages_and_ratios(glpn: Glpn) -> None:
    run = glpn("bench", *SMALL, "--size", "60x80", "--against", "transformers")
    assert run.returncode == 0, run.stderr
    table = run.stdout.decode()
    for word in ("60x80", "float32", "decode", "network", "encode", "transformers", "ratio", "error"):
        assert word in table
    assert b"measuring" in run.stderr


def test_verbose_tells_the_spread_of_each_stage(glpn: Glpn) -> None:
    run = glpn("bench", *SMALL, "--size", "32x64", "--json", "-v")
    (case,) = (json.loads(line) for line in run.stdout.splitlines())
    took = case["stages"]["network"]
    told = f"network: {1000 * took['fastest_s']:.1f} to {1000 * took['slowest_s']:.1f} ms"
    assert told.encode() in run.stderr


def test_transformers_computes_the_same_on_random_weights_of_the_published_size(glpn: Glpn) -> None:
    run = glpn("bench", "--rounds", "1", "--size", "64x64", "--against", "transformers", "--json", "--device", "cpu")
    assert run.returncode == 0, run.stderr
    (comparison,) = json.loads(run.stdout)["comparisons"]
    assert comparison["rival"] == "transformers"
    assert comparison["ratio"] > 0
    assert comparison["max_error"] < 1e-5


def test_a_rival_that_is_not_installed_is_named_with_its_package(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = glpn("bench", *SMALL, "--size", "32x32", "--against", "openvino")
    assert run.returncode == 8
    assert b"pip install openvino" in run.stderr


@pytest.mark.parametrize(("size", "code"), [("big", 2), ("0x0", 2), ("64", 2), ("8x70000", 2), ("60000x60000", 2)])
def test_a_size_that_is_none_is_a_usage_error(glpn: Glpn, size: str, code: int) -> None:
    assert glpn("bench", *SMALL, "--size", size).returncode == code


def test_a_rival_says_what_it_ran_on_and_in_which_numbers(glpn: Glpn) -> None:
    run = glpn(
        "bench", *SMALL, "--size", "32x64", "--precision", "bfloat16", "--against", "transformers", "--device", "auto"
    )
    assert run.returncode == 0, run.stderr
    table = run.stdout.decode()
    assert "bfloat16, cpu" in table
    assert "transformers: float32, cpu" in table


def test_a_rival_without_enough_memory_leaves_the_rest(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.benchmark import stages

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(stages, "build_rival", fail)
    run = glpn("bench", *SMALL, "--size", "32x64", "--against", "transformers")
    assert run.returncode == 0, run.stderr
    assert b"transformers did not run: not enough memory" in run.stderr
    assert b"32x64" in run.stdout


def test_what_was_measured_before_an_error_is_shown(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.benchmark import stages
    from glpn_cli.errors import DeviceError

    measure = stages.measure

    def fail_later(*arguments: Any, height_px: int, **more: Any) -> Any:
        if height_px == 64:
            raise DeviceError("not enough memory")
        return measure(*arguments, height_px=height_px, **more)

    monkeypatch.setattr(stages, "measure", fail_later)
    run = glpn("bench", *SMALL, "--size", "32x64", "--size", "64x64")
    assert run.returncode == 5
    assert b"32x64" in run.stdout
    assert b"not enough memory" in run.stderr

"""`glpn bench`: timings of every case as a table or JSON, and comparisons."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from glpn_cli.benchmark.stages import Comparison, Measurement, Timing
from glpn_cli.cli.commands.bench import to_tables

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


def test_the_table_has_sizes_stages_and_ratios(glpn: Glpn) -> None:
    run = glpn("bench", *SMALL, "--size", "60x80", "--against", "transformers")
    assert run.returncode == 0, run.stderr
    table = run.stdout.decode()
    for word in ("60x80", "float32", "decode", "network", "encode", "transformers", "ratio", "error"):
        assert word in table
    assert b"60x80" in run.stderr


def test_tables_of_many_cases_fit_into_80_columns() -> None:
    timing = Timing(12.3456, 11.1, 23.4)
    stages = dict.fromkeys(("decode", "preprocess", "network", "upsample", "encode"), timing)
    rival = Comparison("transformers", "cpu", "float32", timing, 1.25, 1e-6, 2e-7)
    measured = [
        Measurement(1080, 1920, (1056, 1920), precision, "cpu", threads, stages, timing, 2**30, [rival])
        for precision in ("float32", "bfloat16")
        for threads in (1, 16, 128)
    ]
    console = Console(width=80)
    with console.capture() as shown:
        for table in to_tables(measured, unicode=True):
            console.print(table)
    text = shown.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("12345.6") == 6 * 6 + 6  # five stages, their sum and the rival, for each case
    assert text.count("images/s") > 1
    assert "cpu, 1 thread " in text
    assert "cpu, 128 threads" in text


def test_verbose_prints_the_range_of_each_stage(glpn: Glpn) -> None:
    run = glpn("bench", *SMALL, "--size", "32x64", "--json", "-v")
    (case,) = (json.loads(line) for line in run.stdout.splitlines())
    took = case["stages"]["network"]
    told = f"network: {1000 * took['fastest_s']:.1f} to {1000 * took['slowest_s']:.1f} ms"
    assert told.encode() in run.stderr


def test_transformers_agrees_on_the_published_architecture(glpn: Glpn) -> None:
    run = glpn("bench", "--rounds", "1", "--size", "64x64", "--against", "transformers", "--json", "--device", "cpu")
    assert run.returncode == 0, run.stderr
    (comparison,) = json.loads(run.stdout)["comparisons"]
    assert comparison["rival"] == "transformers"
    assert comparison["ratio"] > 0
    assert comparison["max_error"] < 1e-5


def test_a_missing_runtime_names_its_package(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = glpn("bench", *SMALL, "--size", "32x32", "--against", "openvino")
    assert run.returncode == 8
    assert b"pip install openvino" in run.stderr


@pytest.mark.parametrize("size", ["big", "0x0", "64", "8x70000", "60000x60000"])
def test_invalid_sizes_are_refused(glpn: Glpn, size: str) -> None:
    run = glpn("bench", *SMALL, "--size", size)
    assert run.returncode == 2
    assert run.stderr.startswith(b"error: --size: ")


def test_the_table_has_precision_and_device(glpn: Glpn) -> None:
    run = glpn(
        "bench", *SMALL, "--size", "32x64", "--precision", "bfloat16", "--against", "transformers", "--device", "auto"
    )
    assert run.returncode == 0, run.stderr
    table = run.stdout.decode()
    assert "bfloat16, cpu" in table
    assert "transformers: float32, cpu" in table


def test_a_runtime_without_enough_memory_is_skipped(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.benchmark import stages

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(stages, "build_rival", fail)
    run = glpn("bench", *SMALL, "--size", "32x64", "--against", "transformers")
    assert run.returncode == 0, run.stderr
    assert b"note: transformers" in run.stderr
    assert b"32x64" in run.stdout


def test_results_before_an_error_are_shown(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
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

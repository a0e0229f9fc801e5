"""The performance page can be regenerated: its tables from results and, as a soak test, everything from scratch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "benchmarks"
NOTES = {"load_before": 0.1, "load_after": 0.2, "rounds": 5}
MACHINE = {
    "date": "2001-02-03",
    "cpu": "A CPU",
    "cores": 2,
    "threads": 2,
    "extensions": ["avx2"],
    "system": "Linux x86_64",
    "python": "3.11.0",
    "torch": "2.0.1",
    "transformers": "5.0.1",
    "openvino": None,
}
CARD = {"name": "A card", "memory_bytes": 80e9, "cuda": "13.0", "cudnn": 9}
TIMES = {"median_s": 2.0, "fastest_s": 1.0, "slowest_s": 3.0}
ERROR = {"max_of_range": 1.5e-5, "mean_relative": 2.5e-6}
GPU_ROW = TIMES | {
    "ratio to transformers": 2.25,
    "ratio to transformers compiled": None,
    "images_per_s": 4.0,
    "operations_per_s": 3e12,
    "share_of_peak": 0.5,
    "peak_bytes": 2.5e9,
    "error": ERROR,
    "graph": False,
}
SECTIONS = ("speed", "memory", "whole", "busy", "growth", "scale", "gpu", "gpu_batch")
PAGE = """# Before
<!-- measured: begin -->

### Speed

of long ago

### Memory

of yesterday

<!-- measured: end -->
After
"""


HEADINGS = (
    *("Speed", "Whole processes", "On a busy machine", "Memory", "Growth", "Several processes"),
    *("On a GPU", "Batches on a GPU"),
)


def grown(seconds: float) -> dict[str, float]:
    return {"seconds": seconds, "peak_bytes": 1.25e9}


RESULTS: dict[str, dict[str, Any]] = {
    "speed": {
        "cases": {
            "480x640": NOTES
            | {
                "machine": MACHINE,
                "runners": {
                    "transformers float32": TIMES | {"ratio": 1.0, "ratio_of_fastest": 1.0, "error": ERROR},
                    "glpn float32": TIMES | {"ratio": 2.75, "ratio_of_fastest": 2.5, "error": ERROR},
                },
            }
        },
    },
    "whole": {
        "cases": {
            "one image": NOTES
            | {
                "machine": MACHINE,
                "runners": {
                    "transformers pipeline": TIMES | {"ratio": 1.0},
                    "glpn predict float32": TIMES | {"ratio": 3.5, "error": {"most_levels": 1, "mean_levels": 0.01}},
                },
            },
            "tiny": NOTES
            | {
                "machine": MACHINE | {"date": "2001-02-04"},
                "runners": {"import torch": TIMES | {"longer_s": 0.0}, "glpn predict": TIMES | {"longer_s": 0.44}},
            },
        }
    },
    "busy": {
        "cases": {
            "one image": NOTES
            | {
                "machine": MACHINE,
                "precisions": {
                    "bfloat16": {
                        "idle_s": 2.0,
                        "busy_s": 3.0,
                        "fastest_busy_s": 2.5,
                        "slowest_busy_s": 3.5,
                        "ratio": 1.5,
                    }
                },
            }
        },
    },
    "growth": {
        "cases": {
            "pixels": NOTES
            | {
                "machine": MACHINE,
                "precisions": {
                    name: [{"height": side, "width": 1000, **grown(side / 100)} for side in (300, 3000)]
                    for name in ("float32", "bfloat16")
                },
            },
            "folder": NOTES
            | {"machine": MACHINE, "folders": [{"images": count, **grown(count)} for count in (10, 1000)]},
        }
    },
    "scale": {
        "cases": {
            "driver": NOTES
            | {
                "machine": MACHINE,
                "images": 2000,
                "runs": {"new": {"plan_s": 9.0, "plan_cpu_s": 8.0, "wall_s": 9.0, "cpu_s": 0.25, "peak_bytes": 3e8}},
            },
            "tiny": NOTES
            | {
                "machine": MACHINE,
                "images": 11,
                "runs": {
                    "1 worker": {
                        "wall_s": 3.0,
                        "start_s": 1.0,
                        "run_s": 0.5,
                        "driver_cpu_s": 0.5,
                        "workers_cpu_s": 3.5,
                    },
                    "ratios": {"speed of 2 workers to 1": 1.75},
                },
            },
        }
    },
    "gpu": {
        "cases": {
            "batch 8": NOTES
            | {
                "machine": MACHINE | {"card": CARD},
                "config": "published",
                "size": "480x640",
                "gemm_peaks": {"float32": 6e12},
                "compile_mode": "default",
                "runners": {"glpn float32": GPU_ROW, "transformers compiled float32": {"failed": "no compiler"}},
            }
        }
    },
    "gpu_batch": {
        "cases": {
            "1000 images": NOTES
            | {
                "machine": MACHINE | {"card": CARD},
                "precisions": {"bfloat16": TIMES | {"images_per_s": 500.0, "busy_share": 0.75}},
            }
        }
    },
}


def report(folder: Path, results: dict[str, dict[str, Any]]) -> str:
    page = folder / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    command = [sys.executable, str(SCRIPTS / "report.py"), "--page", str(page)]
    for name in SECTIONS:
        file = folder / f"{name}.json"
        if name in results:
            file.write_text(json.dumps(results[name]), encoding="utf-8")
        command += [f"--{name}", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return page.read_text(encoding="utf-8")


def test_results_become_tables_and_a_plot_between_the_markers(tmp_path: Path) -> None:
    page = report(tmp_path, RESULTS)
    assert page.startswith("# Before\n")
    assert page.endswith("<!-- measured: end -->\nAfter\n")
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert headings[1:] == [f"### {name}" for name in HEADINGS]
    assert "of long ago" not in page
    assert "of yesterday" in page, "sections without new results stay"
    for row in (
        "| glpn float32 | 2000, 2.75x |",
        "| glpn float32 | 1000 to 3000, 2.50x |",
        "| glpn float32 | 1.5e-05, 2.5e-06 |",
        "| 1000 images | bfloat16 | 2.0 | 1.0 to 3.0 | 500.0 | 75 % |",
        "| one image | bfloat16 | 2.00 | 3.00 | 2.50 to 3.50 | 1.50x |",
        "| one image | glpn predict float32 | 2.00 | 1.00 to 3.00 | 3.50x | 1 | 0.01 |",
        "| glpn predict | 2.00 | 1.00 to 3.00 | 0.44 |",
        "| 3000x1000 | 3.0 | bfloat16 | 30.0 | 1.25 |",
        "| 1000 | 1000.0 | 1.25 |",
        "| tiny, 11 images | 1 worker | 3.0 | 1.0 | 50.0 | 4.0 |",
        "| tiny | speed of 2 workers to 1 | 1.75 |",
        "| new | 8.0 | 0.125 | 300 |",
        (
            "| batch 8 | glpn float32 (no graph) | 2000.0 | 1000.0 to 3000.0 | 4.0 | 2.25x |  | 2.5e-06 | 1.5e-05 "
            "| 3.00 | 50 % | 2.50 |"
        ),
    ):
        assert row in page
    assert "Not measured: batch 8, transformers compiled float32: no compiler." in page
    assert "2001-02-04, A CPU (2 cores, avx2), 2 threads" in page, "another day has its own paragraph"
    assert "A card (80 GB, CUDA 13.0, cuDNN 9)" in page
    plot = (tmp_path / "images" / "growth.svg").read_text(encoding="utf-8")
    assert all(f">{word}<" in plot for word in ("float32", "bfloat16", "megapixels of an image"))
    assert len(plot) < 100_000


def test_page_without_new_results_does_not_change(tmp_path: Path) -> None:
    assert report(tmp_path, {}) == PAGE


@pytest.mark.parametrize("case", ["new", "one folder", "resumed"])
def test_driver_of_a_long_run_is_measured(case: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "scale_driver.py"), case, "200", str(tmp_path)]
    if case == "resumed":
        subprocess.run([*command[:2], "new", *command[3:]], check=True)
    done = subprocess.run(command, check=True, capture_output=True)
    assert json.loads(done.stdout)["plan_cpu_s"] > 0


@pytest.mark.soak
def test_every_script_runs(tmp_path: Path) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    write = [sys.executable, str(SCRIPTS / "report.py"), "--page", str(page)]
    for name in SECTIONS:
        out = tmp_path / f"{name}.json"
        on = ["--device", "cpu"] if name.startswith("gpu") else []
        command = [sys.executable, str(SCRIPTS / f"{name}.py"), "--quick", "--out", str(out), *on]
        subprocess.run(command, check=True, env=environment)
        assert json.loads(out.read_text(encoding="utf-8"))
        write += [f"--{name}", str(out)]
    subprocess.run(write, check=True)
    assert page.read_text(encoding="utf-8").count("\n### ") == len(SECTIONS)

"""Result files, and the description of the machine that goes into each. Imports only light modules."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

BUILD = Path(__file__).parents[1] / "build"
PACKAGES = ("torch", "transformers", "openvino")


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options that all scripts share."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small network and few runs, to check that the script works; the numbers are meaningless",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"default: build/{name}.json, or build/quick/{name}.json; results of other cases stay in the file",
    )


def results_file(name: str, *, quick: bool, out: Path | None = None) -> Path:
    """Return the result file of a script. Quick runs use other files, so that they never mix with real results."""
    return out or (BUILD / "quick" if quick else BUILD) / f"{name}.json"


def load(file: Path) -> dict[str, Any]:
    """Read earlier results; empty if there are none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def save(file: Path, report: dict[str, Any]) -> None:
    """Write the results measured so far."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def load_now() -> float:
    """Return the load average of the machine, or 0 if the system does not report it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def torch_threads() -> int:
    """Return torch's default number of threads, as determined by a new process."""
    code = "import torch; print(torch.get_num_threads())"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def describe_machine(threads: int) -> dict[str, Any]:
    """Describe hardware and versions, without host or user names."""
    cpu = Path("/proc/cpuinfo")
    text = cpu.read_text(encoding="utf-8") if cpu.exists() else ""
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "extensions": [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }

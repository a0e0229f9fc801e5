"""Files of results: where they are, and what is said with each about the machine. Imports nothing heavy."""

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
    """Add what every script takes."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a small network and few runs, to see that it works; the numbers mean nothing",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"default: build/{name}.json, or build/quick/{name}.json; results of other cases are kept",
    )


def place(name: str, *, quick: bool, out: Path | None = None) -> Path:
    """Give the file of a script's results. Those of a quick run never mix with the real ones."""
    return out or (BUILD / "quick" if quick else BUILD) / f"{name}.json"


def load(file: Path) -> dict[str, Any]:
    """Read what was measured before, if anything."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def save(file: Path, report: dict[str, Any]) -> None:
    """Write what is measured so far."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def load_now() -> float:
    """Give the load of the machine, 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def torch_threads() -> int:
    """Ask torch in a process of its own how many threads it takes unless told otherwise."""
    code = "import torch; print(torch.get_num_threads())"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def describe_machine(threads: int) -> dict[str, Any]:
    """Say what this ran on and with, without names of hosts or people."""
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

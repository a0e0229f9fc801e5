"""What this installation is made of and what may be wrong with it, without a word of whose it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli._version import __version__
from glpn_cli.errors import GLPNError
from glpn_cli.settings import HOME_VARIABLE, WEIGHTS_VARIABLE

if TYPE_CHECKING:
    from glpn_cli.device import DeviceFacts


_DISTRIBUTION = "glpn-cli"
_NOT_FOR_USERS = "dev"
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?")
_LITTLE_SPACE_BYTES = 10**9
_CODECS = ("jpg", "zlib", "webp", "avif", "jpg_2000", "libtiff")

_VARIABLES = (
    HOME_VARIABLE,
    WEIGHTS_VARIABLE,
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    "GLPN_DATA",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "NO_COLOR",
    "FORCE_COLOR",
)
"""Of which it is told whether they are set, and never to what: paths and proxies name people and machines."""


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """Weights with a name. Those that are not in the catalog may be named after anybody, so theirs is left out.

    Attributes:
        name: of the catalog, or "another".
        status: see `glpn weights list`.
        size_bytes: of the file, or of a download.
    """

    name: str
    status: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that a report of a bug should have.

    Attributes:
        version: of glpn-cli.
        python: version and kind.
        system: operating system, its version, and the kind of processor.
        cores: of this machine.
        packages: versions of what is needed; None where it is missing.
        extras: versions of what is optional; None where it is not installed.
        missing_codecs: formats that the installed Pillow was built without.
        devices: what can compute; empty where torch cannot be loaded.
        weights: what weights there are.
        auto_weights: what is used where none are named.
        home_is_default: whether weights are kept in the platform's own place.
        free_bytes: where weights are kept, or None if that cannot be told.
        variables: names of environment variables that are set.
        problems: what is wrong, one line each.
    """

    version: str
    python: str
    system: str
    cores: int
    packages: dict[str, str | None]
    extras: dict[str, str | None]
    missing_codecs: list[str]
    devices: list[DeviceFacts]
    weights: list[WeightsFacts]
    auto_weights: str | None
    home_is_default: bool
    free_bytes: int | None
    variables: list[str]
    problems: list[str] = field(default_factory=list)


def diagnose() -> Diagnosis:
    """Look at this installation; nothing that is broken about it stops the look."""
    problems: list[str] = []
    packages, extras = _packages()
    problems += [f"{name} is not installed" for name, version in packages.items() if version is None]
    return Diagnosis(
        version=__version__,
        python=f"{platform.python_version()} {platform.python_implementation()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        packages=packages,
        extras=extras,
        missing_codecs=_missing_codecs(problems),
        devices=_devices(problems),
        weights=_weights(problems),
        auto_weights=_auto_weights(problems),
        home_is_default=not os.environ.get(HOME_VARIABLE),
        free_bytes=_free_bytes(problems),
        variables=[name for name in _VARIABLES if os.environ.get(name)],
        problems=problems,
    )


def _packages() -> tuple[dict[str, str | None], dict[str, str | None]]:
    """List what the installed package says it needs, and what it can use."""
    try:
        requirements = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        requirements = []
    needed: dict[str, str | None] = {}
    optional: dict[str, str | None] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None or match[2] == _NOT_FOR_USERS:
            continue
        (needed if match[2] is None else optional)[match[1]] = _version(match[1])
    return needed, optional


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing_codecs(problems: list[str]) -> list[str]:
    try:
        from PIL import features

        return [codec for codec in _CODECS if not features.check(codec)]
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything, and is what we look for
        problems.append(f"Pillow cannot be loaded: {_first_line(error)}")
        return []


def _devices(problems: list[str]) -> list[DeviceFacts]:
    try:
        from glpn_cli.device import describe_devices

        return describe_devices()
    except Exception as error:  # noqa: BLE001 - likewise; drivers, too
        problems.append(f"torch cannot be used: {_first_line(error)}")
        return []


def _weights(problems: list[str]) -> list[WeightsFacts]:
    try:
        from glpn_cli.weights.catalog import CATALOG
        from glpn_cli.weights.location import Status, take_inventory

        rows = take_inventory()
    except Exception as error:  # noqa: BLE001 - likewise
        problems.append(f"weights cannot be listed: {_first_line(error)}")
        return []
    found = [WeightsFacts(_public(row.name, CATALOG), str(row.status), row.size_bytes) for row in rows]
    problems += [f"the weights {facts.name} are damaged" for facts in found if facts.status == Status.DAMAGED]
    return found


def _auto_weights(problems: list[str]) -> str | None:
    try:
        from glpn_cli.weights.catalog import CATALOG
        from glpn_cli.weights.location import locate_weights

        return _public(locate_weights("auto").name, CATALOG)
    except GLPNError as error:
        problems.append(f"no weights are used by default: {_without_paths(error.message)}")
    except Exception as error:  # noqa: BLE001 - likewise
        problems.append(f"no weights are used by default: {_first_line(error)}")
    return None


def _free_bytes(problems: list[str]) -> int | None:
    """Tell how much room there is for weights, in the first folder above their place that is there."""
    from glpn_cli.weights.store import home_folder

    home = home_folder()
    there = next((folder for folder in (home, *home.parents) if os.path.isdir(folder)), Path())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        problems.append(f"the folder for weights cannot be looked at: {error.strerror}")
        return None
    if not os.access(there, os.W_OK):
        problems.append("the folder for weights cannot be written to")
    elif free < _LITTLE_SPACE_BYTES:
        problems.append("there is little room where weights are kept")
    return free


def _public(name: str, catalog: object) -> str:
    return name if name in catalog else "another"  # type: ignore[operator]  # a dictionary by name


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return _without_paths(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def _without_paths(text: str) -> str:
    """Leave out what may be a path, which often begins with somebody's home."""
    # Names of people and folders have spaces in them; rather too much goes than too little.
    return re.sub(r"(?:[A-Za-z]:)?[\\/~][^:'\",\n]*[\\/][^:'\",\n]*", "...", text)

"""Facts about this installation for bug reports, and its problems. Contains no user names, host names or paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli._version import __version__
from glpn_cli.errors import GLPNError
from glpn_cli.files import os_reason
from glpn_cli.settings import DATA_VARIABLE, HOME_VARIABLE, WEIGHTS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glpn_cli.device import DeviceFacts

_DISTRIBUTION = "glpn-cli"
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?")
_USER_EXTRAS = frozenset({"exr", "heif", "onnx", "openvino", "video"})  # the other extras are for development
_LOW_DISK_SPACE_BYTES = 10**9
_CODECS = ("jpg", "zlib", "webp", "avif", "jpg_2000", "libtiff")
_ENVIRONMENT_VARIABLES = (
    HOME_VARIABLE,
    WEIGHTS_VARIABLE,
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    DATA_VARIABLE,
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "NO_COLOR",
    "FORCE_COLOR",
)
"""Only whether they are set is reported, not their values: paths and proxies name people and machines."""


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """Installed weights, or weights of the catalog.

    Attributes:
        name: the name in the catalog, else "another": a user may have named weights after a person.
        status: a `Status`, as in `glpn weights list`.
        size_bytes: size of the file, or of the download.
    """

    name: str
    status: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The facts that a bug report needs.

    Attributes:
        version: version of glpn-cli.
        python: version and implementation of Python.
        system: operating system, its release, and the machine type.
        cores: number of CPU cores.
        packages: version of each required package; None if it is not installed.
        extras: version of each optional package; None if it is not installed.
        missing_codecs: image formats that the installed Pillow was built without.
        encoders: video encoders that `glpn video` uses and the installed av has; empty without av.
        devices: available devices; empty if torch cannot be imported.
        engine: what computes the network on a CPU, and why.
        weights: weights of the catalog and other installed weights.
        auto_weights: what the weights "auto" stand for, or None if there are none.
        home_is_default: whether weights are stored in the default folder.
        free_bytes: free disk space for weights, or None if unknown.
        variables: names of the relevant environment variables that are set.
        problems: one line per problem.
    """

    version: str
    python: str
    system: str
    cores: int
    packages: dict[str, str | None]
    extras: dict[str, str | None]
    missing_codecs: list[str]
    encoders: list[str]
    devices: list[DeviceFacts]
    engine: str
    weights: list[WeightsFacts]
    auto_weights: str | None
    home_is_default: bool
    free_bytes: int | None
    variables: list[str]
    problems: list[str] = field(default_factory=list)


def diagnose() -> Diagnosis:
    """Return the facts about this installation; whatever is broken becomes a problem, not an error."""
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
        encoders=_encoders(problems),
        devices=_devices(problems),
        engine=_engine(problems),
        weights=_weights(problems),
        auto_weights=_auto_weights(problems),
        home_is_default=not os.environ.get(HOME_VARIABLE),
        free_bytes=_free_bytes(problems),
        variables=[name for name in _ENVIRONMENT_VARIABLES if os.environ.get(name)],
        problems=problems,
    )


def without_paths(text: str) -> str:
    """Return a text with "..." in place of anything that may be a path, because paths contain user names."""
    # User and folder names may contain spaces, so this removes too much rather than too little.
    return re.sub(r"(?:[A-Za-z]:)?[\\/~][^:'\",\n]*[\\/][^:'\",\n]*", "...", text)


def _packages() -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Return the versions of required and of optional packages, from the metadata of the installed distribution."""
    try:
        requirements = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        requirements = []
    required: dict[str, str | None] = {}
    optional: dict[str, str | None] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None:
            continue
        name, extra = match[1], match[2]
        if extra is None:
            required[name] = _installed_version(name)
        elif extra in _USER_EXTRAS:
            optional[name] = _installed_version(name)
    return required, optional


def _installed_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing_codecs(problems: list[str]) -> list[str]:
    try:
        from PIL import features

        return [codec for codec in _CODECS if not features.check(codec)]
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything, and finding it is the purpose
        problems.append(f"Pillow cannot be imported: {_first_line(error)}")
        return []


def _encoders(problems: list[str]) -> list[str]:
    if find_spec("av") is None:
        return []
    try:
        from glpn_cli.video.writing import available_encoders

        return available_encoders()
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        problems.append(f"av cannot be imported: {_first_line(error)}")
        return []


def _devices(problems: list[str]) -> list[DeviceFacts]:
    try:
        from glpn_cli.device import describe_devices

        return describe_devices()
    except Exception as error:  # noqa: BLE001 - so do broken drivers
        problems.append(f"torch cannot be used: {_first_line(error)}")
        return []


def _engine(problems: list[str]) -> str:
    try:
        from glpn_cli.inference.engines import describe_auto

        return describe_auto()
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        problems.append(f"OpenVINO cannot be used: {_first_line(error)}")
        return "torch"


def _weights(problems: list[str]) -> list[WeightsFacts]:
    try:
        from glpn_cli.weights.catalog import CATALOG
        from glpn_cli.weights.location import Status, take_inventory

        rows = take_inventory()
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        problems.append(f"weights cannot be listed: {_first_line(error)}")
        return []
    found = [WeightsFacts(_public_name(row.name, CATALOG), str(row.status), row.size_bytes) for row in rows]
    problems += [f"weights {facts.name}: damaged" for facts in found if facts.status == Status.DAMAGED]
    return found


def _auto_weights(problems: list[str]) -> str | None:
    try:
        from glpn_cli.weights.catalog import CATALOG
        from glpn_cli.weights.location import locate_weights

        return _public_name(locate_weights("auto").name, CATALOG)
    except GLPNError as error:
        problems.append(f"there are no default weights: {without_paths(error.message)}")
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        problems.append(f"there are no default weights: {_first_line(error)}")
    return None


def _free_bytes(problems: list[str]) -> int | None:
    """Return the free disk space for weights; their folder may not exist yet, so look at its parents too."""
    from glpn_cli.weights.store import home_folder

    try:
        home = home_folder()
    except GLPNError as error:
        problems.append(f"{error.message}: {error.hint}")
        return None
    folder = next((folder for folder in (home, *home.parents) if os.path.isdir(folder)), Path())
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        problems.append(f"the folder for weights cannot be accessed: {os_reason(error)}")
        return None
    if not os.access(folder, os.W_OK):
        problems.append("the folder for weights is not writable")
    elif free < _LOW_DISK_SPACE_BYTES:
        problems.append("less than 1 GB of disk space is free in the folder for weights")
    return free


def _public_name(name: str, catalog: Iterable[str]) -> str:
    return name if name in catalog else "another"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return without_paths(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)

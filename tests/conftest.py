"""Fixtures for many tests: images, depth maps, and the program itself."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import DepthMap, Provenance
from waiting import HANG_S
from warm_python import run_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.settings import PredictionSettings

pytest_plugins = ["parity", "soak_figures", "stand_in_hub"]

# With two threads per test process, parallel test processes would wait for each other. Inherited by the programs that
# tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Independent of the user's installed weights and of the network: an empty home, and a Hub that cannot be reached.
os.environ["GLPN_HOME"] = str(Path(tempfile.gettempdir()) / "glpn-tests-empty-home")
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"

# A shell starts background jobs with SIGINT ignored. The programs that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def photo() -> Path:
    """A real photo, 600 wide and 400 high."""
    return EXAMPLES / "coffee.png"


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a color image into the test's folder."""

    def make(name: str = "photo.png", height: int = 48, width: int = 64, **save: object) -> Path:
        rows, columns = np.mgrid[0:height, 0:width]
        rgb = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb.astype(np.uint8)).save(path, **save)
        return path

    return make


@pytest.fixture
def depth_map() -> DepthMap:
    """Depth from 0.5 to 7.5 m, with every field of its provenance set."""
    meters = np.linspace(0.5, 7.5, 20 * 30, dtype=np.float32).reshape(20, 30)
    provenance = Provenance(
        source="photo.jpg",
        weights="tiny",
        weights_sha256="ab" * 32,
        metric=False,
        depth_limit_m=80.0,
        meters_per_unit=1.0,
        network_size=(96, 128),
        device="cpu",
        precision="float32",
        tool="glpn-cli 0",
        notes=("a note",),
    )
    return DepthMap(meters, provenance, uncertainty_m=meters / np.float32(10))


@pytest.fixture(scope="session")
def shared_engine() -> Callable[..., Predictor]:
    """Return a function that replaces `load_predictor`: the bundled weights are prepared for the CPU only once."""
    from glpn_cli.device import choose_runtime
    from glpn_cli.errors import WeightsError
    from glpn_cli.inference import load, predictor
    from glpn_cli.weights.catalog import CATALOG
    from glpn_cli.weights.location import locate_weights

    load_predictor = load.load_predictor
    engines: dict[object, Predictor] = {}
    networks: list[predictor.LoadedWeights] = []

    def load_quickly(settings: PredictionSettings, **options: Any) -> Predictor:
        try:
            located = locate_weights(settings.weights)
        except WeightsError:  # may be downloaded
            return load_predictor(settings, **options)
        is_tiny = located.entry is CATALOG["tiny"]
        runtime = choose_runtime(settings.device, settings.precision, settings.threads) if is_tiny else None
        if runtime is None or runtime.device.type != "cpu":
            return load_predictor(settings, **options)
        if runtime.precision not in engines:
            engines[runtime.precision] = load_predictor(settings, **options)
            networks.append(predictor.load_network(located))
        first = engines[runtime.precision]
        weights = replace(networks[0], chosen=located.chosen)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(predictor, "Engine", lambda *_, **_options: first.engine)
            return predictor.Predictor(weights, runtime, settings)

    return load_quickly


@pytest.fixture
def glpn(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    shared_engine: Callable[..., Predictor],
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return a function that runs the command line in this process, which has loaded torch, in the test's folder."""
    from glpn_cli.cli.app import main

    def run(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name, value in (_environment() | environment).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["glpn", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            capfdbinary.readouterr()
            with pytest.raises(SystemExit) as exited:
                main()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        captured = capfdbinary.readouterr()
        code = exited.value.code
        assert code is None or isinstance(code, int)
        return subprocess.CompletedProcess(["glpn", *arguments], code or 0, captured.out, captured.err)

    monkeypatch.delenv("GLPN_WEIGHTS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr("glpn_cli.inference.load.load_predictor", shared_engine)
    return run


@pytest.fixture(scope="session")
def warm_python() -> Iterator[list[str]]:
    """A command to use instead of `[sys.executable]`, whose processes need no seconds to import torch."""
    with run_server() as command:
        yield command


@pytest.fixture
def glpn_process(tmp_path: Path, warm_python: list[str]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return a function that runs the program as a separate process in the test's folder.

    Python starts anew for it only if the test says so; `program` is an installed one, which always starts anew.
    """

    def run(
        *arguments: str | Path, stdin: bytes = b"", anew: bool = False, program: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("GLPN_WEIGHTS", "FORCE_COLOR")}
        python = [sys.executable] if anew else warm_python
        start = [*python, "-m", "glpn_cli"] if program is None else [Path(sys.executable).with_name(program)]
        return subprocess.run(
            [*start, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=inherited | _environment() | environment,
            check=False,
            timeout=HANG_S,
        )

    return run


def _environment() -> dict[str, str]:
    return {"NO_COLOR": "1", "COLUMNS": "120"}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running browser; skips the test if none is installed."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        give_up = pytest.fail if "GLPN_TESTS_NEED_BROWSER" in os.environ else pytest.skip
        give_up("no browser found: on Debian, `apt-get install chromium`")
    quiet = ("background-networking", "component-update", "sync", "default-apps", "extensions", "gpu", "quic")
    flags = ["--no-sandbox", "--no-first-run", *(f"--disable-{feature}" for feature in quiet)]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=flags)
        yield running
        running.close()

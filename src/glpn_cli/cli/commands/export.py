"""`glpn export`: the network as a file for other runtimes."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.cli.download_progress import DownloadProgress
from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.options.export import (
    ExportPrecision,
    ExportSize,
    OnnxFile,
    WithPreprocessing,
)
from glpn_cli.cli.options.network import (
    Offline,
    Weights,
)
from glpn_cli.cli.options.results import Overwrite
from glpn_cli.cli.options.talk import TalkOptions
from glpn_cli.cli.wording import say_bytes
from glpn_cli.errors import OutputExistsError, UsageError
from glpn_cli.settings import ExportSettings, PredictorSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from glpn_cli.cli.console import Console
    from glpn_cli.export import Subject


_DEFAULTS = ExportSettings()
_NETWORK = PredictorSettings()


@with_option_groups
def export(
    *,
    onnx: OnnxFile,
    size: ExportSize = _DEFAULTS.size,
    with_preprocessing: WithPreprocessing = _DEFAULTS.with_preprocessing,
    overwrite: Overwrite = False,
    weights: Weights = _NETWORK.weights,
    offline: Offline = False,
    precision: ExportPrecision = _DEFAULTS.precision,
    talk: TalkOptions,
) -> None:
    """Write the network as an ONNX file, which needs neither torch nor glpn.

    The file says what its numbers mean; docs/export.md has a program of ten lines that runs it.
    """
    console = talk.console()
    with console.errors_reported():
        settings = ExportSettings(size=size, precision=precision, with_preprocessing=with_preprocessing)
        _check_name(onnx, overwrite=overwrite)
        from glpn_cli.export import build_onnx, build_subject
        from glpn_cli.files import make_folder, write_whole
        from glpn_cli.inference.predictor import load_weights

        loaded = load_weights(weights, offline=offline, watcher=DownloadProgress(console))
        subject = build_subject(loaded, settings)
        console.detail(f"exporting {loaded.card.name}")
        with _interrupt_kept():
            data = build_onnx(subject)
        agreement = _agreement(console, data, subject, onnx)
        make_folder(Path(onnx).parent)
        write_whole(Path(onnx), data, overwrite=overwrite)
        seen = "any size" if subject.size is None else "{}x{}".format(*subject.size)
        console.say(f"{onnx}: {loaded.card.name}, {seen}, {precision}, {say_bytes(len(data))}{agreement}")


@contextmanager
def _interrupt_kept() -> Iterator[None]:
    """Let Ctrl-C be what it is, where torch's exporter takes it for a fault of its own and raises something else."""
    before = signal.getsignal(signal.SIGINT)
    heard = []

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if heard:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _check_name(name: str, *, overwrite: bool) -> None:
    if not name.lower().endswith(".onnx"):
        raise UsageError(f"--onnx {name!r}: the name of the file ends in .onnx")
    if os.path.isdir(name):
        raise UsageError(f"--onnx {name}: is a folder")
    if os.path.lexists(name) and not overwrite:
        raise OutputExistsError(f"{name}: is there already", hint="--overwrite replaces it")


def _agreement(console: Console, data: bytes, subject: Subject, name: str) -> str:
    """Hold the file to torch, if that can be done here, and say how near they are."""
    from glpn_cli.export import can_verify, verify

    if not can_verify():
        console.note("not checked against torch: onnxruntime is not installed")
        return ""
    agreements = verify(data, subject, name=name)
    for item in agreements:
        size = f"{item.batch} of {item.size[0]}x{item.size[1]}"
        console.detail(f"  {size}: ONNX Runtime and torch differ by {item.largest_m:.2g} m at most")
    largest_m = max(item.largest_m for item in agreements)
    return f"; ONNX Runtime agrees with torch to {largest_m:.2g} m"

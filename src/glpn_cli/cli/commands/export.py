"""`glpn export`: the network as an ONNX file for other runtimes."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, format_bytes, format_size
from glpn_cli.cli.options import OPTIONS, OUTPUT, Argument, Option
from glpn_cli.cli.progress import DownloadProgress
from glpn_cli.errors import OutputExistsError, UsageError
from glpn_cli.settings import ExportSettings, PredictionSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from glpn_cli.export import ExportModule


@command(
    arguments={"file": Argument("File to write.", "OUT.onnx", required=False, fills="onnx")},
    options={
        "onnx": Option("File to write, instead of the argument.", OUTPUT, "OUT.onnx"),
        "weights": OPTIONS[PredictionSettings]["weights"],
        "offline": OPTIONS[PredictionSettings]["offline"],
    },
    examples=(
        "glpn export glpn.onnx",
        "glpn export glpn.onnx --with-preprocessing --weights nyu",
        "glpn export half.onnx --size 480x640 --precision float16",
    ),
)
def export(
    console: Console,
    file: str | None = None,  # noqa: ARG001 - it becomes `onnx`
    *,
    onnx: str,
    settings: ExportSettings,
    overwrite: bool,
    weights: str = "auto",
    offline: bool,
) -> None:
    """Write the network as an ONNX file, which needs neither torch nor glpn.

    The metadata of the file describes its input and output. docs/export.md has a program of ten lines that runs it.
    """
    _check_name(onnx, overwrite=overwrite)
    from glpn_cli.export import build_module, build_onnx
    from glpn_cli.files import make_folder, write_whole
    from glpn_cli.inference.load import load_weights

    loaded = load_weights(weights, offline=offline, progress=DownloadProgress(console))
    subject = build_module(loaded, settings)
    console.detail(f"exporting {loaded.card.name}")
    with _interruptible():
        data = build_onnx(subject)
    agreement = _agreement(console, data, subject, onnx)
    make_folder(Path(onnx).parent)
    write_whole(Path(onnx), data, overwrite=overwrite)
    size = "any size" if subject.size is None else format_size(subject.size)
    console.info(f"{onnx}: {loaded.card.name}, {size}, {settings.precision}, {format_bytes(len(data))}{agreement}")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn Ctrl-C back into KeyboardInterrupt, where torch's exporter catches it and raises an error of its own."""
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.SIG_IGN:  # as by nohup
        yield
        return
    received = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if callable(previous):
            previous(number, frame)

    if previous is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if received:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, previous)


def _check_name(name: str, *, overwrite: bool) -> None:
    if not name.lower().endswith(".onnx"):
        raise UsageError(f"{name!r} must end in .onnx", setting="onnx")
    if os.path.isdir(name):
        raise UsageError(f"{name} is a folder", setting="onnx")
    if os.path.lexists(name) and not overwrite:
        raise OutputExistsError(f"{name}: already exists", hint="set `overwrite` to replace it")


def _agreement(console: Console, data: bytes, subject: ExportModule, name: str) -> str:
    """Compare the file with torch, if ONNX Runtime is installed, and return the largest difference as text."""
    from glpn_cli.export import can_verify, verify_onnx

    if not can_verify():
        console.note("not compared with torch: onnxruntime is not installed")
        return ""
    agreements = verify_onnx(data, subject, name=name)
    for item in agreements:
        size = f"{item.batch} of {format_size(item.size)}"
        console.detail(f"  {size}: ONNX Runtime and torch differ by at most {item.largest_m:.2g} m")
    largest_m = max(item.largest_m for item in agreements)
    return f"; ONNX Runtime agrees with torch to {largest_m:.2g} m"

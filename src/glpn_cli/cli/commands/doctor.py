"""`glpn doctor`: what a bug report needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, format_bytes
from glpn_cli.cli.options import LOGGING, Option
from glpn_cli.settings import HOME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from glpn_cli.diagnosis import Diagnosis


@command(
    options={"json": Option("Print a JSON object on standard output.", LOGGING)},
    examples=("glpn doctor", "glpn doctor --json"),
)
def doctor(console: Console, *, json: bool) -> None:
    """Show versions, devices, weights and disk space, for a bug report.

    The output contains no user names, host names or paths.
    """
    from glpn_cli.diagnosis import diagnose

    diagnosis = diagnose()
    if json:
        console.record(asdict(diagnosis))
        return
    for label, text in _lines(diagnosis):
        console.data(f"{label:<10} {text}")


def _lines(facts: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "glpn", facts.version
    yield "python", facts.python
    yield "system", f"{facts.system}, {facts.cores} cores"
    if facts.packages:
        yield "packages", _versions(facts.packages)
    if facts.extras:
        yield "extras", _versions(facts.extras)
    if facts.missing_codecs:
        yield "pillow", "without " + ", ".join(facts.missing_codecs)
    if facts.encoders:
        yield "video", "encoders " + ", ".join(facts.encoders)
    for device in facts.devices:
        memory = "" if device.memory_bytes is None else f", {format_bytes(device.memory_bytes)}"
        yield "device", f"{device.name}: {device.what}{memory}"
    yield "engine", facts.engine
    for weights in facts.weights:
        yield "weights", f"{weights.name}: {weights.status}, {format_bytes(weights.size_bytes)}"
    yield "default", f"--weights {facts.auto_weights}" if facts.auto_weights else "none"
    free = "unknown free space" if facts.free_bytes is None else f"{format_bytes(facts.free_bytes)} free"
    yield "stored in", ("the default folder" if facts.home_is_default else f"${HOME_VARIABLE}") + f", {free}"
    yield "set", ", ".join(facts.variables) or "no environment variable that affects glpn"
    for problem in facts.problems or ["none found"]:
        yield "problems", problem


def _versions(packages: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'not installed'}" for name, version in packages.items())

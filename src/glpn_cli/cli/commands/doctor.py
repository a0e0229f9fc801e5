"""`glpn doctor`: what a report of a bug should have."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from glpn_cli.cli.console import Console
from glpn_cli.cli.options.records import JsonObject
from glpn_cli.cli.options.talk import (
    Color,
    Debug,
)
from glpn_cli.cli.wording import say_bytes
from glpn_cli.settings import HOME_VARIABLE, ColorPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from glpn_cli.diagnosis import Diagnosis


def doctor(json_object: JsonObject = False, debug: Debug = False, color: Color = ColorPolicy.AUTO) -> None:
    """Print versions, devices, weights and disk space, to be pasted into a report.

    It names no person, machine or folder.
    """
    console = Console(color=color, debug=debug)
    with console.errors_reported():
        from glpn_cli.diagnosis import diagnose

        diagnosis = diagnose()
        if json_object:
            console.data(json.dumps(asdict(diagnosis)))
            return
        for label, text in _lines(diagnosis):
            console.data(f"{label:<9} {text}")


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
    for device in facts.devices:
        memory = "" if device.memory_bytes is None else f", {say_bytes(device.memory_bytes)}"
        yield "device", f"{device.name}: {device.what}{memory}"
    for weights in facts.weights:
        yield "weights", f"{weights.name}: {weights.status}, {say_bytes(weights.size_bytes)}"
    yield "default", f"--weights {facts.auto_weights}" if facts.auto_weights else "none"
    free = "unknown room" if facts.free_bytes is None else f"{say_bytes(facts.free_bytes)} free"
    yield "kept in", ("the usual folder" if facts.home_is_default else f"${HOME_VARIABLE}") + f", {free}"
    yield "set", ", ".join(facts.variables) or "none of the environment variables that matter"
    for problem in facts.problems or ["none found"]:
        yield "problems", problem


def _versions(packages: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'not installed'}" for name, version in packages.items())

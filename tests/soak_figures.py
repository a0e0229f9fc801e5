"""Results of the soak tests: shown when pytest ends, and saved in build/soak/ for docs/reliability.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parents[1] / "build" / "soak"

_REPORTED: dict[str, dict[str, Any]] = {}


@pytest.fixture
def report_figures() -> Callable[[str, dict[str, Any]], None]:
    """Return a function that saves the results of a soak test under a name."""

    def report(name: str, figures: dict[str, Any]) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
        _REPORTED[name] = {key: value for key, value in figures.items() if not isinstance(value, list)}

    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the results of this run."""
    for name, figures in _REPORTED.items():
        terminalreporter.section(f"{name} (build/soak/{name}.json)")
        for key, value in figures.items():
            terminalreporter.line(f"{key}: {value}")

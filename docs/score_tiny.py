"""Measure the bundled weights and write their scores into docs/evaluation.md.

The sets are given as NAME:FOLDER:UNITS_PER_METRE, for example

    python docs/score_tiny.py kitchen:data/kitchen:1000 street:data/street:256
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("evaluation.md")
BEGIN, END = "<!-- scores: begin -->\n", "<!-- scores: end -->"
METRICS = ("d1", "abs_rel", "rmse", "log10", "silog")


def main() -> None:
    """Measure every set, and write the tables."""
    summaries = {name: evaluate(*rest) for name, *rest in (given.split(":") for given in sys.argv[1:])}
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + tables(summaries) + "\n" + END + after, encoding="utf-8")


def evaluate(folder: str, units_per_metre: str) -> dict[str, Any]:
    """Give the summary of one set."""
    options = ["--weights", "tiny", "--align", "median", "--baselines", "--json"]
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "glpn_cli",
            "evaluate",
            "--data",
            folder,
            "--units-per-metre",
            units_per_metre,
            *options,
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    summary: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return summary


def tables(summaries: dict[str, dict[str, Any]]) -> str:
    """Give the aligned figures beside the baselines, and the unaligned ones."""
    columns = [("`tiny`", "tiny", "median"), ("median", "median", "unaligned"), ("ramp", "ramp", "unaligned")]
    rows = [
        "| scale aligned | pictures | metric | " + " | ".join(heading for heading, _, _ in columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for name, summary in summaries.items():
        for metric in METRICS:
            cells = [cell(summary["predictions"][label][align][metric]) for _, label, align in columns]
            rows.append(f"| {name} | {summary['pictures']} | `{metric}` | " + " | ".join(cells) + " |")
    rows += ["", "| as predicted | " + " | ".join(METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for name, summary in summaries.items():
        figures = summary["predictions"]["tiny"]["unaligned"]
        rows.append(f"| {name} | " + " | ".join(cell(figures[metric]) for metric in METRICS) + " |")
    return "\n".join(rows) + "\n"


def cell(figure: dict[str, float]) -> str:
    """Give a mean and its interval."""
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


if __name__ == "__main__":
    main()

"""Evaluate the bundled weights and write their metrics into their model card, docs/tiny.md.

    python recipes/tiny/score.py kitchen:data/kitchen:1000 street:data/street:256 --against glpn-tiny-0.safetensors

Each data set is NAME:FOLDER:UNITS_PER_METER.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tiny.md"
BEGIN, END = "<!-- scores: begin -->\n", "<!-- scores: end -->"
METRICS = ("abs_rel", "d1", "rmse", "log10", "silog")
ALIGN = "median"


def main() -> None:
    """Evaluate all data sets and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME:FOLDER:UNITS_PER_METER")
    parser.add_argument("--against", help="weights to compare with, for example those of an earlier version")
    arguments = parser.parse_args()
    summaries = {}
    for data_set in arguments.sets:
        if data_set.count(":") != 2:
            parser.error(f"{data_set} is not NAME:FOLDER:UNITS_PER_METER")
        name, folder, units_per_meter = data_set.split(":")
        summaries[name] = evaluate(folder, units_per_meter, arguments.against)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + tables(summaries) + "\n" + END + after, encoding="utf-8")


def evaluate(folder: str, units_per_meter: str, against: str | None) -> dict[str, Any]:
    """Return the JSON summary of `glpn evaluate` for one data set."""
    command = [sys.executable, "-m", "glpn_cli", "evaluate", "--data", folder, "--units-per-meter", units_per_meter]
    command += ["--weights", "tiny", "--align", ALIGN, "--baselines", "--json"]
    command += ["--against", against] if against else []
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    summary: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return summary


def tables(summaries: dict[str, dict[str, Any]]) -> str:
    """Return Markdown tables: scale-aligned metrics next to those of the others, differences of AbsRel, raw metrics."""
    labels = [label for label in next(iter(summaries.values()))["predictions"] if label != "tiny"]
    columns = ["tiny", *labels]
    rows = [
        "| scale aligned | images | metric | " + " | ".join(map(heading, columns)) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for name, summary in summaries.items():
        for metric in METRICS:
            found = [summary["predictions"][label] for label in columns]
            cells = [cell(one.get(ALIGN, one["unaligned"])[metric]) for one in found]
            rows.append(f"| {name} | {summary['images']} | `{metric}` | " + " | ".join(cells) + " |")
    rows += [
        "",
        "| `abs_rel`, scale aligned: tiny minus | " + " | ".join(map(heading, labels)) + " |",
        "|---|" + "---|" * len(labels),
    ]
    for name, summary in summaries.items():
        differences = {
            item["theirs"]: item["figures"]["abs_rel"] for item in summary["differences"] if item["align"] == ALIGN
        }
        rows.append(f"| {name} | " + " | ".join(verdict(differences[label]) for label in labels) + " |")
    rows += [
        "",
        "| as predicted | " + " | ".join(f"`{name}`" for name in METRICS) + " |",
        "|---|" + "---|" * len(METRICS),
    ]
    for name, summary in summaries.items():
        figures = summary["predictions"]["tiny"]["unaligned"]
        rows.append(f"| {name} | " + " | ".join(cell(figures[metric]) for metric in METRICS) + " |")
    return "\n".join(rows) + "\n"


def heading(label: str) -> str:
    """Return the column heading of a prediction."""
    return label.removesuffix(".safetensors")


def cell(figure: dict[str, float]) -> str:
    """Return a mean with its confidence interval."""
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def verdict(figure: dict[str, float]) -> str:
    """Return a difference with its confidence interval and a verdict; lower is better."""
    word = "better" if figure["high"] < 0 else "worse" if figure["low"] > 0 else "no clear difference"
    return f"{figure['mean']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f}), {word}"


if __name__ == "__main__":
    main()

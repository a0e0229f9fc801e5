"""Write the tables of docs/performance.md from what the other scripts measured.

python benchmarks/report.py --speed build/speed.json --memory build/memory.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Lay a Markdown table out."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed_tables(report: dict[str, Any]) -> str:
    """Give the ratios and the errors."""
    rows, errors = [], []
    for case, measured in report["cases"].items():
        for runner, row in measured["runners"].items():
            spread = f"{1000 * row['fastest_s']:.0f} to {1000 * row['slowest_s']:.0f}"
            ratios = [f"{row['ratio']:.2f}x", f"{row['ratio_of_fastest']:.2f}x"]
            rows.append([case, runner, f"{1000 * row['median_s']:.0f}", spread, *ratios])
            if runner != "transformers float32":
                initial = row.get("error_initial")
                errors.append(
                    [
                        case,
                        runner,
                        f"{row['error']['max_of_range']:.1e}",
                        f"{row['error']['mean_relative']:.1e}",
                        f"{initial['max_of_range']:.1e}" if initial else "",
                        f"{initial['mean_relative']:.1e}" if initial else "",
                    ]
                )
    loads = "; ".join(
        f"{case}: {measured['load_before']:.1f} and {measured['load_after']:.1f}, {measured['rounds']} rounds"
        for case, measured in report["cases"].items()
    )
    machine = report["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "transformers", "openvino") if machine[name])
    extensions = ", ".join(machine["extensions"])
    circumstances = (
        f"{machine['date']}, {machine['cpu']} ({machine['cores']} cores, {extensions}), "
        f"{machine['threads']} threads, {machine['system']}, Python {machine['python']}, {versions}. "
        f"Load of the machine before and after: {loads}."
    )
    return "\n\n".join(
        [
            circumstances,
            table(["size", "", "median, ms", "fastest to slowest", "ratio", "ratio of the fastest"], rows),
            "Errors against transformers float32, with two kinds of random weights:",
            table(
                ["size", "", "parity: max of range", "mean relative", "initial: max of range", "mean relative"], errors
            ),
        ]
    )


def memory_table(report: dict[str, Any]) -> str:
    """Give the peaks."""
    rows = [
        [size, precision, f"{row['peak_bytes'] / 1e9:.2f} GB", f"{row['after_building_bytes'] / 1e9:.2f} GB"]
        for size, precisions in report.items()
        for precision, row in precisions.items()
    ]
    return table(["size", "precision", "peak of the process", "of that before the picture"], rows)


def main() -> None:
    """Put both between the markers of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=Path, default=Path("build/speed.json"))
    parser.add_argument("--memory", type=Path, default=Path("build/memory.json"))
    arguments = parser.parse_args()
    parts = ["### Speed", speed_tables(json.loads(arguments.speed.read_text()))]
    if arguments.memory.exists():
        parts += ["### Memory", memory_table(json.loads(arguments.memory.read_text()))]
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    measured = "\n\n".join(parts)
    PAGE.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

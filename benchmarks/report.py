"""Write the tables and the plot of docs/performance.md from the results of the other scripts.

Sections without new results stay as they are.

    python benchmarks/report.py
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import growth_plot
import results
import tables

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEADINGS = {
    "speed": "Speed",
    "whole": "Whole processes",
    "busy": "On a busy machine",
    "memory": "Memory",
    "growth": "Growth",
    "scale": "Several processes",
    "gpu": "On a GPU",
    "gpu_batch": "Batches on a GPU",
}


def read_sections(text: str) -> dict[str, str]:
    """Split the text between the markers into sections, by heading."""
    _, *parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return {heading: body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def write_sections(files: dict[str, Path], page: Path) -> dict[str, str]:
    """Return the new text of each section for which there are results."""
    sections = {}
    for name, file in files.items():
        report = results.load(file)
        if not report:
            continue
        if name == "growth":
            plot = page.parent / "images" / "growth.svg"
            growth_plot.draw(report["cases"], plot)
            text = tables.growth_tables(report, plot.relative_to(page.parent).as_posix())
        else:
            format_section = {
                "speed": tables.speed_tables,
                "memory": tables.memory_table,
                "whole": tables.whole_tables,
                "busy": tables.busy_table,
                "scale": tables.scale_tables,
                "gpu": tables.gpu_tables,
                "gpu_batch": tables.gpu_batch_table,
            }[name]
            text = format_section(report)
        sections[HEADINGS[name]] = text
    return sections


def main() -> None:
    """Write all sections between the markers of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="write the results of quick runs to a copy of the page")
    parser.add_argument(
        "--page", type=Path, help="default: docs/performance.md; the plot is written to images/ next to it"
    )
    for name in HEADINGS:
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"default: build/{name}.json, if it exists")
    arguments = parser.parse_args()
    files = {name: results.results_file(name, quick=arguments.quick, out=getattr(arguments, name)) for name in HEADINGS}
    page = arguments.page or PAGE
    if arguments.quick and not arguments.page:
        page = results.results_file("performance", quick=True).with_suffix(".md")
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PAGE, page)
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    measured, after = rest.split(END)
    old = read_sections(measured)
    sections = old | write_sections(files, page)
    order = [*HEADINGS.values(), *(heading for heading in old if heading not in HEADINGS.values())]
    text = "\n\n".join(f"### {heading}\n\n{sections[heading]}" for heading in order if heading in sections)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    print(f"{page}: {', '.join(heading for heading in order if heading in sections)}")


if __name__ == "__main__":
    main()

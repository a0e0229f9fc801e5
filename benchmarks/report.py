"""Write the tables of docs/performance.md, and their picture, from what the other scripts measured.

What was not measured stays on the page as it is.

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
HEADINGS = {"speed": "Speed", "whole": "Whole processes", "memory": "Memory", "growth": "Growth", "gpu": "On a GPU"}


def read_sections(text: str) -> dict[str, str]:
    """Take apart what stands between the markers: heading to text."""
    _, *parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return {heading: body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def write_sections(given: dict[str, Path], page: Path) -> dict[str, str]:
    """Give the text under each heading for which there are results."""
    sections = {}
    for name, file in given.items():
        report = results.load(file)
        if not report:
            continue
        if name == "growth":
            picture = page.parent / "images" / "growth.svg"
            growth_plot.draw(report["cases"], picture)
            text = tables.growth_tables(report, picture.relative_to(page.parent).as_posix())
        else:
            lay_out = {
                "speed": tables.speed_tables,
                "memory": tables.memory_table,
                "whole": tables.whole_tables,
                "gpu": tables.gpu_tables,
            }[name]
            text = lay_out(report)
        sections[HEADINGS[name]] = text
    return sections


def main() -> None:
    """Put them between the markers of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the results of quick runs, into a copy beside them")
    parser.add_argument(
        "--page", type=Path, help="default: docs/performance.md; the picture goes into images/ beside it"
    )
    for name in HEADINGS:
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"default: build/{name}.json, if it is there")
    arguments = parser.parse_args()
    given = {name: results.place(name, quick=arguments.quick, out=getattr(arguments, name)) for name in HEADINGS}
    page = arguments.page or PAGE
    if arguments.quick and not arguments.page:
        page = results.place("performance", quick=True).with_suffix(".md")
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PAGE, page)
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    measured, after = rest.split(END)
    kept = read_sections(measured)
    sections = kept | write_sections(given, page)
    order = [*HEADINGS.values(), *(heading for heading in kept if heading not in HEADINGS.values())]
    text = "\n\n".join(f"### {heading}\n\n{sections[heading]}" for heading in order if heading in sections)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    print(f"{page}: {', '.join(heading for heading in order if heading in sections)}")


if __name__ == "__main__":
    main()

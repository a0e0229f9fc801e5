"""The report of a batch while the batch runs: begun before it, kept in step, and brought up to date however it ends."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from glpn_cli.cli.batch_progress import BatchProgress
from glpn_cli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from glpn_cli.cli.console import Console
    from glpn_cli.inference.manifest import Record
    from glpn_cli.report.journal import RunFacts
    from glpn_cli.report.report import Report


@contextmanager
def reported(
    console: Console,
    folder: Path,
    run: RunFacts,
    *,
    records: Mapping[str, Record],
    sources: Collection[str],
    workers: int,
) -> Iterator[Report]:
    """Keep a report of what happens within the block.

    Args:
        console: is told what is done.
        folder: the batch's output folder.
        run: how depth is made.
        records: what the manifest knows before, by source.
        sources: of all images of this run.
        workers: threads that take in images which were done before.
    """
    from glpn_cli.report.report import Report

    report = Report(folder, run)
    report.begin(records, total=len(records.keys() | set(sources)))
    try:
        missing = report.missing()
        if missing:
            console.say(f"{len(missing)} images that were done before are taken into the report")
            caught_up = report.catch_up(missing, workers=workers)
            with closing(caught_up), BatchProgress(console, len(missing), doing="report") as progress:
                for _ in caught_up:
                    progress.advance()
        yield report
    except BaseException:
        with suppress(OutputError):  # what ended the run is what the user has to know
            report.end(complete=False)
        raise
    report.end(complete=True)
    console.say(f"report: {report.page}")


def say_stale_page(console: Console, folder: Path) -> None:
    """Say, after a run without a report, that the page of a run before knows nothing of it."""
    from glpn_cli.report.report import PAGE_NAME, is_page_there

    if is_page_there(folder):
        console.say(
            f"{PAGE_NAME} there does not show this run yet; the same command with --report brings it up to date"
        )

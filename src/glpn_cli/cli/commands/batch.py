"""`glpn batch`: depth of whole folders, in a run that can be interrupted and trusted."""

from __future__ import annotations

import os
from pathlib import Path

from glpn_cli.cli.batch_run import BatchRun
from glpn_cli.cli.batch_verification import report_verification
from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.options.batch import (
    BatchSize,
    DryRun,
    ReportPage,
    Verify,
    Workers,
)
from glpn_cli.cli.options.images import (
    Folders,
    InputOptions,
)
from glpn_cli.cli.options.network import (
    CameraOptions,
    NetworkOptions,
)
from glpn_cli.cli.options.records import JsonFindings
from glpn_cli.cli.options.results import (
    Out,
    OutputOptions,
    Overwrite,
)
from glpn_cli.cli.options.talk import TalkOptions
from glpn_cli.errors import UsageError
from glpn_cli.output.formats import DEFAULT_FORMAT, FORMATS
from glpn_cli.settings import BatchSettings


@with_option_groups
def batch(
    folders: Folders = None,
    *,
    inputs: InputOptions,
    out: Out,
    results: OutputOptions,
    overwrite: Overwrite = False,
    report: ReportPage = False,
    dry_run: DryRun = False,
    verify: Verify = False,
    network: NetworkOptions,
    camera: CameraOptions,
    batch_size: BatchSize = None,
    workers: Workers = None,
    json_lines: JsonFindings = False,
    talk: TalkOptions,
) -> None:
    """Predict the depth of all images in folders.

    Interrupted, the same command goes on. DIR/glpn-batch.jsonl has a line for each image.
    """
    console = talk.console()
    with console.errors_reported():
        if not out:
            raise UsageError("--out is empty", hint="is a variable of the shell not set?")
        if verify:
            _check_verify(bool(folders or inputs.from_list), writes=dry_run or overwrite or report)
            report_verification(console, Path(os.path.abspath(out)), json_lines=json_lines)
            return
        if dry_run and json_lines:
            raise UsageError("--dry-run has no --json")
        rows = [FORMATS[name] for name in dict.fromkeys(results.formats or (DEFAULT_FORMAT,))]
        run = BatchRun(
            console,
            folders or (),
            inputs.read_list(),
            inputs.settings(recursive=True, offline=network.offline),
            Path(os.path.abspath(out)),
            rows,
            results.settings(rows),
            BatchSettings.of(batch_size=batch_size, workers=workers),
            overwrite=overwrite,
            json_lines=json_lines,
            report=report,
        )
        settings = network.settings(rows, camera.settings())
        if dry_run:
            run.tell()
        else:
            run.go(settings)


def _check_verify(any_images: bool, *, writes: bool) -> None:
    if any_images:
        raise UsageError("--verify takes no images", hint="glpn batch --verify --out DIR")
    if writes:
        raise UsageError("--verify writes nothing, so it goes with none of --dry-run, --overwrite and --report")

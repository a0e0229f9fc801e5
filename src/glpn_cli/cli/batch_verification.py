"""What `glpn batch --verify` says."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from glpn_cli.cli.console import printable
from glpn_cli.errors import PartialFailureError

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.cli.console import Console


def report_verification(console: Console, folder: Path, *, json_lines: bool) -> None:
    """Print what is not as the manifest of a folder says, one line each, or with JSON everything, and sum it up.

    Raises:
        DepthFileError: the folder has no manifest.
        PartialFailureError: outputs are missing or changed.
    """
    from glpn_cli.inference.verify import INTACT, verify_outputs

    counts: Counter[str] = Counter()
    wrong = 0
    for finding in verify_outputs(folder):
        counts[finding.status] += 1
        wrong += finding.is_wrong
        if json_lines:
            console.data(json.dumps(asdict(finding)))
        elif finding.status != INTACT:
            console.data(printable(f"{finding.status}: {folder / finding.output}"))
    others = "".join(f", {count} {status}" for status, count in counts.items() if status != INTACT)
    console.say(f"{counts[INTACT]} intact{others}, in {folder}")
    if wrong:
        raise PartialFailureError(
            f"{wrong} outputs are not what the manifest says",
            hint="remove the changed ones; the batch that made them then does them and the missing ones again",
        )

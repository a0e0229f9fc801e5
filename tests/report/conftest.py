"""A report of made-up images whose depth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glpn_cli.report.report import Report
from made_report import MadeReport, done_record, run_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.manifest import Record


@pytest.fixture(scope="session")
def make_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MadeReport]:
    """Write a report of some images: pass their names and depth, and the failures among them."""

    def make(
        depths: dict[str, DepthMap], *failed: Record, seconds: dict[str, float] | None = None, metric: bool = True
    ) -> MadeReport:
        folder = tmp_path_factory.mktemp("out")
        report = Report(folder, run_facts(metric=metric))
        report.begin({}, total=len(depths) + len(failed))
        for name, depth in depths.items():
            record = done_record(name, (seconds or {}).get(name, 0.25))
            report.add(record, depth)
            report.settle(record)
        for record in failed:
            report.settle(record)
        report.end(complete=True)
        return MadeReport(folder, depths)

    return make

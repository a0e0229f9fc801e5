"""Reports of synthetic images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glpn_cli.report.report import Report
from synthetic_report import SyntheticReport, done_record, run_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.manifest import Record


@pytest.fixture(scope="session")
def make_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SyntheticReport]:
    """Write a report, given the depth of the finished images by name, and the records of the failed images."""

    def make(
        depths: dict[str, DepthMap], *failed: Record, seconds: dict[str, float] | None = None, metric: bool = True
    ) -> SyntheticReport:
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
        return SyntheticReport(folder, depths)

    return make

"""Reports of synthetic images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from browsing import NAMES, SECONDS, Visit
from glpn_cli.report.report import Report
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Colormap
from synthetic_report import (
    HOSTILE,
    SyntheticReport,
    add,
    done_record,
    failed_record,
    random_depth,
    run_facts,
    step_depth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.record import Record


@pytest.fixture(scope="session")
def make_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SyntheticReport]:
    """Write a report, given the depth of the finished images by name, and the records of the failed images."""

    def make(
        depths: dict[str, DepthMap],
        *failed: Record,
        seconds: dict[str, float] | None = None,
        metric: bool = True,
        colors: OutputSettings | None = None,
    ) -> SyntheticReport:
        folder = tmp_path_factory.mktemp("out")
        report = Report(folder, run_facts(metric=metric, colors=colors))
        report.begin({}, total=len(depths) + len(failed))
        for name, depth in depths.items():
            record = done_record(name, (seconds or {}).get(name, 0.25))
            add(report, record, depth)
            report.settle(record)
        for record in failed:
            report.settle(record)
        report.end(complete=True)
        return SyntheticReport(folder, depths)

    return make


@pytest.fixture(scope="session")
def report(make_report: Callable[..., SyntheticReport]) -> SyntheticReport:
    depths = {name: random_depth(seed, far_m=1.0 + seed) for seed, name in enumerate(NAMES)}
    return make_report(depths, failed_record("c.png"), failed_record("d.png", HOSTILE, None), seconds=SECONDS)


@pytest.fixture(scope="session")
def step_report(make_report: Callable[..., SyntheticReport]) -> SyntheticReport:
    """A report whose photo and depth change in the same column."""
    return make_report({"a.png": step_depth(700, 1501, 907)}, colors=OutputSettings(colormap=Colormap.GRAY))


@pytest.fixture
def visit(browser: Browser, report: SyntheticReport) -> Iterator[Visit]:
    visit = Visit(browser, report.folder)
    yield visit
    visit.context.close()
    assert visit.errors == []
    assert [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def phone(browser: Browser, report: SyntheticReport) -> Iterator[Visit]:
    """A small window with a touch screen of double density."""
    size = {"width": 360, "height": 740}
    visit = Visit(browser, report.folder, viewport=size, has_touch=True, is_mobile=True, device_scale_factor=2)
    yield visit
    visit.context.close()
    assert visit.errors == []

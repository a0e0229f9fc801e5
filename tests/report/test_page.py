"""The overview in a real browser, opened from disk."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from browsing import NAMES, Visit, escaped, until
from glpn_cli.output.color import colorize
from glpn_cli.report.content import decode_grid
from glpn_cli.report.index import COLUMNS
from glpn_cli.report.journal import entry_name
from glpn_cli.report.report import PARTS_NAME
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Colormap, Curve, DepthRange
from synthetic_report import HOSTILE, SyntheticReport, grid_of_version_0_1, random_depth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser


def test_overview_shows_photos_and_depth_maps(visit: Visit) -> None:
    page = visit.page
    assert page.locator(".card").count() == len(NAMES) + 2
    assert "9 images · 2 failed · mine · cpu in float32" in page.locator("#summary").inner_text()
    until(page, "document.querySelectorAll('.pair img[src^=data]').length === 7")
    alternatives = {photo.get_attribute("alt") for photo in page.locator(".pair img").all()}
    assert {"Photo a.png", "Photo b/2.png", f"Photo {HOSTILE}.png"} < alternatives
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 40)")
    until(page, "[...document.querySelectorAll('.pair img')].every((photo) => photo.naturalWidth === 40)")


def test_names_and_notes_never_become_markup(visit: Visit) -> None:
    page = visit.page
    assert page.title() == f"Depth of shots {HOSTILE}"
    text = page.locator("body").inner_text()
    for shown in (HOSTILE, "a[red] 'q' \"&amp;.png", "\\u202egnp.txt", "\\udcff#?%41.png"):
        assert shown in text
    visit.open(f"{HOSTILE}.png")
    page.wait_for_selector("#viewer .note")
    assert page.locator("#viewer .note").inner_text() == f"note {HOSTILE}"
    assert page.evaluate("window.hit") is None
    assert page.locator("img[onerror]").count() == 0


def test_names_sort_in_natural_order(visit: Visit) -> None:
    names = visit.names()
    assert names.index("a.png") < names.index("b/2.png") < names.index("b/10.png") < names.index("c.png")
    visit.page.click("#direction")
    assert visit.names() == names[::-1]


def test_images_without_depth_sort_last(visit: Visit, report: SyntheticReport) -> None:
    visit.page.select_option("#sort", "median")
    names = visit.names()
    assert set(names[-2:]) == {"c.png", "d.png"}
    shown = [escaped(name) for name in sorted(NAMES, key=lambda name: np.median(report.depths[name].meters))]
    assert names[:-2] == shown
    visit.page.click("#direction")
    assert visit.names()[:-2] == shown[::-1]
    assert set(visit.names()[-2:]) == {"c.png", "d.png"}


def test_images_sort_by_time_and_error(visit: Visit) -> None:
    visit.page.select_option("#sort", "seconds")
    assert visit.names()[-2:] == ["b/2.png", "a.png"]
    visit.page.select_option("#sort", "failure")
    assert visit.names()[:2] == ["c.png", "d.png"]


def test_filters(visit: Visit) -> None:
    page = visit.page
    page.fill("#text", "B/ png")
    assert visit.names() == ["b/2.png", "b/10.png"]
    assert page.locator("#count").inner_text() == "2 of 9 images"
    page.fill("#text", "empty")
    assert visit.names() == ["c.png"]
    page.fill("#text", "no such name")
    assert visit.names() == []
    page.click("#clear")
    assert len(visit.names()) == 9
    page.get_by_label("Failed 2").check()
    assert visit.names() == ["c.png", "d.png"]
    page.get_by_label("Done 7").check()
    assert len(visit.names()) == 7
    page.get_by_label("All 9").check()
    page.click("#more summary")
    page.fill("#seconds-from", "1")
    page.fill("#seconds-to", "2")
    assert visit.names() == ["b/2.png"]
    page.fill("#seconds-from", "")
    page.fill("#seconds-to", "")
    page.fill("#median-to", "1.2")
    assert visit.names() == ["b/2.png"]
    page.fill("#median-from", "5")
    page.fill("#median-to", "")
    assert visit.names() == ["\\udcff#?%41.png"]


def test_page_decodes_all_depth_grids(visit: Visit, report: SyntheticReport) -> None:
    for name, depth in report.depths.items():
        ident = entry_name("/photos/" + name)
        grid = visit.page.evaluate(
            """(id) => glpn.loadImage(id).then(({ grid: { height, width, steps, meters } }) =>
                ({ height, width, meters: Array.from(steps, (step) => meters[step]) }))""",
            ident,
        )
        read = np.array(grid["meters"], np.float32).reshape(grid["height"], grid["width"])
        np.testing.assert_allclose(read, depth.meters, atol=0.00051)
        script = (report.folder / PARTS_NAME / f"{ident}.js").read_text(encoding="ascii")
        written = json.loads(re.fullmatch(r'glpn\.image\("\w+", (.*)\);\n', script)[1])  # type: ignore[index]
        np.testing.assert_allclose(read, decode_grid(written["grid"]), atol=1e-6)


def test_page_fits_a_narrow_window(phone: Visit) -> None:
    page = phone.page
    narrow = "document.documentElement.scrollWidth <= 360"
    assert page.evaluate(narrow)
    for panel in ("#run", "#more"):
        page.click(f"{panel} > summary")
        box = phone.box(f"{panel} > :not(summary)")
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        page.keyboard.press("Escape")
    phone.open("a.png")
    assert page.evaluate(narrow)
    for part in ("#room", "#close", "#viewer-range", "#viewer-palette", "#viewer-legend", "#viewer-facts", ".zoom"):
        box = phone.box(part)
        assert box["x"] >= 0, part
        assert box["x"] + box["width"] <= 360, part
        assert box["y"] + box["height"] <= 740, part
    assert phone.box("#room")["height"] > 300


@pytest.mark.parametrize("panel", ["#run", "#more"])
def test_panel_closes_by_escape(visit: Visit, panel: str) -> None:
    page = visit.page
    page.focus(f"{panel} > summary")
    page.keyboard.press("Enter")
    assert page.locator(f"{panel} > :not(summary)").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(f"{panel} > :not(summary)").is_visible()
    assert page.evaluate("document.activeElement.parentElement.id") == panel[1:]


@pytest.mark.parametrize("panel", ["#run", "#more"])
def test_click_outside_closes_a_panel_and_nothing_else(visit: Visit, panel: str) -> None:
    page = visit.page
    for target in ('[data-position="0"]', "#sort", "#text"):
        page.click(f"{panel} > summary")
        names = visit.names()
        box = visit.box(target)
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 3)
        assert not page.locator(f"{panel} > :not(summary)").is_visible()
        assert not page.locator("#viewer").is_visible()
        assert visit.names() == names
        assert page.evaluate("document.activeElement.id") != "text"
    page.click('[data-position="0"]')
    until(page, "document.getElementById('viewer').open")


def test_click_inside_does_not_close_a_panel(visit: Visit) -> None:
    visit.page.click("#more > summary")
    visit.page.fill("#median-from", "2")
    visit.page.click("#more fieldset legend >> nth=0")
    assert visit.page.locator("#median-to").is_visible()
    visit.page.focus("#sort")
    assert not visit.page.locator("#median-to").is_visible()


def test_ends_of_the_color_bar_have_names_and_depths(visit: Visit, report: SyntheticReport) -> None:
    page = visit.page
    assert page.locator("#legend").inner_text().split() == ["near", "far"]
    low_m, high_m = np.percentile(report.depths["a.png"].meters, (1, 99))
    visit.open("a.png")
    page.locator("#viewer-legend .near").wait_for()
    for end, value_m in (("near", low_m), ("far", high_m)):
        name, text, unit = page.locator(f"#viewer-legend .{end}").inner_text().split()
        assert (name, unit) == (end, "m")
        assert float(text) == pytest.approx(value_m, abs=0.02)
    ticks = [float(text) for text in page.locator("#viewer-legend .tick").all_inner_texts()]
    assert len(ticks) >= 3
    assert all(low_m - 0.01 <= tick <= high_m + 0.01 for tick in ticks)


@pytest.mark.parametrize("curve", Curve)
def test_ticks_of_the_color_bar_do_not_overlap(visit: Visit, curve: Curve) -> None:
    for low_m, high_m in [(0.3, 0.6), (1, 3), (0.5, 80), (5, 80), (2.5, 2.5), (0, 10), (0.30, 0.31)]:
        spans = visit.page.evaluate(
            """([low, high, curve]) => {
                const box = document.getElementById('legend');
                glpn.color.drawLegend(box, { palette: 'turbo', low, high, curve });
                return [...box.querySelectorAll('.tick')].map((tick) => tick.getBoundingClientRect())
                    .map(({ left, right }) => [left, right]); }""",
            [low_m, high_m, str(curve)],
        )
        assert all(first[1] < second[0] for first, second in pairwise(sorted(spans)))
        assert len(spans) >= (1 if low_m == high_m else 3)


def test_page_works_with_the_keyboard(visit: Visit) -> None:
    page = visit.page
    page.focus('[data-position="0"]')
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('viewer').open")
    first = page.locator("#viewer-name").text_content()
    page.keyboard.press("ArrowRight")
    second = page.locator("#viewer-name").text_content()
    assert [first, second] == visit.names()[1:3]
    page.locator("#stage").wait_for()
    until(page, "document.getElementById('depth').width === 40")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    assert re.fullmatch(r"\d\.\d\d m at 20, 16", page.locator("#spoken").inner_text())
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    until(page, "document.activeElement.dataset.position === '2'")


@pytest.mark.parametrize("curve", Curve)
def test_colors_are_those_of_the_color_files(visit: Visit, report: SyntheticReport, curve: Curve) -> None:
    page = visit.page
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 40)")
    assert page.input_value("#curve") == "inverse"
    page.select_option("#curve", str(curve))
    page.select_option("#palette", "gray")
    settings = OutputSettings(colormap=Colormap.GRAY, curve=curve)
    highs = sorted(np.percentile(depth.meters, 99) for depth in report.depths.values())
    lows = sorted(np.percentile(depth.meters, 1) for depth in report.depths.values())
    for name in ("a.png", "b/10.png"):
        depth = report.depths[name]
        own = np.percentile(depth.meters, (1, 99))
        for range_name, (low_m, high_m) in {"image": own, "run": (lows[0], highs[-1]), "model": (0, 10)}.items():
            page.select_option("#range", range_name)
            expected = colorize(depth, settings, float(low_m), float(high_m)).astype(int)
            assert np.abs(visit.card_pixels(name).astype(int) - expected).max() <= 2, (name, range_name)


def test_colors_span_each_image_or_all(visit: Visit, report: SyntheticReport) -> None:
    page = visit.page
    page.select_option("#palette", "gray")
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 40)")
    order = sorted(NAMES, key=lambda name: np.median(report.depths[name].meters))
    assert page.input_value("#range") == "image"
    brightness = [visit.card_pixels(name).mean() for name in order]
    assert max(brightness) - min(brightness) < 15
    page.select_option("#range", "run")
    brightness = [visit.card_pixels(name).mean() for name in order]
    assert brightness == sorted(brightness, reverse=True)
    assert max(brightness) - min(brightness) > 40


def test_page_starts_with_the_look_of_the_outputs(
    browser: Browser, make_report: Callable[..., SyntheticReport]
) -> None:
    colors = OutputSettings(range=DepthRange.parse("2:7"), curve=Curve.LOG, colormap=Colormap.MAGMA)
    visit = Visit(browser, make_report({"a.png": random_depth(1)}, colors=colors).folder)
    assert [visit.page.input_value(f"#{control}") for control in ("range", "curve", "palette")] == [
        "run",
        "log",
        "magma",
    ]
    assert visit.page.locator("#legend .near").inner_text() == "near 2.00 m"
    visit.context.close()


def test_thumbnails_have_enough_pixels_for_dense_screens(browser: Browser, step_report: SyntheticReport) -> None:
    visit = Visit(browser, step_report.folder, device_scale_factor=2)
    until(visit.page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 400)")
    shown_px = 2 * visit.box(".pair img")["width"]
    assert shown_px <= 480
    assert shown_px <= 1.1 * 400
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_color_scheme(browser: Browser, report: SyntheticReport, scheme: str) -> None:
    visit = Visit(browser, report.folder, color_scheme=scheme)
    visit.open("a.png")
    for selector in ("body", "#viewer", "#viewer-range"):
        levels = visit.page.locator(selector).evaluate(
            "(part) => getComputedStyle(part).backgroundColor.match(/\\d+/g)"
        )
        assert (int(levels[0]) > 128) == (scheme == "light"), selector
    visit.context.close()


def test_moved_report_works(browser: Browser, report: SyntheticReport, tmp_path: Path) -> None:
    moved = tmp_path / "an other place #1"
    shutil.copytree(report.folder, moved)
    visit = Visit(browser, moved)
    visit.open("a.png")
    assert visit.point_at(3, 4, (30, 40)).endswith("3, 4")
    assert visit.errors == []
    visit.context.close()


def test_report_of_version_0_1_is_shown(browser: Browser, report: SyntheticReport, tmp_path: Path) -> None:
    """Scripts of version 0.1 call a function with another name, and their depth has equal steps."""
    shutil.copytree(report.folder, tmp_path / "out")
    meters = report.depths["a.png"].meters
    script = tmp_path / "out" / PARTS_NAME / f"{entry_name('/photos/a.png')}.js"
    found = re.fullmatch(r'glpn\.image\(("\w+"), (.*)\);\n', script.read_text(encoding="ascii"))
    assert found is not None
    image = json.loads(found[2]) | {"grid": grid_of_version_0_1(meters)}
    script.write_text(f"glpn.picture({found[1]}, {json.dumps(image)});\n", encoding="ascii")
    visit = Visit(browser, tmp_path / "out")
    visit.open("a.png")
    text, pixel = visit.point_at(3, 4, (30, 40)).splitlines()
    assert pixel == "3, 4"
    assert float(text.split()[0]) == pytest.approx(meters[4, 3], abs=0.0056)
    assert visit.errors == []
    visit.context.close()


def test_missing_scripts_are_reported(browser: Browser, report: SyntheticReport, tmp_path: Path) -> None:
    shutil.copytree(report.folder, tmp_path / "out")
    for part in (tmp_path / "out" / PARTS_NAME).glob(entry_name("/photos/a.png") + "*"):
        part.unlink()
    visit = Visit(browser, tmp_path / "out")
    visit.page.wait_for_selector(".pair.missing")
    visit.open("a.png")
    visit.page.locator("#message", has_text="not in the folder").wait_for()
    visit.context.close()


def test_network_access_is_blocked(browser: Browser, report: SyntheticReport) -> None:
    visit = Visit(browser, report.folder)
    blocked = visit.page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener('securitypolicyviolation', (event) => resolve(event.blockedURI));
            const photo = new Image(); photo.src = 'http://127.0.0.1:9/x.png'; document.body.append(photo); })"""
    )
    assert blocked.startswith("http://127.0.0.1:9")
    assert visit.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'came', () => 'refused')") == "refused"
    visit.context.close()


def test_ten_thousand_images(browser: Browser, make_report: Callable[..., SyntheticReport], tmp_path: Path) -> None:
    folder = make_report({"0.png": random_depth(1)}).folder
    script = folder / PARTS_NAME / "images.js"
    index = json.loads(re.fullmatch(r"glpn\.index\((.*)\);\n", script.read_text(encoding="ascii"))[1])  # type: ignore[index]
    row = dict(zip(COLUMNS, index["rows"][0], strict=True))
    index["rows"] = [list((row | {"name": f"{number}.png", "median": number}).values()) for number in range(10_000)]
    script.write_text(f"glpn.index({json.dumps(index)});\n", encoding="ascii")
    visit = Visit(browser, folder)
    assert visit.page.locator(".card").count() < 80
    visit.page.focus('[data-position="0"]')
    visit.page.keyboard.press("End")
    assert visit.page.evaluate("document.activeElement.querySelector('.name').textContent") == "9999.png"
    assert visit.page.locator(".card").count() < 80
    until(visit.page, "document.activeElement.querySelector('canvas').width === 40")
    visit.page.fill("#text", "777")
    assert visit.page.locator("#count").inner_text() == "19 of 10,000 images"
    assert visit.errors == []
    visit.context.close()

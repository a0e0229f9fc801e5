"""The page in a real browser, opened from disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

from glpn_cli.report.content import decode_grid
from glpn_cli.report.index import COLUMNS
from glpn_cli.report.journal import entry_name
from glpn_cli.report.report import PARTS_NAME
from synthetic_report import HOSTILE, SyntheticReport, failed_record, random_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

NAMES = ["b/2.png", "b/10.png", "a.png", f"{HOSTILE}.png", "a[red] 'q' \"&amp;.png", "\u202egnp.txt", "\udcff#?%41.png"]
SECONDS = {"a.png": 3.0, "b/2.png": 1.5}


@pytest.fixture(scope="module")
def report(make_report: Callable[..., SyntheticReport]) -> SyntheticReport:
    depths = {name: random_depth(seed, far_m=1.0 + seed) for seed, name in enumerate(NAMES)}
    return make_report(depths, failed_record("c.png"), failed_record("d.png", HOSTILE, None), seconds=SECONDS)


def until(page: Page, holds: str) -> None:
    """Wait for an expression. The security policy of the page forbids `wait_for_function`."""
    deadline = time.monotonic() + 10
    while not page.evaluate(holds):
        assert time.monotonic() < deadline, f"never: {holds}"
        time.sleep(0.01)


def escaped(name: str) -> str:
    return name.replace("\u202e", "\\u202e").replace("\udcff", "\\udcff")


class Visit:
    """A page in the browser, with all errors and requests."""

    def __init__(self, browser: Browser, folder: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(5_000)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("dialog", lambda dialog: self.errors.append(dialog.message))
        self.page.goto((folder / "index.html").as_uri())

    def names(self) -> list[str]:
        """Return the names of the cards in reading order."""
        cards = self.page.locator(".card")
        found = [
            (int(str(card.get_attribute("aria-posinset"))), str(card.locator(".name").text_content()))
            for card in cards.all()
        ]
        return [name for _, name in sorted(found)]

    def open(self, name: str) -> None:
        self.page.click(f'.card a[href="#{entry_name("/photos/" + name)}"]')
        until(self.page, "document.getElementById('viewer').open")

    def point_at(self, x: int, y: int, size: tuple[int, int]) -> str:
        """Move the pointer to the center of a pixel and return the text beside it."""
        self.page.locator("#stage").wait_for()
        box = self.page.locator("#stage").bounding_box()
        assert box is not None
        height, width = size
        self.page.mouse.move(box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height)
        return self.page.locator("#bubble").inner_text()


@pytest.fixture
def visit(browser: Browser, report: SyntheticReport) -> Iterator[Visit]:
    visit = Visit(browser, report.folder)
    yield visit
    visit.context.close()
    assert visit.errors == []
    assert [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))] == []


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


def test_failed_image_shows_error_and_hint(visit: Visit) -> None:
    visit.open("c.png")
    assert visit.page.locator("#message").inner_text().split("\n\n") == ["an empty file", "copy it again"]
    visit.page.keyboard.press("ArrowRight")
    assert visit.page.locator("#message").inner_text() == HOSTILE


def test_pointer_reads_the_depth_map(visit: Visit, report: SyntheticReport) -> None:
    visit.open("a.png")
    meters = report.depths["a.png"].meters
    for x, y in [(0, 0), (39, 29), (17, 11)]:
        text, pixel = visit.point_at(x, y, meters.shape).splitlines()
        assert pixel == f"{x}, {y}"
        assert text == f"{meters[y, x]:.2f} m" or abs(float(text.split()[0]) - meters[y, x]) < 0.0056
    assert visit.page.locator("#viewer-legend .needle").is_visible()


def test_page_decodes_all_depth_grids(visit: Visit, report: SyntheticReport) -> None:
    for name, depth in report.depths.items():
        ident = entry_name("/photos/" + name)
        grid = visit.page.evaluate(
            "(id) => glpn.loadImage(id).then(({ grid }) => ({ ...grid, meters: [...grid.meters] }))",
            ident,
        )
        read = np.array(grid["meters"], np.float32).reshape(grid["height"], grid["width"])
        np.testing.assert_allclose(read, depth.meters, atol=0.00051)
        script = (report.folder / PARTS_NAME / f"{ident}.js").read_text(encoding="ascii")
        written = json.loads(re.fullmatch(r'glpn\.image\("\w+", (.*)\);\n', script)[1])  # type: ignore[index]
        np.testing.assert_allclose(read, decode_grid(written["grid"]), atol=1e-6)


def test_divider_moves_by_pointer_and_keyboard(visit: Visit) -> None:
    page = visit.page
    visit.open("a.png")
    visit.point_at(10, 15, (30, 40))
    page.mouse.down()
    page.mouse.up()
    clipped = page.locator("#depth").evaluate("(canvas) => canvas.style.clipPath")
    assert float(re.search(r"([\d.]+)%", clipped)[1]) == pytest.approx(26.25, abs=0.3)  # type: ignore[index]
    page.focus("#divider")
    page.keyboard.press("End")
    assert page.locator("#depth").evaluate("(canvas) => canvas.style.clipPath").endswith("100%)")


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


def test_url_opens_an_image(visit: Visit) -> None:
    visit.open("a.png")
    assert visit.page.url.endswith("#" + entry_name("/photos/a.png"))
    visit.page.reload()
    until(visit.page, "document.getElementById('viewer').open")
    assert visit.page.locator("#viewer-name").text_content() == "a.png"
    visit.page.evaluate("location.hash = ''")
    until(visit.page, "!document.getElementById('viewer').open")


def test_links_lead_to_the_outputs(visit: Visit, report: SyntheticReport) -> None:
    for name in ("b/2.png", "a[red] 'q' \"&amp;.png", "\udcff#?%41.png"):
        visit.open(name)
        visit.page.wait_for_selector("#viewer-files a")
        address = visit.page.locator("#viewer-files a").evaluate("(link) => link.href")
        assert unquote_to_bytes(address.removeprefix("file://")) == os.fsencode(report.folder / f"{name}.depth.npy")
        visit.page.keyboard.press("Escape")


def test_colors_span_the_run_or_each_image(visit: Visit) -> None:
    page = visit.page
    page.select_option("#palette", "gray")
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 40)")
    mean = """() => [...document.querySelectorAll('.card:not(.failed)')].map((card) => {
        const canvas = card.querySelector('canvas');
        const copy = new OffscreenCanvas(40, 30).getContext('2d', { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, 40, 30);
        return data.reduce((sum, value) => sum + value) / data.length; })"""
    page.select_option("#sort", "median")
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 40)")
    brightness = page.evaluate(mean)
    assert brightness == sorted(brightness, reverse=True)
    assert max(brightness) - min(brightness) > 40
    page.select_option("#range", "image")
    brightness = page.evaluate(mean)
    assert max(brightness) - min(brightness) < 15


def test_moved_report_works(browser: Browser, report: SyntheticReport, tmp_path: Path) -> None:
    moved = tmp_path / "an other place #1"
    shutil.copytree(report.folder, moved)
    visit = Visit(browser, moved)
    visit.open("a.png")
    assert visit.point_at(3, 4, (30, 40)).endswith("3, 4")
    assert visit.errors == []
    visit.context.close()


def test_report_of_version_0_1_is_shown(browser: Browser, report: SyntheticReport, tmp_path: Path) -> None:
    """Scripts of version 0.1 call a function with another name."""
    shutil.copytree(report.folder, tmp_path / "out")
    script = tmp_path / "out" / PARTS_NAME / f"{entry_name('/photos/a.png')}.js"
    script.write_text(script.read_text(encoding="ascii").replace("glpn.image(", "glpn.picture("), encoding="ascii")
    visit = Visit(browser, tmp_path / "out")
    visit.open("a.png")
    assert visit.point_at(3, 4, (30, 40)).endswith("3, 4")
    assert visit.errors == []
    visit.context.close()


def test_missing_scripts_are_reported(browser: Browser, report: SyntheticReport, tmp_path: Path) -> None:
    shutil.copytree(report.folder, tmp_path / "out")
    for part in (tmp_path / "out" / PARTS_NAME).glob(entry_name("/photos/a.png") + "*"):
        part.unlink()
    visit = Visit(browser, tmp_path / "out")
    visit.page.wait_for_selector(".pair.missing")
    visit.open("a.png")
    assert "not in the folder" in visit.page.locator("#message").inner_text()
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


def test_approximate_meters_are_marked(browser: Browser, make_report: Callable[..., SyntheticReport]) -> None:
    visit = Visit(browser, make_report({"a.png": random_depth(1)}, metric=False).folder)
    assert "median ≈ " in visit.page.locator(".card").inner_text()
    visit.open("a.png")
    assert visit.point_at(1, 1, (30, 40)).startswith("≈ ")
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

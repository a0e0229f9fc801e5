"""The page as a person uses it, in a real browser, from disk."""

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

from glpn_cli.report.index import COLUMNS, decode_grid
from glpn_cli.report.journal import entry_name
from glpn_cli.report.report import PARTS_NAME
from made_report import HOSTILE, MadeReport, failed_record, made_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

NAMES = ["b/2.png", "b/10.png", "a.png", f"{HOSTILE}.png", "a[red] 'q' \"&amp;.png", "\u202egnp.txt", "\udcff#?%41.png"]
SECONDS = {"a.png": 3.0, "b/2.png": 1.5}


@pytest.fixture(scope="module")
def made(make_report: Callable[..., MadeReport]) -> MadeReport:
    depths = {name: made_depth(seed, far_m=1.0 + seed) for seed, name in enumerate(NAMES)}
    return make_report(depths, failed_record("c.png"), failed_record("d.png", HOSTILE, None), seconds=SECONDS)


def until(page: Page, holds: str) -> None:
    """Wait until an expression holds; asked from outside, because the page's own rule forbids it to evaluate any."""
    deadline = time.monotonic() + 10
    while not page.evaluate(holds):
        assert time.monotonic() < deadline, f"never: {holds}"
        time.sleep(0.01)


def printed(name: str) -> str:
    return name.replace("\u202e", "\\u202e").replace("\udcff", "\\udcff")


class Visit:
    """One look at a page, and everything that went wrong or over a wire meanwhile."""

    def __init__(self, browser: Browser, folder: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(5_000)
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.goto((folder / "index.html").as_uri())

    def names(self) -> list[str]:
        """List the names of the cards in the order in which they are read."""
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
        """Move the pointer to the middle of a pixel and give what is said there."""
        self.page.locator("#stage").wait_for()
        box = self.page.locator("#stage").bounding_box()
        assert box is not None
        height, width = size
        self.page.mouse.move(box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height)
        return self.page.locator("#bubble").inner_text()


@pytest.fixture
def visit(browser: Browser, made: MadeReport) -> Iterator[Visit]:
    looking = Visit(browser, made.folder)
    yield looking
    looking.context.close()
    assert looking.faults == []
    assert [url for url in looking.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_it_shows_every_image_beside_its_depth(visit: Visit) -> None:
    page = visit.page
    assert page.locator(".card").count() == len(NAMES) + 2
    assert "9 images · 2 failed · mine · cpu in float32" in page.locator("#summary").inner_text()
    until(page, "document.querySelectorAll('.pair img[src^=data]').length === 7")
    alternatives = {photo.get_attribute("alt") for photo in page.locator(".pair img").all()}
    assert {"Photo a.png", "Photo b/2.png", f"Photo {HOSTILE}.png"} < alternatives
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 40)")
    until(page, "[...document.querySelectorAll('.pair img')].every((photo) => photo.naturalWidth === 40)")


def test_nothing_of_the_user_becomes_markup(visit: Visit) -> None:
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


def test_it_sorts_by_name_as_people_count(visit: Visit) -> None:
    names = visit.names()
    assert names.index("a.png") < names.index("b/2.png") < names.index("b/10.png") < names.index("c.png")
    visit.page.click("#direction")
    assert visit.names() == names[::-1]


def test_it_sorts_by_depth_and_what_has_none_comes_last(visit: Visit, made: MadeReport) -> None:
    visit.page.select_option("#sort", "median")
    names = visit.names()
    assert set(names[-2:]) == {"c.png", "d.png"}
    shown = [printed(name) for name in sorted(NAMES, key=lambda name: np.median(made.depths[name].meters))]
    assert names[:-2] == shown
    visit.page.click("#direction")
    assert visit.names()[:-2] == shown[::-1]
    assert set(visit.names()[-2:]) == {"c.png", "d.png"}


def test_it_sorts_by_time_and_by_failure(visit: Visit) -> None:
    visit.page.select_option("#sort", "seconds")
    assert visit.names()[-2:] == ["b/2.png", "a.png"]
    visit.page.select_option("#sort", "failure")
    assert visit.names()[:2] == ["c.png", "d.png"]


def test_it_filters_by_name_message_failure_depth_and_time(visit: Visit) -> None:
    page = visit.page
    page.fill("#text", "B/ png")
    assert visit.names() == ["b/2.png", "b/10.png"]
    assert page.locator("#count").inner_text() == "2 of 9 images"
    page.fill("#text", "empty")
    assert visit.names() == ["c.png"]
    page.fill("#text", "nothing like it")
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


def test_a_failure_says_what_and_what_to_do(visit: Visit) -> None:
    visit.open("c.png")
    assert visit.page.locator("#message").inner_text().split("\n\n") == ["an empty file", "copy it again"]
    visit.page.keyboard.press("ArrowRight")
    assert visit.page.locator("#message").inner_text() == HOSTILE


def test_the_meters_under_the_pointer_are_those_of_the_depth_map(visit: Visit, made: MadeReport) -> None:
    visit.open("a.png")
    meters = made.depths["a.png"].meters
    for x, y in [(0, 0), (39, 29), (17, 11)]:
        said, place = visit.point_at(x, y, meters.shape).splitlines()
        assert place == f"{x}, {y}"
        assert said == f"{meters[y, x]:.2f} m" or abs(float(said.split()[0]) - meters[y, x]) < 0.0056
    assert visit.page.locator("#viewer-legend .needle").is_visible()


def test_the_page_reads_every_depth_that_was_written(visit: Visit, made: MadeReport) -> None:
    for name, depth in made.depths.items():
        ident = entry_name("/photos/" + name)
        grid = visit.page.evaluate(
            "(id) => glpn.loadImage(id).then(({ grid }) => ({ ...grid, meters: [...grid.meters] }))",
            ident,
        )
        read = np.array(grid["meters"], np.float32).reshape(grid["height"], grid["width"])
        np.testing.assert_allclose(read, depth.meters, atol=0.00051)
        script = (made.folder / PARTS_NAME / f"{ident}.js").read_text(encoding="ascii")
        written = json.loads(re.fullmatch(r'glpn\.image\("\w+", (.*)\);\n', script)[1])  # type: ignore[index]
        np.testing.assert_allclose(read, decode_grid(written["grid"]), atol=1e-6)


def test_the_divider_moves_by_pointer_and_by_key(visit: Visit) -> None:
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


def test_keys_are_enough(visit: Visit) -> None:
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


def test_the_address_of_a_image_opens_it_and_back_closes_it(visit: Visit) -> None:
    visit.open("a.png")
    assert visit.page.url.endswith("#" + entry_name("/photos/a.png"))
    visit.page.reload()
    until(visit.page, "document.getElementById('viewer').open")
    assert visit.page.locator("#viewer-name").text_content() == "a.png"
    visit.page.evaluate("location.hash = ''")
    until(visit.page, "!document.getElementById('viewer').open")


def test_outputs_are_linked_by_addresses_that_reach_them(visit: Visit, made: MadeReport) -> None:
    for name in ("b/2.png", "a[red] 'q' \"&amp;.png", "\udcff#?%41.png"):
        visit.open(name)
        visit.page.wait_for_selector("#viewer-files a")
        address = visit.page.locator("#viewer-files a").evaluate("(link) => link.href")
        assert unquote_to_bytes(address.removeprefix("file://")) == os.fsencode(made.folder / f"{name}.depth.npy")
        visit.page.keyboard.press("Escape")


def test_near_is_bright_and_one_range_is_for_the_whole_run(visit: Visit) -> None:
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


def test_a_report_that_was_moved_still_works(browser: Browser, made: MadeReport, tmp_path: Path) -> None:
    moved = tmp_path / "an other place #1"
    shutil.copytree(made.folder, moved)
    looking = Visit(browser, moved)
    looking.open("a.png")
    assert looking.point_at(3, 4, (30, 40)).endswith("3, 4")
    assert looking.faults == []
    looking.context.close()


def test_what_is_not_in_the_folder_is_missed_by_name(browser: Browser, made: MadeReport, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "out")
    for part in (tmp_path / "out" / PARTS_NAME).glob(entry_name("/photos/a.png") + "*"):
        part.unlink()
    looking = Visit(browser, tmp_path / "out")
    looking.page.wait_for_selector(".pair.missing")
    looking.open("a.png")
    assert "not in the folder" in looking.page.locator("#message").inner_text()
    looking.context.close()


def test_the_page_may_not_reach_a_network_even_if_told_to(browser: Browser, made: MadeReport) -> None:
    looking = Visit(browser, made.folder)
    blocked = looking.page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener('securitypolicyviolation', (event) => resolve(event.blockedURI));
            const photo = new Image(); photo.src = 'http://127.0.0.1:9/x.png'; document.body.append(photo); })"""
    )
    assert blocked.startswith("http://127.0.0.1:9")
    assert looking.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'came', () => 'refused')") == "refused"
    looking.context.close()


def test_approximate_meters_say_so(browser: Browser, make_report: Callable[..., MadeReport]) -> None:
    looking = Visit(browser, make_report({"a.png": made_depth(1)}, metric=False).folder)
    assert "median ≈ " in looking.page.locator(".card").inner_text()
    looking.open("a.png")
    assert looking.point_at(1, 1, (30, 40)).startswith("≈ ")
    looking.context.close()


def test_ten_thousand_images_are_a_list_like_any_other(
    browser: Browser, make_report: Callable[..., MadeReport], tmp_path: Path
) -> None:
    folder = make_report({"0.png": made_depth(1)}).folder
    script = folder / PARTS_NAME / "images.js"
    index = json.loads(re.fullmatch(r"glpn\.index\((.*)\);\n", script.read_text(encoding="ascii"))[1])  # type: ignore[index]
    row = dict(zip(COLUMNS, index["rows"][0], strict=True))
    index["rows"] = [list((row | {"name": f"{number}.png", "median": number}).values()) for number in range(10_000)]
    script.write_text(f"glpn.index({json.dumps(index)});\n", encoding="ascii")
    looking = Visit(browser, folder)
    assert looking.page.locator(".card").count() < 80
    looking.page.focus('[data-position="0"]')
    looking.page.keyboard.press("End")
    assert looking.page.evaluate("document.activeElement.querySelector('.name').textContent") == "9999.png"
    assert looking.page.locator(".card").count() < 80
    until(looking.page, "document.activeElement.querySelector('canvas').width === 40")
    looking.page.fill("#text", "777")
    assert looking.page.locator("#count").inner_text() == "19 of 10,000 images"
    assert looking.faults == []
    looking.context.close()

"""The large view in a real browser: gestures, zoom and distances."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image

from browsing import Visit, until
from glpn_cli.report.journal import entry_name
from synthetic_report import HOSTILE, SyntheticReport, random_depth
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page


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


def test_divider_moves_by_pointer_and_keyboard(visit: Visit) -> None:
    page = visit.page
    visit.open("a.png")
    page.mouse.move(*visit.place_of(19.5, 15, (30, 40)))
    page.mouse.down()
    page.mouse.move(*visit.place_of(10, 15, (30, 40)), steps=3)
    page.mouse.up()
    assert visit.share_shown() == pytest.approx(26.25, abs=0.3)
    page.focus("#divider")
    page.keyboard.press("End")
    assert visit.share_shown() == 100


def test_click_does_not_move_the_divider(visit: Visit) -> None:
    visit.open("a.png")
    visit.page.mouse.click(*visit.place_of(5, 5, (30, 40)))
    assert visit.share_shown() == 50


def test_wheel_zooms_where_the_pointer_is(visit: Visit, report: SyntheticReport) -> None:
    page = visit.page
    visit.open("a.png")
    before = visit.point_at(31, 7, (30, 40))
    for _ in range(6):
        page.mouse.wheel(0, -200)
    wait_until(lambda: visit.zoom() > 2)
    assert page.locator("#bubble").inner_text() == before
    page.mouse.move(10, 10)
    x, y = 30, 8
    text, pixel = visit.point_at(x, y, (30, 40)).splitlines()
    assert pixel == f"{x}, {y}"
    assert float(text.split()[0]) == pytest.approx(report.depths["a.png"].meters[y, x], abs=0.0056)
    assert visit.box("#photo") == visit.box("#depth") == visit.box("#stage")
    for _ in range(20):
        page.mouse.wheel(0, 400)
    wait_until(lambda: visit.zoom() == 1)


def test_image_is_zoomed_by_double_click_buttons_and_keys(visit: Visit) -> None:
    page = visit.page
    visit.open("a.png")
    place = visit.place_of(31, 7, (30, 40))
    page.mouse.dblclick(*place)
    assert visit.zoom() == 3
    assert visit.place_of(31, 7, (30, 40)) == pytest.approx(place, abs=3)  # the pointer is on whole pixels
    page.mouse.dblclick(*place)
    assert visit.zoom() == 1
    page.click("#zoom-in")
    assert visit.zoom() == 1.5
    page.click("#zoom-out")
    assert visit.zoom() == 1
    for _ in range(12):
        page.keyboard.press("+")
    assert visit.zoom() == 16
    page.keyboard.press("-")
    assert visit.zoom() == 11
    page.keyboard.press("0")
    assert visit.zoom() == 1
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    wait_until(lambda: visit.zoom() == 1)


def test_zoomed_image_is_dragged_and_follows_the_measured_point(visit: Visit) -> None:
    page = visit.page
    visit.open("a.png")
    page.mouse.dblclick(*visit.place_of(20, 15, (30, 40)))
    before = visit.box("#stage")
    page.mouse.move(400, 450)
    page.mouse.down()
    page.mouse.move(360, 430, steps=4)
    page.mouse.up()
    after = visit.box("#stage")
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((-40, -20), abs=1.1)
    page.mouse.move(5, 5)
    for _ in range(45):
        page.keyboard.press("Shift+ArrowLeft")
    assert re.search(r"\n0, \d+$", page.locator("#bubble").inner_text())
    assert visit.box("#stage")["x"] == pytest.approx(visit.box("#room")["x"], abs=1)


def test_tap_shows_the_distance_until_the_next(phone: Visit, report: SyntheticReport) -> None:
    phone.open("a.png")
    for x, y in [(33, 20), (4, 3)]:
        phone.touch("touchStart", phone.place_of(x, y, (30, 40)))
        phone.touch("touchEnd")
        text, pixel = phone.page.locator("#bubble").inner_text().splitlines()
        assert pixel == f"{x}, {y}"
        assert float(text.split()[0]) == pytest.approx(report.depths["a.png"].meters[y, x], abs=0.0056)
        assert phone.page.locator("#viewer-legend .needle").is_visible()
    assert phone.share_shown() == 50
    assert phone.zoom() == 1


def test_finger_measures_while_it_moves(phone: Visit) -> None:
    phone.open("a.png")
    phone.touch("touchStart", phone.place_of(2, 3, (30, 40)))
    for x in (10, 20, 30):
        phone.touch("touchMove", phone.place_of(x, 12, (30, 40)))
        until(phone.page, f"document.getElementById('bubble').innerText.endsWith('{x}, 12')")
    bubble, finger = phone.box("#bubble"), phone.place_of(30, 12, (30, 40))
    assert bubble["y"] + bubble["height"] < finger[1] - 30, "a finger does not cover the text"
    phone.touch("touchEnd")
    assert phone.page.locator("#bubble").is_visible()
    assert phone.share_shown() == 50


def test_two_fingers_zoom_and_pan(phone: Visit) -> None:
    phone.open("a.png")
    middle = phone.place_of(25, 10, (30, 40))
    fingers = [(middle[0] - 20, middle[1]), (middle[0] + 20, middle[1])]
    phone.touch("touchStart", *fingers)
    for spread in (30, 40, 50):
        phone.touch("touchMove", (middle[0] - spread, middle[1]), (middle[0] + spread, middle[1]))
    wait_until(lambda: phone.zoom() == 2.5)
    assert phone.place_of(25, 10, (30, 40)) == pytest.approx(middle, abs=2)
    phone.touch("touchMove", (middle[0] - 70, middle[1] - 5), (middle[0] + 30, middle[1] - 5))
    wait_until(lambda: phone.place_of(25, 10, (30, 40)) == pytest.approx((middle[0] - 20, middle[1] - 5), abs=3))
    phone.touch("touchEnd")
    assert phone.box("#photo") == phone.box("#depth")


def test_double_tap_zooms(phone: Visit) -> None:
    phone.open("a.png")
    for zoom in (3, 1):
        phone.double_tap(phone.place_of(30, 8, (30, 40)))
        wait_until(lambda zoom=zoom: phone.zoom() == zoom)


def test_finger_moves_the_divider_by_its_handle(phone: Visit) -> None:
    phone.open("a.png")
    phone.touch("touchStart", phone.place_of(19.5, 15, (30, 40)))
    phone.touch("touchMove", phone.place_of(30, 15, (30, 40)))
    wait_until(lambda: phone.share_shown() == pytest.approx(76.25, abs=0.5))
    phone.touch("touchEnd")
    assert not phone.page.locator("#bubble").is_visible()


def test_sizes_are_labeled(visit: Visit) -> None:
    visit.open("a.png")
    assert "40 \u00d7 30 pixels (width \u00d7 height)" in visit.page.locator("#viewer-facts").inner_text()


def test_large_view_has_a_name(visit: Visit) -> None:
    visit.open("a.png")
    assert visit.page.get_by_role("dialog", name="a.png").count() == 1


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


def test_look_is_changed_in_the_large_view_for_all(visit: Visit) -> None:
    page = visit.page
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 40)")
    before = visit.card_pixels("b/10.png")
    visit.open("a.png")
    page.locator("#viewer-legend .far").wait_for()
    own = page.locator("#viewer-legend .far").inner_text()
    page.select_option("#viewer-range", "run")
    assert page.locator("#viewer-legend .far").inner_text() != own
    page.select_option("#viewer-curve", "log")
    page.keyboard.press("Escape")
    assert (page.input_value("#range"), page.input_value("#curve")) == ("run", "log")
    assert (visit.card_pixels("b/10.png") != before).any()


def test_arrow_keys_in_a_control_do_not_switch_images(visit: Visit) -> None:
    visit.open("a.png")
    name = visit.page.locator("#viewer-name").text_content()
    visit.page.focus("#viewer-range")
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("ArrowDown")
    assert visit.page.locator("#viewer-name").text_content() == name


def find_edge(page: Page, selector: str) -> float:
    """Return the column in the middle of an element where dark becomes bright or bright dark, device pixels."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    image = Image.open(io.BytesIO(page.screenshot()))
    scale = image.width / page.viewport_size["width"]  # type: ignore[index]
    y = round((box["y"] + box["height"] * 0.45) * scale)
    left, right = (round(scale * x) for x in (box["x"] + 2, box["x"] + box["width"] - 2))
    row = np.asarray(image.convert("L"))[y, left:right].astype(float)
    is_bright = row > row.min() / 2 + row.max() / 2
    (edges,) = np.nonzero(np.diff(is_bright.astype(int)))
    assert len(edges) == 1
    return float((edges[0] + 0.5) / len(row))


@pytest.mark.parametrize(("width", "scale"), [(1280, 1), (1111, 1), (360, 2), (900, 1.5)])
def test_photo_and_depth_lie_above_each_other(
    browser: Browser, step_report: SyntheticReport, width: int, scale: float
) -> None:
    size = {"width": width, "height": 800}
    visit = Visit(browser, step_report.folder, viewport=size, device_scale_factor=scale)
    page = visit.page
    until(page, "[...document.querySelectorAll('.pair img')].every((photo) => photo.naturalWidth === 480)")
    until(page, "[...document.querySelectorAll('.pair canvas')].every((canvas) => canvas.width === 400)")
    boxes = visit.box(".pair img"), visit.box(".pair canvas")
    assert [box["width"] for box in boxes] == pytest.approx([boxes[0]["width"]] * 2, abs=0.01)
    assert [box["height"] for box in boxes] == pytest.approx([boxes[0]["height"]] * 2, abs=0.01)
    assert boxes[0]["y"] == boxes[1]["y"]
    thumbnails = [find_edge(page, f".pair {part}") for part in ("img", "canvas")]
    assert thumbnails == pytest.approx([907 / 1501] * 2, abs=1 / 150)
    visit.open("a.png")
    visit.place_of(0, 0, (700, 1501))
    page.mouse.move(3, 3)
    for zoom in range(2):
        edges = []
        for key in ("End", "Home"):
            page.focus("#divider")
            page.keyboard.press(key)
            edges.append(find_edge(page, "#room"))
        device_px = 1 / (visit.box("#room")["width"] * scale)
        assert edges[0] == pytest.approx(edges[1], abs=(2 + 3 * zoom) * device_px + 1 / 1501)
        for _ in range(3):
            page.keyboard.press("+")
    visit.context.close()


def test_approximate_meters_are_marked(browser: Browser, make_report: Callable[..., SyntheticReport]) -> None:
    visit = Visit(browser, make_report({"a.png": random_depth(1)}, metric=False).folder)
    assert "median ≈ " in visit.page.locator(".card").inner_text()
    visit.open("a.png")
    assert visit.point_at(1, 1, (30, 40)).startswith("≈ ")
    visit.context.close()

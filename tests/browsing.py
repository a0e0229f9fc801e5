"""A report in a real browser."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.report.journal import entry_name
from synthetic_report import HOSTILE
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

NAMES = ["b/2.png", "b/10.png", "a.png", f"{HOSTILE}.png", "a[red] 'q' \"&amp;.png", "\u202egnp.txt", "\udcff#?%41.png"]
SECONDS = {"a.png": 3.0, "b/2.png": 1.5}


_STAGE_IS_STILL = """new Promise((resolve) => {
    const place = () => JSON.stringify(document.getElementById('stage').getBoundingClientRect());
    const before = place();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(place() === before)));
})"""
"""Whether the image stays where it is. It moves once more when what is around it has its final size."""


def until(page: Page, holds: str) -> None:
    """Wait for an expression. The security policy of the page forbids `wait_for_function`."""
    wait_until(lambda: page.evaluate(holds))


def escaped(name: str) -> str:
    return name.replace("\u202e", "\\u202e").replace("\udcff", "\\udcff")


class Visit:
    """A page in the browser, with all errors and requests."""

    def __init__(self, browser: Browser, folder: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(1000 * HANG_S)
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

    def box(self, selector: str) -> dict[str, float]:
        """Return the box of an element, CSS pixels."""
        self.page.locator(selector).wait_for()
        box = self.page.locator(selector).bounding_box()
        assert box is not None
        return dict(box)

    def place_of(self, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
        """Return where the center of a pixel of the open image is in the window."""
        until(
            self.page, "document.getElementById('depth').width > 1 && document.getElementById('depth').offsetWidth > 1"
        )
        until(self.page, _STAGE_IS_STILL)
        box = self.box("#stage")
        height, width = size
        return box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height

    def point_at(self, x: int, y: int, size: tuple[int, int]) -> str:
        """Move the pointer to the center of a pixel and return the text beside it."""
        self.page.mouse.move(*self.place_of(x, y, size))
        return self.page.locator("#bubble").inner_text()

    def touch(self, kind: str, *points: tuple[float, float], time_s: float | None = None) -> None:
        """Send a touch event: "touchStart", "touchMove" or "touchEnd".

        Args:
            kind: of the event.
            points: where fingers are.
            time_s: when the event happens, so that the load of the machine does not count; seconds since 1970.
        """
        if not hasattr(self, "_devtools"):
            self._devtools = self.context.new_cdp_session(self.page)
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        timestamp = {} if time_s is None else {"timestamp": time_s}
        self._devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places, **timestamp})

    def double_tap(self, place: tuple[float, float]) -> None:
        now_s = time.time()
        for tap in range(2):
            self.touch("touchStart", place, time_s=now_s + 0.15 * tap)
            self.touch("touchEnd", time_s=now_s + 0.15 * tap + 0.05)

    def zoom(self) -> float:
        """Return the zoom factor that the page shows."""
        return float(self.page.locator("#zoom-fit").inner_text()[:-1])

    def share_shown(self) -> float:
        """Return where the divider is, in percent of the image's width."""
        clipped = self.page.locator("#depth").evaluate("(canvas) => canvas.style.clipPath")
        return float(re.search(r"([\d.]+)%", clipped)[1])  # type: ignore[index]

    def card_pixels(self, name: str) -> np.ndarray:
        """Return the colors of a card's depth map, (30, 40, 3) uint8."""
        values = self.page.evaluate(
            """(id) => {
                const canvas = document.querySelector(`.card a[href="#${id}"] canvas`);
                const copy = new OffscreenCanvas(40, 30).getContext('2d', { willReadFrequently: true });
                copy.drawImage(canvas, 0, 0);
                return [...copy.getImageData(0, 0, 40, 30).data]; }""",
            entry_name("/photos/" + name),
        )
        return np.array(values, np.uint8).reshape(30, 40, 4)[..., :3]

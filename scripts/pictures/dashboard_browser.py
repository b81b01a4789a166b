"""TensorBoard as a user sees it: its pages in a headless Chromium."""

import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder

WINDOW = (1100, 1040)
"""Pixels of the page: four cards of Time Series, as wide as a README shows without making them much smaller."""
PATIENCE = 30.0  # seconds until a page has to show what is asked of it
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have, as in containers
    "--disable-dev-shm-usage",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card: the projector draws by it
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--force-color-profile=srgb",
)
# through shadow roots and frames, and what is seen only
_WALK = """
const all = [];
const seen = (node) => !node.checkVisibility || node.checkVisibility({opacityProperty: true, visibilityProperty: true});
function walk(node) {
    if (!seen(node) || ['STYLE', 'SCRIPT'].includes(node.tagName)) return;
    all.push(node);
    const inside = [node.shadowRoot, node.tagName === 'IFRAME' && node.contentDocument, node];
    inside.filter(Boolean).forEach((root) => root.childNodes.forEach(walk));
}
walk(document.body);
const elements = (selector) => all.filter((node) => node.matches && node.matches(selector));
const text = () => all.map((node) => node.nodeType === 3 ? node.data : ' ').join('').replace(/\\s+/g, ' ');
"""
# TensorBoard's messages: a bar at the bottom, the projector's dialog, a chart's or a table's warning
_COMPLAINTS = "mat-snack-bar-container, paper-toast, #notification-dialog, .error"
# the middle of the first element, which may lie in a frame of a frame, as the mouse counts
_CENTER = """
const found = elements(arguments[0]).find((node) => node.innerText.trim().startsWith(arguments[1]));
if (!found) return null;
found.scrollIntoView({block: 'nearest'});
const box = found.getBoundingClientRect();
let [x, y] = [box.x + Math.min(box.width / 2, 20), box.y + box.height / 2];
for (let frame = found; frame = frame.ownerDocument.defaultView.frameElement;) {
    const outer = frame.getBoundingClientRect();
    [x, y] = [x + outer.x, y + outer.y];
}
return [x, y];
"""


class Page:
    """TensorBoard as a user sees it.

    Args:
        driver: the browser.
        address: where TensorBoard serves.
    """

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver = driver
        self.address = address
        self.resize(*WINDOW)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, tab: str, *texts: str) -> None:
        """Load a tab anew, and wait until it shows all of `texts`."""
        self.driver.get("about:blank")  # what comes behind the # does not load a page anew
        self.driver.get(f"{self.address}#{tab}")
        self.wait_for(*texts)

    def wait_for(self, *texts: str) -> None:
        """Wait until all of `texts` are seen; spaces do not count, as TensorBoard breaks its tags at any place."""

        def seen() -> bool:
            text = "".join(self.text().split())
            return all("".join(wanted.split()) in text for wanted in texts)

        self.until(seen, f"page with {texts}")

    def text(self) -> str:
        """All text that is seen, with single spaces."""
        return str(self.run("return text()"))

    def count(self, selector: str) -> int:
        """How many elements that are seen match a CSS selector."""
        return int(self.run("return elements(arguments[0]).length", selector))

    def click(self, selector: str, text: str = "") -> None:
        """Click with the mouse on the first element that matches a CSS selector and begins with `text`."""
        center: list[float] = []

        def found() -> bool:
            center[:] = self.run(_CENTER, selector, text) or []
            return bool(center)

        self.until(found, f"{selector} {text}")
        mouse = ActionBuilder(self.driver)
        mouse.pointer_action.move_to_location(*map(round, center)).click()
        mouse.perform()

    def run(self, script: str, *args: Any) -> Any:
        """What a piece of JavaScript returns, that has `all` nodes, `elements(selector)` and `text(nodes)`."""
        return self.driver.execute_script(_WALK + script, *args)

    def until(self, shown: Callable[[], bool], what: str) -> None:
        """Wait for `shown()`.

        Raises:
            TimeoutError: it stays false.
        """
        end = time.monotonic() + PATIENCE
        while not shown():
            if time.monotonic() > end:
                raise TimeoutError(f"after {PATIENCE:.0f} seconds there is no {what}; the page: {self.text()[:2000]}")
            time.sleep(0.1)

    def settle(self) -> None:
        """Wait until two pictures in a row are the same: nothing is loaded or moved any more."""
        before = [b""]

        def still() -> bool:
            time.sleep(0.3)
            now = self.driver.get_screenshot_as_png()
            same, before[0] = now == before[0], now
            return same

        self.until(still, "rest")

    def errors(self) -> list[str]:
        """What the browser's console and TensorBoard's messages on the page complain of."""
        entries = self.driver.get_log("browser")
        console = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        texts = "return elements(arguments[0]).map((node) => node.text || node.innerText)"
        return console + self.run(texts, _COMPLAINTS)

    def picture(self, box: tuple[int, int, int, int] | None = None) -> Image.Image:
        """What is seen, or a part of it: left, upper, right and lower edge."""
        self.settle()
        return Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB").crop(box)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """A headless Chromium with a profile of its own.

    Raises:
        FileNotFoundError: Chromium or its driver is not installed.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromedriver" if browser else "chromium"
        raise FileNotFoundError(f"{missing} is not installed; on Debian: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = browser
        for option in (*OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = Chrome(options, Service(driver))
        try:
            yield chrome
        finally:
            chrome.quit()

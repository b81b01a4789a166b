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
"""Page size in pixels: four cards of Time Series, about as wide as a README is shown."""
PATIENCE = 30.0  # seconds until a page has to show the expected text
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root, as in containers, cannot use one
    "--disable-dev-shm-usage",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card, for the projector
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--force-color-profile=srgb",
)
# visible nodes, also in shadow roots and frames
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
# the centre of the first element in page coordinates, also in nested frames
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
        """Load a tab, and wait until it shows all of `texts`."""
        self.driver.get("about:blank")  # a new fragment alone does not reload a page
        self.driver.get(f"{self.address}#{tab}")
        self.wait_for(*texts)

    def wait_for(self, *texts: str) -> None:
        """Wait until all of `texts` are visible; spaces do not count, because TensorBoard breaks tags anywhere."""

        def seen() -> bool:
            text = "".join(self.text().split())
            return all("".join(wanted.split()) in text for wanted in texts)

        self.until(seen, f"page with {texts}")

    def text(self) -> str:
        """All visible text, with single spaces."""
        return str(self.run("return text()"))

    def count(self, selector: str) -> int:
        """The number of visible elements that match a CSS selector."""
        return int(self.run("return elements(arguments[0]).length", selector))

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element that matches a CSS selector and begins with `text`."""
        center: list[float] = []

        def found() -> bool:
            center[:] = self.run(_CENTER, selector, text) or []
            return bool(center)

        self.until(found, f"{selector} {text}")
        mouse = ActionBuilder(self.driver)
        mouse.pointer_action.move_to_location(*map(round, center)).click()
        mouse.perform()

    def run(self, script: str, *args: Any) -> Any:
        """Run JavaScript that may use `all` nodes, `elements(selector)` and `text()`, and give its result."""
        return self.driver.execute_script(_WALK + script, *args)

    def until(self, shown: Callable[[], bool], what: str) -> None:
        """Wait for `shown()`.

        Raises:
            TimeoutError: `shown()` stays false for `PATIENCE` seconds.
        """
        end = time.monotonic() + PATIENCE
        while not shown():
            if time.monotonic() > end:
                raise TimeoutError(f"after {PATIENCE:.0f} seconds there is no {what}; the page: {self.text()[:2000]}")
            time.sleep(0.1)

    def settle(self) -> None:
        """Wait until two pictures in a row are the same, so that nothing is loading or moving."""
        before = [b""]

        def still() -> bool:
            time.sleep(0.3)
            now = self.driver.get_screenshot_as_png()
            same, before[0] = now == before[0], now
            return same

        self.until(still, "rest")

    def errors(self) -> list[str]:
        """Errors in the browser's console and in TensorBoard's messages on the page."""
        entries = self.driver.get_log("browser")
        console = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        texts = "return elements(arguments[0]).map((node) => node.text || node.innerText)"
        return console + self.run(texts, _COMPLAINTS)

    def picture(self, box: tuple[int, int, int, int] | None = None) -> Image.Image:
        """A picture of the page, or of a box of it: left, upper, right and lower edge."""
        self.settle()
        return Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB").crop(box)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """A headless Chromium with a new profile.

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

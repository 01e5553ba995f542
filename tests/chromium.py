"""A headless Chromium for the tests marked `browser`: what a page logs, what it asks the network for, screenshots."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SIZE = (2000, 1300)  # MLflow opens a panel of its own by itself; the charts need the rest
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
# No service of the browser's own may reach for the network, nor need a sandbox that containers lack.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--window-size={SIZE[0]},{SIZE[1]}",
)


@contextmanager
def chromium(*, program: str, driver: str, profile: Path) -> Iterator[webdriver.Chrome]:
    """A running browser.

    Args:
        program: The path of Chromium.
        driver: The path of its driver.
        profile: An empty folder.
    """
    options = Options()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        started.get("about:blank")
        complaints(started), requested(started)  # what the browser's own first page asked for
        yield started
    finally:
        started.quit()


def requested(driver: webdriver.Chrome) -> list[str]:
    """The addresses that pages asked for since the last call; embedded data left out."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:"))]


def complaints(driver: webdriver.Chrome) -> list[str]:
    """The errors and warnings that pages logged since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@contextmanager
def phone(driver: webdriver.Chrome) -> Iterator[None]:
    """The page as a phone 390 pixels wide shows it."""
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def screenshot(driver: webdriver.Chrome, name: str, folder: Path) -> Path:
    """Write what the window shows as `name`.png."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    if not driver.save_screenshot(str(path)):
        raise RuntimeError(f"Chromium must write {path}, did not")
    return path

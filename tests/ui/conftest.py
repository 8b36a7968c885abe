"""A served Exposit and a real browser, for the tests that need them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")


@dataclass
class Served:
    """A server process and its address."""

    process: subprocess.Popen[str]
    address: str


@contextmanager
def serving(folder: Path, *command: str) -> Iterator[Served]:
    """Starts a program that serves, and waits until it says where."""
    environment = os.environ | {"EXPOSIT_HOME": str(folder), "GRADIO_TEMP_DIR": str(folder / "gradio")}
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("Exposit is ready: http://127.0.0.1:"), said
            yield Served(process, said.removeprefix("Exposit is ready: ").strip())
            process.terminate()  # the workers of a server that is killed outright would have to find out by themselves
            process.wait(timeout=30)
        finally:
            process.kill()


class Page:
    """The chat page as a person uses it."""

    def __init__(self, driver: WebDriver) -> None:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver = driver
        self.wait = WebDriverWait(driver, 60, ignored_exceptions=[StaleElementReferenceException])

    def all(self, selector: str) -> list[WebElement]:
        """The elements of a CSS selector, as they are now."""
        return self.driver.find_elements("css selector", selector)

    def first(self, selector: str) -> WebElement:
        """The first element of a CSS selector, waited for."""
        self.wait.until(lambda _: self.all(selector))
        return self.all(selector)[0]

    def see(self, selector: str, text: str = "") -> str:
        """Waits for an element that shows `text`, and returns all that it shows."""

        def shown(_: object) -> str | None:
            return next((one.text for one in self.all(selector) if text in one.text), None)

        found: str = self.wait.until(shown)
        return found

    def upload(self, path: Path) -> None:
        self.first("#picture input[type=file]").send_keys(str(path))

    def ask(self, question: str) -> None:
        self.first("#question textarea").send_keys(question)
        self.first("#ask").click()

    def save(self, name: str, width: int, height: int) -> None:
        """Keeps a screenshot among the test's artefacts."""
        folder = ROOT / "test-artifacts"
        folder.mkdir(exist_ok=True)
        self.driver.set_window_size(width, height)
        self.driver.execute_script("scrollTo(0, 0)")
        self.driver.save_screenshot(str(folder / name))


@contextmanager
def driven(folder: Path) -> Iterator[Page]:
    """A browser of its own, with its profile in `folder`; the test is skipped where none is installed."""
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--window-size=1280,1400",
        f"--user-data-dir={folder / 'profile'}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield Page(driver)
    finally:
        driver.quit()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with driven(tmp_path) as made:
        yield made

"""One service and one browser for all tests of the pages."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.conftest import ROOT
from tests.ui.conftest import Page, Served, driven, serving


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("desk"), "-m", "tests.ui.desk.serve") as served:
        yield served


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with driven(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keeps what the browser showed when a test failed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("browser")
    if report.failed and page is not None:
        (ROOT / "test-artifacts").mkdir(exist_ok=True)
        page.driver.save_screenshot(str(ROOT / "test-artifacts" / f"failed-{item.name}.png"))
    return report

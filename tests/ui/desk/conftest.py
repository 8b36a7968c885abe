"""One service and one browser for all tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ui.conftest import Page, Served, driven, serving


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("desk"), "-m", "tests.ui.desk.serve") as served:
        yield served


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with driven(tmp_path_factory.mktemp("browser")) as page:
        yield page

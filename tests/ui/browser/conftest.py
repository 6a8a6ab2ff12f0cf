"""A served page and a browser, shared by the tests of one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


@pytest.fixture(scope="module")
def address(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tests.ui.browser.driving import served

    with served(tiny_base_folder, tmp_path_factory.mktemp("page")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.ui.browser.driving import CHROMIUM, WAIT_MS, sync_api

    sync_api.expect.set_options(timeout=WAIT_MS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    from tests.ui.browser.driving import open_page

    page = open_page(browser, address)
    yield page
    page.close()

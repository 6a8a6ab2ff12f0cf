"""The whole page in a real browser: upload a clip, learn its motion, render it, watch the result."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; install the package chromium")

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
START_S, WAIT_MS, JOB_MS = 300, 60_000, 240_000


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served by `app.py` on a toy base."""
    work = tmp_path_factory.mktemp("page")
    options = ["--no-browser", "--port", str(_free_port()), "--workspace", str(work / "space")]
    command = [sys.executable, str(ROOT / "app.py"), *options, "--base", str(tiny_base_folder)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    log = work / "log.txt"
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT) as server,
    ):
        try:
            yield _address(server, log)
        finally:
            server.terminate()


def _address(server: subprocess.Popen, log: Path) -> str:
    """Waits until the page is served, and returns where."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: sync_api.Browser, address: str) -> Iterator[sync_api.Page]:
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_selector("#start")
    yield page
    page.close()


def _choose(page: sync_api.Page, clip_path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(clip_path)
    page.wait_for_selector("#span video")


def _order_short_job(page: sync_api.Page, temporal_steps: int) -> None:
    page.get_by_label("Spatial steps").fill("2")
    page.get_by_label("Temporal steps").fill(str(temporal_steps))
    page.get_by_role("button", name="Advanced settings").first.click()
    page.get_by_label("number input for Sparse latents").fill("5")
    page.get_by_label("number input for Sparse latents").press("Tab")


def _plays(page: sync_api.Page, selector: str) -> None:
    """Asserts that a video has pictures and that its time goes on."""
    page.wait_for_selector(selector, timeout=JOB_MS)
    page.wait_for_function("s => document.querySelector(s).readyState >= 2", arg=selector)
    begin = page.evaluate("s => document.querySelector(s).currentTime", selector)
    page.wait_for_function("([s, t]) => document.querySelector(s).currentTime !== t", arg=[selector, begin])


def test_from_upload_to_render(page: sync_api.Page, clip_path: Path, scene: object) -> None:
    _choose(page, clip_path)
    _plays(page, "#span video")
    assert page.get_by_label("Caption: what").input_value() == scene.caption  # type: ignore[attr-defined]
    page.get_by_label("Caption: what").fill("a red skateboard")
    page.wait_for_selector(".marked strong:has-text('skateboard')")
    page.get_by_label("Name of the motion").fill("My wave")
    _order_short_job(page, 3)
    page.locator("#start").click()
    page.wait_for_selector("#go-render:visible", timeout=JOB_MS)
    assert "My wave" in page.locator("#learn-status").inner_text()
    page.locator("#go-render").click()
    assert "My wave" in page.locator("#motion input").input_value()
    page.get_by_label("Prompt: what").fill("a green star on a white background")
    page.get_by_role("button", name="Advanced settings").last.click()
    page.get_by_label("number input for Steps").fill("2")
    page.get_by_label("number input for Steps").press("Tab")
    page.locator("#render").click()
    _plays(page, "#result video")
    _plays(page, "#reference video")


def test_stop_and_start_again(page: sync_api.Page, clip_path: Path) -> None:
    _choose(page, clip_path)
    _order_short_job(page, 5000)
    page.locator("#start").click()
    page.wait_for_selector("#learn-status progress", timeout=JOB_MS)
    page.locator("#learn-stop").click()
    page.wait_for_selector("#learn-status:has-text('Stopped')", timeout=JOB_MS)
    page.wait_for_selector("#start:not([disabled])")


def test_a_page_that_goes_away_frees_the_base(
    page: sync_api.Page, browser: sync_api.Browser, address: str, clip_path: Path
) -> None:
    _choose(page, clip_path)
    _order_short_job(page, 5000)
    page.locator("#start").click()
    page.wait_for_selector("#learn-status progress", timeout=JOB_MS)
    page.goto("about:blank")
    page.wait_for_timeout(3000)
    page.goto(address)
    page.get_by_role("tab", name="Render").click()
    page.get_by_label("Prompt: what").fill("a red star")
    page.locator("#render").click()
    _plays(page, "#result video")


def test_a_missing_clip_is_told_in_one_sentence(page: sync_api.Page) -> None:
    page.locator("#start").click()
    page.wait_for_selector("#learn-status [role=alert]")
    assert "Traceback" not in page.content()


def test_every_control_has_a_name_and_fits_a_phone(page: sync_api.Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for tab in ("Learn a motion", "Render"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    nameless = page.evaluate(
        "[...document.querySelectorAll('input:not([type=file]), textarea, button')].filter(e => e.offsetParent && "
        "!(e.labels?.length || e.ariaLabel || e.title || e.innerText.trim())).map(e => e.outerHTML)"
    )
    assert nameless == []

"""How the browser's tests drive the page: serving it, and what people do on it again and again."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine; install the package chromium"
)

ROOT = Path(__file__).resolve().parents[3]
TABS = ("Learn", "Mix", "Jobs", "Library", "Presets", "System")
START_S, WAIT_MS, JOB_MS = 300, 60_000, 240_000


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _address(server: subprocess.Popen, log: Path) -> str:
    """Waits until the page is served, and returns where."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@contextmanager
def served(base: Path, work: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The page, served by `app.py` on a toy base, and its process."""
    command = [sys.executable, str(ROOT / "app.py"), "--no-browser", "--port", str(_free_port()),
               "--workspace", str(work / "space"), "--base", str(base), *options]  # fmt: skip
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    log = work / f"log-{time.monotonic_ns()}.txt"
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT) as server,
    ):
        try:
            yield _address(server, log), server
        finally:
            server.terminate()


def open_page(browser: sync_api.Browser, address: str) -> sync_api.Page:
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_selector("#start")
    return page


def turn_to(page: sync_api.Page, tab: str) -> None:
    """Opens a tab; on a phone some are in a menu."""
    shown = page.get_by_role("tab", name=tab)
    if shown.is_visible():
        shown.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=tab).click()
    sync_api.expect(page.get_by_role("tabpanel").filter(visible=True)).to_have_count(1)


def choose(page: sync_api.Page, clip_path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(clip_path)
    page.wait_for_selector("#span video")


def fill_short_job(page: sync_api.Page, temporal_steps: int) -> None:
    page.get_by_label("Spatial steps").fill("2")
    page.get_by_label("Temporal steps").fill(str(temporal_steps))
    page.get_by_role("button", name="Advanced settings").first.click()
    page.get_by_label("Check every").fill("0")  # that no long one ends early
    page.get_by_label("number input for Sparse latents").fill("5")
    page.get_by_label("number input for Sparse latents").press("Tab")


def start_job(page: sync_api.Page, clip_path: Path, temporal_steps: int, name: str) -> None:
    """Starts a job, and waits until its temporal stage is under way."""
    choose(page, clip_path)
    page.get_by_label("Name of the motion").fill(name)
    fill_short_job(page, temporal_steps)
    sync_api.expect(page.get_by_label("Temporal steps")).to_have_value(str(temporal_steps))
    page.locator("#start").click()
    wait_for_status(page, "Temporal stage")


def wait_for_status(page: sync_api.Page, text: str) -> None:
    """Waits until Learn's status line says so; a failure tells what it says instead."""
    status = page.locator("#learn-status")
    try:
        sync_api.expect(status).to_contain_text(text, timeout=JOB_MS)
    except AssertionError as error:
        raise AssertionError(f"Learn says {status.inner_text()!r}, not {text!r}") from error


def shown_step(page: sync_api.Page) -> int:
    found = re.search(r"step (\d+)", page.locator("#learn-status").inner_text())
    return int(found[1]) if found else 0


def wait_until_plays(page: sync_api.Page, selector: str) -> None:
    """Asserts that a video has pictures and that its time goes on."""
    page.wait_for_selector(selector, timeout=JOB_MS)
    page.wait_for_function("s => document.querySelector(s)?.readyState >= 2", arg=selector)
    begin = page.evaluate("s => document.querySelector(s)?.currentTime", selector)
    went_on = "([s, t]) => document.querySelector(s)?.currentTime !== t || document.querySelector(s).ended"
    page.wait_for_function(went_on, arg=[selector, begin])

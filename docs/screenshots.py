"""Pictures of every tab, light, dark and at phone width: `python docs/screenshots.py` remakes `docs/screenshots/`.

Learns an example's motion and renders with it first, so that there is something to see. Needs playwright and chromium.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from browsing import ROOT, headless, served
from playwright.sync_api import Browser, Page

TABS = {  # and what shows last on each
    "Learn": "#preview video",
    "Mix": "#result video",
    "Jobs": "#job-video video",
    "Library": "#item video",
    "Presets": "#preset-facts table",
    "System": "#system table",
}
LOOKS = {"light": ("light", 1280), "dark": ("dark", 1280), "phone": ("light", 390)}  # theme and width
LONGEST_MS = 900_000
SETTLE_MS = 3000


def _choose(page: Page) -> None:
    """Chooses the first example."""
    page.locator("[aria-label='Or start from an example'] button, .gallery-item").first.click()
    page.wait_for_selector("#span video")


def _work(page: Page) -> None:
    """Learns the first example's motion, renders with it, and keeps a preset."""
    _choose(page)
    page.locator("#start").click()
    page.wait_for_selector("#go-render:visible", timeout=LONGEST_MS)
    page.locator("#go-render").click()
    page.get_by_label("Prompt: what").fill("a yellow star on a navy background")
    page.locator("#render").click()
    page.wait_for_selector("#result video", timeout=LONGEST_MS)
    page.get_by_role("tab", name="Presets").click()
    page.get_by_label("Name of the preset").fill("A yellow star")
    page.locator("#save-preset").click()
    page.wait_for_selector("#preset-facts table")


def _turn_to(page: Page, tab: str) -> None:
    """Opens a tab; on a phone some are in a menu."""
    shown = page.get_by_role("tab", name=tab)
    if shown.is_visible():
        shown.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=tab).click()


def _take(browser: Browser, address: str, out: Path) -> None:
    for look, (theme, width) in LOOKS.items():
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(f"{address}/?__theme={theme}")
        page.wait_for_selector("#start")
        _choose(page)
        for tab, last in TABS.items():
            _turn_to(page, tab)
            page.wait_for_selector(f"{last}:visible", timeout=LONGEST_MS)
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=out / f"{tab.split()[0].lower()}-{look}.png", full_page=True)
        page.close()


def main() -> None:
    """Serves the page with an empty workspace, works on it, and takes the pictures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as workspace, served(workspace) as address, headless() as browser:
        page = browser.new_page()
        page.goto(address)
        _work(page)
        _take(browser, address, out)


if __name__ == "__main__":
    main()

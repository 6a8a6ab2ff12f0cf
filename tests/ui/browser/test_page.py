"""The page itself in a real browser: names, widths, languages, sentences and the guided first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.browser.driving import TABS, needs_chromium, open_page, served, sync_api, turn_to

pytestmark = needs_chromium


def test_a_missing_clip_is_told_in_one_sentence(page: sync_api.Page) -> None:
    page.locator("#start").click()
    page.wait_for_selector("#learn-status [role=alert]")
    assert "Traceback" not in page.content()


def test_every_control_has_a_name_and_fits_a_phone(page: sync_api.Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for tab in TABS:
        turn_to(page, tab)
        page.evaluate(
            "document.querySelectorAll('button.label-wrap:not(.open)').forEach(e => e.offsetParent && e.click())"
        )
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        nameless = page.evaluate(
            "[...document.querySelectorAll('input:not([type=file]), textarea, select, button')].filter(e => "
            "e.offsetParent && !(e.labels?.length || e.ariaLabel || e.title || e.innerText.trim()))"
            ".map(e => e.outerHTML)"
        )
        assert nameless == [], tab


@pytest.mark.parametrize(("locale", "said"), [("zh-CN", "渲染"), ("en-US", "Render"), ("fr-FR", "Render")])
def test_the_page_speaks_its_reader_s_language(browser: sync_api.Browser, address: str, locale: str, said: str) -> None:
    """In labels, in what the server answers, and without a mark that nobody replaced."""
    context = browser.new_context(locale=locale)
    page = open_page(context, address)
    for number in range(6):
        page.locator("button[role=tab]").nth(number).click()
        page.wait_for_timeout(500)
        assert "__i18n__" not in page.locator("body").inner_text()
    page.locator("button[role=tab]").nth(1).click()
    sync_api.expect(page.locator("#render")).to_have_text(said)
    sync_api.expect(page.get_by_label("Strength" if said == "Render" else "强度").first).to_be_visible()
    page.locator("#render").click()
    page.wait_for_selector(
        "#render-status :text('需要提示词')" if locale == "zh-CN" else ":text('A prompt is expected')"
    )
    context.close()


def test_a_first_run_is_guided(browser: sync_api.Browser, tiny_base_folder: Path, tmp_path: Path) -> None:
    """From an empty workspace: one button learns an example, what to do next stands above, and it hides for good."""
    with served(tiny_base_folder, tmp_path) as (address, _):
        context = browser.new_context()
        page = open_page(context, address)
        page.wait_for_selector("#tour strong:has-text('click an example')")
        page.locator("#tour-begin").click()
        page.wait_for_selector("#tour strong:has-text('being learned')")
        sync_api.expect(page.locator("#tour-begin")).to_be_hidden()
        page.locator("#tour-hide").click()
        sync_api.expect(page.locator("#tour")).to_be_hidden()
        page.reload()
        page.wait_for_selector("#learn-status:not(:has-text('Choose a clip'))")
        sync_api.expect(page.locator("#tour")).to_be_hidden()
        context.close()

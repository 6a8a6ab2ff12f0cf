"""The page itself in a real browser: names, widths, languages, sentences and the guided first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from motion_transfer.pipeline import caption_of
from motion_transfer.ui.app import EXAMPLES
from motion_transfer.ui.learn import example_clips
from motion_transfer.ui.tab_mix import TAKE_IF_FREE
from motion_transfer.ui.words import en as words
from tests.ui.browser.driving import JOB_MS, TABS, needs_chromium, open_page, served, sync_api, turn_to

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


COUNT_FRAMES = """() => {
    const ask = window.requestAnimationFrame;
    window.frames_asked = 0;
    window.requestAnimationFrame = (work) => { window.frames_asked += 1; return ask.call(window, work); };
}"""


def test_a_page_at_rest_draws_nothing(browser: sync_api.Browser, address: str) -> None:
    """It looks at its job all the time; sixty frames a second would take a quarter of a tuning's speed."""
    page = browser.new_page()
    page.add_init_script(f"({COUNT_FRAMES})()")
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(error.message))
    page.goto(address)
    page.wait_for_selector("#start:visible")
    found = []
    while len(found) < 10 and not any(asked < 10 for asked in found[1:]):  # on a busy machine it comes to rest later
        before = page.evaluate("window.frames_asked")
        page.wait_for_timeout(3000)
        found.append(page.evaluate("window.frames_asked") - before)
    assert before > 0 and found[-1] < 10, found
    assert faults == []
    page.close()


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


def _walk_to(page: sync_api.Page, selector: str) -> None:
    """Presses Tab until something that matches has the focus, and shows it."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"no way to {selector} by keyboard")


def test_a_render_is_ordered_by_keyboard_alone(page: sync_api.Page) -> None:
    _walk_to(page, "button[role=tab]:nth-of-type(2)")
    page.keyboard.press("Enter")
    _walk_to(page, "#motion input")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_label("Motion", exact=True)).to_have_value(words.NO_MOTION)
    _walk_to(page, "textarea")
    page.keyboard.type("a green star on a white background")
    _walk_to(page, "#render")
    page.keyboard.press("Enter")
    page.wait_for_selector("#result video", timeout=JOB_MS)


def test_the_last_choice_counts(browser: sync_api.Browser, address: str) -> None:
    """Of two clips clicked in a row the second."""
    page = open_page(browser, address)
    first, second = (page.locator(".gallery-item").nth(number) for number in (0, 7))
    first.click()
    second.click()
    sync_api.expect(page.get_by_label("Caption: what")).to_have_value(caption_of(example_clips(EXAMPLES)[7]))
    page.close()


def test_a_motion_chosen_before_the_newest_is_known_stays(page: sync_api.Page) -> None:
    found = {chosen: page.evaluate(f"([newest, chosen]) => ({TAKE_IF_FREE})(newest, chosen)", ["new", chosen])
             for chosen in (None, "", "mine")}  # fmt: skip
    assert found == {None: "new", "": "", "mine": "mine"}
    page.get_by_role("tab", name="Mix").click()
    page.wait_for_function("document.querySelector('#motion input')?.value")  # the newest, or the bare base


# Of every visible text: the contrast between its color and the nearest background (WCAG 2.1, relative luminance).
FAINT = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const rgba = parse(getComputedStyle(e).backgroundColor);
      if (rgba.length < 4 || rgba[3] > 0.5) return rgba;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((e) => e.offsetParent && !e.closest("svg, [disabled]")
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
  return texts.map((e) => {
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 60)];
  }).filter(([contrast]) => contrast < 4.5);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_texts_can_be_read(browser: sync_api.Browser, address: str, theme: str) -> None:
    page = open_page(browser, f"{address}/?__theme={theme}")
    for tab in TABS:
        turn_to(page, tab)
        page.wait_for_timeout(500)
        assert page.evaluate(FAINT) == [], tab
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    page.close()

"""What goes from one browser to another, in real ones: links, dropped renders, presets, and the library's undo."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np

from motion_transfer.types import Clip
from motion_transfer.ui import words
from motion_transfer.video.io import read_clip
from tests.ui.browser.driving import (
    JOB_MS,
    choose,
    fill_short_job,
    needs_chromium,
    open_page,
    served,
    sync_api,
    wait_until_plays,
)

pytestmark = needs_chromium


def test_a_shared_link_opens_elsewhere(browser: sync_api.Browser, address: str) -> None:
    """The link that one browser makes shows another what it asks for, and fills its controls when told to."""
    sender = open_page(browser, address)
    sender.get_by_role("tab", name="Mix").click()
    sender.get_by_label("Motion", exact=True).click()
    sender.get_by_role("option", name=words.NO_MOTION).click()
    sender.get_by_label("Prompt: what").fill("a green star on a white background")
    sender.get_by_label("Seed").first.fill("77")
    sender.get_by_role("button", name="Share").click()
    sender.locator("#make-link").click()
    link = sender.locator("#link textarea")
    sync_api.expect(link).to_have_value(re.compile(rf"^{re.escape(address)}/\?preset="))
    sender.wait_for_selector(".code svg")
    receiver = open_page(browser.new_context(), link.input_value())
    receiver.wait_for_selector("#opened:has-text('a green star on a white background')")
    receiver.locator("#use-link").click()
    sync_api.expect(receiver.get_by_label("Prompt: what")).to_have_value("a green star on a white background")
    sync_api.expect(receiver.get_by_label("Seed").first).to_have_value("77")
    sync_api.expect(receiver.get_by_label("Motion", exact=True)).to_have_value(words.NO_MOTION)
    sync_api.expect(receiver.locator("#opened")).to_be_hidden()
    damaged = open_page(browser.new_context(), link.input_value()[:-3] + "AAA")
    damaged.wait_for_selector("#opened .problem")
    sync_api.expect(damaged.locator("#use-link")).to_be_hidden()
    for page in (sender, receiver, damaged):
        page.close()


def _settings(page: sync_api.Page) -> list[str]:
    """What stands in the controls of the Mix tab, as far as they show."""
    inputs = page.get_by_role("tabpanel").filter(visible=True).locator("input:not([type=file]), textarea")
    return inputs.evaluate_all("all => all.filter(e => e.offsetParent && !e.readOnly && !e.disabled).map(e => e.value)")


def _rendered(page: sync_api.Page, target: Path) -> Clip:
    """What comes of pressing Render, as it is downloaded."""
    before = page.locator("#result video").get_attribute("src") if page.locator("#result video").count() else None
    page.locator("#render").click()
    page.wait_for_function("old => (document.querySelector('#result video')?.src ?? old) !== old", arg=before,
                           timeout=JOB_MS)  # fmt: skip
    with page.expect_download() as download:
        page.get_by_role("button", name=words.DOWNLOAD).click()
    download.value.save_as(target)
    return read_clip(target)


def _drop(page: sync_api.Page, path: Path) -> None:
    """Drops a file on the page's heading."""
    content = base64.b64encode(path.read_bytes()).decode()
    data = page.evaluate_handle(
        """([content, name]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, {type: "video/mp4"}));
            return data;
        }""",
        [content, path.name],
    )
    page.dispatch_event("h1", "drop", {"dataTransfer": data})


def test_a_shared_link_renders_the_same(
    browser: sync_api.Browser, tiny_base_folder: Path, clip_path: Path, tmp_path: Path
) -> None:
    """All settings arrive in another profile, and what is rendered there is equal within one level of 255."""
    with served(tiny_base_folder, tmp_path) as (address, _):
        sender = open_page(browser, address)
        choose(sender, clip_path)
        fill_short_job(sender, 3)
        sender.locator("#start").click()
        sender.wait_for_selector("#go-render:visible", timeout=JOB_MS)
        sender.locator("#go-render").click()
        sender.get_by_label("Prompt: what").fill("a green star on a white background")
        mix = sender.get_by_role("tabpanel").filter(visible=True)
        mix.get_by_role("button", name="Advanced settings").click()
        mix.get_by_label("Seed").fill("77")
        for label, value in (("Strength", "0.7"), ("Steps", "3"), ("Guidance", "2.5"), ("Motion until", "0.3")):
            mix.get_by_label(f"number input for {label}", exact=True).first.fill(value)
            mix.get_by_label(f"number input for {label}", exact=True).first.press("Tab")
        sent = _rendered(sender, tmp_path / "sent.mp4")
        finder = open_page(browser.new_context(), address)
        _drop(finder, tmp_path / "sent.mp4")
        shown = finder.get_by_role("tabpanel").filter(visible=True)
        sync_api.expect(shown.get_by_label("Seed")).to_have_value("77")
        shown.get_by_label("Seed").fill("5")
        _drop(finder, tmp_path / "sent.mp4")  # once more: it is taken again
        sync_api.expect(shown.get_by_label("Seed")).to_have_value("77")
        sync_api.expect(shown.get_by_label("Prompt: what")).to_have_value("a green star on a white background")
        mix.get_by_role("button", name="Share").click()
        sender.locator("#make-link").click()
        sync_api.expect(sender.locator("#link textarea")).to_have_value(re.compile("preset="))
        receiver = open_page(browser.new_context(), sender.locator("#link textarea").input_value())
        receiver.locator("#use-link").click()
        again = receiver.get_by_role("tabpanel").filter(visible=True)
        sync_api.expect(again.get_by_label("Seed")).to_have_value("77")
        again.get_by_role("button", name="Advanced settings").click()
        sync_api.expect(again.get_by_label("number input for Motion until", exact=True).first).to_be_visible()
        assert _settings(receiver) == _settings(sender)
        received = _rendered(receiver, tmp_path / "received.mp4")
        assert np.abs(received.frames_THWC.astype(int) - sent.frames_THWC.astype(int)).max() <= 1
        for page in (sender, receiver):
            page.close()


def test_a_motion_is_renamed_deleted_and_brought_back(page: sync_api.Page, clip_path: Path) -> None:
    choose(page, clip_path)
    page.get_by_label("Name of the motion").fill("Shelved")
    fill_short_job(page, 3)
    page.locator("#start").click()
    page.wait_for_selector("#go-render:visible", timeout=JOB_MS)
    page.get_by_role("tab", name="Library").click()
    item = page.locator("#items label", has_text="Shelved")
    item.click()
    wait_until_plays(page, "#item video")
    page.locator("#convert").click()
    with page.expect_download() as taken:
        page.locator("#converted").click()
    assert taken.value.suggested_filename == "shelved-comfyui.safetensors"
    page.get_by_label("Name", exact=True).fill("Renamed")
    page.locator("#rename").click()
    page.locator("#items label", has_text="Renamed").wait_for()
    page.locator("#delete").click()
    page.locator("#items label", has_text="Renamed").wait_for(state="detached")
    page.locator("#undo").click()
    page.locator("#items label", has_text="Renamed").wait_for()


def test_a_preset_is_saved_and_used(page: sync_api.Page) -> None:
    page.get_by_role("tab", name="Mix").click()
    page.wait_for_function("document.querySelector('#motion input')?.value")  # a motion is chosen
    page.get_by_label("Prompt: what").fill("a blue star on a white background")
    page.get_by_role("tab", name="Presets").click()
    page.get_by_label("Name of the preset").fill("Blue one")
    page.locator("#save-preset").click()
    page.locator("#presets label", has_text="Blue one").wait_for()
    page.wait_for_selector("#preset-facts:has-text('a blue star on a white background')")
    page.get_by_role("tab", name="Mix").click()
    page.get_by_label("Prompt: what").fill("something else")
    page.get_by_role("tab", name="Presets").click()
    page.locator("#use-preset").click()
    sync_api.expect(page.get_by_label("Prompt: what")).to_be_visible()  # the page has turned to Mix
    sync_api.expect(page.get_by_label("Prompt: what")).to_have_value("a blue star on a white background")
    page.get_by_role("tab", name="Presets").click()
    page.locator("#delete-preset").click()
    page.locator("#presets label", has_text="Blue one").wait_for(state="detached")
    page.locator("#undo-preset").click()
    page.locator("#presets label", has_text="Blue one").wait_for()

"""From an upload to a render, in a real browser; jobs outlive page, server and worker."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.ui.browser.driving import (
    JOB_MS,
    choose,
    fill_short_job,
    needs_chromium,
    open_page,
    served,
    shown_step,
    start_job,
    sync_api,
    turn_to,
    wait_for_status,
    wait_until_plays,
)

pytestmark = needs_chromium


def _trim(page: sync_api.Page) -> None:
    """Ends the span at three quarters of the clip, by a click on the strip of frames."""
    strip = page.locator("#strip img")
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": 0.75 * box["width"], "y": box["height"] / 2})
    end = page.get_by_label("To (seconds)")
    sync_api.expect(end).to_have_value(re.compile(r"3\.[01]\d*"))
    page.wait_for_function("document.querySelector('#span video')?.duration < 3.3")


def test_from_upload_to_render(page: sync_api.Page, clip_path: Path, scene: object) -> None:
    choose(page, clip_path)
    wait_until_plays(page, "#span video")
    _trim(page)
    assert page.get_by_label("Caption: what").input_value() == scene.caption  # type: ignore[attr-defined]
    page.get_by_label("Caption: what").fill("a red skateboard")
    page.wait_for_selector(".marked strong:has-text('skateboard')")
    page.get_by_label("Name of the motion").fill("My wave")
    fill_short_job(page, 3)
    page.locator("#start").click()
    page.wait_for_selector("#go-render:visible", timeout=JOB_MS)
    wait_until_plays(page, "#preview video")
    assert "My wave" in page.locator("#learn-status").inner_text()
    page.wait_for_selector("#tour strong:has-text('press Render')")
    sync_api.expect(page.locator("#estimate")).to_contain_text("by 1 of the jobs before")
    page.locator("#go-render").click()
    page.wait_for_function("document.querySelector('#motion input')?.value.includes('My wave')")
    page.get_by_label("Prompt: what").fill("a green star on a white background")
    page.get_by_role("button", name="Advanced settings").last.click()
    page.get_by_label("number input for Steps").fill("2")
    page.get_by_label("number input for Steps").press("Tab")
    page.locator("#render").click()
    wait_until_plays(page, "#result video")
    wait_until_plays(page, "#reference video")
    wait_until_plays(page, "#latest video")
    page.wait_for_selector("#place .card img")
    sync_api.expect(page.locator("#motion-2")).to_be_hidden()
    page.locator("#add-motion").click()
    page.locator("#motion-2 input").click()
    page.get_by_role("option", name="My wave").first.click()
    page.wait_for_selector("#place-2 .card img")
    page.get_by_label("number input for Strength").nth(1).fill("-0.5")
    page.get_by_label("number input for Strength").nth(1).press("Tab")
    page.get_by_label("Prompt: what").fill("a red star\na blue heart")
    page.locator("#render").click()
    page.wait_for_function("document.querySelectorAll('#latest video').length >= 3", timeout=JOB_MS)
    sync_api.expect(page.locator("#render-status")).to_contain_text("Done", timeout=JOB_MS)  # measured, too
    page.locator("#play-together").click()
    wait_until_plays(page, "#latest figure:nth-child(3) video")
    turn_to(page, "System")
    page.wait_for_function("[...document.querySelectorAll('video')].every(video => video.paused)")
    rests = page.evaluate("!!document.querySelector('#result video').dataset.rests")
    page.evaluate("delete document.querySelector('#reference video').dataset.rests")  # as if it had been paused before
    turn_to(page, "Mix")
    page.wait_for_function("rests => document.querySelector('#result video').paused !== rests", arg=rests)
    assert page.evaluate("document.querySelector('#reference video').paused")
    page.reload()
    page.wait_for_selector("#start")
    turn_to(page, "Mix")
    page.wait_for_selector("#place .card img")  # the motion that was learned, not the bare base


def test_pause_continue_and_cancel(page: sync_api.Page, clip_path: Path) -> None:
    start_job(page, clip_path, 20000, "long")
    page.locator("#learn-pause").click()
    wait_for_status(page, "Paused")
    step = shown_step(page)
    page.locator("#learn-continue").click()
    page.wait_for_selector("#learn-status progress", timeout=JOB_MS)
    number = "Number((document.querySelector('#learn-status').innerText.match(/Temporal.*step (\\d+)/) || [0, 0])[1])"
    page.wait_for_function(f"step => {number} > step", arg=step, timeout=JOB_MS)
    page.locator("#learn-cancel").click()
    wait_for_status(page, "Cancelled")
    page.get_by_role("tab", name="Mix").click()
    page.get_by_label("Prompt: what").fill("a red star")
    page.locator("#render").click()
    wait_until_plays(page, "#result video")


def test_a_job_outlives_its_page(browser: sync_api.Browser, address: str, clip_path: Path) -> None:
    page = open_page(browser, address)
    start_job(page, clip_path, 20000, "left alone")
    step = shown_step(page)
    page.close()
    page = open_page(browser, address)
    wait_for_status(page, "Temporal stage")
    assert shown_step(page) >= step
    page.locator("#learn-cancel").click()
    wait_for_status(page, "Cancelled")
    page.close()


def test_a_job_outlives_server_and_worker(
    browser: sync_api.Browser, tiny_base_folder: Path, clip_path: Path, tmp_path: Path
) -> None:
    """kill -9 of both once something was kept: the next start goes on from there, to an undisturbed run's bytes."""
    with served(tiny_base_folder, tmp_path) as (address, server):
        page = open_page(browser, address)
        start_job(page, clip_path, 700, "Wave")
        while not any((tmp_path / "space" / "jobs").glob("*/state-*-?*.safetensors")):
            page.wait_for_timeout(50)
        for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        server.kill()
        server.wait()
        page.close()
    with served(tiny_base_folder, tmp_path) as (address, _):
        page = open_page(browser, address)
        wait_for_status(page, "Temporal stage")
        assert shown_step(page) > 10  # not from the first one on
        wait_for_status(page, "Saved as")
        start_job(page, clip_path, 700, "Wave")
        wait_for_status(page, "Saved as")
        page.close()
    resumed, whole = (tmp_path / "space" / "loras" / f"wave{end}.safetensors" for end in ("", "-2"))
    assert resumed.read_bytes() == whole.read_bytes()

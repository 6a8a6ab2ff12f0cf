"""Sliders in a real browser, on the base that ships: what is dragged is what the camera does."""

from __future__ import annotations

from pathlib import Path

from motion_transfer.evaluate.amplitude import amplitudes
from motion_transfer.ui import words
from motion_transfer.video.io import read_clip
from tests.ui.browser.driving import JOB_MS, needs_chromium, open_page, served, sync_api

pytestmark = needs_chromium
PROMPT, LOOK = "a red arrow on a white background", ("arrow", "red")


def _choose(page: sync_api.Page, place: str, name: str) -> None:
    page.locator(f"#motion{place} input").click()
    page.get_by_role("option", name=name).click()


def _drag(page: sync_api.Page, place: str, to: float) -> None:
    """Drags a strength's slider to where it should be; again, if the page moved it away meanwhile."""
    slider = page.locator(f"#strength{place} input[type=range]")
    low, high = (float(slider.get_attribute(end)) for end in ("min", "max"))
    for _ in range(5):
        slider.scroll_into_view_if_needed()
        box, now = slider.bounding_box(), float(slider.input_value())
        inset = box["height"] / 2  # the handle's middle goes from there to there
        place_of = [box["x"] + inset + (at - low) / (high - low) * (box["width"] - 2 * inset) for at in (now, to)]
        page.mouse.move(place_of[0], box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(place_of[1], box["y"] + box["height"] / 2, steps=8)
        page.mouse.up()
        page.wait_for_timeout(500)
        if abs(float(slider.input_value()) - to) < 0.1:
            return
    raise AssertionError(f"the slider stands at {slider.input_value()}, not at {to}")


def _rendered(page: sync_api.Page, target: Path) -> dict[str, float | None]:
    """What the camera does in what comes of pressing Render."""
    before = page.locator("#result video").get_attribute("src") if page.locator("#result video").count() else None
    page.locator("#render").click()
    page.wait_for_function("old => (document.querySelector('#result video')?.src ?? old) !== old", arg=before,
                           timeout=JOB_MS)  # fmt: skip
    with page.expect_download() as download:
        page.get_by_role("button", name=words.DOWNLOAD).click()
    download.value.save_as(target)
    return amplitudes(read_clip(target), LOOK)


def test_the_camera_follows_two_sliders(browser: sync_api.Browser, tmp_path: Path) -> None:
    with served(Path("nano"), tmp_path) as (address, _):
        page = open_page(browser, address)
        page.get_by_role("tab", name="Mix").click()
        _choose(page, "", "Control: pan")
        page.locator("#add-motion").click()
        _choose(page, "-2", "Control: zoom")
        page.get_by_label("Prompt: what").fill(PROMPT)
        page.wait_for_selector("#meter table")
        found = []
        for pan, zoom in ((-1.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
            _drag(page, "", pan)
            _drag(page, "-2", zoom)
            page.wait_for_selector("#readout :text('frame widths')")
            found.append(_rendered(page, tmp_path / f"{len(found)}.mp4"))
        page.close()
    left, right, closer = found
    assert right["pan"] - left["pan"] > 0.2
    assert closer["zoom"] - max(left["zoom"], right["zoom"]) > 0.15

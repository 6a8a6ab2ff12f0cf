"""The whole page in a real browser: upload a clip, learn its motion, render it, watch the result."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from motion_transfer.types import Clip
from motion_transfer.ui import words
from motion_transfer.video.io import read_clip

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


@contextmanager
def _served(base: Path, work: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen]]:
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


@pytest.fixture(scope="module")
def address(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _served(tiny_base_folder, tmp_path_factory.mktemp("page")) as (address, _):
        yield address


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
    sync_api.expect.set_options(timeout=WAIT_MS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def _open(browser: sync_api.Browser, address: str) -> sync_api.Page:
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_selector("#start")
    return page


@pytest.fixture
def page(browser: sync_api.Browser, address: str) -> Iterator[sync_api.Page]:
    page = _open(browser, address)
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
    page.wait_for_function("s => document.querySelector(s)?.readyState >= 2", arg=selector)
    begin = page.evaluate("s => document.querySelector(s)?.currentTime", selector)
    page.wait_for_function("([s, t]) => document.querySelector(s)?.currentTime !== t", arg=[selector, begin])


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
    _choose(page, clip_path)
    _plays(page, "#span video")
    _trim(page)
    assert page.get_by_label("Caption: what").input_value() == scene.caption  # type: ignore[attr-defined]
    page.get_by_label("Caption: what").fill("a red skateboard")
    page.wait_for_selector(".marked strong:has-text('skateboard')")
    page.get_by_label("Name of the motion").fill("My wave")
    _order_short_job(page, 3)
    page.locator("#start").click()
    page.wait_for_selector("#go-render:visible", timeout=JOB_MS)
    assert "My wave" in page.locator("#learn-status").inner_text()
    page.locator("#go-render").click()
    page.wait_for_function("document.querySelector('#motion input')?.value.includes('My wave')")
    page.get_by_label("Prompt: what").fill("a green star on a white background")
    page.get_by_role("button", name="Advanced settings").last.click()
    page.get_by_label("number input for Steps").fill("2")
    page.get_by_label("number input for Steps").press("Tab")
    page.locator("#render").click()
    _plays(page, "#result video")
    _plays(page, "#reference video")
    _plays(page, "#latest video")
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
    page.locator("#play-together").click()
    _plays(page, "#latest figure:nth-child(3) video")


def _start(page: sync_api.Page, clip_path: Path, temporal_steps: int, name: str) -> None:
    """Starts a job, and waits until its temporal stage is under way."""
    _choose(page, clip_path)
    page.get_by_label("Name of the motion").fill(name)
    _order_short_job(page, temporal_steps)
    page.locator("#start").click()
    page.wait_for_selector("#learn-status:has-text('Temporal stage')", timeout=JOB_MS)


def _step(page: sync_api.Page) -> int:
    found = re.search(r"step (\d+)", page.locator("#learn-status").inner_text())
    return int(found[1]) if found else 0


def test_pause_continue_and_cancel(page: sync_api.Page, clip_path: Path) -> None:
    _start(page, clip_path, 20000, "long")
    page.locator("#learn-pause").click()
    page.wait_for_selector("#learn-status:has-text('Paused')", timeout=JOB_MS)
    step = _step(page)
    page.locator("#learn-continue").click()
    page.wait_for_selector("#learn-status progress", timeout=JOB_MS)
    number = "Number((document.querySelector('#learn-status').innerText.match(/Temporal.*step (\\d+)/) || [0, 0])[1])"
    page.wait_for_function(f"step => {number} > step", arg=step, timeout=JOB_MS)
    page.locator("#learn-cancel").click()
    page.wait_for_selector("#learn-status:has-text('Cancelled')", timeout=JOB_MS)
    page.get_by_role("tab", name="Mix").click()
    page.get_by_label("Prompt: what").fill("a red star")
    page.locator("#render").click()
    _plays(page, "#result video")


def test_a_job_outlives_its_page(browser: sync_api.Browser, address: str, clip_path: Path) -> None:
    page = _open(browser, address)
    _start(page, clip_path, 20000, "left alone")
    step = _step(page)
    page.close()
    page = _open(browser, address)
    page.wait_for_selector("#learn-status:has-text('Temporal stage')", timeout=JOB_MS)
    assert _step(page) >= step
    page.locator("#learn-cancel").click()
    page.wait_for_selector("#learn-status:has-text('Cancelled')", timeout=JOB_MS)
    page.close()


def test_a_job_outlives_server_and_worker(
    browser: sync_api.Browser, tiny_base_folder: Path, clip_path: Path, tmp_path: Path
) -> None:
    """kill -9 of both once something was kept: the next start goes on from there, to an undisturbed run's bytes."""
    with _served(tiny_base_folder, tmp_path) as (address, server):
        page = _open(browser, address)
        _start(page, clip_path, 1500, "Wave")
        while not any((tmp_path / "space" / "jobs").glob("*/state-*-?*.safetensors")):
            page.wait_for_timeout(50)
        for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        server.kill()
        server.wait()
        page.close()
    with _served(tiny_base_folder, tmp_path) as (address, _):
        page = _open(browser, address)
        page.wait_for_selector("#learn-status:has-text('Temporal stage')", timeout=JOB_MS)
        assert _step(page) > 10  # not from the first one on
        page.wait_for_selector("#learn-status:has-text('Saved as')", timeout=JOB_MS)
        _start(page, clip_path, 1500, "Wave")
        page.wait_for_selector("#learn-status:has-text('Saved as')", timeout=JOB_MS)
        page.close()
    resumed, whole = (tmp_path / "space" / "loras" / f"wave{end}.safetensors" for end in ("", "-2"))
    assert resumed.read_bytes() == whole.read_bytes()


def _kept_files(workspace: Path) -> list[Path]:
    """All that a workspace keeps, but what its pages show: copies under names that can't be guessed."""
    return [path for path in workspace.rglob("*") if path.is_file() and "uploads" not in path.parts]


def test_two_visitors_never_see_each_other(
    browser: sync_api.Browser, tiny_base_folder: Path, clip_path: Path, tmp_path: Path
) -> None:
    """Neither on any tab, nor in anything that the server sends, nor by asking for the other's files by path."""
    with _served(tiny_base_folder, tmp_path, "--visitors") as (address, _):
        pages = [_open(browser.new_context(), address) for _ in range(2)]  # type: ignore[arg-type]
        sent: list[set[str]] = [set(), set()]
        for page, urls in zip(pages, sent, strict=True):
            page.on("response", lambda answer, urls=urls: urls.add(answer.url))
        _choose(pages[0], clip_path)
        pages[0].get_by_label("Name of the motion").fill("Mine alone")
        _order_short_job(pages[0], 3)
        pages[0].locator("#start").click()
        pages[0].wait_for_selector("#learn-status:has-text('Mine alone')", timeout=JOB_MS)
        pages[1].wait_for_timeout(2500)
        assert "Choose a clip" in pages[1].locator("#learn-status").inner_text()
        for page, seen in zip(pages, (True, False), strict=True):
            page.reload()
            page.get_by_role("tab", name="Mix").click()
            page.locator("#motion input").click()
            page.wait_for_timeout(1500)
            assert page.get_by_role("option", name="Mine alone").is_visible() == seen
        for tab in ("Learn", "Mix", "Jobs", "Library", "Presets", "System"):
            pages[1].get_by_role("tab", name=tab).click()
            pages[1].wait_for_timeout(1500)
            assert "Mine alone" not in pages[1].content(), tab
        examples = {path.name for path in (ROOT / "assets").rglob("*")}
        own = {url for url in sent[0] if "file=" in url and url.rpartition("/")[2] not in examples}
        assert own and not own & sent[1]
        kept = _kept_files(tmp_path / "space")
        assert any(path.suffix == ".safetensors" for path in kept)
        for path in kept:
            answer = pages[1].request.get(f"{address}/gradio_api/file={path}")
            assert answer.status in (403, 404), path
        for page in pages:
            page.close()


def test_a_missing_clip_is_told_in_one_sentence(page: sync_api.Page) -> None:
    page.locator("#start").click()
    page.wait_for_selector("#learn-status [role=alert]")
    assert "Traceback" not in page.content()


def _turn_to(page: sync_api.Page, tab: str) -> None:
    """Opens a tab; on a phone some are in a menu."""
    shown = page.get_by_role("tab", name=tab)
    if shown.is_visible():
        shown.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=tab).click()
    sync_api.expect(page.get_by_role("tabpanel").filter(visible=True)).to_have_count(1)


def test_every_control_has_a_name_and_fits_a_phone(page: sync_api.Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for tab in ("Learn", "Mix", "Jobs", "Library", "Presets", "System"):
        _turn_to(page, tab)
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


def test_a_shared_link_opens_elsewhere(browser: sync_api.Browser, address: str) -> None:
    """The link that one browser makes shows another what it asks for, and fills its controls when told to."""
    sender = _open(browser, address)
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
    receiver = _open(browser.new_context(), link.input_value())
    receiver.wait_for_selector("#opened:has-text('a green star on a white background')")
    receiver.locator("#use-link").click()
    sync_api.expect(receiver.get_by_label("Prompt: what")).to_have_value("a green star on a white background")
    sync_api.expect(receiver.get_by_label("Seed").first).to_have_value("77")
    sync_api.expect(receiver.get_by_label("Motion", exact=True)).to_have_value(words.NO_MOTION)
    sync_api.expect(receiver.locator("#opened")).to_be_hidden()
    damaged = _open(browser.new_context(), link.input_value()[:-3] + "AAA")
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
    with _served(tiny_base_folder, tmp_path) as (address, _):
        sender = _open(browser, address)
        _choose(sender, clip_path)
        _order_short_job(sender, 3)
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
        finder = _open(browser.new_context(), address)
        _drop(finder, tmp_path / "sent.mp4")
        shown = finder.get_by_role("tabpanel").filter(visible=True)
        sync_api.expect(shown.get_by_label("Seed")).to_have_value("77")
        sync_api.expect(shown.get_by_label("Prompt: what")).to_have_value("a green star on a white background")
        mix.get_by_role("button", name="Share").click()
        sender.locator("#make-link").click()
        sync_api.expect(sender.locator("#link textarea")).to_have_value(re.compile("preset="))
        receiver = _open(browser.new_context(), sender.locator("#link textarea").input_value())
        receiver.locator("#use-link").click()
        again = receiver.get_by_role("tabpanel").filter(visible=True)
        sync_api.expect(again.get_by_label("Seed")).to_have_value("77")
        again.get_by_role("button", name="Advanced settings").click()
        assert _settings(receiver) == _settings(sender)
        received = _rendered(receiver, tmp_path / "received.mp4")
        assert np.abs(received.frames_THWC.astype(int) - sent.frames_THWC.astype(int)).max() <= 1
        for page in (sender, receiver):
            page.close()


def test_a_motion_is_renamed_deleted_and_brought_back(page: sync_api.Page, clip_path: Path) -> None:
    _choose(page, clip_path)
    page.get_by_label("Name of the motion").fill("Shelved")
    _order_short_job(page, 3)
    page.locator("#start").click()
    page.wait_for_selector("#go-render:visible", timeout=JOB_MS)
    page.get_by_role("tab", name="Library").click()
    item = page.locator("#items label", has_text="Shelved")
    item.click()
    _plays(page, "#item video")
    page.get_by_label("Name", exact=True).fill("Renamed")
    page.locator("#rename").click()
    page.locator("#items label", has_text="Renamed").wait_for()
    page.locator("#delete").click()
    page.locator("#items label", has_text="Renamed").wait_for(state="detached")
    page.locator("#undo").click()
    page.locator("#items label", has_text="Renamed").wait_for()


def test_a_preset_is_saved_and_used(page: sync_api.Page) -> None:
    page.get_by_role("tab", name="Mix").click()
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
    sync_api.expect(page.get_by_label("Prompt: what")).to_have_value("a blue star on a white background")


@pytest.mark.parametrize(("locale", "said"), [("zh-CN", "渲染"), ("en-US", "Render"), ("fr-FR", "Render")])
def test_the_page_speaks_its_reader_s_language(browser: sync_api.Browser, address: str, locale: str, said: str) -> None:
    """In labels, in what the server answers, and without a mark that nobody replaced."""
    context = browser.new_context(locale=locale)
    page = _open(context, address)
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
    with _served(tiny_base_folder, tmp_path) as (address, _):
        context = browser.new_context()
        page = _open(context, address)
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

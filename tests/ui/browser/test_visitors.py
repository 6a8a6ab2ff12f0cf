"""Two browsers on a page that keeps its visitors apart."""

from __future__ import annotations

from pathlib import Path

from tests.ui.browser.driving import (
    ROOT,
    TABS,
    choose,
    fill_short_job,
    needs_chromium,
    open_page,
    served,
    sync_api,
    wait_for_status,
)

pytestmark = needs_chromium


def _kept_files(workspace: Path) -> list[Path]:
    """All that a workspace keeps, but what its pages show: copies under names that can't be guessed."""
    return [path for path in workspace.rglob("*") if path.is_file() and "uploads" not in path.parts]


def test_two_visitors_never_see_each_other(
    browser: sync_api.Browser, tiny_base_folder: Path, clip_path: Path, tmp_path: Path
) -> None:
    """Neither on any tab, nor in anything that the server sends, nor by asking for the other's files by path."""
    with served(tiny_base_folder, tmp_path, "--visitors") as (address, _):
        pages = [open_page(browser.new_context(), address) for _ in range(2)]  # type: ignore[arg-type]
        sent: list[set[str]] = [set(), set()]
        for page, urls in zip(pages, sent, strict=True):
            page.on("response", lambda answer, urls=urls: urls.add(answer.url))
        choose(pages[0], clip_path)
        pages[0].get_by_label("Name of the motion").fill("Mine alone")
        fill_short_job(pages[0], 3)
        pages[0].locator("#start").click()
        wait_for_status(pages[0], "Mine alone")
        pages[1].wait_for_timeout(4500)
        assert "Choose a clip" in pages[1].locator("#learn-status").inner_text()
        for page, seen in zip(pages, (True, False), strict=True):
            page.reload()
            page.get_by_role("tab", name="Mix").click()
            page.locator("#motion input").click()
            page.wait_for_timeout(1500)
            assert page.get_by_role("option", name="Mine alone").is_visible() == seen
        for tab in TABS:
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

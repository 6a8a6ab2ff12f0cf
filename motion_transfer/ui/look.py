"""How the page looks, and what the browser does by itself: colors, layout, names for screen readers, dropped files."""

from __future__ import annotations

import gradio as gr

# What gradio leaves without a name, for screen readers: a gallery's buttons, which hold videos alone, get those of the
# files; the link, which can be copied, and pictures that can be clicked get their block's.
NAME_CONTROLS = r"""() => {
    const name = () => {
        document.querySelectorAll(".gallery-item:not([aria-label]) video").forEach((video) =>
            video.closest("button").setAttribute("aria-label",
                video.src.split("/").pop().replace(/\.\w+$/, "").replaceAll("-", " ")));
        document.querySelectorAll("#link textarea:not([aria-label]), button:has(> .image-frame):not([aria-label])")
            .forEach((part) => part.setAttribute("aria-label", part.closest(".block").textContent.trim()));
    };
    new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
    name();
}"""
# Gradio's start screen counts its seconds for ever, sixty frames each, even when it has gone; a page that draws takes a
# quarter of a tuning's speed on two cores. The count asks what time it is, and ends where it gets no answer.
END_STRAY_FRAMES = r"""() => {
    const now = performance.now;
    const isStray = () => {
        const callers = (new Error().stack || "").split("\n").filter((line) =>
            line.includes("/assets/") && !/eval|Function/.test(line));
        return callers.length === 1 && callers[0].includes("statustracker");  // nobody but the next frame
    };
    const arm = () => {
        performance.now = () => {
            if (!isStray()) return now.call(performance);
            performance.now = now;
            addEventListener("error", (event) => event.preventDefault(), {once: true});
            throw new Error("the start screen is gone");
        };
        setTimeout(() => { performance.now = now; }, 20000);
    };
    if (document.visibilityState === "visible") arm();
    else document.addEventListener("visibilitychange", arm, {once: true});
}"""
# A video that plays has the browser draw all the time, even on a tab out of sight or without a file.
REST_VIDEOS = r"""() => {
    const look = (video) => {
        const isHidden = !video.getClientRects().length && document.pictureInPictureElement !== video;
        if (isHidden && !video.paused) {
            video.pause();
            video.dataset.rests = "yes";
        } else if (!isHidden && video.dataset.rests) {
            delete video.dataset.rests;
            video.play().catch(() => {});
        }
    };
    const sizes = new ResizeObserver((changes) => changes.forEach((change) => look(change.target)));
    document.addEventListener("play", ({target: video}) => {
        delete video.dataset.rests;
        sizes.observe(video);
        setTimeout(() => video.currentSrc || video.pause(), 100);
    }, true);
}"""
# A file dropped beside all places for files would replace the page; instead, it is taken for a render.
TAKE_DROPPED = r"""() => {
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
        if (event.defaultPrevented || !event.dataTransfer.files.length) return;
        event.preventDefault();
        const input = document.querySelector("#dropped input[type=file]");
        if (!input) return;  // the one before is still being read
        input.files = event.dataTransfer.files;
        input.dispatchEvent(new Event("change", {bubbles: true}));
    });
}"""

CSS = """
.dark { --color-accent: #3b82f6; }
.job progress { width: 100%; height: 0.6rem; accent-color: #2563eb; }
.job p { margin: 0.25rem 0 0; overflow-wrap: anywhere; }
.problem { border-left: 4px solid #d55e00; padding-left: 0.75rem; }
#random, #rename { align-self: end; }
#heads, #span, #strip, #box, #preview, #reference, #result, #item, #beside, #job-video { padding-top: 1.9rem; }
#strip img { cursor: col-resize; }
.card { display: flex; gap: 0.75rem; align-items: center; }
.card img { max-width: 12rem; height: 4rem; object-fit: cover; border-radius: 4px; image-rendering: pixelated; }
.card p { margin: 0; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(110px, 1fr)); gap: 0.75rem; }
.grid figure { margin: 0; }
.grid video { width: 100%; image-rendering: pixelated; border-radius: 4px; }
.grid figcaption { overflow-wrap: anywhere; font-size: 0.85rem; }
.facts th { text-align: left; padding-right: 1rem; font-weight: 600; vertical-align: top; }
.facts td { overflow-wrap: anywhere; }
.bars { display: inline-flex; align-items: flex-end; gap: 2px; height: 2.5rem; }
.bars i { width: 6px; min-height: 1px; background: var(--color-accent); }
.or, .min_value, .max_value { color: var(--body-text-color) !important; }
.marked strong { color: #d55e00; }
#opened, #tour { padding: 0.75rem 1rem; border-left: 4px solid #2563eb; background: var(--background-fill-secondary); }
.code svg { max-width: 100%; height: auto; }
#scores table { width: 100%; display: table; }
#scores td { overflow-wrap: anywhere; }
#scores td:last-child, #scores th:last-child { white-space: nowrap; }
"""


def page_theme() -> gr.Theme:
    """The stock look with the system's own font, in colors whose contrast is at least 4.5 (WCAG 2.1, 1.4.3)."""
    theme = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    return theme.set(
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
        color_accent="*primary_600", button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700", button_cancel_background_fill="#dc2626",
        button_cancel_background_fill_hover="#b91c1c",
    )  # fmt: skip

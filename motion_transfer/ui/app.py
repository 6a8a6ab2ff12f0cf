"""The page: a heading, an honest word about the base, and the tabs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from motion_transfer.library import Library
from motion_transfer.pipeline import Studio
from motion_transfer.ui import words
from motion_transfer.ui.desk import Desk
from motion_transfer.ui.learn import example_clips
from motion_transfer.ui.tab_learn import QUIET, build_learn_tab
from motion_transfer.ui.tab_render import build_render_tab

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "clips"
MAX_UPLOAD = "500mb"
CACHE_SECONDS = (3600, 24 * 3600)  # how often to look for old uploads, and how old they may get

CSS = """
.job progress { width: 100%; height: 0.6rem; accent-color: #2563eb; }
.job p { margin: 0.25rem 0 0; overflow-wrap: anywhere; }
.problem { border-left: 4px solid #d55e00; padding-left: 0.75rem; }
#random { align-self: end; }
#heads, #span, #preview, #reference, #result { padding-top: 1.9rem; }
.marked strong { color: #d55e00; }
#scores table { width: 100%; display: table; }
#scores td { overflow-wrap: anywhere; }
"""


def _heading(studio: Studio) -> str:
    spec = studio.base.spec
    base = words.BASE_NOTE.format(name=spec.name, width=spec.width, height=spec.height, frames=spec.num_frames)
    return f"# {words.TITLE}\n{words.INTRO}\n\n{spec.note or base}"


def build_app(studio: Studio, library: Library) -> gr.Blocks:
    """Builds the page; opens the base, whose words and size the page shows."""
    desk = Desk()
    with gr.Blocks(title=words.TITLE, analytics_enabled=False, delete_cache=CACHE_SECONDS) as app:
        gr.Markdown(_heading(studio))
        with gr.Tabs() as tabs:
            with gr.Tab(words.LEARN_TAB, id="learn"):
                learned = build_learn_tab(studio, library, desk, example_clips(EXAMPLES))
            with gr.Tab(words.RENDER_TAB, id="render") as render_tab:
                renders = build_render_tab(studio, library, desk)
        app.load(lambda: renders.refresh(None), None, renders.motion, **QUIET)
        render_tab.select(renders.refresh, renders.motion, renders.motion, **QUIET)
        learned.ended.then(
            lambda saved, chosen: renders.refresh(saved or chosen),
            [learned.saved, renders.motion],
            renders.motion,
            **QUIET,
        )
        learned.go_render.click(lambda: gr.Tabs(selected="render"), None, tabs, queue=False, **QUIET)
    return app


def _theme() -> gr.Theme:
    """The stock look with the system's own font, and small print that is dark enough to read."""
    theme = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    return theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")


def launch_options(library: Library) -> dict[str, Any]:
    """How the page is served: no history, no tracebacks, no files but renders and examples."""
    return {
        "show_error": False,
        "run_history": False,
        "ssr_mode": False,
        "footer_links": [],
        "max_file_size": MAX_UPLOAD,
        "allowed_paths": [str(library.renders), str(EXAMPLES)],
        "blocked_paths": [str(library.loras)],
        "theme": _theme(),
        "css": CSS,
    }

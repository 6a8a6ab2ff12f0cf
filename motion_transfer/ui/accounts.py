"""Visitors' own accounts of the Hugging Face Hub, with which they log in on a Space."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gradio as gr

ON_SPACE = "SPACE_ID" in os.environ  # elsewhere nobody can log in on the page


def on_own_account(handler: Callable[[Any, Any, str | None], Any]) -> Callable[..., Any]:
    """A handler of two parts of the page, given the token of the visitor's own account, None without one.

    Args:
        handler: takes the values of both and the token.
    """

    def logged_in(one: Any, other: Any, account: gr.OAuthToken | None) -> Any:
        return handler(one, other, account.token if account else None)

    return logged_in if ON_SPACE else lambda one, other: handler(one, other, None)

"""Starting the page: what can be wrong with its options."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import app


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starting sets for the libraries is undone afterwards."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize(
    "options", [["--port", "70000"], ["--host", "203.0.113.7"], ["--host", "no such host"], ["--base", "huge"]]
)
def test_a_mistake_is_one_line(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([*options, "--workspace", str(tmp_path), "--no-browser"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")


def test_agents_need_their_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    assert app.main(["--mcp", "--workspace", str(tmp_path), "--no-browser"]) == 2
    assert "mcp<2" in capsys.readouterr().err


def test_a_workspace_that_takes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert app.main(["--workspace", str(tmp_path / "file"), "--no-browser"]) == 2
    assert "--workspace" in capsys.readouterr().err


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        first = busy.getsockname()[1]
        port = app.free_port("127.0.0.1", first)
    assert port is None or first < port < first + app.NUM_PORTS
    assert app.free_port("127.0.0.1", -1) is not None


def test_the_first_command_of_the_readme_serves_the_page(tmp_path: Path) -> None:
    command = [sys.executable, app.__file__, "--no-browser", "--workspace", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stdout is not None
        try:
            address = next(found[0] for line in server.stdout if (found := re.search(r"http://[0-9.:]+", line)))
            with urllib.request.urlopen(address, timeout=60) as page:
                assert page.status == 200 and b"gradio" in page.read()
        finally:
            server.terminate()

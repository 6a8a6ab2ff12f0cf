"""The endpoints, driven by gradio_client from upload to result, as a script would."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from motion_transfer.jobs.worker import Worker
from motion_transfer.lora.files import load_lora
from motion_transfer.pipeline import Studio
from motion_transfer.ui import words
from motion_transfer.ui.api import Endpoints
from motion_transfer.ui.app import build_app, launch_options
from motion_transfer.ui.desk import Place
from motion_transfer.video.io import read_clip
from motion_transfer.workspace import SHORTEST_TOKEN, Workspace
from tests.ui.orders import SHORT

WAIT_S = 240.0
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A served page with a worker beside it, and a client of it."""
    with pytest.MonkeyPatch.context() as patch:
        workspace = Workspace(tmp_path_factory.mktemp("api"))
        patch.setenv("GRADIO_TEMP_DIR", str(workspace.uploads))
        leaving = threading.Event()
        worker = threading.Thread(target=Worker(workspace, studio, leaving).work_until_leaving, daemon=True)
        worker.start()
        app = build_app(studio, workspace)
        _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **launch_options(workspace))
        yield Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))
        app.close()
        leaving.set()
        worker.join()


def _done(client: Client, key: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        job = client.predict(key=key, api_name="/job")
        if job["state"] not in ("queued", "running"):
            assert job["state"] == "done", job
            return job
        time.sleep(0.2)
    raise AssertionError("the job takes too long")


def test_from_upload_to_download(client: Client, clip_path: Path) -> None:
    key = client.predict(clip=handle_file(clip_path), caption="a red circle", name="api wave", settings=SHORT,
                         api_name="/learn")  # fmt: skip
    learned = _done(client, key)
    assert learned["title"] == "api wave" and learned["results"]["motion"]
    assert load_lora(Path(client.predict(key=key, api_name="/result"))).info["caption"] == "a red circle"
    key = client.predict(prompt="a green star", motions={learned["results"]["motion"]: 0.5}, seed=3,
                         settings={"steps": 2}, api_name="/render")  # fmt: skip
    assert _done(client, key)["results"]["seed"] == 3
    assert read_clip(client.predict(key=key, api_name="/result")).num_frames > 1


def test_a_part_of_a_clip_is_learned(client: Client, clip_path: Path) -> None:
    key = client.predict(clip=handle_file(clip_path), caption="a red circle", start=0.2, end=0.9, crop="2,0.5,0.5",
                         settings=SHORT, api_name="/learn")  # fmt: skip
    info = load_lora(Path(client.predict(key=_done(client, key)["key"], api_name="/result"))).info
    assert info["clip_seconds"] == pytest.approx(0.7, abs=0.1)


def test_the_documented_script_runs(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands in the document, but for the address and with few steps."""
    text = (ROOT / "docs" / "api.md").read_text()
    script = text.split("```python\n")[1].split("```")[0]
    assert 'Client("http://127.0.0.1:7860")' in script
    predict = Client.predict

    def in_few_steps(self: Client, *args: Any, api_name: str, **values: Any) -> Any:
        settings = {"/learn": {"settings": SHORT}, "/render": {"settings": {"steps": 2}}}.get(api_name, {})
        return predict(self, *args, api_name=api_name, **values, **settings)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Client, "predict", in_few_steps)
    exec(compile(script.replace("http://127.0.0.1:7860", client.src), "docs/api.md", "exec"), {})
    assert read_clip(Path(capsys.readouterr().out.strip().splitlines()[-1])).num_frames > 1


def test_agents_get_the_same_tools(studio: Studio, tmp_path: Path) -> None:
    """Over MCP, each with a description and a type for every argument."""
    pytest.importorskip("mcp", reason="the package mcp is not installed")
    workspace = Workspace(tmp_path / "work")
    app = build_app(studio, workspace)
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, mcp_server=True, **launch_options(workspace))
    try:
        tools = {tool["name"]: tool for tool in httpx.get(f"{address}gradio_api/mcp/schema", timeout=60).json()}
    finally:
        app.close()
    assert {name.split("_")[-1] for name in tools} == {"learn", "render", "job", "result", "cancel"}
    for tool in tools.values():
        arguments = tool["inputSchema"]["properties"].values()
        assert len(tool["description"]) > 20 and all(one["description"] for one in arguments)
        assert {one["type"] for one in arguments} <= {"string", "number", "integer", "object"}


def test_the_page_can_be_installed(client: Client) -> None:
    manifest = httpx.get(f"{client.src}manifest.json").json()
    assert manifest["name"] == words.TITLE and manifest["start_url"]


@pytest.mark.parametrize(
    ("endpoint", "values", "word"),
    [
        ("/render", {"prompt": ""}, "prompt"),
        ("/render", {"prompt": "x", "motions": {"../gone": 1.0}}, "none called"),
        ("/render", {"prompt": "x", "settings": {"colour": 1}}, "colour"),
        ("/render", {"prompt": "x", "settings": {"steps": 0}}, "steps"),
        ("/render", {"prompt": "x", "settings": [1]}, "by name"),
        ("/render", {"prompt": "x" * 3000}, "prompt"),
        ("/render", {"prompt": "x", "motions": 5}, "at most 4"),
        ("/render", {"prompt": "x", "motions": {"a": "much"}}, "strength of a"),
        ("/render", {"prompt": "x", "motions": dict.fromkeys("abcde", 1.0)}, "at most"),
        ("/job", {"key": "gone"}, "job"),
        ("/result", {"key": "gone"}, "job"),
        ("/cancel", {"key": "gone"}, "job"),
    ],
)
def test_a_mistake_is_one_sentence(client: Client, endpoint: str, values: dict[str, Any], word: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(**values, api_name=endpoint)
    assert word in str(caught.value).lower() and "Traceback" not in str(caught.value)


def test_only_the_endpoints_are_public(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)
    assert set(named["named_endpoints"]) == {"/learn", "/render", "/job", "/result", "/cancel"}
    assert not named["unnamed_endpoints"] and "path" not in json.dumps(list(named["named_endpoints"]["/render"]))


def test_no_path_of_this_machine_is_taken(client: Client, clip_path: Path) -> None:
    """A file that was not uploaded is refused, though it is there and the request says that it was uploaded."""
    plain = {"path": str(clip_path)}
    for clip in (str(clip_path), plain, {**plain, "meta": {"_type": "gradio.FileData"}}):
        call = f"{client.src}gradio_api/call/learn"
        event = httpx.post(call, json={"data": [clip, "", "", "all", 0.0, 0.0, "", SHORT, ""]}).json()["event_id"]
        answer = httpx.get(f"{call}/{event}", timeout=60).text
        assert "event: error" in answer and "event: complete" not in answer and "Traceback" not in answer


def test_what_is_no_text_or_number_is_refused(studio: Studio, tmp_path: Path) -> None:
    """What gradio would let through to the functions behind the endpoints."""
    place = Place(workspace=Workspace(tmp_path / "work"), owner="")
    endpoints = Endpoints(studio, lambda _: place)
    for values in ((5, {}, 0), ("x", {"a": "1"}, 0), ("x", {"a": True}, 0), ("x", {}, None)):
        with pytest.raises(gr.Error, match="should be a"):
            endpoints.render(*values, {}, "")  # type: ignore[arg-type]
    with pytest.raises(gr.Error, match="Caption"):
        endpoints.learn("a.mp4", 5, "", "all", 0.0, 0.0, "", {}, "")  # type: ignore[arg-type]
    with pytest.raises(gr.Error, match="Start"):
        endpoints.learn("a.mp4", "", "", "all", "0", 0.0, "", {}, "")  # type: ignore[arg-type]
    with pytest.raises(gr.Error, match="crop is three numbers"):
        endpoints.learn("a.mp4", "", "", "all", 0.0, 0.0, "2,1", {}, "")


def test_visitors_reach_only_their_own_jobs(studio: Studio, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work", isolated=True)
    endpoints = Endpoints(studio, lambda token: Place(workspace=workspace, owner=workspace.owner(token)))
    mine, other = (secrets.token_urlsafe(SHORTEST_TOKEN) for _ in range(2))
    key = endpoints.render("a red star", {}, 0, {}, mine)
    assert endpoints.job(key, mine)["title"] == "a red star"
    for ask in (endpoints.job, endpoints.result, endpoints.cancel):
        for stranger in (other, "", "short"):
            with pytest.raises(gr.Error):
                ask(key, stranger)
    assert endpoints.job(key, mine)["state"] == "queued"

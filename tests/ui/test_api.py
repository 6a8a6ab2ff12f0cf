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
    key = client.predict(prompt="a green star", motion=learned["results"]["motion"], strength=0.5, seed=3,
                         settings={"steps": 2}, api_name="/render")  # fmt: skip
    assert _done(client, key)["results"]["seed"] == 3
    assert read_clip(client.predict(key=key, api_name="/result")).num_frames > 1


def test_the_page_can_be_installed(client: Client) -> None:
    manifest = httpx.get(f"{client.src}manifest.json").json()
    assert manifest["name"] == words.TITLE and manifest["start_url"]


@pytest.mark.parametrize(
    ("endpoint", "values", "word"),
    [
        ("/render", {"prompt": ""}, "prompt"),
        ("/render", {"prompt": "x", "motion": "../gone"}, "none called"),
        ("/render", {"prompt": "x", "settings": {"colour": 1}}, "colour"),
        ("/render", {"prompt": "x", "settings": {"steps": 0}}, "steps"),
        ("/render", {"prompt": "x", "settings": [1]}, "by name"),
        ("/render", {"prompt": "x" * 3000}, "prompt"),
        ("/render", {"prompt": "x", "motion": 5}, "none called"),
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
        event = httpx.post(call, json={"data": [clip, "", "", SHORT, ""]}).json()["event_id"]
        answer = httpx.get(f"{call}/{event}", timeout=60).text
        assert "event: error" in answer and "event: complete" not in answer and "Traceback" not in answer


def test_what_is_no_text_or_number_is_refused(studio: Studio, tmp_path: Path) -> None:
    """What gradio would let through to the functions behind the endpoints."""
    place = Place(workspace=Workspace(tmp_path / "work"), owner="")
    endpoints = Endpoints(studio, lambda _: place)
    for values in ((5, "", 1.0, 0), ("x", [], 1.0, 0), ("x", "", "1", 0), ("x", "", True, 0), ("x", "", 1.0, None)):
        with pytest.raises(gr.Error, match="should be a"):
            endpoints.render(*values, {}, "")  # type: ignore[arg-type]
    with pytest.raises(gr.Error, match="Caption"):
        endpoints.learn("a.mp4", 5, "", "all", {}, "")  # type: ignore[arg-type]


def test_visitors_reach_only_their_own_jobs(studio: Studio, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work", isolated=True)
    endpoints = Endpoints(studio, lambda token: Place(workspace=workspace, owner=workspace.owner(token)))
    mine, other = (secrets.token_urlsafe(SHORTEST_TOKEN) for _ in range(2))
    key = endpoints.render("a red star", "", 1.0, 0, {}, mine)
    assert endpoints.job(key, mine)["title"] == "a red star"
    for ask in (endpoints.job, endpoints.result, endpoints.cancel):
        for stranger in (other, "", "short"):
            with pytest.raises(gr.Error):
                ask(key, stranger)
    assert endpoints.job(key, mine)["state"] == "queued"

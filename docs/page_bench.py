"""What the page costs: `python docs/page_bench.py` remakes `docs/results/page.json`.

Paint: loads in fresh browser profiles, until the first content and until the Start button can be pressed. Cancel: from
the call until the job has ended, beside the length of a step. Polling: steps a second of one long tuning, in turns
with a page open that polls it, with the same page asking nothing, and with none, the browser on the same cores; and the
share of a core that the server takes, which tells the same with less noise. Needs playwright, chromium and nobody else
on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from browsing import ROOT, headless, served
from gradio_client import Client, handle_file
from playwright.sync_api import Browser

from motion_transfer.evaluate.tables import paired_interval

CLIP = ROOT / "assets" / "clips" / "single-bounce.mp4"
CAPTION = "a navy heart on an orange background"
LOADS, CANCELS, TURNS, TURN_S, SETTLE_S = 10, 10, 24, 12.0, 4.0
TURNS_PER_JOB = 6
POLLED, SILENT, ALONE = "polled", "silent", "alone"
STOP_POLLING = "for (let timer = 1; timer < 1e5; timer++) clearInterval(timer)"
LOOK_S = 0.02
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def _paints(browser: Browser, address: str) -> list[dict[str, float]]:
    """Seconds until the first content and until Start can be pressed, in profiles that know nothing of the page."""
    found = []
    for _ in range(LOADS):
        context = browser.new_context()
        page = context.new_page()
        begin = time.monotonic()
        page.goto(address)
        page.wait_for_selector("#start:visible")
        usable_s = time.monotonic() - begin
        painted_ms = page.wait_for_function(PAINTED).json_value()
        found.append({"first_paint_s": painted_ms / 1000, "usable_s": usable_s})
        context.close()
    return found


def _tuning(client: Client) -> str:
    """Starts a long job, and waits until its temporal stage goes at its own pace."""
    settings = {"temporal_steps": 20_000, "spatial_steps": 2, "check_every": 0}
    key = client.predict(clip=handle_file(CLIP), caption=CAPTION, settings=settings, api_name="/learn")
    while (job := client.predict(key=key, api_name="/job"))["stage"] != "temporal" or job["step"] < 10:
        assert job["state"] in ("queued", "running"), job
        time.sleep(0.5)
    return key


def _cancels(client: Client) -> list[dict[str, float]]:
    """Seconds from the call of `cancel` until the job has ended, and those of a step before."""
    found = []
    for _ in range(CANCELS):
        key = _tuning(client)
        step_s, begin = 1 / client.predict(key=key, api_name="/job")["rate"], time.monotonic()
        client.predict(key=key, api_name="/cancel")
        while client.predict(key=key, api_name="/job")["state"] == "running":
            time.sleep(LOOK_S)
        found.append({"cancel_s": time.monotonic() - begin, "step_s": step_s})
    return found


def _turn(client: Client, key: str, server: psutil.Process) -> tuple[float, float]:
    """Steps a second over one turn, and the server's share of a core."""
    time.sleep(SETTLE_S)
    first, begin, before = client.predict(key=key, api_name="/job")["step"], time.monotonic(), server.cpu_times()
    time.sleep(TURN_S)
    last, after = client.predict(key=key, api_name="/job")["step"], server.cpu_times()
    seconds = time.monotonic() - begin
    return (last - first) / seconds, (after.user + after.system - before.user - before.system) / seconds


def _polling(browser: Browser, client: Client, address: str, server: psutil.Process) -> list[dict[str, float]]:
    """Steps a second with a page that polls, one that has been told not to, and none, each first in turn."""
    key, found, names = "", [], (POLLED, SILENT, ALONE)
    for number in range(TURNS):
        if number % TURNS_PER_JOB == 0:  # so many are over before its first preview
            if key:
                client.predict(key=key, api_name="/cancel")
            key = _tuning(client)
        turn, first = {}, number % len(names)
        for name in (*names[first:], *names[:first]):
            page = browser.new_page()
            if name != ALONE:
                page.goto(address)
                page.wait_for_selector("#learn-status:has-text('step')")
            if name == SILENT:
                page.evaluate(STOP_POLLING)
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            turn[name], turn[f"server_{name}"] = _turn(client, key, server)
            page.evaluate("1")  # lets Playwright tell of requests
            assert bool([url for url in asked if "/run/" in url]) == (name == POLLED), asked
            page.close()
        found.append(turn)
    client.predict(key=key, api_name="/cancel")
    return found


def _summary(paints: list[dict[str, float]], cancels: list[dict[str, float]], polling: list[dict[str, float]]) -> Any:
    def cost(of: str, beside: str) -> dict[str, Any]:
        costs = [1 - turn[of] / turn[beside] for turn in polling]
        return {"mean": statistics.mean(costs), "interval": paired_interval(costs)}

    shares = [turn[f"server_{POLLED}"] - turn[f"server_{SILENT}"] for turn in polling]
    return {
        "first_paint_s": {"median": statistics.median(p["first_paint_s"] for p in paints),
                          "longest": max(p["first_paint_s"] for p in paints)},
        "usable_s": {"median": statistics.median(p["usable_s"] for p in paints),
                     "longest": max(p["usable_s"] for p in paints)},
        "cancel_beyond_a_step_s": {"longest": max(c["cancel_s"] - c["step_s"] for c in cancels)},
        "polling_costs": cost(POLLED, SILENT),
        "a_silent_page_costs": cost(SILENT, ALONE),
        "an_open_page_costs": cost(POLLED, ALONE),
        "polling_takes_of_a_core": {"mean": statistics.mean(shares), "interval": paired_interval(shares)},
    }  # fmt: skip


def main() -> None:
    """Serves the page with an empty workspace and measures it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "page.json")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as workspace, served(workspace) as address, headless() as browser:
        client = Client(address, verbose=False)
        paints, cancels = _paints(browser, address), _cancels(client)
        (server,) = (process for process in psutil.Process().children() if "app.py" in process.cmdline())
        polling = _polling(browser, client, address, server)
    found = _summary(paints, cancels, polling)
    print(json.dumps(found, indent=1))
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
    rows = {"paints": paints, "cancels": cancels, "polling": polling}
    out.write_text(json.dumps({"machine": machine, "summary": found, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

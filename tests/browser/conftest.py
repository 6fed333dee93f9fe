"""A store that tests fill by hand, a page that is served over it, and a browser that looks at it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kappawatt.stores.sqlite import SqliteStore
from kappawatt.stores.tables import TABLES

ROOT = Path(__file__).parents[2]
S = 1_000_000
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def day_of(us: int) -> str:
    """The UTC day of *us*."""
    return time.strftime("%Y-%m-%d", time.gmtime(us / S))


class Book:
    """Writes runs into an SQLite store as the flow would: whole rows, versions that rise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore(path)
        self._version = 0
        self._sums: dict[str, dict[str, Any]] = {}

    def put(self, table: str, **values: Any) -> None:
        """One row; columns that are not given are null."""
        self._version += 1
        self.store.write(table, [tuple(values.get(name) for name in TABLES[table].columns)], self._version)

    def run(self, run_id: str, *, started_us: int, status: str = "running", **more: Any) -> None:
        """Metadata of a run and its place in the list."""
        head = {"run_id": run_id, "status": status, "started_at": started_us, "first_seen": started_us, **more}
        head.setdefault("last_seen", started_us)
        self.put("run", **head)
        self.put("runs_by_date", date=day_of(started_us), **{k: v for k, v in head.items() if k != "date"})
        self.store.flush()

    def window(self, run_id: str, start_us: int, energy_uj: int, *, table: str = "run_window_5s", **more: Any) -> None:
        """One window, and the total that it makes."""
        width = {"run_window_5s": 5 * S, "run_window_5m": 300 * S, "run_window_1h": 3_600 * S}[table]
        emissions_g = more.pop("emissions_g", energy_uj / 3.6e12 * 350.0)
        parts = {
            "energy_uj": energy_uj, "cpu_uj": energy_uj // 4, "gpu_uj": energy_uj - energy_uj // 4,
            "memory_uj": 0, "other_uj": 0, "estimated_uj": 0, "unpriced_uj": 0, "samples": 5,
        } | {name: more.pop(name) for name in ("estimated_uj", "unpriced_uj") if name in more}  # fmt: skip
        shared = {
            "emissions_g": emissions_g, "intensity_g_per_kwh": 350.0 if emissions_g is not None else None,
            "intensity_kind": "actual" if emissions_g is not None else None,
            "zone_level": "zone" if emissions_g is not None else None, "coverage": 1.0, **more,
        }  # fmt: skip
        power_w = more.get("power_w_max", energy_uj / width)
        row = parts | shared | {"power_w_max": power_w, "final": False}
        self.put(table, run_id=run_id, date=day_of(start_us), window_start=start_us, **row)
        first = dict.fromkeys(parts, 0) | {"first_start": start_us, "power_w_max": 0.0, "hosts": 1, "gpus": 2}
        sums = self._sums.setdefault(run_id, first)
        sums |= {name: sums[name] + value for name, value in parts.items()}
        known = {name: value for name, value in shared.items() if value is not None}
        added = {"emissions_g", "water_l", "cost"} & known.keys()
        sums |= {name: value for name, value in known.items() if name not in added}
        sums |= {name: sums.get(name, 0.0) + known[name] for name in added}
        sums |= {"power_w_max": max(sums["power_w_max"], power_w), "last_end": start_us + width}
        self.put("run_total", run_id=run_id, **sums)

    def sample_run(self, run_id: str, *, end_us: int, windows: int, watts: float = 300.0, **more: Any) -> None:
        """A run of 5-s windows that end at *end_us*."""
        start_us = end_us - windows * 5 * S
        self.run(run_id, started_us=start_us, **{"last_seen": end_us, **more})
        for number in range(windows):
            self.window(run_id, start_us + number * 5 * S, int(watts * 5 * S) + number * 1_000_003 % 40_000_000)
        self.store.flush()


def now_us() -> int:
    """Now, on the edge of a 5-s window."""
    return int(time.time()) // 5 * 5 * S


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """An empty store."""
    made = Book(tmp_path / "ledger.sqlite")
    yield made
    made.store.close()


Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts the page over a store URL in a process of its own; gives its address. `serve.stop()` is per process id."""
    started: list[subprocess.Popen[str]] = []

    def start(store: str, *, port: int = 0, log: str | None = None) -> str:
        settings = {"store": store, "log": log or f"file:{tmp_path}/log", "host": "127.0.0.1", "port": port}
        code = (
            "import json, sys, types; from dash_app.main import run; "
            "sys.exit(run(types.SimpleNamespace(open_browser=False, **json.loads(sys.argv[1]))))"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(settings)], cwd=ROOT, text=True, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        started.append(process)
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "http://" in said, said + process.stderr.read()
        return said.split("http://")[1].split()[0].join(("http://", ""))

    start.processes = started  # type: ignore[attr-defined]  # for the test that ends the server
    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; its absence is a failure."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("no Chromium on this machine: install Debian's `chromium`, the page is tested in a real browser")
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield started
        started.close()


Look = Callable[..., Page]


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Opens an address in a fresh context; the page keeps what it asked for and what its console said."""
    contexts = []

    def open_page(address: str, *, width: int = 1280, scheme: str = "light", zone: str = "Europe/Berlin") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, timezone_id=zone, locale="en-GB"
        )
        contexts.append(context)
        page = context.new_page()
        page.requested = []  # type: ignore[attr-defined]  # what the page asked for, for the tests
        page.said = []  # type: ignore[attr-defined]  # what its console said, for the tests
        page.on("request", lambda request: page.requested.append(request.url))  # type: ignore[attr-defined]
        page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.said.append(str(error)))  # type: ignore[attr-defined]
        page.set_default_timeout(20_000)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()

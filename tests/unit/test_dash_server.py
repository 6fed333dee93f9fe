"""The page's server without a browser: API, guard, reader, callbacks."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs_version
from starlette.types import ASGIApp

from dash_app import reader as reader_module
from dash_app.app import ASSETS, build
from dash_app.fleet import Fleet
from dash_app.logs import newest_us
from dash_app.main import listen
from dash_app.reader import Kept, Reader
from dash_app.runs_page import record, update
from dash_app.security import check_host
from kappawatt.errors import SettingsError, StoreError
from kappawatt.stores import Store
from kappawatt.stores.sqlite import SqliteStore
from kappawatt.stores.tables import TABLES

S = 1_000_000
NOON = 1_795_262_400 * S
DAY = "2026-11-21"


def write(path: Path, table: str, version: int = 1, **values: Any) -> None:
    store = SqliteStore(path)
    store.write(table, [tuple(values.get(name) for name in TABLES[table].columns)], version)
    store.flush()
    store.close()


def write_run(path: Path, run_id: str, **total: Any) -> None:
    head = {"run_id": run_id, "status": "succeeded", "started_at": NOON, "first_seen": NOON, "user": "ada"}
    write(path, "run", **head)
    write(path, "runs_by_date", date=DAY, **head)
    if total:
        write(path, "run_total", run_id=run_id, **total)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "l.sqlite"


Get = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def get(path: Path) -> Any:
    """Asks the page's server, over a store that may be filled meanwhile."""
    reader = Reader(f"sqlite:{path}")
    _, served = build(reader, log="file:/nowhere", clock_us=lambda: NOON + 60 * S)

    def ask(target: str, host: str = "127.0.0.1:8050") -> tuple[int, dict[str, str], bytes]:
        return asyncio.run(_request(served, target, host))

    yield ask
    reader.close()


async def _start(app: ASGIApp) -> None:
    """Begin and end of the server's life: Dash adds its last route at the begin."""
    marks = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(marks)

    async def send(_message: Any) -> None:
        return None

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


async def _request(app: ASGIApp, target: str, host: str) -> tuple[int, dict[str, str], bytes]:
    """One GET through the ASGI interface."""
    from urllib.parse import unquote

    place, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(place), "raw_path": place.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", host.encode())], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8050),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await _start(app)
    await app(scope, receive, send)
    headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:])


def test_api_lists_runs_and_their_sum(get: Get, path: Path):
    write_run(path, "a", energy_uj=2**60 + 1)
    write_run(path, "b", energy_uj=2**60 + 1)

    status, _, body = get("/api/runs?q=ada")

    found = json.loads(body)
    assert status == 200
    assert {one["run_id"] for one in found["runs"]} == {"a", "b"}
    assert found["totals"]["energy_uj"] == 2**61 + 2


def test_api_shows_one_run(get: Get, path: Path):
    write_run(path, "a b", energy_uj=7)

    status, _, body = get("/api/runs/a%20b")

    assert (status, json.loads(body)["total"]["energy_uj"]) == (200, 7)


def test_api_gives_the_windows_of_a_day(get: Get, path: Path):
    write(path, "run_window_5s", run_id="a", date=DAY, window_start=NOON, energy_uj=5)

    _, _, body = get(f"/api/runs/a/windows/5s?date={DAY}")

    assert [(row["window_start"], row["energy_uj"]) for row in json.loads(body)["windows"]] == [(NOON, 5)]


@pytest.mark.parametrize(
    "target",
    [
        "/api/runs?days=0", "/api/runs?days=999999999999", "/api/runs?days=-1", "/api/runs?limit=1001",
        "/api/runs?limit=%C2%B2", "/api/runs?simulated=maybe", "/api/runs?q=" + "x" * 201, "/api/runs/%00",
        "/api/runs/" + "x" * 257, "/api/runs/a/windows/7s?date=2026-11-21", "/api/runs/a/windows/5s",
        "/api/runs/a/windows/5s?date=2026-1-1", "/api/runs/a/windows/5s?date=20261121",
        "/api/runs/a/windows/5s?date=2026-11-21'%20OR%201=1", "/api/runs/a/windows/5s?date=2026-11-21T00:00",
    ],
)  # fmt: skip
def test_api_refuses_what_it_cannot_use(get: Get, path: Path, target: str):
    SqliteStore(path).close()

    status, _, body = get(target)

    assert status == 400
    assert len(json.loads(body)["error"]) < 300


@pytest.mark.parametrize("target", ["/api/runs/nope", "/api/", "/api/foo/bar"])
def test_api_says_what_is_not_there(get: Get, path: Path, target: str):
    SqliteStore(path).close()

    status, _, body = get(target)

    assert status == 404
    assert "/api/runs" in json.loads(body)["error"]


def test_health_follows_the_store(get: Get, path: Path):
    before, _, reason = get("/healthz")
    SqliteStore(path).close()
    after, _, _ = get("/healthz")

    assert (before, after) == (503, 200)
    assert "no store yet" in json.loads(reason)["error"]


@pytest.mark.parametrize("target", ["/", "/run/x", "/api/runs", "/_dash-layout", "/assets/page.js"])
def test_foreign_host_names_are_turned_away(get: Get, target: str):
    assert get(target, host="evil.example:8050")[0] == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost", "[::1]:8050"])
def test_local_host_names_are_answered(get: Get, host: str):
    assert get("/livez", host=host)[0] == 200


def test_page_may_load_nothing_from_elsewhere(get: Get):
    status, headers, body = get("/")

    rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert status == 200
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert "unsafe" not in rules["script-src"]
    assert b"https://" not in body


def test_page_says_its_language_first(get: Get):
    assert b'<html lang="en"' in get("/run/whatever")[2]


@pytest.mark.parametrize("target", ["/docs", "/redoc", "/openapi.json"])
def test_no_generated_documents_from_elsewhere(get: Get, target: str):
    assert b"swagger" not in get(target)[2].lower()


def test_own_scripts_are_there_when_a_run_is_opened_first(get: Get):
    body = get("/run/whatever")[2]

    assert b"/assets/page.js?v=" in body
    assert b"/assets/grid.js?v=" in body


def test_bundled_plotly_is_of_the_generation_that_dash_brings():
    header = (ASSETS / "plotly-basic.min.js").read_text(encoding="utf-8")[:200]

    assert f"v{get_plotlyjs_version().split('.')[0]}." in header


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "example.org"])
def test_other_addresses_need_a_clear_wish(host: str):
    with pytest.raises(SettingsError, match="KAPPAWATT_DASH_INSECURE=1"):
        check_host(host, {})

    check_host(host, {"KAPPAWATT_DASH_INSECURE": "1"})


def test_taken_port_is_said():
    first = listen("127.0.0.1", 0)
    try:
        with pytest.raises(SettingsError, match="--port 0"):
            listen("127.0.0.1", first.getsockname()[1])
    finally:
        first.close()


def test_reader_opens_a_store_that_was_replaced(tmp_path: Path):
    path = tmp_path / "l.sqlite"
    write_run(path, "old")
    reader = Reader(f"sqlite:{path}")

    def names(store: Store) -> list[str]:
        return [row["run_id"] for row in store.scan("run")]

    before = asyncio.run(reader.ask(names))
    write_run(tmp_path / "new.sqlite", "new")
    (tmp_path / "new.sqlite").rename(path)
    after = asyncio.run(reader.ask(names))
    reader.close()

    assert (before, after) == (["old"], ["new"])


def test_reader_gives_up_on_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(reader_module, "ANSWER_S", 0.05)
    path = tmp_path / "l.sqlite"
    SqliteStore(path).close()
    reader, let_go = Reader(f"sqlite:{path}"), threading.Event()

    with pytest.raises(StoreError, match="no answer within"):
        asyncio.run(reader.ask(lambda _store: let_go.wait(10)))
    let_go.set()
    reader.close()


def test_reader_turns_questions_away_when_too_many_wait(tmp_path: Path):
    path = tmp_path / "l.sqlite"
    SqliteStore(path).close()
    reader, let_go = Reader(f"sqlite:{path}"), threading.Event()

    async def crowd() -> list[Any]:
        asked = [
            asyncio.ensure_future(reader.ask(lambda _: let_go.wait(10))) for _ in range(reader_module.MOST_WAITING + 1)
        ]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        let_go.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(crowd())
    reader.close()

    assert [type(answer) for answer in answers if answer is not True] == [StoreError]


def test_rows_of_past_days_are_kept_but_not_for_long(tmp_path: Path):
    path = tmp_path / "l.sqlite"
    write(path, "run_metric", run_id="a", date="2026-11-01", at=1, event_id="e", loss=1.0)
    now = [NOON / S]
    kept = Kept(SqliteStore(path), lambda: now[0])
    key = {"run_id": "a", "date": "2026-11-01"}

    kept.read("run_metric", key)
    write(path, "run_metric", 2, run_id="a", date="2026-11-01", at=1, event_id="e", loss=2.0)
    soon = kept.read("run_metric", key)[0]["loss"]
    now[0] += 60
    later = kept.read("run_metric", key)[0]["loss"]
    kept.close()

    assert (soon, later) == (1.0, 2.0)


def test_page_cannot_write(tmp_path: Path):
    kept = Kept(SqliteStore(tmp_path / "l.sqlite"))

    with pytest.raises(StoreError, match="reads only"):
        kept.write("run", [], 1)
    kept.close()


def test_log_tells_when_it_last_grew(tmp_path: Path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "h-000.avro").write_bytes(b"x")

    found = newest_us(f"file:{tmp_path}")

    assert found == (tmp_path / "sample" / "h-000.avro").stat().st_mtime_ns // 1_000
    assert newest_us(f"file:{tmp_path}/none") is None


def looked(path: Path, fleet: Fleet, seen: Any, **more: Any) -> dict[str, Any]:
    store = SqliteStore(path)
    listing = fleet.look(store, 7)
    store.close()
    asked = {"text": "", "days": "7", "simulated": True, "zone": "UTC", "now_us": NOON + 5 * S} | more
    return update(listing, fleet.id, seen=seen, **asked)


def test_list_sends_only_what_changed(path: Path):
    fleet = Fleet(lambda: NOON)
    write_run(path, "a")
    write_run(path, "b")
    first = looked(path, fleet, None)
    write(path, "run_total", run_id="b", energy_uj=36 * 10**11)

    second = looked(path, fleet, first["seen"])

    assert len(first["rows"]) == 2
    assert [row["run_id"] for row in second["changes"]["update"]] == ["b"]
    assert not isinstance(second["rows"], list)


def test_list_sends_nothing_when_nothing_changed(path: Path):
    fleet = Fleet(lambda: NOON)
    write_run(path, "a")
    first = looked(path, fleet, None)

    second = looked(path, fleet, first["seen"])

    assert not isinstance(second["rows"], list)
    assert not isinstance(second["changes"], dict)


def test_list_marks_a_run_that_should_be_sending(path: Path):
    fleet = Fleet(lambda: NOON)
    write_run(path, "a")
    write(path, "run", 2, run_id="a", status="running", started_at=NOON)

    new = looked(path, fleet, None, now_us=NOON + 60 * S)

    assert new["rows"][0]["silent"] is True
    assert "Flow down or stalled – last data 12:00:00" in str(new["notice"])


def test_list_rows_hold_text_without_hidden_signs(path: Path):
    write_run(path, "a")
    write(path, "run", 2, run_id="a", status="failed", name="x\u202ey\x00z\n<b>")
    store = SqliteStore(path)
    (one,) = Fleet(lambda: NOON).look(store, 7).lines
    store.close()

    assert record(one, NOON)["name"] == "xyz<b>"

"""Fixtures of the chaos suite, its seed, and the table that it ends with."""

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import NoHostAvailable

from tests.chaos.options import REPLAY, SEED
from tests.chaos.place import Place, made, server_pid, servers
from tests.flows.flows import wait_for

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / ".stack/chaos.json"

_results: list[dict[str, Any]] = []


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """What everything random of this case follows from."""
    return f"{SEED} {request.node.name}"


@pytest.fixture
def rng(seed: str) -> random.Random:
    return random.Random(seed)


@pytest.fixture
def facts(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a case measured, for the table; filled by the case."""
    found: dict[str, Any] = {}
    request.node.stash[_FACTS] = found
    return found


_FACTS = pytest.StashKey[dict[str, Any]]()


@pytest.fixture
def place(
    tmp_path: Path, kafka_address: str, registry_url: str, cassandra_address: str, topic_prefix: str, keyspace: str
) -> Place:
    """Topics of 16 partitions, registered schemas and a migrated keyspace."""
    return made(tmp_path, kafka_address, registry_url, cassandra_address, topic_prefix, keyspace)


@pytest.fixture
def servers_up(cassandra_session: Any) -> Iterator[None]:
    """All servers run and answer again after the case, whatever happened in it; its other fixtures need them."""
    yield
    for name in ("kafka", "cassandra", "registry"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(server_pid(name), signal.SIGCONT)
        servers("start", name)
    wait_for(lambda: _answers(cassandra_session), what="the session to find Cassandra again", limit_s=120)


def _answers(session: Any) -> bool:
    try:
        session.execute("SELECT key FROM system.local")
    except NoHostAvailable:
        return False
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if call.when == "call":
        facts = item.stash.get(_FACTS, {})
        row = {"case": item.name, "outcome": report.outcome, "seconds": round(call.duration, 1), **facts}
        _results.append(row)
        _keep()
        if report.failed:
            report.sections.append(("replay", f"{REPLAY} ARGS='-k \"{item.name.split('[')[0]}\"'"))
    return report


def _keep() -> None:
    """Write what there is after each case: a run that is ended from outside prints neither its table nor its seed."""
    REPORT.parent.mkdir(exist_ok=True)
    whole = {"seed": SEED, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cases": _results}
    REPORT.write_text(json.dumps(whole, indent=2) + "\n")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _results:
        return
    write = terminalreporter.write_line
    terminalreporter.section(f"chaos, seed {SEED}")
    width = max(len(row["case"]) for row in _results)
    for row in _results:
        said = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("case", "outcome", "seconds"))
        write(f"{row['case']:{width}}  {row['outcome']:6}  {row['seconds']:6.1f} s  {said}")
    whole_s = sum(row["seconds"] for row in _results)
    write(f"{whole_s:.0f} s in all; written to {REPORT.relative_to(ROOT)}; replay: {REPLAY}")

"""Where a case takes place: topics, subjects and a keyspace of its own, a flow on them, and what must come out."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro

from kappawatt.log.kafka import KafkaLog
from kappawatt.stores import open_store
from kappawatt.stores.migrations import migrate
from kappawatt.wire.registry import Registry
from tests.chaos.reading import Schemas, ends, letters, read_log
from tests.chaos.writing import Message, Writer
from tests.flows.flows import Flow, kill
from tests.flows.ledger_compare import differences
from tests.oracle.model import Log
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 16
TOPICS = ("sample", "intensity", "run_event", "dead_letter", "alert")


class FlowFailed(AssertionError):  # noqa: N818 - a fact about a case, raised to end it
    """The flow ended, or did not end, when it should not; with its last words."""


@dataclass(eq=False)
class Running:
    """One start of the flow, with its messages in a file."""

    process: "subprocess.Popen[str]"
    messages: Path
    began: float = field(default_factory=time.monotonic)

    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.messages.read_text(errors="replace")

    def check(self) -> None:
        """Raise if it ended."""
        if not self.alive():
            raise FlowFailed(f"the flow ended with {self.process.returncode}:\n{self.said()[-3000:]}")

    def wait_for(self, condition: Any, what: str, limit_s: float = 120) -> None:
        """Return when *condition* holds; raise if the flow ends before, or after a while.

        The limit is for what never comes: three processes on a busy machine need most of a minute to their first row.
        """
        until = time.monotonic() + limit_s
        while not condition():
            self.check()
            if time.monotonic() > until:
                raise FlowFailed(f"waited {limit_s:.0f} s for {what}:\n{self.said()[-3000:]}")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """To all its processes at once."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        kill(self.process)

    def drain(self, limit_s: float = 60) -> None:
        """SIGTERM, and wait for its orderly end."""
        self.check()
        self.process.send_signal(signal.SIGTERM)
        self.end(limit_s)

    def end(self, limit_s: float) -> None:
        """Wait for its orderly end."""
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise FlowFailed(f"the flow did not end in {limit_s:.0f} s:\n{self.said()[-3000:]}") from error
        if code != 0:
            raise FlowFailed(f"the flow ended with {code}:\n{self.said()[-3000:]}")


@dataclass(kw_only=True)
class Place:
    """Addresses of one case. *store_at* and *registry* may be those of a door before the real server."""

    folder: Path
    kafka: str
    registry: str
    real_registry: str
    cassandra: str
    store_at: str
    keyspace: str
    prefix: str
    ids: dict[str, int]
    schemas: Schemas

    @property
    def store(self) -> str:
        """The store without any door."""
        return f"cassandra://{self.cassandra}/{self.keyspace}"

    @contextmanager
    def flow(self, *more: str, processes: int = 1, until_end: bool = False, state: str = "state") -> Iterator[Running]:
        """A flow that is gone when this ends, whatever happens."""
        flags = ("--registry", self.registry, "--topic-prefix", self.prefix)
        log, store = f"kafka://{self.kafka}", f"cassandra://{self.store_at}/{self.keyspace}"
        flow = Flow(log=log, store=store, state=self.folder / state, flags=flags)
        messages = self.folder / f"flow-{len(list(self.folder.glob('flow-*.txt'))):03d}.txt"
        with messages.open("w") as file:
            started = flow.start(*more, processes=processes, until_end=until_end, stderr=file)
        running = Running(started, messages)
        try:
            yield running
        finally:
            with_stopped(running)
            running.kill()

    def finish(self, *more: str, processes: int = 1, limit_s: float = 240, state: str = "state") -> Running:
        """Run the flow over what is there to the end."""
        with self.flow(*more, processes=processes, until_end=True, state=state) as flow:
            flow.end(limit_s)
        return flow

    def writer(self, messages: Sequence[Message], duration_s: float) -> Writer:
        """Sends a script in that time."""
        return Writer(messages, self.kafka, self.prefix, PARTITIONS, duration_s)

    def log(self) -> Log:
        """What is on Kafka."""
        return read_log(self.kafka, self.prefix, self.schemas)

    def letters(self) -> list[dict[str, Any]]:
        """Topic dead_letter."""
        return letters(self.kafka, self.prefix, self.schemas)

    def differing(self, log: Log | None = None) -> list[str]:
        """Differences between the store and what must follow from the log.

        Not of `restatement`: it tells in which order prices came and what was shown by then.
        """
        expected = {name: rows for name, rows in expected_tables(log or self.log()).items() if name != "restatement"}
        store = open_store(self.store, read_only=True)
        try:
            return differences(store, expected)
        finally:
            store.close()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, sorted."""
        store = open_store(self.store, read_only=True)
        try:
            return sorted(store.scan(table), key=repr)
        finally:
            store.close()

    def wait_until_read(self, flow: Running, limit_s: float = 120) -> None:
        """Return when the store's accounting has every record of topic sample."""
        there = sum(high for _, high in ends(self.kafka, f"{self.prefix}sample").values())
        flow.wait_for(lambda: self.total("sent") == there, f"{there} records to be read", limit_s)

    def total(self, column: str) -> int:
        """Over all source partitions."""
        return sum(int(row[column]) for row in self.rows("accounting"))


def with_stopped(running: Running) -> None:
    """A stopped process group cannot even be told to end by some signals; let it go on first."""
    if running.alive():
        running.signal(signal.SIGCONT)


def parsed_schemas(ids: dict[str, int]) -> dict[int, Any]:
    """The committed schemas by their ids, with instants as plain numbers."""
    return {number: plain(json.loads((SCHEMAS / f"{topic}.avsc").read_text())) for topic, number in ids.items()}


def plain(schema: Any) -> Any:
    """A parsed schema without logical types: fastavro would make datetimes of what the oracle takes as µs."""
    return fastavro.parse_schema(_without_logical(schema))


def _without_logical(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical(each) for each in schema]
    if isinstance(schema, dict):
        return {name: _without_logical(each) for name, each in schema.items() if name != "logicalType"}
    return schema


class Memory(threading.Thread):
    """Samples the resident memory of a flow's processes, MB together, while it lives."""

    def __init__(self, running: Running) -> None:
        super().__init__(name="memory", daemon=True)
        self.peak_mb = 0.0
        self.series: list[tuple[float, float]] = []
        self._running = running

    def run(self) -> None:
        while self._running.alive():
            now_mb = sum(map(_resident_mb, _group(self._running.process.pid)))
            self.peak_mb = max(self.peak_mb, now_mb)
            self.series.append((time.monotonic() - self._running.began, now_mb))
            time.sleep(0.2)


def _group(leader: int) -> list[int]:
    """Processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.append(int(path.parent.name))
    return found


def _resident_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def servers(action: str, name: str) -> None:
    """`stop`, `start`, `restart` one of the servers."""
    program = [sys.executable, str(ROOT / "tests/stack/servers.py"), action, name]
    done = subprocess.run(program, check=False, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, f"servers.py {action} {name}: {done.stdout}{done.stderr}"


def server_pid(name: str) -> int:
    """Process id of one of the servers."""
    return int((ROOT / ".stack" / name / "pid").read_text())


def made(folder: Path, kafka: str, registry: str, cassandra: str, prefix: str, keyspace: str) -> Place:
    """A place with topics of 16 partitions, registered schemas and a migrated keyspace."""
    KafkaLog(kafka, registry, prefix).ensure_topics(PARTITIONS)
    known = Registry(registry, topic_prefix=prefix)
    ids = {topic: known.register(topic) for topic in TOPICS}
    migrate(f"cassandra://{cassandra}/{keyspace}")
    return Place(
        folder=folder,
        kafka=kafka,
        registry=registry,
        real_registry=registry,
        cassandra=cassandra,
        store_at=cassandra,
        keyspace=keyspace,
        prefix=prefix,
        ids=ids,
        schemas=parsed_schemas(ids),
    )

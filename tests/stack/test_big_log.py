"""The same two million readings through both homes, one and two processes, with kill -9 half-way: one answer.

3 zones, midnight, 1 % repeats, a host with 3 runs at once, a run on many hosts, prices revised twice, PUE corrected
downwards, dead and rejected records among them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from kappawatt.log.kafka import KafkaLog
from kappawatt.stores import open_store
from kappawatt.stores.migrations import migrate
from kappawatt.wire.registry import Registry
from tests.flows.flows import Flow, kill, rows_of, wait_for
from tests.flows.ledger_compare import differences
from tests.oracle.generate import big
from tests.oracle.model import Dead, Log, Tables
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import publish, write_files

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

TOPICS = ("sample", "intensity", "run_event", "dead_letter", "alert")
READINGS = 2_000_000


@dataclass(frozen=True)
class Home:
    """A log that is in place, what must follow from it, and where a flow over it may write."""

    log: str
    flags: tuple[str, ...]
    expected: Tables
    store: Callable[[Path, str], str]

    def flow(self, folder: Path, keyspace: str) -> Flow:
        return Flow(log=self.log, store=self.store(folder, keyspace), state=folder / "state", flags=self.flags)


@pytest.fixture(scope="module")
def log() -> Log:
    return big()


@pytest.fixture(scope="module")
def on_files(log: Log, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("big")
    write_files(log, folder)
    return Home(f"file:{folder}", (), expected_tables(log), lambda path, _: f"sqlite:{path / 'ledger.sqlite'}")


@pytest.fixture(scope="module")
def on_kafka(log: Log, kafka_address: str, registry_url: str, cassandra_address: str) -> Iterator[Home]:
    prefix = "big-log-"
    kafka = KafkaLog(kafka_address, registry_url, prefix)
    delete_topics(kafka_address, prefix)
    kafka.ensure_topics(16)
    registry = Registry(registry_url, topic_prefix=prefix)
    there = publish(log, kafka_address, prefix, {topic: registry.register(topic) for topic in TOPICS}, 16)
    flags = ("--registry", registry_url, "--topic-prefix", prefix)
    yield Home(
        f"kafka://{kafka_address}",
        flags,
        expected_tables(there),
        lambda _, name: f"cassandra://{cassandra_address}/{name}",
    )
    delete_topics(kafka_address, prefix)


def delete_topics(address: str, prefix: str) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": address})
    ours = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith(prefix)]
    for deleted in admin.delete_topics(ours).values() if ours else ():
        deleted.result(timeout=30)
    wait_for(
        lambda: not any(topic.startswith(prefix) for topic in admin.list_topics(timeout=30).topics), what="topics to go"
    )


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Home:
    found: Home = request.getfixturevalue(request.param)
    return found


HOMES = pytest.mark.parametrize("home", ["on_files", "on_kafka"], indirect=True)


def test_log_is_as_large_as_promised(log: Log) -> None:
    records = [record for records in log.samples.values() for record in records if not isinstance(record, Dead)]

    assert sum(len(record["kind"]) for record in records) >= READINGS


@HOMES
@pytest.mark.parametrize("processes", [1, 2])
def test_every_table_equals_the_oracle(home: Home, processes: int, tmp_path: Path, keyspace: str) -> None:
    flow = home.flow(tmp_path, keyspace)
    migrate(flow.store)

    flow.run(processes=processes)

    assert differing(flow, home) == []


@HOMES
def test_killed_half_way_it_goes_on_to_the_same_tables(home: Home, tmp_path: Path, keyspace: str) -> None:
    flow = home.flow(tmp_path, keyspace)
    flow = replace(flow, flags=(*flow.flags, "--epoch-s", "0.03"))  # else one epoch reads it all
    migrate(flow.store)
    whole = counted(home.expected["accounting"].values())
    at_death = []
    for processes in (1, 2):
        dying = flow.start(processes=processes)
        before = at_death[-1] if at_death else 0
        try:
            wait_for(
                lambda least=before: counted(rows_of(flow, "accounting")) > least, what="the next epoch", limit_s=120
            )
        finally:
            kill(dying)
        at_death.append(counted(rows_of(flow, "accounting")))

    flow.run()

    assert 0 < at_death[0] < at_death[1] < whole, "killed too late to prove anything"
    assert differing(flow, home) == []


def test_any_cql_client_sees_the_windows(on_kafka: Home, tmp_path: Path, keyspace: str, cassandra_session: Any) -> None:
    flow = on_kafka.flow(tmp_path, keyspace)
    migrate(flow.store)
    flow.run(processes=2)
    (run_id, date, _), _ = next(iter(on_kafka.expected["run_window_5s"].items()))

    found = cassandra_session.execute(
        f"SELECT window_start, energy_uj, emissions_g FROM {keyspace}.run_window_5s WHERE run_id = %s AND date = %s",
        (run_id, date),
    )

    wanted = [row for key, row in on_kafka.expected["run_window_5s"].items() if key[:2] == (run_id, date)]
    assert [row.energy_uj for row in found] == [
        row["energy_uj"] for row in sorted(wanted, key=lambda row: row["window_start"])
    ]


def counted(rows: Any) -> int:
    return sum(row["counted"] for row in rows)


def differing(flow: Flow, home: Home) -> list[str]:
    store = open_store(flow.store, read_only=True)
    try:
        return differences(store, home.expected)
    finally:
        store.close()

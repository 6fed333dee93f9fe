"""What all tests share: the real servers, names of their own on them, and the property tests' profile."""

import os
import shutil
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest

# A shell that starts the tests in the background leaves SIGINT ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Programs for a person, not modules for a test.
collect_ignore = ["stack/servers.py", "stack/definitions.py"]

ADDRESSES = Path(__file__).resolve().parents[1] / ".stack/env"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NEEDS = {"stack": "stack", "chromium": "browser", "rendered": "kubectl"}

# A deadline measures the neighbours on a shared machine, and so does "data generation is slow".
hypothesis.settings.register_profile(
    "ci",
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a server, the browser or kubectl, so that `make unit` can leave it out."""
    for item in items:
        for fixture, marker in NEEDS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def stack() -> dict[str, str]:
    """Addresses of the servers by setting name. No server is a failure, never a skip."""
    lines = ADDRESSES.read_text().split() if ADDRESSES.exists() else []
    known = dict(line.split("=", 1) for line in lines)
    known |= {name: value for name, value in os.environ.items() if name.startswith("KAPPAWATT_TEST_")}
    for name in ("KAPPAWATT_TEST_KAFKA", "KAPPAWATT_TEST_REGISTRY", "KAPPAWATT_TEST_CASSANDRA"):
        if name not in known:
            pytest.fail(f"{name} is neither in the environment nor in {ADDRESSES}; start the servers: make stack")
        place = urlsplit(known[name] if "://" in known[name] else f"//{known[name]}")
        try:
            socket.create_connection((place.hostname or "", place.port or 0), timeout=10).close()
        except OSError as error:
            pytest.fail(f"nothing answers at {name}={known[name]} ({error}); start the servers: make stack")
    return known


@pytest.fixture(scope="session")
def kafka_address(stack: dict[str, str]) -> str:
    """`host:port` of a Kafka broker that makes no topics by itself."""
    return stack["KAPPAWATT_TEST_KAFKA"]


@pytest.fixture(scope="session")
def registry_url(stack: dict[str, str]) -> str:
    """URL of a Confluent-compatible schema registry."""
    return stack["KAPPAWATT_TEST_REGISTRY"]


@pytest.fixture(scope="session")
def cassandra_address(stack: dict[str, str]) -> str:
    """`host:port` of a Cassandra node."""
    return stack["KAPPAWATT_TEST_CASSANDRA"]


@pytest.fixture
def topic_prefix(kafka_address: str) -> Iterator[str]:
    """A prefix that no other test uses; the topics that begin with it are deleted after the test."""
    from confluent_kafka.admin import AdminClient

    prefix = f"t{uuid.uuid4().hex[:10]}-"
    yield prefix
    admin = AdminClient({"bootstrap.servers": kafka_address})
    ours = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith(prefix)]
    for deleted in admin.delete_topics(ours).values() if ours else ():
        deleted.result(timeout=30)


@pytest.fixture(scope="session")
def cassandra_session(cassandra_address: str) -> Iterator[Any]:
    """The driver's session, for looking at tables as any CQL client would."""
    from cassandra.cluster import Cluster
    from cassandra.policies import ConstantReconnectionPolicy

    host, port = cassandra_address.rsplit(":", 1)
    settings: dict[str, Any] = {"connect_timeout": 30, "control_connection_timeout": 30, "protocol_version": 5}
    # A test may have restarted the server; the default would come back after minutes.
    cluster = Cluster([host], port=int(port), reconnection_policy=ConstantReconnectionPolicy(1.0, None), **settings)
    session = cluster.connect()
    session.default_timeout = 60
    yield session
    cluster.shutdown()


@pytest.fixture
def keyspace(cassandra_session: Any) -> Iterator[str]:
    """An empty keyspace of one copy that no other test uses; dropped after the test."""
    name = f"t_{uuid.uuid4().hex[:10]}"
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cassandra_session.execute(f"CREATE KEYSPACE {name} WITH replication = {replication}")
    yield name
    cassandra_session.execute(f"DROP KEYSPACE {name}")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome. None is a failure, never a skip."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail("Chromium is not on this machine: apt-get install chromium")
    return path

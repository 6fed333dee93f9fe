"""Every program with its own rights alone, on servers that allow nothing else; and what they say when refused."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kappawatt import rights
from kappawatt.errors import KappawattError, LogError, StoreError
from kappawatt.log.kafka import KafkaLog, topic_partition
from kappawatt.stores.cassandra import CassandraStore
from kappawatt.stores.tables import TABLES
from kappawatt.wire.registry import Registry
from kappawatt.wire.schemas import schema
from tests.stack.gate import Gate
from tests.stack.proxy import Proxy
from tests.stack.secured import Cassandra, Kafka, Papers
from tests.stack.secured_site import KEYSPACE, ROLES, USERS, Site

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, registry_url: str) -> Iterator[Site]:
    """Servers up, rights granted by what `kappawatt rights` prints, topics and tables made by who may."""
    folder = tmp_path_factory.mktemp("site")
    passwords = {role: secrets.token_hex(12) for role in ROLES}
    users = {USERS + role: password for role, password in passwords.items()}
    papers = Papers(folder)
    places = {name: folder / name for name in ("kafka", "cassandra")}
    for place in places.values():
        place.mkdir()
    registered = {kind: {USERS + r: passwords[r] for r in ROLES if ROLES[r].registry is kind} for kind in rights.Place}
    with ExitStack() as up:
        kafka = up.enter_context(Kafka(places["kafka"], papers, {"admin": secrets.token_hex(12), **users}).running())
        cassandra = up.enter_context(Cassandra(places["cassandra"], papers).running())
        keepers = {"writers": registered[rights.Place.WRITE], "readers": registered[rights.Place.READ]}
        gate = up.enter_context(Gate(registry_url, papers, **keepers).running())
        made = Site(folder, kafka, cassandra, gate, passwords, f"r{secrets.token_hex(4)}-")
        kafka.grant(made.ran("dash", "rights", "kafka", "--users", USERS))
        _grant_cassandra(made)
        made.ran("schema", "schema", "register")
        made.ran("migrate", "migrate")
        yield made


def _grant_cassandra(site: Site) -> None:
    """As the operator would: the keyspace, what `kappawatt rights cassandra` prints, and the passwords."""
    script = site.ran("dash", "rights", "cassandra", "--users", USERS, "--keyspace", KEYSPACE)
    with site.cassandra.superuser() as session:
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        session.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
        lines = [line for line in script.splitlines() if not line.startswith("--")]
        for statement in filter(None, (each.strip() for each in "\n".join(lines).split(";"))):
            session.execute(statement)
        for role, has in ROLES.items():
            if has.store is not rights.Place.NOTHING:
                session.execute(f"ALTER ROLE {USERS}{role} WITH PASSWORD = '{site.passwords[role]}'")


def sent(log: KafkaLog, topic: str) -> str | None:
    """What Kafka says to a record on *topic*; None: it took it."""
    answers: list[Any] = []
    with closing(log.producer()) as producer:
        producer.send(topic, b"k", b"v", answers.append)
        until = time.monotonic() + 60
        while not answers:
            assert time.monotonic() < until, producer.failure
            producer.poll(0.2)
    return None if answers[0] is None else answers[0].text


def read_in_vain(log: KafkaLog, topic: str, said: str, limit_s: float = 60) -> list[str]:
    """What Kafka says to a reader of *topic* until it says *said*; the reader gets no record."""
    heard: list[str] = []
    consumer = log.open_consumer(lambda failure: heard.append(failure.text))
    consumer.assign([topic_partition(log.name(topic), 0, 0)])
    until = time.monotonic() + limit_s
    while not any(said in each for each in heard):
        assert time.monotonic() < until, heard
        message = consumer.poll(0.2)
        if message is not None:
            assert message.error() is not None, "a record was read"
            heard.append(log.failure(message.error()).text)
    consumer.close()
    return heard


def refusal(error: pytest.ExceptionInfo[KappawattError]) -> str:
    print(f"\n    {error.value}")
    return str(error.value)


def test_every_program_works_with_its_own_rights_alone(site: Site) -> None:
    site.ran("collector", "collect", "simulate", "--hosts", "2", "--runs", "2", "--duration", "90s")
    site.ran("intensity", "collect", "intensity")
    site.flow()
    runs = json.loads(site.ran("dash", "ls", "--json"))
    verified = json.loads(site.ran("operator", "verify", "--json"))
    counted = site.counted()

    assert len(runs) >= 2
    assert verified["broken"] == []
    assert counted > 100
    assert site.gate.refused == []


def test_collector_that_is_refused_keeps_its_samples_for_when_it_is_not(site: Site) -> None:
    site.flow()
    before = site.counted()
    start = (datetime.now(UTC) - timedelta(minutes=1)).isoformat(timespec="seconds")
    simulate = ("collect", "simulate", "--hosts", "1", "--runs", "1", "--duration", "20s", "--start", start)
    written = [site.ran("collector", *simulate, "--seed", seed, "--print").count('"topic": "sample"') for seed in "12"]
    refused = site.run("collector", *simulate, "--seed", "1", KAPPAWATT_KAFKA_SASL_PASSWORD="guess")
    site.ran("collector", *simulate, "--seed", "2")
    site.flow()

    print(f"\n    {refused.stderr}")
    assert refused.returncode == 1
    assert "invalid credentials" in refused.stderr
    assert "records stay in the spool" in refused.stderr
    assert site.counted() == before + sum(written)
    assert min(written) > 10


def test_collector_may_write_its_topics_and_no_other(site: Site) -> None:
    log = site.log("collector")

    assert [sent(log, topic) for topic in ROLES["collector"].writes] == [None, None, None]
    for topic in ("intensity", "alert"):
        said = sent(log, topic)
        print(f"\n    {said}")
        assert said is not None
        assert "Topic authorization failed; this user lacks the right to: `kappawatt rights kafka`" in said


@pytest.mark.parametrize("topic", ["sample", "run_event", "dead_letter"])
def test_collector_may_read_nothing(site: Site, topic: str) -> None:
    heard = read_in_vain(site.log("collector"), topic, "Topic authorization failed")

    print("", *heard, sep="\n    ")


def test_collector_may_not_even_see_other_topics(site: Site) -> None:
    with pytest.raises(LogError, match=r"has no topic .*-intensity that this user may see") as error:
        site.log("collector").partition_count("intensity")

    refusal(error)


def test_collector_may_make_no_topic(site: Site) -> None:
    with pytest.raises(LogError) as error:
        site.log("collector").ensure_topics()

    assert "was asked to make topic" in refusal(error)
    assert "uthorization failed" in str(error.value)


def test_collector_may_read_the_registry_and_not_change_it(site: Site) -> None:
    login = site.gate.login(USERS + "collector", site.passwords["collector"])
    registry = Registry(site.gate.url, topic_prefix=site.prefix, environ=login)
    newer = {**schema("sample"), "doc": "another one"}

    assert registry.register("sample") > 0
    with pytest.raises(
        LogError, match=r"answers 403.*one who may write has to run `kappawatt schema register`"
    ) as error:
        registry.register("sample", written=newer)
    print(refusal(error))


def test_flow_may_not_write_samples(site: Site) -> None:
    said = sent(site.log("flow"), "sample")

    print(f"\n    {said}")
    assert "Topic authorization failed" in (said or "")


def test_dash_may_not_write(site: Site) -> None:
    row = tuple("x" if column in TABLES["run"].key else None for column in TABLES["run"].columns)
    with closing(site.opened("dash")) as store:
        found = list(store.scan("run"))
        store.write("run", [row], 1)
        with pytest.raises(StoreError, match=r"Unauthorized.*kw_dash has no MODIFY permission") as error:
            store.flush()
        refusal(error)
        with pytest.raises(StoreError, match="`kappawatt rights cassandra`") as fence:
            store.raise_fence(1)
        refusal(fence)

    assert found is not None


@pytest.mark.parametrize("role", ["dash", "flow", "operator"])
def test_only_migrate_may_make_tables(site: Site, role: str) -> None:
    done = site.run(role, "migrate", KAPPAWATT_STORE=site.store)

    print(f"\n    {done.stderr}")
    assert done.returncode == 1
    assert "no CREATE permission" in done.stderr
    assert "`kappawatt rights cassandra` tells which role may what" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "guess"}, "correct KAPPAWATT_KAFKA_SASL_USERNAME, KAPPAWATT_KAFKA_SASL_PASSWORD"),
        ({"ca": "wrong"}, "KAPPAWATT_KAFKA_SSL_CA_LOCATION has to name the certificate"),
    ],
    ids=["password", "authority"],
)
def test_kafka_says_what_is_wrong_with_a_log_in(site: Site, wrong: dict[str, Any], said: str) -> None:
    login = site.wrong(wrong)
    with pytest.raises(LogError) as error:
        site.log("collector", **login).check()

    assert said in refusal(error)
    assert "guess" not in str(error.value)


def test_kafka_without_tls_is_told_of_the_setting(site: Site) -> None:
    with pytest.raises(LogError) as error:
        KafkaLog(site.kafka.address, environ={}).check()

    assert "KAPPAWATT_KAFKA_SECURITY_PROTOCOL" in refusal(error)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "guess"}, "correct KAPPAWATT_CASSANDRA_USERNAME and KAPPAWATT_CASSANDRA_PASSWORD"),
        ({"ca": "wrong"}, "KAPPAWATT_CASSANDRA_CA_FILE has to name the certificate"),
    ],
    ids=["password", "authority"],
)
def test_cassandra_says_what_is_wrong_with_a_log_in(site: Site, wrong: dict[str, Any], said: str) -> None:
    login = site.wrong(wrong)
    with pytest.raises(StoreError) as error, closing(site.opened("dash", **login)) as store:
        store.check()

    assert said in refusal(error)
    assert "guess" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "guess"}, "answers 401.*correct KAPPAWATT_REGISTRY_USERNAME and KAPPAWATT_REGISTRY_PASSWORD"),
        ({"ca": "wrong"}, "KAPPAWATT_REGISTRY_CA_FILE has to name the certificate"),
    ],
    ids=["password", "authority"],
)
def test_registry_says_what_is_wrong_with_a_log_in(site: Site, wrong: dict[str, Any], said: str) -> None:
    login = site.wrong(wrong)
    environ = site.gate.login(USERS + "flow", login.pop("password", site.passwords["flow"]), **login)
    with pytest.raises(LogError, match=said) as error:
        Registry(site.gate.url, topic_prefix=site.prefix, environ=environ).check("sample")

    refusal(error)
    assert "guess" not in str(error.value)


def test_server_at_an_address_that_its_certificate_is_not_for_is_not_trusted(site: Site) -> None:
    others = [urlsplit(site.gate.url).netloc, site.kafka.address, site.cassandra.address]
    with ExitStack() as doors:
        gate, kafka, cassandra = (doors.enter_context(Proxy(each, here="127.0.0.2")).address for each in others)
        registry = Registry(site.gate.url.replace(others[0], gate), environ=site.gate.login(USERS + "flow", "x"))
        store = CassandraStore.from_url(f"cassandra://{cassandra}/{KEYSPACE}", site.cassandra.login("x", "x"))
        log = KafkaLog(kafka, environ=site.kafka.login(USERS + "flow"))
        for ask, said in (
            (lambda: registry.check("sample"), "REGISTRY an address that it is for"),
            (store.check, "CASSANDRA_CA_FILE has to name .* addresses that they are for"),
            (log.check, "LOG an address that it is for"),
        ):
            with pytest.raises(KappawattError, match=said) as error:
                ask()
            refusal(error)


def test_password_may_come_from_a_file_and_is_never_shown(site: Site, tmp_path: Path) -> None:
    kept = tmp_path / "password"
    kept.write_text(site.passwords["dash"] + "\n")
    others = {"KAPPAWATT_CASSANDRA_PASSWORD": "", "KAPPAWATT_CASSANDRA_PASSWORD_FILE": str(kept)}
    done = site.run("dash", "ls", **others)
    shown = site.run("flow", "config", "--json")

    assert done.returncode == 0, done.stderr
    assert '"***"' in shown.stdout
    everything = "".join(site.said)
    assert [role for role, password in site.passwords.items() if password in everything] == []

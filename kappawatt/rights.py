"""Who may do what at Kafka, the registry and Cassandra: the one table, and the commands that grant it.

`tests/stack/test_rights.py` runs every program with no more than this, and sees what is not here refused.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from kappawatt.wire.schemas import TOPICS

GROUP = "kappawatt"
"""The name that consumers bear; they commit nothing under it."""


class Place(Enum):
    """What a role may do at the registry or in the store."""

    NOTHING = "-"
    READ = "read"
    WRITE = "write"
    MAKE = "make tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one kind of program needs, and no more."""

    name: str
    does: str
    writes: tuple[str, ...] = ()
    """Topics."""
    reads: tuple[str, ...] = ()
    checks_topics: bool = False
    """Looks at the settings of what it reads."""
    makes_topics: bool = False
    registry: Place = Place.NOTHING
    store: Place = Place.NOTHING


ROLES = (
    Role(
        name="collector",
        does="collect host, run and track(): what a host measured",
        writes=("sample", "run_event", "dead_letter"),
        registry=Place.READ,
    ),
    Role(
        name="intensity",
        does="collect intensity: what the grid emits",
        writes=("intensity", "dead_letter"),
        registry=Place.READ,
    ),
    Role(
        name="flow",
        does="flow",
        reads=("sample", "intensity", "run_event"),
        checks_topics=True,
        writes=("dead_letter",),
        registry=Place.READ,
        store=Place.WRITE,
    ),
    Role(name="dash", does="dash, ls, show, export: answers", store=Place.READ),
    Role(
        name="operator",
        does="verify and dead: the log against the store",
        reads=("sample", "intensity", "run_event", "dead_letter"),
        registry=Place.READ,
        store=Place.READ,
    ),
    Role(name="schema", does="schema register: topics and contracts", makes_topics=True, registry=Place.WRITE),
    Role(name="migrate", does="migrate: tables", store=Place.MAKE),
)

_ON_KEYSPACE = {
    Place.NOTHING: (),
    Place.READ: ("SELECT",),
    Place.WRITE: ("SELECT", "MODIFY"),
    Place.MAKE: ("CREATE", "ALTER", "SELECT", "MODIFY"),
}


def kafka_acls(role: Role, *, users: str, topic_prefix: str) -> Iterator[list[str]]:
    """The arguments of `kafka-acls.sh`, without address and log-in, that give *role* its rights.

    *users* stands before the role's name in the name of its user.
    """
    who = ["--add", "--allow-principal", f"User:{users}{role.name}"]

    def on(operations: tuple[str, ...], topics: tuple[str, ...]) -> list[str]:
        asked = [word for each in operations for word in ("--operation", each)]
        return [*who, *asked, *(word for topic in topics for word in ("--topic", topic_prefix + topic))]

    if role.writes:
        yield on(("Write",), role.writes)  # which lets it see the topic as well
    if role.reads:
        yield on(("Read", "DescribeConfigs") if role.checks_topics else ("Read",), role.reads)
        yield [*who, "--operation", "Describe", "--group", GROUP]  # the client asks who coordinates it, and no more
    if role.makes_topics:
        yield on(("Create", "Describe"), TOPICS)


def kafka_script(*, users: str, topic_prefix: str) -> str:
    """A shell script of `kafka-acls.sh` commands for all roles."""
    lines = [
        "# Rights at Kafka, for StandardAuthorizer and allow.everyone.if.no.acl.found=false. Users are yours to make:",
        "#   kafka-configs.sh … --alter --entity-type users --entity-name NAME --add-config SCRAM-SHA-512=[password=…]",
        'ACLS="kafka-acls.sh --bootstrap-server ${BOOTSTRAP:?HOST:PORT}"',
        'ACLS="$ACLS --command-config ${ADMIN:?a file with the log-in of who may do that}"',
    ]
    for role in ROLES:
        commands = list(kafka_acls(role, users=users, topic_prefix=topic_prefix))
        lines += ["", f"# {role.does}" + ("" if commands else ": no rights at Kafka")]
        lines += [f"$ACLS {shlex.join(command)}" for command in commands]
    return "\n".join(lines)


def cassandra_script(*, users: str, keyspace: str) -> str:
    """CQL that makes the roles and grants them their rights in *keyspace*, which has to be there."""
    lines = [
        "-- Rights at Cassandra, for PasswordAuthenticator and CassandraAuthorizer. Passwords are yours to set;",
        "-- without one a role cannot log in:  ALTER ROLE NAME WITH PASSWORD = '…';",
    ]
    for role in ROLES:
        rights = _ON_KEYSPACE[role.store]
        lines += ["", f"-- {role.does}" + ("" if rights else ": no rights at Cassandra")]
        if rights:
            lines.append(f"CREATE ROLE IF NOT EXISTS {users}{role.name} WITH LOGIN = true;")
        lines += [f"GRANT {right} ON KEYSPACE {keyspace} TO {users}{role.name};" for right in rights]
    return "\n".join(lines)

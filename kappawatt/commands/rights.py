"""`rights`: who may do what, as a table or as the commands that grant it."""

import argparse
import re
from typing import Any

from kappawatt import rights
from kappawatt.commands import base
from kappawatt.errors import SettingsError
from kappawatt.settings import Settings

_NAME = "[a-z][a-z0-9_]{0,47}"


def add(commands: Any) -> None:
    """Add the command."""
    parser = base.command(
        commands,
        "rights",
        _rights,
        help="which program needs which rights at Kafka, registry and Cassandra",
        about="Prints the least that each kind of program needs: as a table, as a script of kafka-acls.sh, or as CQL.\n"
        "Asks nobody and changes nothing.",
        examples=[
            "kappawatt rights",
            "kappawatt rights kafka > acls.sh && BOOTSTRAP=broker:9093 ADMIN=admin.properties sh -eu acls.sh",
            "kappawatt rights cassandra --keyspace kappawatt > roles.cql && cqlsh --ssl -u admin -f roles.cql",
        ],
    )
    parser.add_argument("where", nargs="?", choices=("kafka", "cassandra"), help="commands for it [a table of all]")
    parser.add_argument(
        "--users", default="kappawatt_", metavar="PREFIX", help="stands before each role's name [kappawatt_]"
    )
    parser.add_argument("--keyspace", default="kappawatt", help="of Cassandra [kappawatt]")
    base.add_json(parser)
    base.add_settings(parser, "topic_prefix")


def _rights(args: argparse.Namespace, settings: Settings) -> int:
    for name, value in (("--users", args.users), ("--keyspace", args.keyspace)):
        if not re.fullmatch(_NAME, value):
            raise SettingsError(f"{name} {value!r} is not a name of a-z, 0-9 and _ that begins with a letter")
    rows = [
        {
            "role": args.users + role.name,
            "does": role.does,
            "writes": [settings.topic_prefix + topic for topic in role.writes],
            "reads": [settings.topic_prefix + topic for topic in role.reads],
            "makes_topics": role.makes_topics,
            "registry": role.registry.value,
            "store": role.store.value,
        }
        for role in rights.ROLES
    ]
    if args.json:
        base.print_json(rows)
    elif args.where == "kafka":
        print(rights.kafka_script(users=args.users, topic_prefix=settings.topic_prefix))
    elif args.where == "cassandra":
        print(rights.cassandra_script(users=args.users, keyspace=args.keyspace))
    else:
        _print_table(rows)
    return base.OK


def _print_table(rows: list[dict[str, Any]]) -> None:
    cells = [
        (
            row["role"],
            " ".join(row["writes"]) or ("makes all" if row["makes_topics"] else "-"),
            " ".join(row["reads"]) or "-",
            row["registry"],
            row["store"],
            row["does"],
        )
        for row in rows
    ]
    base.print_table(("ROLE", "WRITES TOPICS", "READS TOPICS", "REGISTRY", "STORE", "DOES"), cells)

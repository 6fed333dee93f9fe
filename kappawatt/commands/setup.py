"""`doctor`, `config`, `migrate` and `schema …`: this machine, what is set, and the contracts."""

import argparse
import os
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kappawatt import access, programs
from kappawatt import settings as settings_
from kappawatt.commands import base
from kappawatt.errors import SettingsError
from kappawatt.log import urls
from kappawatt.settings import Settings
from kappawatt.stores import migrations, open_store
from kappawatt.stores.tables import TABLES
from kappawatt.wire.schemas import TOPICS

if TYPE_CHECKING:
    from kappawatt.doctor import DeviceFinding, PlaceFinding
    from kappawatt.wire.registry import Registry


def add(commands: Any) -> None:
    """Add the commands of this module."""
    _add_doctor(commands)
    _add_migrate(commands)
    _add_schema(commands)
    _add_config(commands)


def _add_doctor(commands: Any) -> None:
    doctor = base.command(
        commands,
        "doctor",
        _doctor,
        help="what can be measured here, and how to mend the rest",
        about="Tries every device: is it readable, does its counter go on, which method is chosen, and what would\n"
        "give a better one. Then asks the log, the registry and the store. Exit code 1 if nothing can be\n"
        "measured at all.",
        examples=["kappawatt doctor", "sudo kappawatt doctor", "kappawatt doctor --log kafka://broker:9092 --json"],
    )
    base.add_json(doctor)
    base.add_settings(doctor, "log", "registry", "store", "topic_prefix", "cpu_tdp_w", "powercap")


def _add_migrate(commands: Any) -> None:
    migrate = base.command(
        commands,
        "migrate",
        _migrate,
        help="make or update the store's tables",
        about="Makes the store's tables, or brings them up to date, and says what it did. Safe to run twice,\n"
        "by several at once, and beside running programs.\n"
        "An SQLite file is made; a Cassandra keyspace only if asked for.",
        examples=[
            "kappawatt migrate",
            "kappawatt migrate --store cassandra://db:9042/kappawatt --create-keyspace",
            "kappawatt migrate --store cassandra://db:9042/kappawatt --create-keyspace \\\n"
            "      --replication \"{'class': 'NetworkTopologyStrategy', 'dc1': 3}\"",
        ],
    )
    migrate.add_argument("--create-keyspace", action="store_true", help="make the keyspace if there is none")
    migrate.add_argument(
        "--replication",
        metavar="MAP",
        help="of a keyspace that is made, as a CQL map [one copy of everything: for one machine, not for production]",
    )
    base.add_json(migrate)
    base.add_settings(migrate, "store")


def _add_schema(commands: Any) -> None:
    schema = base.command(
        commands,
        "schema",
        _schema,
        help="the record contracts in the schema registry",
        about="register: put our schemas into the registry, with compatibility FULL_TRANSITIVE, and make the topics\n"
        "that a log in Kafka lacks.\n"
        "check: ask the registry whether it would take them, changing nothing; exit code 1 if it refuses one.",
        examples=["kappawatt schema check --registry http://registry:8081", "kappawatt schema register"],
    )
    schema.add_argument("what", choices=("register", "check"), help="what to do")
    base.add_json(schema)
    base.add_settings(schema, "registry", "log", "topic_prefix")


def _add_config(commands: Any) -> None:
    config = base.command(
        commands,
        "config",
        _config,
        help="print every setting, its value and where it came from",
        examples=["kappawatt config", "KAPPAWATT_ZONE=DEU kappawatt config --json"],
    )
    base.add_json(config)
    base.add_settings(config, *(one.name for one in settings_.about()))


def _config(args: argparse.Namespace, settings: Settings) -> int:
    origins = settings_.load_with_origins(base.given_flags(args)).origins
    rows = [
        {
            "name": one.name,
            "value": settings_.masked(getattr(settings, one.name)),
            "unit": one.unit,
            "origin": origins[one.name],
            "help": one.help,
        }
        for one in settings_.about()
    ]
    rows += [
        {"name": one.variable.name, "value": one.shown, "unit": "text", "origin": one.origin, "help": one.variable.help}
        for one in access.given(os.environ)
    ]
    if args.json:
        base.print_json(rows)
        return base.OK
    base.print_table(("SETTING", "VALUE", "UNIT", "FROM", "MEANING"), [tuple(row.values()) for row in rows])
    return base.OK


def _doctor(args: argparse.Namespace, settings: Settings) -> int:
    from kappawatt import doctor  # asks sensors and clients, which the other commands need not import

    devices = doctor.devices(settings)
    places = list(doctor.places(settings))
    if args.json:
        base.print_json({"devices": [asdict(each) for each in devices], "places": [asdict(each) for each in places]})
    else:
        _print_devices(devices)
        _print_places(places)
    return base.OK if doctor.measurable(devices) else base.FAILED


def _print_devices(devices: "list[DeviceFinding]") -> None:
    going = {True: "yes", False: "no", None: "-"}
    rows = [(d.device, d.source, "yes" if d.readable else "no", going[d.advancing], d.method) for d in devices]
    base.print_table(("DEVICE", "SOURCE", "READABLE", "ADVANCING", "METHOD"), rows)
    for device in devices:
        print(f"\n{device.device}: {base.harmless(device.reason)}")
        if device.fix:
            print(f"  fix: {base.harmless(device.fix)}")


def _print_places(places: "list[PlaceFinding]") -> None:
    print()
    rows = [(p.what, p.url, "yes" if p.usable else "NO", p.found) for p in places]
    base.print_table(("PLACE", "URL", "USABLE", "FOUND"), rows)


def _migrate(args: argparse.Namespace, settings: Settings) -> int:
    if args.replication is not None and not args.create_keyspace:
        raise SettingsError("--replication is for a keyspace that is made; give --create-keyspace too")
    if args.replication is not None and not re.fullmatch(r"\{[^{};]+\}", args.replication):
        raise SettingsError(f"--replication {args.replication} is no CQL map like {migrations.DEV_REPLICATION}")
    applied = migrations.migrate(
        settings.store,
        create_keyspace=args.create_keyspace,
        replication=args.replication or migrations.DEV_REPLICATION,
    )
    store = open_store(settings.store, read_only=True)
    try:
        answer = {"store": settings_.masked(settings.store), "store_id": store.store_id(), "applied": applied}
    finally:
        store.close()
    if args.json:
        base.print_json({**answer, "tables": list(TABLES)})
        return base.OK
    for name in applied:
        print(f"applied {name}")
    print(f"{answer['store']} has its {len(TABLES)} tables (id {answer['store_id']})")
    return base.OK


def _schema(args: argparse.Namespace, settings: Settings) -> int:
    if not settings.registry:
        raise SettingsError("schema: no registry is set; give --registry URL or KAPPAWATT_REGISTRY")
    registry = _registry(settings.registry, settings.topic_prefix)
    rows: list[dict[str, Any]] = []
    for topic in TOPICS:
        refused = registry.check(topic)
        schema_id = registry.register(topic) if args.what == "register" and refused is None else None
        rows.append(
            {"topic": settings.topic_prefix + topic, "accepted": refused is None, "id": schema_id, "reason": refused}
        )
    if args.what == "register":
        _make_topics(settings)
    if args.json:
        base.print_json(rows)
    else:
        cells = [(r["topic"], "yes" if r["accepted"] else "NO", str(r["id"] or "-"), r["reason"] or "") for r in rows]
        base.print_table(("TOPIC", "ACCEPTED", "ID", "REASON"), cells)
    return base.OK if all(row["accepted"] for row in rows) else base.FAILED


def _make_topics(settings: Settings) -> None:
    url = urls.parse(settings.log)
    if isinstance(url, urls.FileUrl):
        return
    from kappawatt.log.kafka import KafkaLog

    made = KafkaLog(url.bootstrap, settings.registry, settings.topic_prefix).ensure_topics()
    base.say("partitions: " + ", ".join(f"{settings.topic_prefix}{topic} {count}" for topic, count in made.items()))


def _registry(url: str, topic_prefix: str) -> "Registry":
    try:
        from kappawatt.wire.registry import Registry
    except ModuleNotFoundError as error:
        raise programs.missing("schema", error) from error
    return Registry(url, topic_prefix=topic_prefix)

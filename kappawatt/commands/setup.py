"""`config`, `migrate` and `schema …`: what is set, and the contracts."""

import argparse
from typing import Any

from kappawatt import settings as settings_
from kappawatt.commands import base
from kappawatt.settings import Settings


def add(commands: Any) -> None:
    """Add the commands of this module."""
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
    if args.json:
        base.print_json(rows)
        return base.OK
    base.print_table(("SETTING", "VALUE", "UNIT", "FROM", "MEANING"), [tuple(row.values()) for row in rows])
    return base.OK

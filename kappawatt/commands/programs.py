"""`flow`, `dash` and `collect …`: the programs, started with settings."""

import argparse
from typing import Any

from kappawatt import logs, programs
from kappawatt import settings as settings_
from kappawatt.commands import base
from kappawatt.settings import Settings

COLLECTORS = {
    "host": ("collectors.agent", "measures this host for all runs on it"),
    "intensity": ("collectors.intensity", "publishes the grid intensity of all countries"),
    "simulate": ("collectors.simulate", "makes a fleet of simulated hosts, labelled so"),
}
"""Module and meaning of each collector."""


def add(commands: Any) -> None:
    """Add the commands of this module."""
    _add_flow(commands)
    _add_collect(commands)
    _add_dash(commands)


def _add_flow(commands: Any) -> None:
    flow = base.command(
        commands,
        "flow",
        _flow,
        help="turn the log into answers in the store",
        about="Reads the log and keeps the store's tables true: energy, emissions, water\n"
        "and cost per run, phase and zone.\n"
        "Runs until SIGTERM or Ctrl-C, which drain it; what it has read it never reads again.",
        examples=[
            "kappawatt flow",
            "kappawatt flow --until-end --log file:log --store sqlite:ledger.sqlite",
            "kappawatt flow --log kafka://broker:9092 --registry http://registry:8081 --store cassandra://db:9042/kappawatt",
        ],
    )
    flow.add_argument("--until-end", action="store_true", help="read a bounded log to its end, write final rows, exit")
    flow.add_argument(
        "--rebuild", action="store_true", help="read the whole log again, and remove what it does not give"
    )
    base.add_settings(
        flow,
        "log",
        "registry",
        "store",
        "state",
        "topic_prefix",
        "processes",
        "members",
        "member",
        "meeting",
        "probes",
        "metrics",
        "lateness_s",
        "lease_s",
        "close_s",
        "horizon_days",
        "idle_s",
        "epoch_s",
        "max_device_power_w",
        "log_format",
    )


def _add_collect(commands: Any) -> None:
    collect = base.command(
        commands,
        "collect",
        _collect,
        help="run a collector: host, intensity, simulate",
        about="Runs a collector; `kappawatt collect host --help` shows its own flags.\n\n"
        + "\n".join(f"  {name:<10} {what}" for name, (_, what) in COLLECTORS.items()),
        examples=["kappawatt collect host", "kappawatt collect intensity", "kappawatt collect simulate --help"],
    )
    collect.add_argument("what", choices=tuple(COLLECTORS), help="which one")
    collect.add_argument("rest", nargs="*", metavar="FLAGS", help="its own flags")


def _add_dash(commands: Any) -> None:
    dash = base.command(
        commands,
        "dash",
        _dash,
        help="serve the page",
        examples=["kappawatt dash", "kappawatt dash --port 0 --no-open"],
    )
    dash.add_argument("--no-open", action="store_true", help="do not open a browser")
    base.add_settings(dash, "store", "log", "dash_host", "dash_port", "log_format", strip="dash_")


def _flow(args: argparse.Namespace, settings: Settings) -> int:
    logs.begin(settings, "flow", settings.member if settings.members > 1 else None)
    run = programs.load("dataflows.main").run
    return int(run(settings_.flow_settings(settings, until_end=args.until_end, rebuild=args.rebuild)))


def _collect(args: argparse.Namespace, settings: Settings) -> int:
    module, _ = COLLECTORS[args.what]
    return int(programs.load(module).main(args.rest))


def _dash(args: argparse.Namespace, settings: Settings) -> int:
    logs.begin(settings, "dash")
    run = programs.load("dash_app.main").run
    return int(run(settings_.dash_settings(settings, open_browser=not args.no_open)))

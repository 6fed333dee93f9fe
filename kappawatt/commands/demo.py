"""`demo`: the whole product on this machine."""

import argparse
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from kappawatt import demo, processes, programs
from kappawatt.commands import base
from kappawatt.settings import PREFIX, Settings

SECONDS = 60.0


def add(commands: Any) -> None:
    """Add the commands of this module."""
    parser = base.command(
        commands,
        "demo",
        _demo,
        help="see it all at once: a real training, a simulated fleet, the flow, the page",
        about="Trains a real network on this machine while it is measured, beside a simulated fleet; runs the flow\n"
        "and the page; prints what the training cost. Then keeps the page until Ctrl-C, unless --seconds or --no-open\n"
        "is given.",
        examples=["kappawatt demo", "kappawatt demo --seconds 30 --no-open", "kappawatt demo --dir demo --zone DEU"],
    )
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="how long to train [60]")
    parser.add_argument("--no-open", action="store_true", help="open no browser, and end after the summary")
    parser.add_argument("--port", type=int, metavar="P", help="port of the page [8050, or any free one]")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="keep log and store there; default: a folder that is removed"
    )
    base.add_json(parser)
    base.add_settings(parser, "zone", "pue", "cpu_tdp_w")


def _demo(args: argparse.Namespace, settings: Settings) -> int:
    demo.check_packages()
    folder = args.dir.absolute() if args.dir else Path(tempfile.mkdtemp(prefix="kappawatt-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    children = processes.Children(folder, _environ(settings, folder))
    try:
        with processes.signals_as_exceptions():
            try:
                return _shown(args, demo.Demo(children, base.say, base.progress), folder)
            finally:
                children.end()
    except processes.Ended as ended:
        return 128 + ended.number
    finally:
        if not args.dir:
            shutil.rmtree(folder, ignore_errors=True)


def _shown(args: argparse.Namespace, show: demo.Demo, folder: Path) -> int:
    show.start(_free_port() if args.port is None else args.port, open_browser=not args.no_open)
    progress = show.train(args.seconds or SECONDS)
    answer = demo.told(progress)
    if args.json:
        base.print_json(answer)
    else:
        demo.print_told(answer)
    if args.seconds is None and not args.no_open:
        base.say(f"the page stays at {show.url} until Ctrl-C")
        _stay(show)
    base.say(demo.kept(folder) if args.dir else demo.ahead())
    return base.OK if answer["agrees"] else base.FAILED


def _stay(show: demo.Demo) -> None:
    try:
        while True:
            show.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


def _environ(settings: Settings, folder: Path) -> dict[str, str]:
    """The environment of all its processes: everything of theirs lies in *folder*, whatever is set outside."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {"ZONE": settings.zone, "PUE": settings.pue, "CPU_TDP_W": settings.cpu_tdp_w}
    own = {
        "LOG": f"file:{folder / 'log'}",
        "STORE": f"sqlite:{folder / 'ledger.sqlite'}",
        "SPOOL": str(folder / "spool"),
        **{name: str(value) for name, value in given.items() if value is not None},
    }
    return programs.environ(others | {PREFIX + name: value for name, value in own.items()})


def _free_port() -> int:
    """The usual port if it is free, else 0: any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8050))
        except OSError:
            return 0
    return 8050


def _seconds(given: str) -> float:
    value = float(given)
    if not 1.0 <= value <= 86_400.0:
        raise argparse.ArgumentTypeError(f"{given} is not a number of seconds from 1 to 86400")
    return value

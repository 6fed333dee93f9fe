"""`ls`, `show RUN` and `verify`: what the store says, and whether it adds up."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from kappawatt import programs, text
from kappawatt.commands import base
from kappawatt.commands.restated import print_restatements
from kappawatt.errors import KappawattError, StoreError
from kappawatt.settings import Settings, masked
from kappawatt.stores import Store, open_store

Found = dict[str, Any]
KINDS = ("cpu", "gpu", "memory", "other")


def add(commands: Any) -> None:
    """Add the commands of this module."""
    _add_ls(commands)
    _add_show(commands)
    _add_verify(commands)


def _add_ls(commands: Any) -> None:
    ls = base.command(
        commands,
        "ls",
        _ls,
        help="list runs, newest first",
        examples=["kappawatt ls", "kappawatt ls --days 90 --project vision --json", "kappawatt ls --status lost"],
    )
    ls.add_argument("--days", type=int, default=30, metavar="N", help="how far back to look [30]")
    ls.add_argument("--limit", type=int, default=50, metavar="N", help="most runs to list [50]")
    for column in ("status", "project", "model", "user"):
        ls.add_argument(f"--{column}", metavar="TEXT", help=f"only runs of this {column}")
    base.add_json(ls)
    base.add_settings(ls, "store")


def _add_show(commands: Any) -> None:
    show = base.command(
        commands,
        "show",
        _show,
        help="all about one run",
        about="All about one run: what it used, per phase and kind of device, how that is known,\nand what it emitted.",
        examples=["kappawatt show digits-20261121-093000-4f2a1c", "kappawatt show digits --json"],
    )
    show.add_argument(
        "run", metavar="RUN", help="a run's id, its unambiguous beginning, or the name of the newest such run"
    )
    base.add_json(show)
    base.add_settings(show, "store")


def _add_verify(commands: Any) -> None:
    check = base.command(
        commands,
        "verify",
        _verify,
        help="check that nothing was lost or counted twice",
        about="Checks, to the microjoule: sent = counted + duplicate + rejected + dead; windows + late = total, for\n"
        "each width; phases = total; and that as many records lie in a file log as the store says it has read.\n"
        "Stop the flow before: it writes while this reads. Exit code 1 if an equation does not hold.",
        examples=["kappawatt verify", "kappawatt verify --log file:log --store sqlite:ledger.sqlite --json"],
    )
    base.add_json(check)
    base.add_settings(check, "log", "registry", "store", "topic_prefix", "horizon_days", "max_device_power_w")


def opened(url: str) -> Store:
    """The store behind *url* for reading; an SQLite file is not made by looking at it."""
    kind, _, path = url.partition(":")
    if kind == "sqlite" and not Path(path).is_file():
        raise StoreError(
            f"store {masked(url)}: there is no such file yet; `kappawatt flow` makes it, or name another --store"
        )
    return open_store(url, read_only=True)


def _ls(args: argparse.Namespace, settings: Settings) -> int:
    store = opened(settings.store)
    try:
        wanted = {name: value for name in ("status", "project", "model", "user") if (value := getattr(args, name))}
        rows = []
        for listed in _listed(store, args.days):
            if all(listed[name] == value for name, value in wanted.items()):
                rows.append({**listed, "total": _one(store, "run_total", listed["run_id"])})
            if len(rows) >= args.limit:
                break
    finally:
        store.close()
    if args.json:
        base.print_json(rows)
    elif rows:
        _print_list(rows)
    else:
        base.say(f"no run in the last {args.days} days in {masked(settings.store)}")
    return base.OK


def _listed(store: Store, days: int) -> Iterator[Found]:
    """Rows of `runs_by_date`, newest first. A day more than now: clocks differ."""
    today = datetime.now(UTC).date() + timedelta(days=1)
    for back in range(days + 2):
        day: date = today - timedelta(days=back)
        yield from reversed(store.read("runs_by_date", {"date": day.isoformat()}))


def _one(store: Store, table: str, run_id: str) -> Found | None:
    rows = store.read(table, {"run_id": run_id})
    return rows[0] if rows else None


def _print_list(rows: list[Found]) -> None:
    header = ("RUN", "STATUS", "STARTED", "LENGTH", "KWH", "G CO2E", "COVERAGE", "PROJECT", "MODEL", "USER")
    cells = []
    for row in rows:
        total = row["total"] or {}
        length = total["last_end"] - total["first_start"] if total.get("last_end") else None
        cells.append(
            (
                row["run_id"],
                row["status"] or text.UNKNOWN,
                text.instant(row["started_at"])[:16],
                text.duration(length),
                text.kilowatt_hours(total.get("energy_uj")),
                text.digits(total.get("emissions_g")),
                text.share(total.get("coverage")),
                *(row[name] or text.UNKNOWN for name in ("project", "model", "user")),
            )
        )
    base.print_table(header, cells, right=(3, 4, 5, 6))


def find_run(store: Store, wanted: str, days: int = 90) -> str:
    """The run that *wanted* means: an id, the unambiguous beginning of one, or the newest run of that name.

    Raises:
        KappawattError: There is none, or several begin so.
    """
    if _one(store, "run", wanted) or _one(store, "run_total", wanted):
        return wanted
    listed = list(_listed(store, days))
    for row in listed:
        if row["name"] == wanted:
            return str(row["run_id"])
    begins = [str(row["run_id"]) for row in listed if row["run_id"].startswith(wanted)]
    if len(begins) == 1:
        return begins[0]
    if not begins:
        raise KappawattError(
            f"run {wanted!r}: the store knows none of that id or name in the last {days} days; see `kappawatt ls`"
        )
    raise KappawattError(f"run {wanted!r}: {len(begins)} runs begin so: {', '.join(begins[:5])}; give more of the id")


def _show(args: argparse.Namespace, settings: Settings) -> int:
    store = opened(settings.store)
    try:
        run_id = find_run(store, args.run)
        answer = {
            "run_id": run_id,
            "run": _one(store, "run", run_id),
            "total": _one(store, "run_total", run_id),
            "phases": store.read("phase_total", {"run_id": run_id}),
            "metrics": _by_day(store, "run_metric", run_id),
            "restatements": _by_day(store, "restatement", run_id),
        }
    finally:
        store.close()
    if args.json:
        base.print_json(answer)
    else:
        _print_run(answer)
    return base.OK


def _by_day(store: Store, table: str, run_id: str) -> list[Found]:
    """The run's rows of a table that is kept by day, oldest day first, over the days that it lived."""
    run = _one(store, "run", run_id)
    if not run or run["first_seen"] is None:
        return []
    first, last = (datetime.fromtimestamp(run[name] / 1e6, UTC).date() for name in ("first_seen", "last_seen"))
    days = (first + timedelta(days=i) for i in range(min((last - first).days, 366) + 1))
    return [row for day in days for row in store.read(table, {"run_id": run_id, "date": day.isoformat()})]


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    try:
        from kappawatt import recount, verify  # count the log again in columns, for which they need NumPy
    except ModuleNotFoundError as error:
        raise programs.missing("verify", error) from error
    store = opened(settings.store)
    try:
        log = recount.reader(settings)
        if log is None:
            base.say("the log is not counted again: in Kafka that needs its oldest records, and --registry URL")
        checked = verify.verify(store, log, recount.config_of(settings))
    finally:
        store.close()
    if args.json:
        broken = [asdict(each) for each in checked.broken]
        base.print_json({"equations": checked.equations, "broken": broken, "note": checked.note})
    else:
        for each in checked.broken:
            print(each)
        print(f"{checked.equations} equations checked, {len(checked.broken)} do not hold")
        if checked.note:
            base.say(checked.note)
    return base.FAILED if checked.broken else base.OK


def _print_run(answer: Found) -> None:
    run, total = answer["run"] or {}, answer["total"]
    print(base.harmless(answer["run_id"]))
    facts = [
        (name, run[name])
        for name in ("name", "status", "user", "team", "project", "model", "framework")
        if run.get(name)
    ]
    facts.append(("started", text.instant(run.get("started_at") or run.get("first_seen"))))
    facts += [("ended", text.instant(run["ended_at"]))] if run.get("ended_at") else []
    if total is None:
        facts.append(("energy", "no sample counted yet"))
    else:
        facts += _used(total, run)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print(f"  {name.ljust(width)}  {base.harmless(str(value))}")
    _print_phases(answer["phases"])
    print_restatements(answer["restatements"])
    _print_last_metric(answer["metrics"])


def _used(total: Found, run: Found) -> list[tuple[str, str]]:
    """What a run used, one line a quantity, each with how it is known."""
    length = total["last_end"] - total["first_start"] if total["last_end"] is not None else None
    watts = f"mean {text.digits(total['energy_uj'] / length)} W, " if length else ""
    by_kind = [f"{kind} {text.energy(total[f'{kind}_uj'])}" for kind in KINDS if total[f"{kind}_uj"]]
    estimated = text.share(total["estimated_uj"] / total["energy_uj"]) if total["energy_uj"] else text.UNKNOWN
    lines = [
        (
            "energy",
            f"{text.kilowatt_hours(total['energy_uj'])} kWh ({text.energy(total['energy_uj'])}: {', '.join(by_kind)})",
        ),
        ("power", f"{watts}peak {text.digits(total['power_w_max'])} W over 5 s"),
        (
            "emissions",
            f"{text.emissions(total['emissions_g'])} ({_priced(total)}; PUE {run.get('pue') or '1.0, none given'})",
        ),
        ("estimated", f"{estimated} of the energy (models, constants, simulation); the rest is measured"),
        (
            "coverage",
            f"{text.share(total['coverage'])} of {text.duration(length)}, "
            f"{total['samples']} samples, {total['hosts']} hosts",
        ),
    ]
    if total["unpriced_uj"]:
        lines.append(
            ("unpriced", f"{text.energy(total['unpriced_uj'])} without a grid intensity, not in the emissions")
        )
    if total["water_l"] is not None:
        lines.append(("water", f"{text.digits(total['water_l'])} L"))
    if total["cost"] is not None:
        lines.append(("cost", f"{text.digits(total['cost'])} {total['currency']}"))
    return lines


def _priced(total: Found) -> str:
    if total["intensity_g_per_kwh"] is None:
        return "no grid intensity known"
    return f"{text.digits(total['intensity_g_per_kwh'])} g/kWh, {total['intensity_kind']}, level {total['zone_level']}"


def _print_phases(phases: list[Found]) -> None:
    if not phases:
        return
    print()
    rows = [
        (
            p["phase"],
            text.duration(p["duration_us"]),
            text.kilowatt_hours(p["energy_uj"]),
            text.digits(p["emissions_g"]),
        )
        for p in sorted(phases, key=lambda p: -p["energy_uj"])
    ]
    base.print_table(("PHASE", "LENGTH", "KWH", "G CO2E"), rows, right=(1, 2, 3))


def _print_last_metric(metrics: list[Found]) -> None:
    if not metrics:
        return
    last = metrics[-1]
    known = [
        f"{name} {last[name]:g}"
        for name in ("epoch", "loss", "accuracy", "samples", "tokens")
        if last[name] is not None
    ]
    print(f"\nlast metrics: {', '.join(known) or text.UNKNOWN} ({len(metrics)} in all)")

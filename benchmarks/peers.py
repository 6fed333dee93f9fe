"""The same job over the same bytes by every engine, measured side by side; see engines/README.md.

    python -m benchmarks.peers check ENGINE [--ticks 100000] [--devices 11]    one engine, small data, identity check
    python -m benchmarks.peers run [--quick] [--engines a,b] [--measures a,b]  the benchmark; results/*.json, a table
    python -m benchmarks.peers report [RESULTS.json]                           table and charts of such a file

Starts Kafka and a registry if they do not run (tests/stack/servers.py) and stops what it started; a log is kept as
long as the broker runs, built environments below the cache folder ($XDG_CACHE_HOME/kappawatt-bench).
"""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import engines
from benchmarks.harness.charts import draw
from benchmarks.harness.cluster import BenchError, servers
from benchmarks.harness.data import prepared
from benchmarks.harness.measures import SOUND, catchup, told
from benchmarks.harness.plan import LONG, MEASURES, RESULTS, Plan, Results, full, measure, quick
from benchmarks.harness.report import records_of, report
from benchmarks.harness.shape import Shape, small


def check(options: argparse.Namespace) -> int:
    """Run one engine over a small log and compare; 1 if something differs."""
    engine = engines.load(options.engine)
    shape = small(options.ticks, options.devices)
    if options.hosts:
        shape = Shape(ticks=options.ticks, devices=options.devices, hosts=options.hosts)
    with servers(keep=options.keep) as cluster:
        data = prepared(cluster, shape)
        records = catchup(
            engine, cluster, data, passes=options.passes, processes=options.processes, limit_s=options.limit_s
        )
    for record in records:
        print(told(record))
    return 0 if all(record["identity"] in SOUND for record in records) else 1


def plan_of(options: argparse.Namespace) -> Plan:
    """What the arguments ask for."""
    chosen = options.engines.split(",") if options.engines else ()
    plan = quick(chosen) if options.quick else full(chosen)
    changes: dict[str, Any] = {}
    if options.measures:
        changes["measures"] = tuple(options.measures.split(","))
    if options.rounds:
        changes["rounds"] = options.rounds
    if options.ticks:
        changes["ticks"] = dict.fromkeys(plan.ticks, options.ticks)
    if options.rates:
        changes["rates"] = tuple(map(int, options.rates.split(",")))
        changes["recovery_rate"] = max(changes["rates"])
    if options.live_s:
        changes["live_s"] = options.live_s
    if options.minutes:
        changes["minutes"] = options.minutes
    return dataclasses.replace(plan, **changes)


def run(options: argparse.Namespace) -> int:
    """The benchmark; 1 if an engine's answer differs."""
    plan = plan_of(options)
    results = Results(Path(options.out) if options.out else RESULTS / f"{plan.name}.json", plan, more=options.more)
    try:
        with servers(keep=options.keep) as cluster:
            measure(cluster, plan, results)
    finally:
        # What was measured before an interruption is not lost.
        if results.records:
            _tell(results.path)
    return 0 if all(record["identity"] in SOUND for record in results.records) else 1


def _tell(path: Path) -> None:
    """The table as text and as Markdown file, the charts in a folder, both named as the results."""
    text = report(path)
    path.with_suffix(".md").write_text(text + "\n")
    draw(records_of(path), path.with_suffix(""))
    print(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("check", help="one engine over a small log, with the identity check")
    one.add_argument("engine")
    one.add_argument("--ticks", type=int, default=100_000)
    one.add_argument("--devices", type=int, default=11, choices=range(1, 12))
    one.add_argument("--hosts", type=int, help="default: as many as make 2,000 s, at most 495")
    one.add_argument("--passes", type=int, default=1)
    one.add_argument("--processes", type=int, default=1)
    one.add_argument("--limit-s", type=float, default=300)
    many = actions.add_parser("run", help="the benchmark")
    many.add_argument("--quick", action="store_true", help="ours, Flink, Kafka Streams and stock Bytewax only")
    many.add_argument("--engines", help="some of them, with commas between")
    many.add_argument("--measures", help=f"some of {','.join(MEASURES + LONG)}")
    many.add_argument("--rounds", type=int)
    many.add_argument("--ticks", type=int, help="length of the logs")
    many.add_argument("--rates", help="readings a second of live runs, with commas between; recovery at the greatest")
    many.add_argument("--live-s", type=float, help="length of a live run")
    many.add_argument("--minutes", type=float, help="begin nothing more after so long")
    many.add_argument("--out", help="file of the results")
    many.add_argument("--more", action="store_true", help="add to the file's rounds instead of beginning anew")
    again = actions.add_parser("report", help="table and charts of results that are there")
    again.add_argument("results", nargs="?", default=str(RESULTS / "all.json"))
    for each in (one, many):
        each.add_argument("--keep", action="store_true", help="leave the servers and their logs for the next call")
    options = parser.parse_args(arguments)
    # An end that is asked for ends the engines and servers as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if options.action == "report":
            _tell(Path(options.results))
            return 0
        return check(options) if options.action == "check" else run(options)
    except BenchError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""The same job over the same bytes by every engine, measured side by side; see engines/README.md.

    python -m benchmarks.peers check ENGINE [--ticks 100000] [--devices 11]     one engine, small data, identity check

Starts Kafka and a registry if they do not run (tests/stack/servers.py) and stops what it started; a log is kept as
long as the broker runs, built environments below the cache folder ($XDG_CACHE_HOME/kappawatt-bench).
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.harness import engines
from benchmarks.harness.cluster import BenchError, Cluster, read_answer, servers
from benchmarks.harness.data import prepared
from benchmarks.harness.engine_run import EngineRun
from benchmarks.harness.identity import differences
from benchmarks.harness.shape import small


def check(cluster: Cluster, options: argparse.Namespace) -> int:
    """Run one engine over a small log and compare; 1 if something differs."""
    engine = engines.load(options.engine)
    data = prepared(cluster, small(options.ticks, options.devices))
    run = EngineRun(
        engine=engine,
        cluster=cluster,
        data=data,
        mode="catchup",
        passes=options.passes,
        parallelism=options.processes,
    )
    wrong = 0
    with run:
        for each in run.await_end(options.limit_s):
            found = []
            if engine.name != "raw_consume":
                answer = read_answer(cluster, run.outputs[each.number - 1])
                found = differences(data.expected, data.counts, answer.rows, answer.counts)
            said = "as expected" if not found else "\n  ".join(["DIFFERS", *found])
            us = each.cpu_s / data.shape.ticks * 1e6
            print(
                f"{engine.name} pass {each.number}: {each.cpu_s:.2f} s CPU ({us:.2f} us a tick), {each.wall_s:.2f} s, "
                f"{each.peak_bytes / 1e6:.0f} MB; {len(data.expected)} rows, {data.counts}: {said}",
                flush=True,
            )
            wrong += bool(found)
        if wrong or options.verbose:
            print(run.tail(), file=sys.stderr)
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("check", help="one engine over a small log, with the identity check")
    one.add_argument("engine")
    one.add_argument("--ticks", type=int, default=100_000)
    one.add_argument("--devices", type=int, default=11, choices=range(1, 12))
    one.add_argument("--passes", type=int, default=1)
    one.add_argument("--processes", type=int, default=1)
    one.add_argument("--limit-s", type=float, default=300)
    one.add_argument("--verbose", action="store_true", help="show the end of what it wrote to stderr")
    options = parser.parse_args(arguments)
    try:
        with servers() as cluster:
            return check(cluster, options)
    except BenchError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""From a sample's end to its row in Cassandra, from kill -9 to the first new row, and what half an hour does to memory.

    make measure-live                                             the first two; it starts the servers
    python tests/stack/servers.py run -- python -m benchmarks.end_to_end latency [--rate 20000] [--epoch-s 0.5]
    python tests/stack/servers.py run -- python -m benchmarks.end_to_end kill [--rate 50000]
    python tests/stack/servers.py run -- python -m benchmarks.end_to_end soak --minutes 30 [--sqlite]

A process of its own (make_load.py) sends ticks of 11 devices over Kafka and waits for nobody; `kappawatt flow` in one
process reads them and writes to the store, with every table of the product; this process reads.

**latency**: some of the hosts have a run of their own, and this process reads the newest 5-s rows of those runs again
and again, by the same read as the page's. A row's `samples` counts the ticks that begin in it, so a read tells which
ticks are in the store. A value is the time at which the first such read had returned less the end of the tick, which
is the moment that the load sent it: Kafka, the flow's epoch, its commit and the write are all in it, and so is the
pause until the next read of that run (`read_every_s`). There is a value for every tick of those runs, and their hosts
are spread evenly over the second, so no phase of an epoch is preferred. Cassandra's WRITETIME would not do: rows carry
their version for it. The first seconds are left out. At the end every run's energy is compared with what was sent.

**kill**: kill -9 halfway, and the same command again at once: to the first read with a row of the new start (whose
versions are greater), and to the first that has a tick which ended after the kill and is no more than 2 s old.

**soak**: resident memory of the flow every 5 s; the slope is that of the least squares after the warm-up. State grows
until the horizon: with `--speed 20 --horizon-days 0.04` the fleet's ten hours pass in half of one, its horizon soon.

Prints a line of JSON each.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.cluster import BenchError
from benchmarks.harness.live import quantiles
from benchmarks.harness.product import Flow, Paced, Probe
from benchmarks.make_load import Load
from kappawatt.stores import Store, open_store
from kappawatt.stores.address import Address
from kappawatt.stores.connection import Connection
from kappawatt.stores.migrations import migrate

WARM_S = 10.0
READY_S = 90.0
DRAIN_S = 30.0
IN_TIME_S = 2.0
LOOK_S = 5.0


def probes(load: Load, first_us: int) -> list[Probe]:
    """Those of a load."""
    turns = range(load.ticks // load.hosts)
    names = load.run_names()
    ends = {host: [load.end_us(turn * load.hosts + host, first_us) for turn in turns] for host in load.probed()}
    return [Probe(names[host], ends[host], load.period_us) for host in load.probed()]


def read_round(found: Sequence[Probe], store: Store, pause_s: float) -> None:
    """Read each probe that waits once, and pause."""
    began = time.monotonic()
    for probe in found:
        if probe.waits(time.time()):
            probe.read(store)
    time.sleep(max(0.002, pause_s - (time.monotonic() - began)))


def latency(options: argparse.Namespace, flow: Flow, store: Store, paced: Paced) -> dict[str, Any]:
    """Ticks of the probes, and the cores that the flow uses."""
    first_us = paced.go()
    found = probes(paced.load, first_us)
    first = first_us / 1e6
    end, warm = first + paced.load.seconds, first + WARM_S
    cpu_s, rows, from_s = 0.0, 0, 0.0
    while (now := time.time()) < end + DRAIN_S and (now < end or any(probe.waits(now) for probe in found)):
        flow.check()
        if not from_s and now >= warm:
            cpu_s, rows, from_s = flow.cpu_s(), flow.rows(), now
        if now < end:
            till, used = now, flow.cpu_s()
        read_round(found, store, options.read_every_s)
    rows = flow.rows() - rows
    values = [value for probe in found for value in probe.latencies(warm)]
    if not values or any(len(probe.seen) < len(probe.ends_us) for probe in found):
        raise BenchError(f"ticks are missing {DRAIN_S:.0f} s after the last: {found[:3]}")
    figures = {"values": len(values)} | {name: round(value, 3) for name, value in quantiles(values).items()}
    figures["read_every_s"] = round(len(found) * (till - first) / sum(probe.reads for probe in found), 3)
    figures |= {"cores": round((used - cpu_s) / (till - from_s), 3), "rows_per_s": round(rows / (till - from_s))}
    return figures | {"peak_mb": round(flow.memory_mb("VmHWM"))}


def kill(options: argparse.Namespace, flow: Flow, store: Store, paced: Paced) -> dict[str, Any]:
    """kill -9 halfway."""
    first_us = paced.go()
    found = probes(paced.load, first_us)
    end, halfway = first_us / 1e6 + paced.load.seconds, first_us / 1e6 + paced.load.seconds / 2
    while time.time() < halfway:
        flow.check()
        read_round(found, store, options.read_every_s)
    killed = time.time()
    flow.kill()
    first_row_s = in_time_s = None
    while (now := time.time()) < end + DRAIN_S and in_time_s is None:
        flow.check()
        read_round(found, store, options.read_every_s)
        now = time.time()
        if first_row_s is None and any(probe.version > killed * 1e6 for probe in found):
            first_row_s = round(now - killed, 2)
        if any(0 <= value <= IN_TIME_S for probe in found for value in probe.latencies(killed)):
            in_time_s = round(now - killed, 2)
    return {"first_new_row_s": first_row_s, "in_time_s": in_time_s}


def soak(options: argparse.Namespace, flow: Flow, store: Store, paced: Paced) -> dict[str, Any]:
    """Memory over time."""
    began = paced.go() / 1e6
    taken: list[tuple[float, float]] = []
    cpu_s, rows = flow.cpu_s(), flow.rows()
    while (now := time.time()) < began + paced.load.seconds:
        flow.check()
        taken.append((now - began, flow.memory_mb("VmRSS")))
        time.sleep(LOOK_S)
    warm = options.warm_minutes * 60
    figures = {"minutes": round(taken[-1][0] / 60, 1), "warm_minutes": options.warm_minutes}
    figures["mb_every_5_min"] = [round(mb) for _, mb in taken[:: round(300 / LOOK_S)]]
    figures |= slope([each for each in taken if each[0] >= warm])
    figures |= {"peak_mb": round(flow.memory_mb("VmHWM")), "state_mb": round(flow.state_mb(), 1)}
    figures["cores"] = round((flow.cpu_s() - cpu_s) / taken[-1][0], 3)
    return figures | {"rows_per_s": round((flow.rows() - rows) / taken[-1][0])}


def slope(taken: Sequence[tuple[float, float]]) -> dict[str, float]:
    """MB an hour by least squares over (s, MB), and how far its first half is from its second.

    >>> slope([(0.0, 100.0), (1800.0, 101.0), (3600.0, 102.0)])["mb_per_hour"]
    2.0
    """
    at, mb = np.array(taken).T
    half = len(at) // 2
    per_hour = 3_600 * np.polyfit(at, mb, 1)[0]
    between = float(np.median(mb[half:]) - np.median(mb[:half]))
    return {"mb_per_hour": round(float(per_hour), 2), "second_half_more_mb": round(between, 2)}


@contextlib.contextmanager
def store_for(options: argparse.Namespace, servers: dict[str, str], folder: Path) -> Iterator[str]:
    """The URL of a store of its own, dropped at the end unless it is to be kept."""
    if options.sqlite:
        yield f"sqlite:{folder / 'ledger.sqlite'}"
        return
    url = f"cassandra://{servers['CASSANDRA']}/{options.keep or f'live_{uuid.uuid4().hex[:8]}'}"
    migrate(url, create_keyspace=True)
    try:
        yield url
    finally:
        if not options.keep:
            with contextlib.closing(Connection(Address.parse(url))) as connection:
                connection.change_schema(f"DROP KEYSPACE {Address.parse(url).keyspace}")


def await_runs(flow: Flow, store: Store) -> None:
    """Return when the starts of the runs are in the store."""
    give_up = time.monotonic() + READY_S
    while next(iter(store.scan("run")), None) is None:
        flow.check()
        if time.monotonic() > give_up:
            raise BenchError(f"the flow wrote nothing in {READY_S:.0f} s")
        time.sleep(0.2)


def compare(store: Store, energy: dict[str, int]) -> None:
    """Every run's energy is what was sent; waits for what is under way."""
    give_up = time.monotonic() + DRAIN_S
    while True:
        found = {row["run_id"]: row["energy_uj"] for row in store.scan("run_total")}
        if found == energy:
            return
        if time.monotonic() > give_up:
            wrong = [run for run, sent in energy.items() if found.get(run) != sent]
            raise BenchError(f"{len(wrong)} runs have another energy than was sent, as {wrong[:3]}: no figure")
        time.sleep(0.5)


MEASURES = {"latency": latency, "kill": kill, "soak": soak}


def run(what: str, options: argparse.Namespace, servers: dict[str, str]) -> dict[str, Any]:
    """One measurement, from nothing."""
    rate = options.rate or {"latency": 20_000, "kill": 50_000, "soak": 4_400}[what]
    seconds = options.minutes * 60 if what == "soak" else options.seconds
    period_s = options.period_s or (5.0 if what == "soak" else 1.0)
    hosts = round(rate * period_s / options.devices / (options.speed if what == "soak" else 1.0))
    runs = min(options.runs or {"soak": 2_000}.get(what, 100), hosts)
    load = Load(
        hosts=hosts,
        runs=runs,
        seconds=seconds,
        probes=0 if what == "soak" else options.probes,
        devices=options.devices,
        period_s=period_s,
        speed=options.speed if what == "soak" else 1.0,
    )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(store_for(options, servers, folder))
        paced = stack.enter_context(contextlib.closing(Paced(servers, load)))
        flow = stack.enter_context(contextlib.closing(Flow(options, servers, paced.prefix, url, folder)))
        time.sleep(1.0)
        store = stack.enter_context(contextlib.closing(opened(url, flow)))
        await_runs(flow, store)
        figures = MEASURES[what](options, flow, store, paced)
        sent = paced.sent()
        compare(store, sent.pop("energy"))
    head = {"benchmark": f"end_to_end_{what}", "readings_per_s": rate, "hosts": hosts, "runs": runs + load.probes}
    head |= {"epoch_s": options.epoch_s, "store": url.partition(":")[0]}
    kafka = {f"{name}_per_tick": round(sent[name] / sent["ticks"]) for name in ("value_bytes", "wire_bytes")}
    return head | figures | kafka | {"behind_s": round(sent["behind_s"], 3)}


def opened(url: str, flow: Flow) -> Store:
    """The store for reading, as soon as the flow has made it."""
    give_up = time.monotonic() + READY_S
    while url.startswith("sqlite:") and not Path(url.partition(":")[2]).exists() and time.monotonic() < give_up:
        flow.check()
        time.sleep(0.2)
    return open_store(url, read_only=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", help="of latency, kill and soak (default: the first two)")
    parser.add_argument("--rate", type=float, help="readings a second (20,000, for kill 50,000, for soak 4,400)")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--minutes", type=float, default=30, help="of a soak")
    parser.add_argument("--warm-minutes", type=float, default=10, help="of a soak, before the slope")
    parser.add_argument("--devices", type=int, default=11, choices=range(1, 12))
    parser.add_argument("--period-s", type=float, help="between two ticks of a host (1, of a soak 5)")
    parser.add_argument("--speed", type=float, default=1.0, help="of a soak: the fleet's time against the clock's")
    parser.add_argument("--runs", type=int, help="apart from the probes' (100, of a soak 2,000)")
    parser.add_argument("--probes", type=int, default=16, help="hosts with a run of their own, which are read")
    parser.add_argument("--read-every-s", type=float, default=0.1, help="pause between two reads of a probe")
    parser.add_argument("--epoch-s", type=float, help="as kappawatt flow --epoch-s")
    parser.add_argument("--lateness-s", type=float, help="as kappawatt flow --lateness-s")
    parser.add_argument("--horizon-days", type=float, help="as kappawatt flow --horizon-days")
    parser.add_argument("--sqlite", action="store_true", help="write to SQLite in place of Cassandra")
    parser.add_argument("--keep", metavar="KEYSPACE", help="write to this keyspace, and leave it there")
    parser.add_argument("--env", type=Path, default=Path(".stack/env"), help="where the servers' addresses are")
    options = parser.parse_args()
    unknown = set(options.what) - MEASURES.keys()
    if unknown:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    lines = (line.partition("=") for line in options.env.read_text().splitlines())
    servers = {name.removeprefix("KAPPAWATT_TEST_"): value for name, _, value in lines}
    try:
        for what in options.what or ["latency", "kill"]:
            print(json.dumps(run(what, options, servers)), flush=True)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

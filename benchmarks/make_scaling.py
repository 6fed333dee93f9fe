"""The tables of docs/scaling.md: what was measured, and what a fleet needs by it.

    python -m benchmarks.make_scaling

A test holds the page to what this prints.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple


class Measured(NamedTuple):
    """One coefficient."""

    name: str
    value: float
    unit: str
    command: str


FLOW = "`python benchmarks/flow.py`"
STATE = "`benchmarks.state`"
LIVE = "`make measure-live`"
STORE = "`python benchmarks/store_writes.py --cassandra HOST:PORT`: one window of each run, priced"
SIZES = "`benchmarks.end_to_end latency --runs 600 --keep sizes`; files `*-Data.db` after a restart of Cassandra"
TABLES = "the tables of [semantics.md](semantics.md)"
DRILL_DOWN = "[adr/0006](adr/0006-ledger-in-the-flow.md)"

TICK = Measured("CPU of a tick of 11 devices", 4.7, "µs", FLOW)
RUN = Measured("CPU of an active run in an epoch, state included", 42, "µs", f"{STATE}: the difference")
EPOCH = Measured("CPU of an epoch that all shards have a part in", 60, "ms", f"{STATE}: what is left for N = 0")
IDLE = Measured("CPU of an epoch in which nothing comes", 16, "ms", "a flow over an empty file log, by /proc/PID/stat")
ROW = Measured("CPU of a row to Cassandra", 20.4, "µs", STORE)
ROWS_RUN = Measured("rows of an active run in an epoch", 5, "", TABLES)
EPOCHS_DEVICE = Measured("epochs in which an active device has one row", 16, "", DRILL_DOWN)
TICK_BYTES = Measured("a tick of 11 devices on its way to Kafka", 470, "B", f"{LIVE}: `wire_bytes_per_tick`")
BASE_MB = Measured("memory of a process", 110, "MB", f"{STATE}: `steady_mb`, what is left for N = 0")
RUN_KB = Measured("memory of an active run of 2–11 devices", 53, "kB", f"{STATE}: `steady_mb`, the difference")
STATE_KB = Measured("recovery files of an active run", 39, "kB", f"{STATE}: `recovery_mb`, the difference")
WINDOW_BYTES = Measured("a row of 5 s in Cassandra, compressed", 86, "B", SIZES)
DEVICE_BYTES = Measured("a row of a device in Cassandra, compressed", 34, "B", SIZES)
COEFFICIENTS = (TICK, RUN, EPOCH, IDLE, ROW, ROWS_RUN, EPOCHS_DEVICE, TICK_BYTES)
COEFFICIENTS += (BASE_MB, RUN_KB, STATE_KB, WINDOW_BYTES, DEVICE_BYTES)

COPIES = 3
BUSY = 0.6
MOST_PROCESSES = 8
DEVICES_MEASURED = 6.5
DAY_S = 86_400
WIDTHS_S = (5, 300, 3_600)
# What servers are taken to do; not measured here.
BROKER_MB = 50
NODE_ROWS = 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Hosts at 1 Hz, so many to a run; every host is in a run all the time."""

    hosts: int
    devices: int = 11
    hosts_per_run: int = 8
    epoch_s: float = 0.5

    @property
    def runs(self) -> float:
        """Active at once."""
        return self.hosts / self.hosts_per_run


def rows_per_s(fleet: Fleet) -> tuple[float, float]:
    """To the store: of runs with their windows, of devices. Each row comes once more when it is final."""
    runs = fleet.runs * (ROWS_RUN.value / fleet.epoch_s + sum(1 / width for width in WIDTHS_S))
    devices = fleet.hosts * fleet.devices
    return runs, devices / (EPOCHS_DEVICE.value * fleet.epoch_s) + devices / WIDTHS_S[1]


def cores(fleet: Fleet) -> dict[str, float]:
    """Of the flow, but for what each process takes for epochs as such."""
    return {
        "ticks": fleet.hosts * TICK.value / 1e6,
        "folds": (fleet.runs * RUN.value / 1e6 + EPOCH.value / 1e3) / fleet.epoch_s,
        "rows": sum(rows_per_s(fleet)) * ROW.value / 1e6,
    }


def processes(fleet: Fleet) -> int:
    """So many that each is busy for 60 % of a core at most."""
    return max(1, math.ceil(sum(cores(fleet).values()) / (BUSY - IDLE.value / 1e3 / fleet.epoch_s)))


def memory_gb(fleet: Fleet, count: int) -> float:
    """Of all processes: a run takes as much for each 6.5 devices as was measured for one of 6.5."""
    each_kb = RUN_KB.value * max(1.0, fleet.hosts_per_run * fleet.devices / DEVICES_MEASURED)
    return (count * BASE_MB.value + fleet.runs * each_kb / 1e3) / 1e3


def stored_gb(fleet: Fleet) -> float:
    """What a day adds to Cassandra."""
    windows = fleet.runs * sum(DAY_S / width for width in WIDTHS_S) * WINDOW_BYTES.value
    return (windows + fleet.hosts * fleet.devices * DAY_S / WIDTHS_S[1] * DEVICE_BYTES.value) / 1e9


def needs(fleet: Fleet) -> dict[str, str]:
    """What a fleet needs, part by part."""
    (runs, devices), count, spent = rows_per_s(fleet), processes(fleet), cores(fleet)
    spent |= {"engine": count * IDLE.value / 1e3 / fleet.epoch_s}
    kafka, stored = fleet.hosts * TICK_BYTES.value / 1e6, stored_gb(fleet)
    week = kafka * 7 * DAY_S / 1e6
    nodes = math.ceil((runs + devices) * COPIES / NODE_ROWS)
    return {
        "readings a second": f"{fleet.hosts * fleet.devices:,}",
        "active runs": f"{fleet.runs:,.0f}",
        f"Kafka, in; with {COPIES} copies": f"{kafka:.1f}; {kafka * COPIES:.1f} MB/s",
        f"Kafka, 7 days; with {COPIES} copies": f"{week:.1f}; {week * COPIES:.1f} TB",
        f"brokers at {BROKER_MB} MB/s": f"{max(COPIES, math.ceil(kafka * COPIES / BROKER_MB))}",
        "rows a second: runs, devices": f"{runs + devices:,.0f}: {runs:,.0f}, {devices:,.0f}",
        "cores of the flow": f"{sum(spent.values()):.1f}",
        f"of them {', '.join(spent)}": ", ".join(f"{value:.2f}" for value in spent.values()),
        f"processes at {BUSY:.0%} of a core": f"{count}" if count <= MOST_PROCESSES else f"{count}: too many",
        "memory of all processes": f"{memory_gb(fleet, count):.1f} GB",
        "recovery files": f"{fleet.runs * STATE_KB.value / 1e6:.2f} GB",
        f"Cassandra, a day; with {COPIES} copies": f"{stored:.1f}; {stored * COPIES:.1f} GB",
        f"Cassandra nodes at {NODE_ROWS:,} rows a second": f"{max(COPIES, nodes)}",
    }


def coefficient_table() -> str:
    """What was measured."""
    lines = ["| what | measured | by |", "|---|---|---|"]
    lines += [f"| {name} | {f'{value:,g} {unit}'.strip()} | {how} |" for name, value, unit, how in COEFFICIENTS]
    return "\n".join(lines)


def need_table() -> str:
    """Fleets by what they need."""
    fleets = [Fleet(hosts=hosts) for hosts in (1_800, 10_000, 100_000)]
    fleets.append(Fleet(hosts=100_000, epoch_s=2.0))
    columns = [needs(fleet) for fleet in fleets]
    heads = ["hosts, epoch", *(f"{fleet.hosts:,}, {fleet.epoch_s} s" for fleet in fleets)]
    lines = [heads, *([name, *(column[name] for column in columns)] for name in columns[0])]
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "|---" * len(heads) + "|", *rows[1:]])


if __name__ == "__main__":
    print(coefficient_table(), need_table(), sep="\n\n")

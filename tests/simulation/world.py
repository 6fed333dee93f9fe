"""Hosts that write a log, and a plain account of it: the verdict of every record is known as it is appended.

What a `World` appends to the driver's log it also keeps as records, for the oracle.
"""

import random
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from kappawatt.testing import EmissionsDriver
from kappawatt.wire import codec
from tests.oracle.model import SECOND, W5M, Dead, Log, Parameters, Record
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.oracle.verdicts import fault, run_of

START = MIDNIGHT - 900 * SECOND
ZONES = ("DE", "FR", "US-CAL-CISO")
PRICED = ("DE", "DEU", "FR", "USA", "WORLD")
RUNS = ("a", "b", "c")
HOSTS = ("h0", "h6", "h2", "h5")
"""Their hashes are in all partitions, however many there are."""
LENGTHS = (1, SECOND, 5 * SECOND, 5 * SECOND, 5 * SECOND + 1, 12 * SECOND, 61 * SECOND)


@dataclass(slots=True)
class Account:
    """What is true of the records of a partition before each offset; all lists are by offset."""

    sent: list[int] = field(default_factory=lambda: [0])
    counted: list[int] = field(default_factory=lambda: [0])
    duplicate: list[int] = field(default_factory=lambda: [0])
    rejected: list[int] = field(default_factory=lambda: [0])
    dead: list[int] = field(default_factory=lambda: [0])
    energy: list[dict[str, int]] = field(default_factory=lambda: [{}])
    """Counted energy by run."""
    newest: int | None = None

    def note(self, verdict: str, run: str = "", energy: int = 0) -> None:
        """One more record."""
        self.sent.append(self.sent[-1] + 1)
        for name in ("counted", "duplicate", "rejected", "dead"):
            column = getattr(self, name)
            column.append(column[-1] + (verdict == name))
        of_run = self.energy[-1]
        if verdict == "counted":
            of_run = {**of_run, run: of_run.get(run, 0) + energy}
        self.energy.append(of_run)

    def skip(self) -> None:
        """An offset that holds nothing."""
        for name in ("sent", "counted", "duplicate", "rejected", "dead", "energy"):
            column = getattr(self, name)
            column.append(column[-1])


@dataclass(slots=True)
class Host:
    """One collector; its clock is where its next interval begins."""

    name: str
    zone: str
    clock: int
    seq: int = 0
    silent: bool = False
    held: list[Record] = field(default_factory=list)


class World:
    """Appends to *driver*'s log what hosts, providers and runs would, now and then what nobody should."""

    def __init__(self, rng: random.Random, driver: EmissionsDriver, parameters: Parameters, *, partitions: int) -> None:
        self.rng, self.driver, self.parameters = rng, driver, parameters
        self.partitions = partitions
        self.log = Log(append_us={})
        self.accounts: dict[str, Account] = {}
        self.hosts = [
            Host(name, rng.choice(ZONES), START - rng.randrange(20 * SECOND)) for name in HOSTS[: rng.randint(2, 4)]
        ]
        self._seen: dict[tuple[str, int], str] = {}
        self._events = 0
        self._prices = 0
        driver.set_clock(START)
        for number in range(partitions):
            self._create(str(number))

    def grow(self) -> None:
        """Twice as many partitions; hosts stay in their bucket."""
        for number in range(self.partitions, 2 * self.partitions):
            self._create(str(number))
        self.partitions *= 2

    def produce(self, count: int) -> None:
        """Some hosts write: mostly on, sometimes again, out of order, late, or nonsense."""
        rng = self.rng
        for _ in range(count):
            host = rng.choice(self.hosts)
            chance = rng.random()
            if chance < 0.06:
                self.again(host)
            elif chance < 0.12:
                self.nonsense(host)
            elif chance < 0.22 and host.held:
                self.append(host, host.held.pop(rng.randrange(len(host.held))))
            else:
                record = self.take(host)
                if rng.random() < 0.12:
                    host.held.append(record)  # comes out of order, maybe late
                elif rng.random() > 0.02:  # else it is lost
                    self.append(host, record)

    def release(self) -> None:
        """What was held back comes."""
        for host in self.hosts:
            for record in host.held:
                self.append(host, record)
            host.held = []

    def price(self) -> None:
        """A provider publishes: a first value, a revision, a correction of the past, a forecast."""
        rng, now = self.rng, self.driver.now_us
        start = (now // W5M + rng.randrange(-6, 4)) * W5M
        self._prices += 1
        record = price(
            zone=rng.choice(PRICED),
            valid_from=start,
            valid_to=start + rng.choice((1, 1, 3, 12)) * W5M,
            intensity_g_per_kwh=100.0 + self._prices,
            kind=rng.choice(("actual", "estimated", "forecast", "static")),
            revision=rng.randrange(3),
            published_at=now,
            water_l_per_kwh=rng.choice((None, 1.5)),
            price_per_kwh=rng.choice((None, 0.25)),
            currency=rng.choice((None, "EUR")),
        )
        for _ in range(1 + (rng.random() < 0.1)):
            self.control("intensity", record, self.log.intensity)

    def event(self) -> None:
        """A run says something; now and then twice."""
        rng, now = self.rng, self.driver.now_us
        self._events += 1
        kind = rng.choice(("start", "phase_start", "phase_start", "phase_end", "heartbeat", "epoch", "stop"))
        record = event(
            event_id=f"e{self._events}",
            run_id=rng.choice(RUNS),
            type=kind,
            at=now - rng.randrange(120 * SECOND),
            phase=rng.choice(("load", "train")) if kind.startswith("phase") else None,
            pue=rng.choice((None, None, 1.1, 1.4)),
            wue_l_per_kwh=rng.choice((None, None, 0.3)),
            user=rng.choice((None, "ann", "bob")),
            metrics={"loss": 0.5} if kind == "epoch" else {},
        )
        for _ in range(1 + (rng.random() < 0.1)):
            self.control("run_event", record, self.log.run_events)

    def trim(self, partition: str, before: int) -> None:
        """The log forgets what was read long ago."""
        self.driver.log.trim("sample", partition, before)

    def take(self, host: Host) -> Record:
        rng = self.rng
        length = rng.choice(LENGTHS)
        # A host measures up to now, or, when it was away, goes on from where it was.
        start = max(host.clock, self.driver.now_us - 30 * SECOND) if rng.random() < 0.9 else host.clock
        kinds = rng.choice(((2,), (2, 1), (1, 3, 2)))
        host.clock = start + length
        host.seq += 1 + (rng.random() < 0.03)
        return sample(
            collector_id=f"c-{host.name}",
            seq=host.seq,
            host=host.name,
            run_id=rng.choice((*RUNS, RUNS[0], None)),
            zone=host.zone,
            start=start,
            end=start + length,
            kind=list(kinds),
            method=[rng.choice((1, 2, 4)) for _ in kinds],
            energy_uj=[rng.randrange(length + 1) for _ in kinds],
            water_ul=rng.choice((0, 0, 7)),
            cpu_time_us=rng.choice((-1, 5)),
        )

    def again(self, host: Host) -> None:
        name = self._partition(host)
        known = [record for record in self.log.samples[name] if not isinstance(record, Dead)]
        if known:
            self.append(host, self.rng.choice(known), name)

    def nonsense(self, host: Host) -> None:
        record = self.take(host)
        kind = self.rng.randrange(6)
        if kind == 0:
            self._dead(host, record, "undecodable", codec.encode("sample", record)[:-3])
        elif kind == 1:
            self._dead(host, record, "trailing_bytes", codec.encode("sample", record) + b"\0\0")
        elif kind == 2:
            self._dead(host, record, "magic", b"?")
        elif kind == 3:
            self.append(host, record | {"energy_uj": [-1] * len(record["kind"])})
        elif kind == 4:
            self.append(host, record | {"end": record["start"]})
        else:
            self.append(host, record | {"start": record["start"] + 900 * SECOND, "end": record["end"] + 900 * SECOND})

    def append(self, host: Host, record: Record, partition: str | None = None) -> None:
        name = self._partition(host) if partition is None else partition
        now = max(self.driver.now_us, 0)
        verdict = self._verdict(record, name, now)
        self._keep(name, record, codec.encode("sample", record), now)
        self.accounts[name].note(verdict, run_of(record), sum(record["energy_uj"]))

    def _verdict(self, record: Record, name: str, append_us: int) -> str:
        """The rules of docs/semantics.md §1, record by record."""
        identity = (record["collector_id"], record["seq"])
        if identity in self._seen:
            return "duplicate"
        self._seen[identity] = name
        account = self.accounts[name]
        if fault(record, self.parameters, append_us):
            return "rejected"
        if account.newest is not None and record["end"] < account.newest - self.parameters.horizon_us:
            return "rejected"
        account.newest = record["end"] if account.newest is None else max(account.newest, record["end"])
        return "counted"

    def _dead(self, host: Host, record: Record, reason: str, payload: bytes) -> None:
        name = self._partition(host)
        self._keep(
            name, Dead(reason, record), payload, self.driver.now_us, broken="magic" if reason == "magic" else None
        )
        self.accounts[name].note("dead")

    def _keep(self, name: str, record: Record | Dead, payload: bytes, now: int, broken: str | None = None) -> None:
        offset = None
        if self.rng.random() < 0.02:  # a hole, as transactions and compaction leave them
            offset = self.driver.log.end("sample", name) + 1
            self.accounts[name].skip()
        self.driver.log.append("sample", name, payload, append_us=now, offset=offset, broken=broken)
        self.log.samples[name].append(record)
        self.log.append_us[name].append(now)

    def _partition(self, host: Host) -> str:
        return str(zlib.crc32(host.name.encode()) % self.partitions)

    def _create(self, name: str) -> None:
        self.driver.log.create("sample", name)
        self.log.samples[name] = []
        self.log.append_us[name] = []
        self.accounts[name] = Account()

    def control(self, topic: str, record: Record, kept: list[Record]) -> None:
        self.driver.log.append(topic, "0", codec.encode(topic, record), append_us=self.driver.now_us)
        kept.append(record)


def energies(accounts: dict[str, Account], positions: dict[str, int]) -> dict[str, int]:
    """Counted energy by run of what lies before the positions."""
    found: dict[str, int] = defaultdict(int)
    for name, at in positions.items():
        for run, energy in accounts[name].energy[at].items():
            found[run] += energy
    return dict(found)


def record_count(log: Log) -> dict[str, Any]:
    """How much a log holds."""
    return {"samples": sum(map(len, log.samples.values())), "prices": len(log.intensity), "events": len(log.run_events)}

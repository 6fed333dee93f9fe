"""The messages of a log, in the order of their arrival, and the oracle's rows for them.

Built of the parts of `make_log` that are encoded once: hosts with a phase and 3 ms of jitter, a fifth of the ticks
cross a 5-s edge, hosts are up to 2 s behind each other.
"""

import random
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.make_log import POOL, Fleet, encode, long_bytes, schema_of, text_bytes

from .oracle import Devices, Oracle, pivot
from .shape import PARTITIONS, SECOND, START_US, Shape

JITTER_US = 3_000
MOST_BEHIND = 2
FLUSH_RUN = "~flush"
FLUSH_AFTER_US = 7_200 * SECOND
PERIOD_US = 300 * SECOND
CUT_AT = 30
"""Bytes that are left of the datum that is cut: within its first field, so that no decoder gets past it."""


class Arrival(NamedTuple):
    """One message of topic sample: host number, datum (the frame comes later), and the tick that it adds.

    counts: Run, start and end; None: it adds nothing to the rows.
    """

    host: int
    datum: bytes
    counts: tuple[str, int, int] | None = None
    wrong_frame: bool = False


@dataclass(slots=True)
class Host:
    """The constant parts of a host's records and where its clock stands."""

    before_seq: bytes
    before_times: bytes
    run: str
    zone: str
    phase_us: int
    behind: int
    edge: int


def run_name(number: int) -> str:
    return f"run-{number:03d}"


def zone_name(number: int) -> str:
    return f"ZZ-{number:02d}"


def host_name(number: int) -> str:
    return f"node-{number:04d}"


def partition_of(host: int) -> int:
    """All of a host's records go to one partition; the last one stays empty."""
    return host % (PARTITIONS - 1)


def intensities(shape: Shape) -> list[dict[str, Any]]:
    """For every zone and 5 minutes an estimate and, after it, the actual value."""
    rng = random.Random(shape.seed + 7)
    first = START_US // PERIOD_US * PERIOD_US
    last = START_US + (shape.seconds + 10) * SECOND
    found = []
    for start in range(first, last, PERIOD_US):
        for zone in range(shape.zones):
            for kind, revision in (("estimated", 1), ("actual", 0)):
                value: dict[str, Any] = {"zone": zone_name(zone), "valid_from": start, "valid_to": start + PERIOD_US}
                value |= {"kind": kind, "revision": revision, "intensity_g_per_kwh": rng.uniform(30, 700)}
                value |= {"provider": "bench", "dataset": "v1", "published_at": start + PERIOD_US}
                value |= {"factor": "lifecycle", "signal": "average", "price_per_kwh": 0.2, "currency": "EUR"}
                found.append(value | {"water_l_per_kwh": None, "renewable": None})
    return found


class Log:
    """Iterate it once for the messages; then its oracle's rows and counts are whole."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.fleet = Fleet(shape.devices, random.Random(shape.seed))
        self.devices = Devices(
            tuple(kind for _, kind, _, _ in self.fleet.names), tuple(method for _, _, method, _ in self.fleet.names)
        )
        self.oracle = Oracle(self.devices)
        self._energies = [_longs(data) for data, _ in self.fleet.energies]
        self._wholes = [pivot(self.devices, energies) for energies in self._energies]
        self._rng = random.Random(shape.seed + 1)
        self._hosts = [self._host(number) for number in range(shape.hosts)]
        self._codes = self.fleet.codes()
        self._waiting: dict[int, list[Arrival]] = defaultdict(list)
        self.messages = 0

    def __repr__(self) -> str:
        return f"<Log {self.shape.key}>"

    def _host(self, number: int) -> Host:
        rng, shape = self._rng, self.shape
        collector = f"{rng.getrandbits(128):032x}"
        run, zone = run_name(number % shape.runs), zone_name((number // 7) % shape.zones)
        names = text_bytes(host_name(number)) + b"\x02" + text_bytes(run) + text_bytes(zone)
        phase_us = rng.randrange(SECOND)
        return Host(text_bytes(collector), names, run, zone, phase_us, rng.randint(0, MOST_BEHIND), START_US + phase_us)

    def __iter__(self) -> Iterator[Arrival]:
        """All messages of topic sample."""
        for arrival in self._all():
            self.messages += 1
            yield arrival

    def _all(self) -> Iterator[Arrival]:
        shape, made, second = self.shape, 0, -1
        poisons = {max(1, shape.ticks * share // 8): kind for kind, share in enumerate((1, 4, 7))}
        while made < shape.ticks:
            second += 1
            for number, host in enumerate(self._hosts):
                seq = second - host.behind
                if seq < 0 or made == shape.ticks:
                    continue
                made += 1
                arrival = self._tick(number, host, seq, second)
                if arrival is not None:
                    yield arrival
                if made in poisons:
                    yield self._poison(poisons[made], arrival)
            yield from self._waiting.pop(second, ())
        for late in sorted(self._waiting):
            yield from self._waiting[late]
        yield from self._flushes()

    def _tick(self, number: int, host: Host, seq: int, second: int) -> Arrival | None:
        """The next tick of a host, unless it comes later; counted by the oracle in either case."""
        rng, shape = self._rng, self.shape
        start, end = host.edge, START_US + host.phase_us + (seq + 1) * SECOND + int(rng.random() * JITTER_US)
        host.edge = end
        which = rng.randrange(POOL)
        data, _ = self.fleet.energies[which]
        times = host.before_times + long_bytes(start) + long_bytes(end) + self._codes
        datum = host.before_seq + long_bytes(seq) + times + data + self.fleet.tails[rng.randrange(POOL)]
        arrival = Arrival(number, datum, (host.run, start, end))
        late, due = False, second
        drawn = rng.random()
        if drawn < shape.swapped:
            due += rng.randint(1, 2)
        elif shape.delay_s and second + shape.delay_s < shape.seconds:
            late = drawn - shape.swapped < shape.late * shape.seconds / (shape.seconds - shape.delay_s)
            due += shape.delay_s if late else 0
        self.oracle.take(host.run, host.zone, start, end, self._energies[which], self._wholes[which], late=late)
        if rng.random() < shape.repeated:
            self._waiting[due + rng.randint(1, 7)].append(arrival._replace(counts=None))
            self.oracle.counts["duplicate"] += 1
        if due == second:
            return arrival
        self._waiting[due].append(arrival)
        return None

    def _poison(self, kind: int, arrival: Arrival | None) -> Arrival:
        """A cut datum, a wrong magic byte, an empty message."""
        self.oracle.counts["dead"] += 1
        host = self._hosts[0]
        datum = host.before_seq + bytes(64) if arrival is None else arrival.datum
        if kind == 0:
            return Arrival(0, datum[:CUT_AT])
        return Arrival(0, datum if kind == 1 else b"", wrong_frame=True)

    def _flushes(self) -> Iterator[Arrival]:
        """A tick far ahead for each partition that has any."""
        start = START_US + (self.shape.seconds + 10) * SECOND + FLUSH_AFTER_US
        for number in range(min(PARTITIONS - 1, self.shape.hosts)):
            names = text_bytes(host_name(number)) + b"\x02" + text_bytes(FLUSH_RUN) + text_bytes(zone_name(0))
            times = long_bytes(start) + long_bytes(start + SECOND) + self._codes
            before = text_bytes(f"flush-{number:02d}") + long_bytes(0) + names + times
            yield Arrival(number, before + self.fleet.energies[0][0] + self.fleet.tails[0])

    def rows(self) -> dict[str, dict[str, Any]]:
        """The oracle's rows."""
        best: dict[tuple[str, int], float] = {}
        for value in intensities(self.shape):
            if value["kind"] == "actual":
                best[value["zone"], value["valid_from"]] = value["intensity_g_per_kwh"]
        return self.oracle.rows(lambda zone, slot: best[zone, slot - slot % PERIOD_US])


def _longs(data: bytes) -> list[int]:
    """The items of an Avro array of longs in one positive block."""
    found: list[int] = []
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value >> 1 ^ -(value & 1))
            value = shift = 0
    return found[1:-1]


def framed(arrival: Arrival, frame: bytes) -> bytes:
    """The message's value. *frame*: magic 0 and the schema's id."""
    if not arrival.wrong_frame:
        return frame + arrival.datum
    return b"\x07" + frame[1:] + arrival.datum if arrival.datum else b""


def intensity_message(value: dict[str, Any], schema_id: int) -> bytes:
    """A framed intensity."""
    return b"\0" + struct.pack(">I", schema_id) + encode(schema_of("intensity"), value)

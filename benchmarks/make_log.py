"""A fleet's log, made fast: 500 hosts at 1 Hz, 100 runs, 20 zones, as ticks of 11 devices (data A) or of one (data B).

    python benchmarks/make_log.py --ticks 1000000 --log file:/tmp/log-a
    python benchmarks/make_log.py --ticks 4000000 --devices 1 --log kafka://127.0.0.1:9092 --registry http://127.0.0.1:8080/…

Every host has its own phase and 3 ms of jitter, so that a fifth of the intervals cross a 5-s edge; hosts are up to 2 s
behind each other; 0.5 % of the records are sent twice. What a right answer is goes to stdout as JSON: records,
duplicates, energy of every run. Records are put together from parts that are encoded once; the first ones are decoded
again with fastavro and compared, so a change of the schema is noticed here.
"""

import argparse
import io
import json
import random
import struct
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import fastavro

SCHEMAS = Path(__file__).resolve().parents[1] / "avro"
SECOND = 1_000_000
START_US = 1_740_873_600 * SECOND
HOSTS, RUNS, ZONES = 500, 100, 20
JITTER_US = 3_000
DUPLICATES = 0.005
MOST_BEHIND = 2
POOL = 256
SYNC = bytes(range(0xC0, 0xD0))


def long_bytes(value: int) -> bytes:
    """An Avro long: zigzag, then 7 bits a byte, least first."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text_bytes(text: str) -> bytes:
    """An Avro string."""
    data = text.encode()
    return long_bytes(len(data)) + data


def array_bytes(items: Sequence[bytes]) -> bytes:
    """An Avro array as one positive block."""
    return (long_bytes(len(items)) + b"".join(items) if items else b"") + b"\0"


def schema_of(topic: str) -> Any:
    """The parsed schema of a topic."""
    return fastavro.parse_schema(json.loads((SCHEMAS / f"{topic}.avsc").read_text()))


def encode(schema: Any, record: dict[str, Any]) -> bytes:
    """One datum."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


@dataclass(slots=True)
class Fleet:
    """The constant parts of all records, as bytes."""

    devices: int
    rng: random.Random
    names: list[tuple[str, int, int, float]] = field(init=False)
    """Name, kind, method, power in W."""
    energies: list[tuple[bytes, int]] = field(init=False)
    tails: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        gpus = [(f"gpu:{number}", 2, 1, 400.0) for number in range(8)]
        rest = [("cpu:0", 1, 1, 120.0), ("cpu:1", 1, 1, 110.0), ("memory:0", 3, 4, 40.0)]
        self.names = (gpus + rest)[: self.devices]
        drawn = [[int(watts * SECOND * self.rng.uniform(0.5, 1.0)) for *_, watts in self.names] for _ in range(POOL)]
        self.energies = [(array_bytes([long_bytes(one) for one in of_tick]), sum(of_tick)) for of_tick in drawn]
        self.tails = [self._tail() for _ in range(POOL)]

    def codes(self) -> bytes:
        """Arrays kind and method."""
        kinds = [long_bytes(kind) for _, kind, _, _ in self.names]
        return array_bytes(kinds) + array_bytes([long_bytes(method) for _, _, method, _ in self.names])

    def _tail(self) -> bytes:
        """All that follows energy_uj."""
        devices = array_bytes([text_bytes(name) for name, *_ in self.names])
        used = array_bytes([struct.pack("<f", self.rng.random()) for _ in self.names])
        warm = array_bytes([struct.pack("<f", 61.5) for _ in self.names])
        memory = array_bytes([long_bytes(self.rng.randrange(80 << 30)) for _ in self.names])
        traffic = b"".join(long_bytes(self.rng.randrange(1 << 24)) for _ in range(5))
        return devices + used + warm + memory + array_bytes([]) + traffic + b"\0"


@dataclass(slots=True)
class HostTicks:
    """One host: the constant parts of its records and where its clock stands."""

    number: int
    before_seq: bytes
    before_times: bytes
    run: int
    phase_us: int
    behind: int
    edge_bytes: bytes = b""


@dataclass(slots=True)
class Truth:
    """What a right answer to the log is."""

    records: int = 0
    duplicates: int = 0
    bytes: int = 0
    energy_uj: int = 0
    energy_by_run: list[int] = field(default_factory=lambda: [0] * RUNS)
    first_start_us: int = 0
    last_end_us: int = 0


def hosts_of(rng: random.Random) -> list[HostTicks]:
    """The fleet's hosts; run and zone go by the host's number."""
    hosts = []
    for number in range(HOSTS):
        collector = f"{rng.getrandbits(128):032x}"
        run, zone = number % RUNS, (number // 7) % ZONES
        names = text_bytes(f"node-{number:04d}") + b"\x02" + text_bytes(f"run-{run:03d}") + text_bytes(zone_name(zone))
        phase_us = rng.randrange(SECOND)
        behind = rng.randint(0, MOST_BEHIND)
        edge = START_US + phase_us
        hosts.append(HostTicks(number, text_bytes(collector), names, run, phase_us, behind, long_bytes(edge)))
    return hosts


def zone_name(number: int) -> str:
    """One of the zones of the fleet."""
    return f"ZZ-{number:02d}"


def ticks(count: int, fleet: Fleet, rng: random.Random, truth: Truth) -> Iterator[tuple[int, bytes]]:
    """*count* ticks and their repeats as (host number, datum), in the order of their arrival."""
    hosts = hosts_of(rng)
    codes = fleet.codes()
    random_, randrange = rng.random, rng.randrange
    made, second = 0, -1
    again: list[tuple[int, bytes]] = []
    while made < count:
        second += 1
        repeats, again = again, []
        for host in hosts:
            seq = second - host.behind
            if seq < 0 or made == count:
                continue
            edge = START_US + host.phase_us + (seq + 1) * SECOND + int(random_() * JITTER_US)
            edge_bytes = long_bytes(edge)
            energies, total = fleet.energies[randrange(POOL)]
            times = host.before_times + host.edge_bytes + edge_bytes + codes
            datum = host.before_seq + long_bytes(seq) + times + energies + fleet.tails[randrange(POOL)]
            host.edge_bytes = edge_bytes
            made += 1
            truth.energy_by_run[host.run] += total
            truth.bytes += len(datum)
            truth.last_end_us = max(truth.last_end_us, edge)
            yield host.number, datum
            if random_() < DUPLICATES:
                again.append((host.number, datum))
        truth.duplicates += len(repeats)
        yield from repeats
    truth.duplicates += len(again)
    yield from again
    truth.records = made + truth.duplicates
    truth.energy_uj = sum(truth.energy_by_run)
    truth.first_start_us = START_US


class Sink(Protocol):
    """Where records go."""

    def sample(self, host: int, datum: bytes) -> None:
        """Take a datum of topic sample."""

    def other(self, topic: str, key: str, record: dict[str, Any]) -> None:
        """Take a record of another topic."""

    def close(self) -> None:
        """Return when all is written."""


class FileSink:
    """A file log: one datum a block, hosts spread over a number of source partitions by crc32."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self._folder = folder
        self._place = [zlib.crc32(f"node-{number:04d}".encode()) % partitions for number in range(HOSTS)]
        self._files = [self._open("sample", f"fleet{number:03d}") for number in range(partitions)]
        self._waiting: list[list[bytes]] = [[] for _ in range(partitions)]
        self._others: dict[str, list[dict[str, Any]]] = {"intensity": [], "run_event": []}
        self._sizes: dict[int, bytes] = {}

    def _open(self, topic: str, partition: str) -> Any:
        (self._folder / topic).mkdir(parents=True, exist_ok=True)
        file = (self._folder / topic / f"{partition}-000000.avro").open("wb")
        fastavro.writer(file, schema_of(topic), [], sync_marker=SYNC)
        return file

    def sample(self, host: int, datum: bytes) -> None:
        place = self._place[host]
        waiting = self._waiting[place]
        size = self._sizes.get(len(datum))
        if size is None:
            size = self._sizes[len(datum)] = b"\x02" + long_bytes(len(datum))
        waiting += (size, datum, SYNC)
        if len(waiting) > 6_000:
            self._files[place].write(b"".join(waiting))
            waiting.clear()

    def other(self, topic: str, key: str, record: dict[str, Any]) -> None:
        self._others[topic].append(record)

    def close(self) -> None:
        for file, waiting in zip(self._files, self._waiting, strict=True):
            file.write(b"".join(waiting))
            file.close()
        for topic, records in self._others.items():
            with self._open(topic, "fleet") as file:
                for record in records:
                    datum = encode(schema_of(topic), record)
                    file.write(b"\x02" + long_bytes(len(datum)) + datum + SYNC)


class KafkaSink:
    """Kafka: key host, partition crc32(key) mod n (librdkafka's `consistent`)."""

    def __init__(self, bootstrap: str, registry: str, topic_prefix: str, partitions: int) -> None:
        from confluent_kafka import Producer

        from kappawatt.log.kafka import KafkaLog
        from kappawatt.wire.registry import Registry

        counts = KafkaLog(bootstrap, registry, topic_prefix).ensure_topics(partitions)
        ids = Registry(registry, topic_prefix=topic_prefix)
        self._frames = {topic: b"\0" + ids.register(topic).to_bytes(4, "big") for topic in counts}
        self._prefix = topic_prefix
        self._keys = [f"node-{number:04d}".encode() for number in range(HOSTS)]
        self._place = [zlib.crc32(key) % counts["sample"] for key in self._keys]
        settings = {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 50, "compression.type": "lz4"}
        settings |= {"queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1 << 19}
        self._producer = Producer(settings)
        self._sent = 0

    def sample(self, host: int, datum: bytes) -> None:
        self._send("sample", self._frames["sample"] + datum, self._keys[host], self._place[host])

    def other(self, topic: str, key: str, record: dict[str, Any]) -> None:
        self._send(topic, self._frames[topic] + encode(schema_of(topic), record), key.encode(), -1)

    def _send(self, topic: str, message: bytes, key: bytes, partition: int) -> None:
        while True:
            try:
                self._producer.produce(self._prefix + topic, message, key, partition)
                break
            except BufferError:
                self._producer.poll(0.05)
        self._sent += 1
        if self._sent % 1_000 == 0:
            self._producer.poll(0)

    def close(self) -> None:
        left = self._producer.flush(120)
        if left:
            raise SystemExit(f"{left} records were not delivered in 120 s; is the broker up?")


def others(sink: Sink, last_end_us: int) -> None:
    """Intensity of every zone by five minutes, an estimate and its actual value; a start event of every run."""
    period = 300 * SECOND
    rng = random.Random(7)
    empty: dict[str, Any] = {"water_l_per_kwh": None, "renewable": None, "factor": "lifecycle", "signal": "average"}
    for zone in map(zone_name, range(ZONES)):
        for start in range(START_US // period * period, last_end_us + 1, period):
            for kind, revision in (("estimated", 0), ("actual", 1)):
                value: dict[str, Any] = {"zone": zone, "valid_from": start, "valid_to": start + period, "kind": kind}
                value |= {"revision": revision, "intensity_g_per_kwh": rng.uniform(30, 700), "provider": "bench"}
                value |= {"dataset": "v1", "published_at": start + period, "price_per_kwh": 0.2, "currency": "EUR"}
                sink.other("intensity", zone, empty | value)
    for run in range(RUNS):
        name = f"run-{run:03d}"
        event: dict[str, Any] = {"event_id": "start", "run_id": name, "type": "start", "at": START_US, "pue": 1.2}
        sink.other("run_event", name, event | {"user": f"user-{run % 7}", "model": f"model-{run % 5}"})


def check(fleet: Fleet) -> None:
    """The parts make records that fastavro reads back and writes the same."""
    schema = schema_of("sample")
    for _, datum in ticks(50, fleet, random.Random(1), Truth()):
        record = fastavro.schemaless_reader(io.BytesIO(datum), schema, None)
        if encode(schema, record) != datum or len(record["device"]) != fleet.devices:
            raise SystemExit("avro/sample.avsc is not what this program encodes; bring its parts in line")


def sink_of(options: argparse.Namespace) -> Sink:
    """The sink behind --log."""
    scheme, _, rest = options.log.partition(":")
    if scheme == "file":
        return FileSink(Path(rest), options.partitions)
    if scheme == "kafka" and options.registry:
        return KafkaSink(rest.removeprefix("//"), options.registry, options.topic_prefix, options.partitions)
    raise SystemExit(f"--log {options.log!r}: give file:DIR, or kafka://HOST:PORT with --registry URL")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the log that the arguments ask for and print its truth."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--log", required=True, help="file:DIR or kafka://HOST:PORT")
    parser.add_argument("--ticks", type=int, default=200_000, help="ticks without repeats (default 200000)")
    parser.add_argument("--devices", type=int, default=11, choices=range(1, 12), help="devices a tick (default 11)")
    parser.add_argument("--partitions", type=int, default=16, help="source partitions of topic sample (default 16)")
    parser.add_argument("--registry", help="URL of the schema registry, for Kafka")
    parser.add_argument("--topic-prefix", default="")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    fleet, truth = Fleet(options.devices, random.Random(options.seed)), Truth()
    check(fleet)
    began = time.monotonic()
    sink = sink_of(options)
    for host, datum in ticks(options.ticks, fleet, random.Random(options.seed + 1), truth):
        sink.sample(host, datum)
    others(sink, truth.last_end_us)
    sink.close()
    print(f"{truth.records} records in {time.monotonic() - began:.1f} s", file=sys.stderr)
    answer = {name: getattr(truth, name) for name in Truth.__slots__ if name != "energy_by_run"}
    answer |= {"ticks": options.ticks, "readings": options.ticks * options.devices}
    print(json.dumps(answer | {"energy_by_run": {f"run-{run:03d}": uj for run, uj in enumerate(truth.energy_by_run)}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

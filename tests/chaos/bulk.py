"""Very many samples, quickly: every message is put together from bytes, and what must come out is a product."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import confluent_kafka

from tests.oracle.model import SECOND
from tests.oracle.records import sample
from tests.oracle.write_log import encode, frame, kafka_partition, long_bytes, schema_of

DEVICES = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """*ticks* samples of 11 readings of each of *hosts* hosts, a second each, in runs of five hosts."""

    ticks: int
    hosts: int = 100
    first: int = 0
    """Number of the first tick: what was sent before."""
    begin_us: int

    @property
    def samples(self) -> int:
        return self.ticks * self.hosts

    def energy_uj(self) -> dict[str, int]:
        """Of each run."""
        each = self.ticks * sum(_energies())
        runs = [_run(host) for host in range(self.hosts)]
        return {run: runs.count(run) * each for run in sorted(set(runs))}

    def send(self, address: str, topic: str, schema_id: int, partitions: int) -> int:
        """Write all of it; how many bytes the records have."""
        settings = {"bootstrap.servers": address, "linger.ms": 50, "compression.type": "lz4", "acks": "1"}
        producer = confluent_kafka.Producer({**settings, "queue.buffering.max.messages": 500_000})
        size = 0
        for partition, key, value in self._messages(schema_id, partitions):
            while True:
                try:
                    producer.produce(topic, value, key, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
            size += len(value)
        assert producer.flush(120) == 0
        return size

    def _messages(self, schema_id: int, partitions: int) -> Iterator[tuple[int, bytes, bytes]]:
        heads, tail = [], _tail()
        for host in range(self.hosts):
            name = f"bulk-{host}"
            key = name.encode()
            run = b"\x02" + _text(_run(host))
            heads.append((kafka_partition(key, partitions), key, _text(name), _text(name) + run + _text("DE")))
        start = frame(schema_id, b"")
        for tick in range(self.first, self.first + self.ticks):
            begin = self.begin_us + tick * SECOND
            seq, times = long_bytes(tick), long_bytes(begin) + long_bytes(begin + SECOND) + tail
            for partition, key, collector, rest in heads:
                yield partition, key, start + collector + seq + rest + times


def bulk(samples: int, *, hosts: int = 100, first: int = 0, begin_us: int | None = None) -> Bulk:
    """About so many samples, the last of them an hour old."""
    ticks = samples // hosts
    begin_us = begin_us or (int(time.time()) - 3_600 - ticks) * SECOND
    return Bulk(ticks=ticks, hosts=hosts, first=first, begin_us=begin_us)


def _run(host: int) -> str:
    return f"bulk-run-{host // 5}"


def _energies() -> list[int]:
    return [300_000_000 + device for device in range(DEVICES)]


def _text(text: str) -> bytes:
    raw = text.encode()
    return long_bytes(len(raw)) + raw


def _tail() -> bytes:
    """What follows the times, the same in every sample."""
    record = sample(
        collector_id="c",
        host="h",
        run_id="r",
        zone="DE",
        start=0,
        end=SECOND,
        kind=[2] * 8 + [1, 1, 3],
        method=[1] * DEVICES,
        energy_uj=_energies(),
        device=[*(f"gpu:{number}" for number in range(8)), "cpu:0", "cpu:1", "memory:0"],
        utilization=[0.5] * DEVICES,
        temperature_c=[55.0] * DEVICES,
        memory_bytes=[1 << 34] * DEVICES,
    )
    head = _text("c") + long_bytes(0) + _text("h") + b"\x02" + _text("r") + _text("DE")
    head += long_bytes(0) + long_bytes(SECOND)
    whole = encode(schema_of("sample"), record)
    assert whole.startswith(head)
    return whole[len(head) :]

"""A fleet that lives now, into Kafka: every host sends a tick a period, and each tick ends at the moment it is due.

    python -m benchmarks.make_load BOOTSTRAP REGISTRY PREFIX '{"hosts": 1818, "runs": 100, "seconds": 60}'

Open loop: it waits for nobody. It makes the topics, says `ready`, and on a line on stdin says when the first tick is
due (µs since 1970) and begins; at the end it prints JSON: ticks, how far behind it ever was, bytes, energy of every
run. Hosts are due one after the other, evenly over the period, without repeats and in order: what comes late or twice
is measured elsewhere. Some hosts, spread evenly among the others, have a run of their own: its rows tell each tick.
"""

import gc
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer

from benchmarks.harness.arrivals import intensity_message
from benchmarks.harness.cluster import Cluster
from benchmarks.harness.shape import PARTITIONS
from benchmarks.make_log import POOL, SECOND, Fleet, encode, long_bytes, schema_of, text_bytes

ZONES = 20
STEP_S = 0.002
LEAD_S = 1.0
PRICE_US = 300 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent: *hosts* ticks of *devices* in every *period_s*; *probes* of the hosts have a run of their own.

    speed: How much faster than the clock the fleet's time goes; it lies in the past, and comes to now at the end.
    """

    hosts: int
    runs: int
    seconds: float
    probes: int = 0
    devices: int = 11
    period_s: float = 1.0
    speed: float = 1.0

    @property
    def period_us(self) -> int:
        """Between two ticks of a host."""
        return round(self.period_s * SECOND)

    @property
    def ticks(self) -> int:
        """All."""
        return round(self.hosts * self.seconds * self.speed / self.period_s)

    def begin_us(self, first_us: int) -> int:
        """The fleet's time when the first tick is due."""
        return first_us - round(self.seconds * (self.speed - 1) * SECOND)

    def end_us(self, tick: int, first_us: int) -> int:
        """Where tick number *tick* of all ends: when it is due, at the speed of the clock."""
        turn, host = divmod(tick, self.hosts)
        return self.begin_us(first_us) + turn * self.period_us + host * self.period_us // self.hosts

    def due_us(self, tick: int, first_us: int) -> int:
        """When it is sent."""
        return first_us + round((self.end_us(tick, first_us) - self.begin_us(first_us)) / self.speed)

    def probed(self) -> list[int]:
        """Hosts with a run of their own.

        >>> Load(hosts=10, runs=2, probes=3, seconds=1).probed()
        [0, 3, 6]
        """
        return [probe * self.hosts // self.probes for probe in range(self.probes)]

    def run_names(self) -> list[str]:
        """Run of each host."""
        own = {host: f"probe-{number:03d}" for number, host in enumerate(self.probed())}
        others = iter(range(self.hosts))
        return [own.get(host) or f"load-{next(others) % self.runs:05d}" for host in range(self.hosts)]


class Sender:
    """Writes a load's topics."""

    def __init__(self, cluster: Cluster, prefix: str, load: Load) -> None:
        self.load = load
        self.value_bytes = self.wire_bytes = 0
        settings = {"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 5, "compression.type": "lz4"}
        settings |= {"statistics.interval.ms": 1_000, "stats_cb": self._note, "queue.buffering.max.messages": 1_000_000}
        self._ids = cluster.make_inputs(prefix)
        self._producer = Producer(settings)
        self._prefix = prefix
        self._fleet = Fleet(load.devices, random.Random(1))
        self._runs = load.run_names()
        self._heads = [self._head(host, run) for host, run in enumerate(self._runs)]
        self._keys = [f"node-{host:05d}".encode() for host in range(load.hosts)]
        self.energy = dict.fromkeys(self._runs, 0)

    def __repr__(self) -> str:
        return f"<Sender {self._prefix}>"

    def _head(self, host: int, run: str) -> tuple[bytes, bytes]:
        """What stands before a tick's number, and between that and its times."""
        names = (f"node-{host:05d}", run, f"ZZ-{host % ZONES:02d}")
        frame = b"\0" + self._ids["sample"].to_bytes(4, "big")
        node, run_id, zone = map(text_bytes, names)
        return frame + text_bytes(f"{host:032x}"), node + b"\x02" + run_id + zone

    def others(self, now_us: int) -> None:
        """A start of every run, and an intensity of every zone for as long as it takes."""
        begin = self.load.begin_us(now_us) - self.load.period_us
        for start in range(begin // PRICE_US * PRICE_US, now_us + round((self.load.seconds + 600) * SECOND), PRICE_US):
            for zone in range(ZONES):
                value: dict[str, Any] = {"zone": f"ZZ-{zone:02d}", "valid_from": start, "valid_to": start + PRICE_US}
                value |= {"kind": "actual", "revision": 0, "intensity_g_per_kwh": 380.0, "provider": "bench"}
                value |= {"dataset": "v1", "published_at": now_us, "factor": "lifecycle", "signal": "average"}
                value |= {"price_per_kwh": 0.2, "currency": "EUR", "water_l_per_kwh": None, "renewable": None}
                self._send("intensity", intensity_message(value, self._ids["intensity"]), value["zone"].encode(), 0)
        frame = b"\0" + self._ids["run_event"].to_bytes(4, "big")
        for run in self.energy:
            event = {"event_id": "start", "run_id": run, "type": "start", "at": begin}
            self._send("run_event", frame + encode(schema_of("run_event"), event), run.encode(), 0)
        self._producer.flush(60)

    def messages(self, first_us: int) -> Iterator[tuple[int, bytes]]:
        """Host and message of every tick."""
        rng, fleet, codes = random.Random(2), self._fleet, self._fleet.codes()
        for tick in range(self.load.ticks):
            seq, host = divmod(tick, self.load.hosts)
            end = self.load.end_us(tick, first_us)
            times = long_bytes(end - self.load.period_us) + long_bytes(end)
            energies, total = fleet.energies[rng.randrange(POOL)]
            self.energy[self._runs[host]] += total
            before, between = self._heads[host]
            tail = fleet.tails[rng.randrange(POOL)]
            yield host, before + long_bytes(seq) + between + times + codes + energies + tail

    def send(self, first_us: int) -> float:
        """Send every tick when it is due; the greatest delay of any."""
        messages, behind, sent = self.messages(first_us), 0, 0
        while sent < self.load.ticks:
            now = time.time_ns() // 1_000
            begun = sent
            while sent < self.load.ticks and self.load.due_us(sent, first_us) <= now:
                host, message = next(messages)
                self._send("sample", message, self._keys[host], host % PARTITIONS)
                self.value_bytes += len(message)
                sent += 1
            if sent > begun:
                behind = max(behind, now - self.load.due_us(begun, first_us))
            self._producer.poll(0)
            time.sleep(STEP_S)
        self._producer.flush(60)
        self._producer.poll(1.1)  # for the last statistics
        return behind / 1e6

    def _send(self, topic: str, message: bytes, key: bytes, partition: int) -> None:
        while True:
            try:
                return self._producer.produce(self._prefix + topic, message, key, partition)
            except BufferError:
                self._producer.poll(0.05)

    def _note(self, statistics: str) -> None:
        self.wire_bytes = json.loads(statistics)["tx_bytes"]


def main(arguments: Sequence[str]) -> int:
    """Be ready, wait for the word, send."""
    bootstrap, registry, prefix, said = arguments
    sender = Sender(Cluster(bootstrap, registry), prefix, Load(**json.loads(said)))
    sender.others(time.time_ns() // 1_000)
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    first_us = time.time_ns() // 1_000 + round(LEAD_S * SECOND)
    print(first_us, flush=True)
    behind_s = sender.send(first_us)
    found = {"ticks": sender.load.ticks, "behind_s": behind_s, "energy": sender.energy}
    found |= {"value_bytes": sender.value_bytes, "wire_bytes": sender.wire_bytes}
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

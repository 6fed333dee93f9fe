"""Logs in Kafka with what a right answer is; made once and kept as long as the broker keeps them."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.make_log import encode, schema_of

from .arrivals import Log, framed, host_name, intensities, intensity_message, partition_of, run_name
from .cluster import BenchError, Cluster
from .shape import PARTITIONS, START_US, Shape


def cache() -> Path:
    """Where built environments and expected answers are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "kappawatt-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True, slots=True)
class Data:
    """A log in Kafka.

    expected: Key → value of every row that an engine has to write. counts: duplicate, late, dead.
    """

    shape: Shape
    prefix: str
    messages: int
    bytes: int
    expected: dict[str, dict[str, Any]]
    counts: dict[str, int]

    @property
    def samples(self) -> str:
        """Topic of ticks."""
        return f"{self.prefix}sample"

    @property
    def intensity(self) -> str:
        """Topic of intensities."""
        return f"{self.prefix}intensity"


def prepared(cluster: Cluster, shape: Shape) -> Data:
    """The log of *shape*, made if the broker does not hold it."""
    path = cache() / "answers" / f"{shape.key}.json"
    if path.exists():
        known = json.loads(path.read_text())
        if sum(cluster.ends(f"{shape.key}sample")) == known["messages"]:
            return Data(shape, shape.key, **known)
    began = time.monotonic()
    ids = cluster.make_inputs(shape.key)
    # A batch is read as one: 20 s of event time in each keep the partitions close, however few the hosts.
    writer = Writer(cluster, shape.key, ids, batch_messages=max(10, 20 * shape.hosts // PARTITIONS))
    writer.others(shape)
    log = Log(shape)
    for arrival in log:
        writer.sample(arrival.host, framed(arrival, writer.frame))
    writer.close()
    known = {"messages": log.messages, "bytes": writer.bytes, "expected": log.rows(), "counts": log.oracle.counts}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(known))
    path.with_suffix(".new").replace(path)
    print(f"{shape.key}: {log.messages} messages in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return Data(shape, shape.key, **known)


class Writer:
    """Writes the topics of one log."""

    def __init__(
        self,
        cluster: Cluster,
        prefix: str,
        ids: dict[str, int],
        *,
        linger_ms: int = 50,
        batch_messages: int = 1_000,
        done: Callable[[Any, Any], None] | None = None,
    ) -> None:
        settings = {"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": linger_ms}
        settings |= {"compression.type": "lz4", "queue.buffering.max.messages": 1_000_000, "batch.size": 500_000}
        settings |= {"batch.num.messages": batch_messages}
        self._producer = Producer(settings | {"queue.buffering.max.kbytes": 1 << 19, "enable.idempotence": True})
        self._prefix, self._ids = prefix, ids
        self.frame = b"\0" + ids["sample"].to_bytes(4, "big")
        self._keys: dict[int, bytes] = {}
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Writer {self._prefix}>"

    def others(self, shape: Shape) -> None:
        """Intensity and a start of every run; complete when this returns."""
        for value in intensities(shape):
            message = intensity_message(value, self._ids["intensity"])
            self._send("intensity", message, value["zone"].encode(), 0)
        frame = b"\0" + self._ids["run_event"].to_bytes(4, "big")
        for run in range(shape.runs):
            event: dict[str, Any] = {"event_id": "start", "run_id": run_name(run), "type": "start", "at": START_US}
            event |= {"user": f"user-{run % 7}", "model": f"model-{run % 5}"}
            self._send("run_event", frame + encode(schema_of("run_event"), event), run_name(run).encode(), 0)
        self.close()

    def sample(self, host: int, message: bytes) -> None:
        """One message of topic sample."""
        key = self._keys.get(host)
        if key is None:
            key = self._keys[host] = host_name(host).encode()
        self.bytes += len(message)
        self._send("sample", message, key, partition_of(host))

    def _send(self, topic: str, message: bytes, key: bytes, partition: int) -> None:
        while True:
            try:
                self._producer.produce(self._prefix + topic, message, key, partition)
                return
            except BufferError:
                self._producer.poll(0.05)

    def poll(self) -> None:
        """Let the client do its housekeeping."""
        self._producer.poll(0)

    def close(self) -> None:
        """Return when all is written."""
        left = self._producer.flush(120)
        if left:
            raise BenchError(f"{left} records were not delivered in 120 s; is the broker up?")

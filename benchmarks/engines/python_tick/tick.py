"""What the jobs in Python share: a tick out of its bytes, its pieces, the intensities, the settings of a run.

Plain Python and fastavro: no engine, and nothing of the product.
"""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader

SLOT_US = 5_000_000
WIDE_US = 300_000_000
UJ_PER_KWH = 3.6e12
COLUMNS = ("energy_uj", "cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj", "emissions_g")
KIND_AT = {1: 0, 2: 1, 3: 2}
MEASURED = frozenset((1, 2, 3))
RING = 2_048
"""So many numbers of a collector are remembered: more than 1,100, and a power of 2."""


def setting(name: str) -> str:
    """What the harness says: BENCH_*name*."""
    return os.environ[f"BENCH_{name}"]


def schema(name: str, last: str | None = None) -> Any:
    """A parsed schema without logical types (longs stay longs), cut after field *last*: what follows is not read."""
    said = json.loads(Path(setting("SCHEMAS"), f"{name}.avsc").read_text())
    names = [field["name"] for field in said["fields"]]
    fields = said["fields"][: names.index(last) + 1 if last else None]
    plain = [f | {"type": "long"} if isinstance(f["type"], dict) and "logicalType" in f["type"] else f for f in fields]
    return parse_schema(said | {"fields": plain})


def decoder(name: str, last: str | None = None) -> Callable[[bytes | None], dict[str, Any] | None]:
    """A function from a framed message to its record; None: it cannot be decoded."""
    parsed = schema(name, last)

    def decode(value: bytes | None) -> dict[str, Any] | None:
        if not value or value[0] != 0:
            return None
        stream = io.BytesIO(value)
        stream.seek(5)
        try:
            record: dict[str, Any] = schemaless_reader(stream, parsed, None)
        except (EOFError, ValueError, IndexError, OverflowError):
            return None
        return record

    return decode


def pivot(kinds: list[int], methods: list[int], energies: list[int]) -> list[int]:
    """energy, cpu, gpu, memory, other, estimated of one tick or piece."""
    parts = [0, 0, 0, 0, 0]
    for kind, method, energy in zip(kinds, methods, energies, strict=True):
        parts[KIND_AT.get(kind, 3)] += energy
        if method not in MEASURED:
            parts[4] += energy
    return [parts[0] + parts[1] + parts[2] + parts[3], *parts]


def pieces(tick: dict[str, Any]) -> list[tuple[int, list[int]]]:
    """A tick cut at the edges of 5-s windows: (window's start, its pivot)."""
    kinds, methods, energies = tick["kind"], tick["method"], tick["energy_uj"]
    start, end = tick["start"], tick["end"]
    slot = start - start % SLOT_US
    if end <= slot + SLOT_US:
        return [(slot, pivot(kinds, methods, energies))]
    cut, before = [], [0] * len(energies)
    while slot < end:
        inside = min(slot + SLOT_US, end) - start
        until = [energy * inside // (end - start) for energy in energies]
        cut.append((slot, pivot(kinds, methods, [b - a for a, b in zip(before, until, strict=True)])))
        before, slot = until, slot + SLOT_US
    return cut


class Intensities:
    """Every zone's intensity, from all messages of a topic that is complete before the first sample."""

    def __init__(self, messages: list[bytes]) -> None:
        decode = decoder("intensity")
        best: dict[tuple[str, int], tuple[tuple[bool, int], float]] = {}
        for value in filter(None, map(decode, messages)):
            rank = (value["kind"] == "actual", value["revision"])
            for slot in range(value["valid_from"], value["valid_to"], WIDE_US):
                if (value["zone"], slot) not in best or best[value["zone"], slot][0] < rank:
                    best[value["zone"], slot] = rank, value["intensity_g_per_kwh"]
        self._values = {key: value for key, (_, value) in best.items()}

    def grams(self, zone: str, slot: int, energy_uj: int) -> float:
        """Grams of a piece; 0 where no intensity is known."""
        return energy_uj * self._values.get((zone, slot - slot % WIDE_US), 0.0) / UJ_PER_KWH


def whole_topic(name: str) -> list[bytes]:
    """The values of all messages that a topic of one partition holds now."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": setting("BOOTSTRAP"), "group.id": setting("GROUP"), "enable.auto.commit": False}
    )
    partition = TopicPartition(name, 0, 0)
    end = consumer.get_watermark_offsets(partition)[1]
    consumer.assign([partition])
    values: list[bytes] = []
    while len(values) < end:
        values += [message.value() for message in consumer.consume(10_000, 1.0) if message.error() is None]
    consumer.close()
    return values


def row(sums: list[Any]) -> bytes:
    """The JSON of a window: the six energies and the grams."""
    return json.dumps(dict(zip(COLUMNS, sums, strict=True))).encode()

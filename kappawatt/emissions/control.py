"""Reading of intensity and run events, in one part; its ticks also release the rows of keys that nobody addressed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kappawatt.emissions.names import CONTROL, KEYS, STATE_VERSION, Keys
from kappawatt.emissions.reading import Batch, OpenReader, Reader
from kappawatt.ledger import control
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.inbox import Report
from kappawatt.ledger.intensity_rows import IntensityRows
from kappawatt.ledger.routing import shard_of
from kappawatt.stream.job import Item, Runtime, Source
from kappawatt.stream.outbox import Outbox
from kappawatt.stream.part import DRAIN_EPOCHS, EpochPart
from kappawatt.stream.ticks import Ticks
from kappawatt.units import FUTURE_SKEW_US, US_PER_S
from kappawatt.wire.records import DeadLetter
from kappawatt.wire.resolution import TopicReader

_EVER = 1 << 62
_LINGER_S = 0.02
_REPORT_US = 60 * US_PER_S
_TOPICS = ("intensity", "run_event")
_MAX_BYTES = 256 << 10  # of one record: labels and hardware stay in the state as long as their run
_RECORDS_PER_EPOCH = 10_000  # each goes to every shard: some 0.7 ms of work before the epoch can end

SchemaOf = Callable[[int], Mapping[str, Any] | None]
"""Registry id → writer schema; None if it is unknown."""


def source(
    config: LedgerConfig,
    open_topic: OpenReader,
    schema_of: SchemaOf,
    runtime: Runtime,
    *,
    bounded: bool,
    keys: Keys = KEYS,
) -> Source:
    """Topics `intensity` and `run_event`, all partitions."""

    def build(name: str, state: Any) -> EpochPart:
        positions: dict[str, Any] = {}
        outbox, rows = Outbox(), IntensityRows(_EVER if config.rebuilding else config.horizon_us)
        if state is not None:
            (_, positions, best), waiting = state
            outbox = Outbox(*waiting)
            rows.load(best)
        readers = {topic: open_topic(topic, positions.get(topic)) for topic in _TOPICS}
        reading = ControlReading(readers, schema_of, rows, runtime, bounded, keys)
        return EpochPart(name, reading, Ticks(keys.shards, keys.zones), outbox, runtime)

    return Source("control", (CONTROL,), build)


class ControlReading:
    """Records one by one: there are few of them.

    Samples wait for the gate `CONTROL`: it opens when the records that lay there at the start are read, so that a
    catch-up cannot outrun them; for a bounded log when they are committed.
    """

    def __init__(
        self,
        readers: dict[str, Reader],
        schema_of: SchemaOf,
        intensity: IntensityRows,
        runtime: Runtime,
        bounded: bool,
        keys: Keys = KEYS,
    ) -> None:
        self._readers, self._intensity = readers, intensity
        self._decode = {topic: TopicReader(topic, schema_of, max_bytes=_MAX_BYTES) for topic in _TOPICS}
        self._runtime, self._bounded, self._keys = runtime, bounded, keys
        self._shown: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._dead: list[DeadLetter] = []
        self._left = _RECORDS_PER_EPOCH
        self._told_us = -_REPORT_US
        self._all_read = False
        self._waited_for_buckets = 0
        self._wait_s = 0.0

    def __repr__(self) -> str:
        return f"<ControlReading {', '.join(map(repr, self._readers.values()))}>"

    def read(self) -> list[Item]:
        """What there is, of both topics."""
        items: list[Item] = []
        self._wait_s = _LINGER_S
        for topic, reader in self._readers.items():
            for batch in reader.poll(lambda _: 0) if self._left > 0 else ():
                self._left -= len(batch)
                self._wait_s = 0.0
                items.extend(self._take(topic, batch))
        if self._wait_s and self._left > 0 and self._at_end():
            self._wait_s = math.inf
            items += self._note_end()
        return items

    def fix(self, outbox: Outbox) -> Any:
        """Positions, and the rows that are shown after the commit."""
        rows = list(self._shown.values())
        outbox.put({"intensity": rows} if rows else {}, {}, self._dead)
        self._shown, self._dead = {}, []
        self._left = _RECORDS_PER_EPOCH
        positions = {topic: reader.dump() for topic, reader in self._readers.items()}
        return (STATE_VERSION, positions, self._intensity.dump())

    def wait_s(self) -> float:
        """Soon, until all is read."""
        return self._wait_s

    def ended(self) -> bool:
        """Whether all of a bounded log was read."""
        return self._all_read

    def may_go(self, epochs: int) -> bool:
        """Let samples be read once all this is committed; go on ticking until the last bucket's rows are out."""
        if epochs >= 1:
            self._runtime.open(CONTROL)
        if not all(self._runtime.is_open(bucket) for bucket in self._keys.buckets):
            self._waited_for_buckets = epochs
            return False
        return epochs - self._waited_for_buckets >= DRAIN_EPOCHS

    def close(self) -> None:
        """Close files and connections."""
        for reader in self._readers.values():
            reader.close()

    def _note_end(self) -> list[Item]:
        """All is read: let samples come, and say once a minute up to which arrival time that holds."""
        if self._bounded:
            self._all_read = True
            return []
        self._runtime.open(CONTROL)
        read_us = self._runtime.now_us() - FUTURE_SKEW_US
        if read_us - self._told_us < _REPORT_US:
            return []
        self._told_us = read_us
        return [(shard, Report(CONTROL, None, read_us=read_us)) for shard in self._keys.shards]

    def _at_end(self) -> bool:
        return all(reader.at_end(name) for reader in self._readers.values() for name in reader.partitions())

    def _take(self, topic: str, batch: Batch) -> list[Item]:
        self._dead += [*batch.gone, *batch.broken]
        items: list[Item] = []
        bounds = zip(batch.raw.start.tolist(), batch.raw.end.tolist(), batch.raw.schema_id.tolist(), strict=True)
        for index, (start, end, schema_id) in enumerate(bounds):
            payload = batch.raw.buffer[start:end]
            letter = DeadLetter(
                source=batch.partition,
                position=batch.position[index],
                verdict="rejected",
                reason="expired",
                schema_id=schema_id or None,
                payload=bytes(payload),
            )
            reason = self._apply(topic, letter, int(batch.append_us[index]), items)
            if reason is not None:
                verdict, why = reason
                self._dead.append(replace(letter, verdict=verdict, reason=why))
        return items

    def _apply(self, topic: str, letter: DeadLetter, append_us: int, items: list[Item]) -> tuple[str, str] | None:
        record = self._decode[topic].read(letter.schema_id or 0, letter.payload)
        if isinstance(record, str):
            return ("dead", record)
        if topic == "intensity":
            return self._apply_intensity(record, append_us, items)
        why = control.judge_event(record, append_us)
        if why is not None:
            return ("rejected", why)
        run_id, event = control.event(record)
        # Whether it comes too late is known to the shard, which then gives the letter back.
        shards = self._keys.shards
        items.append((shards[shard_of(run_id, len(shards))], (run_id, event._replace(letter=letter))))
        return None

    def _apply_intensity(self, record: dict[str, Any], append_us: int, items: list[Item]) -> tuple[str, str] | None:
        why = control.judge_intensity(record, append_us)
        if why is not None:
            return ("rejected", why)
        row = control.intensity_row(record)
        if self._intensity.better(row, append_us):
            self._shown[row[:8]] = row
        price = control.price(record)
        if price is not None:
            items.extend((shard, price) for shard in self._keys.shards)
        return None

"""The source of intensity and run events, in one part, which also beats the tick that releases committed rows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from kappawatt.errors import WireError
from kappawatt.ledger import control
from kappawatt.ledger.routing import shard_of
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter

from .names import BUCKETS, CONTROL, SHARDS, STATE_VERSION
from .outlet import Outbox
from .process import STOP, WATCHDOG, Gates, logged
from .readers import Batch, Reader
from .samples import DRAIN_EPOCHS
from .ticks import Item, Ticks

_LINGER = timedelta(milliseconds=20)
_TOPICS = ("intensity", "run_event")
_RECORDS_PER_EPOCH = 10_000  # each goes to every shard: some 0.7 ms of work before the epoch can end

OpenTopic = Callable[[str, Any], Reader]
"""Topic and kept positions → its reader."""
SchemaOf = Callable[[int], Mapping[str, Any] | None]
"""Registry id → writer schema; None if it is unknown."""


class ControlSource(FixedPartitionedSource):  # type: ignore[misc]  # bytewax has no types that mypy can follow
    """Topics `intensity` and `run_event`, all partitions."""

    def __init__(self, open_topic: OpenTopic, schema_of: SchemaOf, *, gates: Gates, until_end: bool) -> None:
        self._open_topic, self._schema_of, self._gates, self._until_end = open_topic, schema_of, gates, until_end

    def list_parts(self) -> list[str]:
        """The one part."""
        return [CONTROL]

    @logged
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "ControlPart":
        """The part, at its kept place."""
        positions: dict[str, Any] = {}
        outbox, rows = Outbox(), control.IntensityRows()
        if resume_state is not None:
            _, positions, waiting, best = resume_state
            outbox = Outbox(*waiting)
            rows.load(best)
        readers = {topic: self._open_topic(topic, positions.get(topic)) for topic in _TOPICS}
        return ControlPart(readers, self._schema_of, outbox, rows, self._gates, self._until_end)


class ControlPart(StatefulSourcePartition):  # type: ignore[misc]  # as above
    """Records one by one: there are few of them."""

    def __init__(
        self,
        readers: dict[str, Reader],
        schema_of: SchemaOf,
        outbox: Outbox,
        intensity: control.IntensityRows,
        gates: Gates,
        until_end: bool,
    ) -> None:
        self._readers, self._schema_of, self._outbox, self._intensity = readers, schema_of, outbox, intensity
        self._gates, self._until_end = gates, until_end
        self._shown: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._dead: list[DeadLetter] = []
        self._ticks = Ticks()
        self._fresh_epoch = True
        self._left = _RECORDS_PER_EPOCH
        self._all_read = False
        self._epochs_after = 0
        self._draining = DRAIN_EPOCHS
        self._awake = datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<ControlPart {', '.join(map(repr, self._readers.values()))}>"

    @logged
    def next_batch(self) -> list[Item]:
        """The tick and committed changes first, then records."""
        out: list[Item] = []
        if self._fresh_epoch:
            self._fresh_epoch = False
            out.extend(self._ticks.begin())
            out.extend((CONTROL, outlet) for outlet in self._outbox.release())
        self._awake = datetime.now(UTC) + _LINGER
        if STOP.is_set():
            if self._draining <= 0:
                raise StopIteration
            return out
        if self._all_read:
            return self._wait_for_buckets(out)
        found = False
        for topic, reader in self._readers.items():
            for batch in reader.poll(lambda _: 0) if self._left > 0 else ():
                self._left -= len(batch)
                found = True
                items = self._take(topic, batch)
                self._ticks.sent(items)
                out.extend(items)
        if found:
            self._awake = datetime.now(UTC)
        elif self._until_end and self._left > 0 and self._at_end():
            self._all_read = True
        return out

    def next_awake(self) -> datetime:
        """Soon."""
        return self._awake

    @logged
    def snapshot(self) -> Any:
        """Positions, and the rows that are shown after the commit."""
        WATCHDOG.beat()
        rows = list(self._shown.values())
        self._outbox.put({"intensity": rows} if rows else {}, {}, self._dead)
        self._shown, self._dead = {}, []
        self._fresh_epoch, self._left = True, _RECORDS_PER_EPOCH
        self._draining -= STOP.is_set()
        self._epochs_after += self._all_read
        positions = {topic: reader.dump() for topic, reader in self._readers.items()}
        return (STATE_VERSION, positions, self._outbox.dump(), self._intensity.dump())

    def close(self) -> None:
        """Close files and connections."""
        for reader in self._readers.values():
            reader.close()

    def _at_end(self) -> bool:
        return all(reader.at_end(name) for reader in self._readers.values() for name in reader.partitions())

    def _wait_for_buckets(self, out: list[Item]) -> list[Item]:
        """Let samples be read once all this is committed; go on ticking until the last bucket's rows are out."""
        if self._epochs_after >= 1:
            self._gates.open(CONTROL)
        if not all(self._gates.is_open(bucket) for bucket in BUCKETS):
            self._epochs_after = min(self._epochs_after, 1)
            return out
        if self._epochs_after > DRAIN_EPOCHS:
            raise StopIteration
        return out

    def _take(self, topic: str, batch: Batch) -> list[Item]:
        self._dead.extend(batch.broken)
        items: list[Item] = []
        bounds = zip(batch.raw.start.tolist(), batch.raw.end.tolist(), batch.raw.schema_id.tolist(), strict=True)
        for index, (start, end, schema_id) in enumerate(bounds):
            payload = batch.raw.buffer[start:end]
            reason = self._apply(topic, payload, schema_id, items)
            if reason is not None:
                verdict, why = reason
                self._dead.append(
                    DeadLetter(
                        source=batch.partition,
                        position=batch.position[index],
                        verdict=verdict,
                        reason=why,
                        schema_id=schema_id or None,
                        payload=bytes(payload),
                    )
                )
        return items

    def _apply(self, topic: str, payload: bytes, schema_id: int, items: list[Item]) -> tuple[str, str] | None:
        schema = codec.schema(topic) if schema_id == 0 else self._schema_of(schema_id)
        if schema is None:
            return ("dead", "unknown_schema")
        try:
            record = codec.decode_one(schema, payload)
        except WireError:
            return ("dead", "undecodable")
        if topic == "intensity":
            return self._apply_intensity(record, items)
        why = control.judge_event(record)
        if why is not None:
            return ("rejected", why)
        run_id, event = control.event(record)
        items.append((SHARDS[shard_of(run_id, len(SHARDS))], (run_id, event)))
        return None

    def _apply_intensity(self, record: dict[str, Any], items: list[Item]) -> tuple[str, str] | None:
        why = control.judge_intensity(record)
        if why is not None:
            return ("rejected", why)
        row = control.intensity_row(record)
        if self._intensity.better(row):
            self._shown[row[:8]] = row
        price = control.price(record)
        if price is not None:
            items.extend((shard, price) for shard in SHARDS)
        return None

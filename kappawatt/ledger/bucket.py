"""One bucket of the log: samples get their verdict, are counted, cut and summed into frames for the shards."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.grid import WORLD
from kappawatt.ledger.collectors import Collectors
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.devices import DeviceSums
from kappawatt.ledger.frames import CELL_COLUMNS, USAGE_COLUMNS, Columns, Frame, Place, Suspect
from kappawatt.ledger.pieces import cut
from kappawatt.ledger.routing import WINDOW_BITS, ShardOrder, frames, shard_of
from kappawatt.ledger.verdicts import ACCEPTED, REASONS, is_long, owners, verdicts
from kappawatt.stream.intern import Interner
from kappawatt.stream.table import reduce_by_key
from kappawatt.units import MAX_READING_UJ, WINDOW_5S_US
from kappawatt.wire.columns import Decoded, RawBatch, take
from kappawatt.wire.decode import SampleDecoder
from kappawatt.wire.records import DeadLetter

Ints = NDArray[np.int64]

_LONG_AGO = -(1 << 62)
_MOST = (1 << 63) - 1  # what a store's column holds: absurd numbers can be further apart


@dataclass(slots=True)
class PartitionCount:
    """What became of one source partition's records; `position` is where reading goes on."""

    sent: int = 0
    counted: int = 0
    duplicate: int = 0
    rejected: int = 0
    dead: int = 0
    position: str = ""
    newest_us: int = _LONG_AGO


@dataclass(slots=True)
class Verdict:
    """What `Bucket.add` gives: frames by shard, late suspects by shard, and what was not counted."""

    frames: list[tuple[int, Frame]] = field(default_factory=list)
    suspects: list[tuple[int, Suspect]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    homes: set[str] = field(default_factory=set)
    """Partitions whose `lost` may have changed."""


class Bucket:
    """State of one bucket: what was seen of its collectors, counters by source partition, dense codes.

    Guarantee: every record added gets exactly one verdict, which depends on the order within its partition only, not on
    the batches.
    """

    def __init__(self, config: LedgerConfig, decoder: SampleDecoder) -> None:
        self._config = config
        self._decoder = decoder
        self._collectors = Collectors(config.horizon_us)
        self._zones: set[str] = set()
        self.partitions: dict[str, PartitionCount] = {}
        self._begin_names()

    def __repr__(self) -> str:
        return f"<Bucket {len(self.partitions)} partitions, {self._collectors!r}>"

    def _begin_names(self) -> None:
        """No name has a code; `_meet_series` gives them anew."""
        self._places: Interner[Place] = Interner()
        self._devices = DeviceSums(self._places)
        self._series = np.empty(
            (0, 6), np.int64
        )  # collector, place, reserved, nameless, long-named, of a zone too many
        self._place_order = ShardOrder(self._places.names, self._config.shards)
        self._device_order = ShardOrder(self._devices.devices.names, self._config.shards)
        self._wordy_layouts = np.empty(0, bool)

    def add(
        self,
        partition: str,
        raw: RawBatch,
        *,
        position: Sequence[str],
        append_us: Ints,
        after: str,
        watermark_us: int | None,
    ) -> Verdict:
        """Take records of one source partition in log order.

        Args:
            partition: Source partition, `sample/NAME`.
            raw: The records' bytes.
            position: Position of each record as text, asked for only to list those that are not counted.
            append_us: When each was appended to the log.
            after: Where reading goes on, as text.
            watermark_us: What the shards may have been told at most; samples of windows that it could have evicted are
                named as suspects beside the frames.
        """
        count = self.partitions.setdefault(partition, PartitionCount())
        batch = self._decoder.decode(raw)
        found = Verdict()
        for index, reason in batch.bad:
            found.dead.append(self._letter(partition, raw, position, index, "dead", reason))
        count.dead += len(batch.bad)
        count.sent += len(raw.start)
        count.position = after
        if len(batch.seq):
            self._judge(partition, count, batch, raw, position, append_us, watermark_us, found)
            self._forget(partition)
        return found

    def add_dead(self, partition: str, letters: list[DeadLetter], after: str) -> None:
        """Count records that could not even be framed."""
        count = self.partitions.setdefault(partition, PartitionCount())
        count.sent += len(letters)
        count.dead += len(letters)
        count.position = after

    def accounting(self, partition: str) -> tuple[Any, ...]:
        """The row of table `accounting` for one source partition."""
        count = self.partitions[partition]
        verdict = (count.counted, count.duplicate, count.rejected, count.dead)
        return (partition, count.sent, *verdict, min(self._collectors.lost(partition), _MOST), count.position)

    @property
    def newest_us(self) -> int | None:
        """The greatest counted end of all partitions; None if nothing was counted."""
        newest = max((count.newest_us for count in self.partitions.values()), default=_LONG_AGO)
        return None if newest == _LONG_AGO else newest

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes."""
        counts = {name: tuple(getattr(c, f.name) for f in fields(c)) for name, c in self.partitions.items()}
        return (2, counts, self._collectors.dump(), sorted(self._zones))

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave."""
        _, counts, collectors, zones = state
        self.partitions = {name: PartitionCount(*values) for name, values in counts.items()}
        self._collectors.load(collectors)
        self._zones = set(zones)

    def _judge(
        self,
        partition: str,
        count: PartitionCount,
        batch: Decoded,
        raw: RawBatch,
        position: Sequence[str],
        append_us: Ints,
        watermark_us: int | None,
        found: Verdict,
    ) -> None:
        self._meet_series()
        collector = self._series[batch.series, 0]
        fresh = self._collectors.admit(collector, batch.seq)
        count.duplicate += int(np.count_nonzero(~fresh))
        if not fresh.all():
            batch = take(batch, np.flatnonzero(fresh))
        flags = self._series[batch.series]
        reason = verdicts(
            batch,
            reserved=flags[:, 2] == 1,
            nameless=flags[:, 3] == 1,
            long_named=(flags[:, 4] == 1) | self._long_layouts()[batch.layout],
            crowded=flags[:, 5] == 1,
            append_us=append_us[batch.index],
            newest_us=count.newest_us,
            config=self._config,
        )
        for row in np.flatnonzero(reason != ACCEPTED).tolist():
            index = int(batch.index[row])
            found.dead.append(self._letter(partition, raw, position, index, "rejected", REASONS[reason[row]]))
            count.rejected += 1
        if (reason != ACCEPTED).any():
            batch = take(batch, np.flatnonzero(reason == ACCEPTED))
        count.counted += len(batch.seq)
        if len(batch.seq):
            count.newest_us = max(count.newest_us, int(batch.end_us.max()))
            self._sum_up(batch, watermark_us, found)
        found.homes = self._collectors.note(np.unique(collector).tolist(), partition, count.newest_us)

    def _forget(self, partition: str) -> None:
        """Let go of collectors that are over, and of names when there are many: their codes are given anew."""
        gone = False
        if not self._config.rebuilding and self._collectors.is_due(partition, self.partitions[partition].newest_us):
            gone = self._collectors.forget({name: count.newest_us for name, count in self.partitions.items()})
        names = max(len(self._decoder.series), len(self._decoder.layouts), len(self._devices.devices))
        if gone or names > self._config.names:
            self._decoder.renew()
            self._begin_names()

    def _sum_up(self, batch: Decoded, watermark_us: int | None, found: Verdict) -> None:
        if watermark_us is not None:
            edge = (batch.start_us // WINDOW_5S_US + 1) * WINDOW_5S_US
            late = edge + self._config.lateness_us <= watermark_us
            if late.any():
                self._suspect(take(batch, np.flatnonzero(late)), found)
        found.frames.extend(self._frames(batch))

    def _suspect(self, batch: Decoded, found: Verdict) -> None:
        """Name each sample and what falls on its windows, so that a shard can list what it has evicted."""
        pieces = cut(batch)
        order = np.argsort(pieces.owner, kind="stable")
        window, energy = pieces.window[order], pieces.energy_uj[order].sum(axis=1)
        edges = np.searchsorted(pieces.owner[order], np.arange(len(batch.seq) + 1)).tolist()
        columns = (batch.series.tolist(), batch.seq.tolist(), batch.start_us.tolist(), batch.end_us.tolist())
        for code, seq, start, end, (low, high) in zip(*columns, pairwise(edges), strict=True):
            series = self._decoder.series[code]
            run_id = self._places[int(self._series[code, 1])].run_id
            identity = (run_id, series.collector_id, seq, series.host, start, end)
            shard = shard_of(run_id, self._config.shards)
            found.suspects.append((shard, Suspect(*identity, window[low:high], energy[low:high])))

    def _frames(self, batch: Decoded) -> list[tuple[int, Frame]]:
        """The accepted samples' sums, by shard."""
        place = self._series[batch.series, 1]
        rank = self._place_order.rank[place]
        pieces = cut(batch)
        cell_key, cells = reduce_by_key(
            rank[pieces.owner] << WINDOW_BITS | pieces.window,
            {
                "energy_uj": pieces.energy_uj,
                "water_ul": pieces.water_ul,
                "covered_us": pieces.end - pieces.start,
                "first_us": pieces.start,
                "last_us": pieces.end,
                "samples": (pieces.start == batch.start_us[pieces.owner]).astype(np.int64),
            },
            CELL_COLUMNS,
        )
        usage_key, usage = reduce_by_key(rank, _usage(batch), USAGE_COLUMNS)
        return frames(
            self._place_order,
            self._device_order,
            (cell_key, cells),
            (usage_key, usage),
            self._device_sums(batch, place),
            place=self._places.__getitem__,
            device=self._devices.devices.__getitem__,
        )

    def _device_sums(self, batch: Decoded, place: Ints) -> tuple[Ints, Columns]:
        """DEVICE_COLUMNS by `device rank << 31 | window`, ascending."""
        key, columns = self._devices.sums(batch, place, self._decoder.layouts)
        self._device_order.refresh()
        key = self._device_order.rank[key >> WINDOW_BITS] << WINDOW_BITS | key & ((1 << WINDOW_BITS) - 1)
        order = np.argsort(key, kind="stable")
        return key[order], {name: values[order] for name, values in columns.items()}

    def _meet_series(self) -> None:
        """Give codes to series that the decoder met for the first time."""
        fresh = self._decoder.series[len(self._series) :]
        if not fresh:
            return
        rows = []
        for series in fresh:
            run_id = f"~{series.host}" if series.run_id is None else series.run_id
            zone = series.zone or WORLD
            crowded = zone not in self._zones and len(self._zones) >= self._config.zones
            if not crowded:
                self._zones.add(zone)
            place = self._places.code(Place(run_id, series.host, zone))
            # `~/x` is what the forgotten run x is called when it comes again, so no host may be named so.
            reserved = series.host.startswith("/") if series.run_id is None else series.run_id.startswith("~")
            nameless = not (series.collector_id and series.host and run_id)
            wordy = any(is_long(name) for name in series if name is not None)
            rows.append((self._collectors.code(series.collector_id), place, reserved, nameless, wordy, crowded))
        self._series = np.concatenate((self._series, np.array(rows, np.int64)))
        self._place_order.refresh()

    def _long_layouts(self) -> NDArray[np.bool_]:
        """By layout code, whether a device has too long a name."""
        fresh = self._decoder.layouts[len(self._wordy_layouts) :]
        if fresh:
            found = [any(is_long(name) for name in layout) for layout in fresh]
            self._wordy_layouts = np.concatenate((self._wordy_layouts, np.array(found, bool)))
        return self._wordy_layouts

    @staticmethod
    def _letter(
        partition: str, raw: RawBatch, position: Sequence[str], index: int, verdict: str, reason: str
    ) -> DeadLetter:
        payload = bytes(raw.buffer[int(raw.start[index]) : int(raw.end[index])])
        schema_id = int(raw.schema_id[index]) or None
        at = position[index]
        return DeadLetter(
            source=partition, position=at, verdict=verdict, reason=reason, schema_id=schema_id, payload=payload
        )


def _usage(batch: Decoded) -> Columns:
    """USAGE_COLUMNS of each sample, before any summing."""
    samples, owner = len(batch.seq), owners(batch.offset)
    cpu, cpu_known = _used(batch.cpu_time_us)
    disk, disk_known = _used(batch.disk_read_bytes, batch.disk_write_bytes)
    network, network_known = _used(batch.network_rx_bytes, batch.network_tx_bytes)
    measured = (batch.kind == 3) & _is_known(batch.memory_bytes)
    memory = np.zeros(samples, np.int64)
    np.add.at(memory, owner[measured], batch.memory_bytes[measured])
    known = np.zeros(samples, bool)
    known[owner[measured]] = True
    return {
        "cpu_time_us": cpu,
        "cpu_known": cpu_known,
        "disk_bytes": disk,
        "disk_known": disk_known,
        "network_bytes": network,
        "network_known": network_known,
        "memory_bytes_max": np.where(known, memory, -1),
        "samples": np.ones(samples, np.int64),
        "first_us": batch.start_us,
        "last_us": batch.end_us,
        "covered_us": batch.end_us - batch.start_us,
    }


def _is_known(values: Ints) -> NDArray[np.bool_]:
    """Neither −1 nor so much that a sum of it could wrap: 2^53 bytes are 9 PB, 2^53 µs 285 years."""
    return (values >= 0) & (values < MAX_READING_UJ)


def _used(*columns: Ints) -> tuple[Ints, Ints]:
    """By sample the sum of what is known in the columns, and how many of them are."""
    known = [_is_known(values) for values in columns]
    total = sum(np.where(is_known, values, 0) for is_known, values in zip(known, columns, strict=True))
    return np.asarray(total, np.int64), np.sum(known, axis=0, dtype=np.int64)

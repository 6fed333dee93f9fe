"""One source part's memory: every record of its partitions gets exactly one verdict, by the log's order alone."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.recent import RecentSet
from kappawatt.stream.wide import MAX_ROOT

from .files import Chunk
from .readings import Decoder, Readings

Ints = NDArray[np.int64]
Row = tuple[Any, ...]

HORIZON_MS = 3_600_000
"""How far back of its partition's newest reading a reading is taken at all: bounds what is kept against repeats."""
FUTURE_MS = 300_000
"""How far a meter's clock may be ahead of the log's."""
MAX_MW = MAX_ROOT
"""3 MW: the greatest power whose square fits into 64 bits, in mW²."""

_LONG_AGO = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Minutes:
    """How long windows are, and how long after its end a window still takes readings."""

    width_ms: int = 60_000
    lateness_ms: int = 15_000


MINUTES = Minutes()


class Frame(NamedTuple):
    """Counted readings, as columns; *meter* counts in *names*."""

    names: tuple[str, ...]
    meter: Ints
    timestamp_ms: Ints
    value_mw: Ints


@dataclass(slots=True)
class Count:
    """What became of a partition's records: sent = counted + duplicate + rejected + dead; late ones are counted."""

    sent: int = 0
    counted: int = 0
    duplicate: int = 0
    rejected: int = 0
    dead: int = 0
    position: int = 0
    newest_ms: int = _LONG_AGO


@dataclass(slots=True)
class Verdicts:
    """What `Intake.add` gives: frames, one of what its partition is past already, and rows about the rest."""

    taken: Frame
    late: list[Row] = field(default_factory=list)
    letters: list[Row] = field(default_factory=list)


class Intake:
    """Counters by partition, and the identities of the readings within the horizon."""

    def __init__(self, minutes: Minutes) -> None:
        self._minutes = minutes
        self._decoder = Decoder()
        self._recent: dict[str, RecentSet] = {}
        self.counts: dict[str, Count] = {}

    def add(self, partition: str, chunk: Chunk) -> Verdicts:
        """Judge the records of a chunk: dead, rejected, duplicate, or counted; of the counted, who is late."""
        count = self.counts.setdefault(partition, Count())
        batch = self._decoder.decode(chunk.buffer, chunk.start, chunk.end)
        letters = [(partition, place, "dead", "damaged", piece.hex()) for place, piece in chunk.damaged]
        letters += [self._letter(partition, chunk, index, "dead", "undecodable") for index in batch.dead]
        count.sent += len(chunk.start) + len(chunk.damaged)
        count.dead += len(letters)
        count.position = chunk.next
        reason, newest = self._rejected(batch, count.newest_ms, chunk.mtime_us // 1_000 + FUTURE_MS)
        for row in np.flatnonzero(reason > 0).tolist():
            letters.append(self._letter(partition, chunk, int(batch.index[row]), "rejected", REASONS[reason[row]]))
        count.rejected += int(np.count_nonzero(reason))
        good = np.flatnonzero(reason == 0)
        recent = self._recent.setdefault(partition, RecentSet(self._minutes.width_ms))
        fresh = recent.admit(batch.meter[good], batch.timestamp_ms[good])
        count.duplicate += int(np.count_nonzero(~fresh))
        good = good[fresh]
        count.counted += len(good)
        count.newest_ms = int(newest[-1]) if len(newest) else count.newest_ms
        recent.forget_before(count.newest_ms - HORIZON_MS)
        width, lateness = self._minutes.width_ms, self._minutes.lateness_ms
        over = (batch.timestamp_ms[good] // width + 1) * width + lateness <= newest[good]
        return Verdicts(self._frame(batch, good[~over]), late_rows(self._frame(batch, good[over])), letters)

    def accounting(self, partition: str) -> Row:
        """The row of table `accounting`."""
        return (partition, *astuple(self.counts[partition])[:-1])

    def dump(self) -> Any:
        """Plain state."""
        counts = {name: astuple(count) for name, count in self.counts.items()}
        recent = {name: recent.dump() for name, recent in self._recent.items()}
        return (counts, tuple(self._decoder.meters.names), recent)

    def load(self, state: Any) -> None:
        """Take over what `dump` gave: codes mean the same meters as before."""
        counts, meters, recent = state
        self.counts = {name: Count(*values) for name, values in counts.items()}
        self._decoder.meters.load(meters)
        for name, dumped in recent.items():
            self._recent[name] = RecentSet(self._minutes.width_ms)
            self._recent[name].load(dumped)

    def _rejected(self, batch: Readings, newest_ms: int, most_ms: int) -> tuple[Ints, Ints]:
        """By row the reason's number, 0: none; and the newest reading of the partition before it and including it."""
        reason = np.zeros(len(batch.index), np.int64)
        value = batch.value_w * 1_000
        nameless = self._decoder.meters.names.index("") if "" in self._decoder.meters else -1
        reason[~(np.abs(value) <= MAX_MW)] = 1  # NaN is not below either
        reason[batch.meter == nameless] = 2
        reason[(batch.timestamp_ms < 0) | (batch.timestamp_ms > most_ms)] = 3
        plausible = np.where(reason == 0, batch.timestamp_ms, _LONG_AGO)
        newest = np.maximum(np.maximum.accumulate(plausible), newest_ms)
        reason[(reason == 0) & (batch.timestamp_ms < newest - HORIZON_MS)] = 4
        return reason, newest

    def _frame(self, batch: Readings, rows: Ints) -> Frame:
        codes, meter = np.unique(batch.meter[rows], return_inverse=True)
        value_mw = np.rint(batch.value_w[rows] * 1_000).astype(np.int64)
        return Frame(self._names(codes.tolist()), meter, batch.timestamp_ms[rows], value_mw)

    def _names(self, codes: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._decoder.meters[code] for code in codes)

    @staticmethod
    def _letter(partition: str, chunk: Chunk, index: int, verdict: str, reason: str) -> Row:
        payload = chunk.buffer[int(chunk.start[index]) : int(chunk.end[index])]
        return (partition, chunk.base + int(chunk.start[index]), verdict, reason, payload.hex())


REASONS = ("", "implausible_value", "empty_identifier", "implausible_time", "expired")


def late_rows(frame: Frame) -> list[Row]:
    """Rows of table `late`: the identity of each reading that is in no window, and its value."""
    names = [frame.names[meter] for meter in frame.meter.tolist()]
    return list(zip(names, frame.timestamp_ms.tolist(), frame.value_mw.tolist(), strict=True))

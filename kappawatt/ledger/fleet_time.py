"""What a shard knows of event time: how far the fleet has come, also while it is silent (docs/semantics.md §4)."""

from collections.abc import Iterable, Sequence
from typing import Any

from kappawatt.ledger.inbox import Report
from kappawatt.stream.watermark import MinWatermark


class FleetTime:
    """Two times that follow from reports only and never go back, so the same reports give the same times.

    `value`, the watermark, evicts, closes and forgets: the least of the buckets', and while all of them are idle the
    arrival time that every source has read up to. `now_us` is what leases run out by: the same, but at the end of a
    bounded log the greatest counted end, a function of the log alone.

    Args:
        buckets: Who brings samples; all must report before anything is known.
        others: Who else must have read up to an arrival time before it counts.
    """

    def __init__(self, buckets: Sequence[str], others: Sequence[str] = ()) -> None:
        self._buckets = frozenset(buckets)
        self._sources = self._buckets.union(others)
        self._least = MinWatermark(buckets)
        self._running = set(buckets)
        self._read: dict[str, int] = {}
        self._newest: int | None = None
        self.now_us: int | None = None

    def __repr__(self) -> str:
        return f"<FleetTime {self.now_us}, watermark {self.value}, {len(self._running)} buckets running>"

    @property
    def value(self) -> int | None:
        """The watermark; None while it is unknown."""
        return self._least.value

    @property
    def all_ended(self) -> bool:
        """Whether every bucket has come to the end of a bounded log."""
        return not self._running

    def take(self, reports: Iterable[Report]) -> None:
        """Take reports of one epoch."""
        for report in reports:
            if report.bucket in self._buckets:
                self._least.report(report.bucket, report.watermark_us)
            if report.read_us is not None:
                self._read[report.bucket] = max(report.read_us, self._read.get(report.bucket, report.read_us))
            if report.ended:
                self._running.discard(report.bucket)
                self._newest = _later(self._newest, report.newest_us)
        if self._least.is_idle and self._sources <= self._read.keys():
            self._least.raise_to(min(self._read[source] for source in self._sources))
        self.now_us = _later(self.now_us, self.value)
        if self.all_ended:
            self.now_us = _later(self.now_us, self._newest)

    def dump(self) -> tuple[Any, ...]:
        """Plain state; who has ended is not part of it, a later start goes on."""
        return (self._least.dump(), dict(self._read), self.now_us)

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave: all buckets count as running again."""
        least, read, self.now_us = state
        self._least.load(least)
        self._read = dict(read)


def _later(first: int | None, second: int | None) -> int | None:
    known = [each for each in (first, second) if each is not None]
    return max(known, default=None)

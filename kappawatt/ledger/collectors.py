"""The collectors of a bucket: which sequence numbers were seen of each, where, and until when that must be known."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.dedupe import Deduper
from kappawatt.stream.intern import Interner, Register
from kappawatt.stream.packing import pack, unpack

Ints = NDArray[np.int64]

_MARGIN_US = 3_600_000_000
_NOBODY = "\ud800"  # an empty collector_id is an identity like any other, this is no text that a record can hold
_NOWHERE, _SEVERAL = -1, -2  # in place of a partition's code
_NOTHING = -(1 << 61)  # before every newest end: a partition in which nothing was counted yet


class Collectors:
    """Dedupe ranges by collector, each forgotten when nothing of it can be counted any more.

    Guarantee: no (collector_id, seq) is counted twice. Whatever was counted of a collector in a source partition ended
    no later than the partition's newest end when the collector was last read there. It is forgotten when, in all of its
    partitions, the newest end has moved on by the horizon and an hour since: a repeat of it there is `expired`. Repeats
    come where the record was: the key is the host, and what is sent again after a topic has grown is no older than a
    spool keeps, which is less than the horizon.
    """

    def __init__(self, horizon_us: int) -> None:
        self._keep_us = horizon_us + _MARGIN_US
        self._names: Register[str] = Register(_NOBODY)
        self._dedupe = Deduper()
        self._partitions: Interner[str] = Interner()
        self._where = np.full(64, _NOWHERE, np.int64)  # by code the partition in which it was read, if that is one
        self._when = np.zeros(64, np.int64)  # the partition's newest end when it was last read there
        self._several: dict[int, dict[str, int]] = {}  # of those in several partitions, both
        self._lost: dict[str, int] = {}  # of forgotten ones, by source partition
        self._next_us: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Collectors {self._names.used} known, {self._dedupe!r}>"

    def code(self, collector_id: str) -> int:
        """The code of a collector, valid until it is forgotten."""
        code = self._names.code(collector_id)
        if code >= len(self._where):
            self._where = np.concatenate((self._where, np.full(len(self._where), _NOWHERE)))
            self._when = np.concatenate((self._when, np.zeros_like(self._when)))
        return code

    def admit(self, collector: Ints, seq: Ints) -> NDArray[np.bool_]:
        """Which records are no repeats; they count as seen from now on."""
        return self._dedupe.admit(collector, seq)

    def note(self, codes: Iterable[int], partition: str, newest_us: int) -> set[str]:
        """These were read in a partition that has come to *newest_us*.

        Returns:
            Where the losses of these collectors are booked, and where they were before.
        """
        code, here = np.fromiter(codes, np.int64), self._partitions.code(partition)
        plain = (self._where[code] == here) | (self._where[code] == _NOWHERE)
        self._where[code[plain]], self._when[code[plain]] = here, newest_us
        homes = {partition} if plain.any() else set()
        for each in code[~plain].tolist():
            seen = self._seen(each)
            homes.add(min(seen))
            self._put(each, {**seen, partition: newest_us})
            homes.add(min(self._seen(each)))
        return homes

    def lost(self, partition: str) -> int:
        """Missing seqs of the collectors whose lowest partition this is, forgotten ones included."""
        here = (code for code in self._dedupe.gappy if min(self._seen(code)) == partition)
        return self._lost.get(partition, 0) + sum(self._dedupe.lost(code) for code in here)

    def is_due(self, partition: str, newest_us: int) -> bool:
        """Whether `forget` is to be asked again: once an hour of a partition's event time."""
        if newest_us < max(_NOTHING, self._next_us.get(partition, _NOTHING)):
            return False
        self._next_us[partition] = newest_us + _MARGIN_US
        return True

    def forget(self, newest: Mapping[str, int]) -> bool:
        """Forget who is over by the newest counted ends of all partitions; whether any was: codes are then void."""
        gone = [code for code in self._names.codes() if self._is_over(code, newest)]
        for code in gone:
            if lost := self._dedupe.lost(code):
                home = min(self._seen(code))
                self._lost[home] = self._lost.get(home, 0) + lost
            self._dedupe.forget(code)
            self._names.release(code)
            self._put(code, {})
        return bool(gone)

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes."""
        size = len(self._names)
        low = int(self._when[:size].min(initial=0))
        columns = (pack(self._where[:size]), low, pack(self._when[:size] - low)) if size else ()
        several = {code: dict(seen) for code, seen in self._several.items()}
        seen = (size, self._partitions.names.copy(), columns, several)
        return (self._names.dump(), seen, dict(self._lost), self._dedupe.dump())

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave."""
        names, seen, lost, ranges = state
        self._names.undump(names, str)
        self._where = np.full(max(64, len(self._names)), _NOWHERE)
        self._when = np.zeros_like(self._where)
        self._load_seen(seen)
        self._lost = dict(lost)
        self._dedupe.load(ranges)

    def _load_seen(self, seen: Any) -> None:
        if isinstance(seen, list):  # so it was in format 8 of the flow's state
            for code, each in enumerate(seen):
                self._put(code, dict(each))
            return
        size, partitions, columns, several = seen
        self._partitions.load(partitions)
        self._several = {code: dict(each) for code, each in several.items()}
        if size:
            where, low, when = columns
            self._where[:size], self._when[:size] = unpack(where, size), unpack(when, size) + low

    def _seen(self, code: int) -> dict[str, int]:
        """Source partition → its newest end when the collector was last read there."""
        where = int(self._where[code])
        if where >= 0:
            return {self._partitions[where]: int(self._when[code])}
        return self._several.get(code, {})

    def _put(self, code: int, seen: dict[str, int]) -> None:
        self._several.pop(code, None)
        if len(seen) == 1:
            ((partition, newest_us),) = seen.items()
            self._where[code], self._when[code] = self._partitions.code(partition), newest_us
        else:
            self._where[code], self._when[code] = _SEVERAL if seen else _NOWHERE, 0
            if seen:
                self._several[code] = seen

    def _is_over(self, code: int, newest: Mapping[str, int]) -> bool:
        seen = self._seen(code)
        for partition, at in seen.items():
            if at < _NOTHING:  # only what is rejected came of it: kept as long as if it had been counted now
                seen[partition] = newest[partition]
                self._put(code, seen)
        return bool(seen) and all(newest[partition] - at > self._keep_us for partition, at in seen.items())

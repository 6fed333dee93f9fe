"""Which hours of which zones a shard has to contribute anew, and which are over."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import window_of, zone_of
from kappawatt.ledger.zones import Over

Ints = NDArray[np.int64]

_SLOTS = 12


class ZoneHours:
    """(zone code, hour)s with energy of a shard: those that changed since the last flush, and those not yet over."""

    def __init__(self) -> None:
        self._dirty: set[tuple[int, int]] = set()
        self._open: set[tuple[int, int]] = set()
        self._forgotten = 0

    def __repr__(self) -> str:
        return f"<ZoneHours {len(self._open)} open, {len(self._dirty)} changed>"

    def touch(self, slot_key: Ints) -> None:
        """The cells of these slots changed, or what they cost."""
        pairs = set((window_of(slot_key) // _SLOTS << 12 | zone_of(slot_key)).tolist())
        hours = {(code & 0xFFF, code >> 12) for code in pairs}
        self._dirty |= hours
        self._open |= hours

    def take(self, is_over: Callable[[int], Over]) -> set[tuple[int, int]]:
        """The hours that changed since the last time, or are over now: they count as contributed."""
        over = {key for key in self._open if is_over(key[1])}
        dirty = self._dirty | over
        self._open -= {key for key in over if is_over(key[1]) is Over.PASSED}
        self._dirty = set()
        return {key for key in dirty if key[1] >= self._forgotten}

    @property
    def open_zones(self) -> set[int]:
        """Codes of the zones with an hour that is not over."""
        return {zone for zone, _ in self._open}

    def forget_before(self, hour: int) -> None:
        """Hours before this one do not change any more, whatever comes."""
        self._forgotten = hour

    def dump(self) -> tuple[Any, ...]:
        """Plain state right after `flush`."""
        return tuple(sorted(self._open))

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave."""
        self._open = {(zone, hour) for zone, hour in state}

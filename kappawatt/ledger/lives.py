"""How the runs of a shard live and end, by run code, and what follows from event time (docs/semantics.md §4)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.forgotten import is_of_host
from kappawatt.ledger.runs import Run
from kappawatt.units import US_PER_S

Ints = NDArray[np.int64]

LONG_AGO = -(1 << 62)
NEVER = 1 << 62

_STOP_SLACK_US = 60 * US_PER_S
"""A run's last sample may end so much before its stop: the stop is said after the last tick."""

_BLANK = {
    "newest": LONG_AGO,
    "frontier": LONG_AGO,
    "seen": LONG_AGO,
    "stop": NEVER,
    "heard": False,
    "leased": False,
    "lost": False,
    "pue": 1.0,
    "wue": np.nan,
}


class Lives:
    """Columns by run code, so that what event time does to many runs costs little.

    newest: Greatest end of a sample, µs.
    frontier: What ends at or before frontier − lateness is evicted; it never goes back.
    seen: When the run was last heard of. stop: the instant of the stop that holds, else NEVER.
    heard: Whether something came since `silent_since` was last asked.
    leased: Whether silence makes it lost. lost: whether it is.
    pue, wue: As rows use them; NaN: unknown.
    """

    def __init__(self, config: LedgerConfig) -> None:
        self._lease_us, self._close_us = config.lease_us, min(config.close_us, config.horizon_us)
        self._columns = {name: np.full(64, value) for name, value in _BLANK.items()}
        self._before = self.newest.copy()

    def __repr__(self) -> str:
        return f"<Lives {np.count_nonzero(self.seen > LONG_AGO)} runs, {np.count_nonzero(self.lost)} lost>"

    @property
    def newest(self) -> Ints:
        return self._columns["newest"]

    @property
    def frontier(self) -> Ints:
        return self._columns["frontier"]

    @property
    def seen(self) -> Ints:
        return self._columns["seen"]

    @property
    def lost(self) -> NDArray[np.bool_]:
        return self._columns["lost"]

    @property
    def pue(self) -> NDArray[np.float64]:
        return self._columns["pue"]

    @property
    def wue(self) -> NDArray[np.float64]:
        return self._columns["wue"]

    def meet(self, code: int) -> None:
        """A new run has this code."""
        if code >= len(self.newest):
            for name, value in _BLANK.items():
                column = self._columns[name]
                self._columns[name] = np.concatenate((column, np.full(len(column), value)))
            self._before = np.concatenate((self._before, np.full(len(self._before), LONG_AGO)))
        for name, value in _BLANK.items():
            self._columns[name][code] = value
        self._before[code] = LONG_AGO

    def note(self, codes: Iterable[int], names: Sequence[str], runs: Sequence[Run]) -> None:
        """Take over what changed of runs."""
        for code in codes:
            run = runs[code]
            _, last = run.seen()
            self.seen[code] = LONG_AGO if last is None else min(max(last, LONG_AGO), NEVER)
            stopped = run.stopped_at
            self._columns["heard"][code] = True
            self._columns["stop"][code] = NEVER if stopped is None else min(max(stopped, LONG_AGO), NEVER)
            lives = stopped is None and (run.lives or run.samples > 0)
            self._columns["leased"][code] = lives and not is_of_host(names[code])
            self.pue[code] = run.pue
            wue = run.wue_l_per_kwh
            self.wue[code] = np.nan if wue is None else wue

    def advance(self, watermark_us: int) -> None:
        """Move each run's frontier: to the watermark if the run is closed, else no further than its own samples.

        A stop closes a run when its lease is over and the samples have come as far as the stop: what a host has spooled
        while it was away is not late because the news of its end came first. While they keep coming the run stays open.
        """
        stop = self._columns["stop"]
        complete = (self.newest + _STOP_SLACK_US >= stop) & (self.newest == self._before)
        closed = (stop + self._lease_us <= watermark_us) & complete
        closed |= self.seen + self._close_us <= watermark_us
        frontier = np.where(closed, watermark_us, np.minimum(watermark_us, self.newest))
        np.maximum(self.frontier, frontier, out=self.frontier)

    def settle(self) -> None:
        """The end of an epoch: what comes now is new."""
        self._before = self.newest.copy()

    def expire(self, now_us: int) -> dict[int, bool]:
        """By code, whose lease has run out by now (true), and who was lost and is not any more."""
        silent = self._columns["leased"] & (self.seen + self._lease_us <= now_us)
        changed = np.flatnonzero(silent != self.lost)
        self._columns["lost"] = silent
        return dict(zip(changed.tolist(), silent[changed].tolist(), strict=True))

    def silent_since(self, before_us: int) -> list[int]:
        """The runs that were last heard of before an instant, and of which nothing came since this was last asked."""
        silent = (self.seen < before_us) & (self.seen > LONG_AGO) & ~self._columns["heard"]
        self._columns["heard"][:] = False
        return np.flatnonzero(silent).tolist()

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes."""
        return tuple(self._columns[name].copy() for name in _BLANK)

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave."""
        self._columns = {name: column.copy() for name, column in zip(_BLANK, state, strict=True)}
        self._before = self.newest.copy()

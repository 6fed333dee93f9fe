"""The dense codes of a shard: its runs, zones and hosts, and how far each run has come."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.frames import Place
from kappawatt.ledger.keys import check_codes
from kappawatt.ledger.runs import Run
from kappawatt.stream.intern import Interner

Ints = NDArray[np.int64]

_LONG_AGO = -(1 << 62)


class Places:
    """Codes of (run, zone, host in run); by run code its state, its greatest end and its frontier, both µs.

    What ends at or before frontier − lateness is evicted; the frontier never goes back.
    """

    def __init__(self) -> None:
        self.runs: Interner[str] = Interner()
        self.zones: Interner[str] = Interner()
        self.pairs: Interner[tuple[int, str]] = Interner()
        self.state: list[Run] = []
        self.newest = np.full(64, _LONG_AGO, np.int64)
        self.frontier = np.full(64, _LONG_AGO, np.int64)
        self._codes: dict[Place, tuple[int, int, int]] = {}

    def __repr__(self) -> str:
        return f"<Places {len(self.runs)} runs, {len(self.zones)} zones, {len(self.pairs)} hosts>"

    def codes(self, places: Sequence[Place]) -> Ints:
        """(run, zone, host in run) codes of places, [places, 3]."""
        found = [self._codes.get(place) or self._meet(place) for place in places]
        check_codes(len(self.runs), len(self.zones))
        return np.array(found, np.int64).reshape(-1, 3)

    def run(self, run_id: str) -> int:
        """The code of a run, with a state."""
        code = self.runs.code(run_id)
        if code == len(self.state):
            self.state.append(Run())
            self._reserve(code + 1)
        return code

    def advance(self, watermark_us: int) -> None:
        """Move each run's frontier to min(watermark, its greatest end)."""
        runs = len(self.runs)
        frontier = np.minimum(watermark_us, self.newest[:runs])
        self.frontier[:runs] = np.maximum(self.frontier[:runs], frontier)

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes."""
        names = (self.runs.names.copy(), self.zones.names.copy(), self.pairs.names.copy())
        return (*names, [run.dump() for run in self.state], self.newest.copy(), self.frontier.copy())

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave, into new ones."""
        runs, zones, pairs, run_states, newest, frontier = state
        self.runs.load(runs)
        self.zones.load(zones)
        self.pairs.load((run, host) for run, host in pairs)
        self.state.extend(Run.load(run) for run in run_states)
        self.newest, self.frontier = newest.copy(), frontier.copy()

    def _meet(self, place: Place) -> tuple[int, int, int]:
        run = self.run(place.run_id)
        codes = (run, self.zones.code(place.zone), self.pairs.code((run, place.host)))
        self._codes[place] = codes
        return codes

    def _reserve(self, runs: int) -> None:
        while runs > len(self.frontier):
            pad = np.full(len(self.frontier), _LONG_AGO, np.int64)
            self.frontier, self.newest = np.concatenate((self.frontier, pad)), np.concatenate((self.newest, pad))

"""The dense codes of a shard: its runs, zones and hosts, and what is known of the runs."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.forgotten import Forgotten, name_for
from kappawatt.ledger.frames import Place
from kappawatt.ledger.keys import check_codes
from kappawatt.ledger.lives import Lives
from kappawatt.ledger.run_states import RunStates
from kappawatt.stream.intern import Register

Ints = NDArray[np.int64]


class Places:
    """Codes of (run, zone, host in run), and by run code its state and its life.

    A code is used again after `forget`: whoever holds it must have let it go by then.
    """

    def __init__(self, config: LedgerConfig) -> None:
        self.runs: Register[str] = Register("")
        self.zones: Register[str] = Register("")
        self.pairs: Register[tuple[int, str]] = Register((-1, ""))
        self.state = RunStates()
        self.lives = Lives(config)
        self.forgotten = Forgotten()
        self.run_of_pair = np.empty(0, np.int64)
        """By the code of a host in a run."""
        self._codes: dict[Place, tuple[int, int, int]] = {}

    def __repr__(self) -> str:
        return f"<Places {self.runs.used} runs, {self.zones.used} zones, {self.pairs.used} hosts>"

    @property
    def frontier(self) -> Ints:
        """By run code; see `Lives`."""
        return self.lives.frontier

    def codes(self, places: Sequence[Place]) -> Ints:
        """(run, zone, host in run) codes of places, [places, 3]."""
        found = [self._codes.get(place) or self._meet(place) for place in places]
        check_codes(len(self.runs), len(self.zones))
        return np.array(found, np.int64).reshape(-1, 3)

    def run(self, run_id: str) -> int:
        """The code of a run, with a state."""
        known = run_id in self.runs
        code = self.runs.code(run_id)
        if not known:
            self.state.begin(code)
            self.lives.meet(code)
        return code

    def name(self, run_id: str) -> str:
        """What a run is called here; another one than it says if it was forgotten."""
        return name_for(run_id, self.runs.__contains__, self.forgotten)

    def forget(self, runs: Collection[int]) -> list[int]:
        """Give back the codes of runs; the codes of their hosts, which went with them."""
        pairs = [code for code in self.pairs.codes() if self.pairs[code][0] in runs] if runs else []
        self.forgotten.add(self.runs[code] for code in sorted(runs))
        for code in runs:
            self.runs.release(code)
            self.state.end(code)
            self.lives.meet(code)
        for code in pairs:
            self.pairs.release(code)
        self._codes = {place: code for place, code in self._codes.items() if code[0] not in runs}
        return pairs

    def forget_zones(self, zones: Collection[int]) -> None:
        """Give back the codes of zones."""
        for code in zones:
            self.zones.release(code)
        self._codes = {place: code for place, code in self._codes.items() if code[1] not in zones}

    def dump(self) -> tuple[Any, ...]:
        """Plain state, independent of later changes."""
        names = (self.runs.dump(), self.zones.dump(), self.pairs.dump())
        return (*names, self.state.dump(), self.lives.dump(), self.forgotten.dump())

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave, into new ones."""
        runs, zones, pairs, run_states, lives, forgotten = state
        self.runs.undump(runs, str)
        self.zones.undump(zones, str)
        self.pairs.undump(pairs, tuple)
        self.run_of_pair = np.array([run for run, _ in self.pairs.names], np.int64)
        self.state.load(run_states)
        self.lives.load(lives)
        self.forgotten.load(forgotten)

    def _meet(self, place: Place) -> tuple[int, int, int]:
        run = self.run(place.run_id)
        pair = self.pairs.code((run, place.host))
        if pair >= len(self.run_of_pair):
            self.run_of_pair = np.concatenate((self.run_of_pair, np.full(max(64, pair), -1)))
        self.run_of_pair[pair] = run
        codes = (run, self.zones.code(place.zone), pair)
        self._codes[place] = codes
        return codes

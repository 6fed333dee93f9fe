"""The states of a shard's runs; those that nothing touches are bytes, for most are over and wait to be forgotten."""

import pickle
import zlib
from collections.abc import Sequence
from typing import overload

from kappawatt.ledger.runs import Run

_LEVEL = 1  # 6 saves a tenth more and takes twice the time


class RunStates(Sequence[Run]):
    """Run states by code. One that is asked for is made from its bytes; they are packed when it is not any more.

    A dump costs what was asked for since the last one, and a copy of references to the rest.
    """

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._prices: dict[int, frozenset[int]] = {}  # by code, as far as it was needed
        self._live: dict[int, Run] = {}
        self._asked: set[int] = set()

    def __repr__(self) -> str:
        return f"<RunStates {len(self._live)} live, {sum(map(len, self._kept))} bytes in all>"

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, code: int) -> Run: ...
    @overload
    def __getitem__(self, code: slice) -> list[Run]: ...
    def __getitem__(self, code: int | slice) -> Run | list[Run]:
        if isinstance(code, slice):
            return [self[index] for index in range(*code.indices(len(self)))]
        self._asked.add(code)
        found = self._live.get(code)
        if found is None:
            self._prices.pop(code, None)
            found = self._live[code] = _load(self._kept[code])
        return found

    def begin(self, code: int) -> None:
        """A new run has this code, one behind the last or one that was used before."""
        if code == len(self._kept):
            self._kept.append(b"")
        self._live[code] = Run()
        self._asked.add(code)

    def price_indices(self) -> set[int]:
        """Which price records the runs' sums rest on."""
        for code, kept in enumerate(self._kept):
            if kept and code not in self._prices and code not in self._live:
                self._prices[code] = frozenset(_load(kept).price_indices())
        return set().union(*self._prices.values(), *(run.price_indices() for run in self._live.values()))

    def forget_events(self, before_us: int) -> None:
        """Drop the ids of old events of the runs that something came of: the others have no more of them than that."""
        for code in self._asked:
            self._live[code].forget_events(before_us)

    def end(self, code: int) -> None:
        """Forget a run; its code may begin again."""
        self._kept[code] = b""
        self._prices.pop(code, None)
        self._live.pop(code, None)
        self._asked.discard(code)

    def dump(self) -> list[bytes]:
        """Plain state by code, independent of later changes; empty where there is no run."""
        for code in self._live.keys() - self._asked:
            self._kept[code] = zlib.compress(self._kept[code], _LEVEL)
        for code in self._asked:
            self._kept[code] = pickle.dumps(self._live[code].dump(), pickle.HIGHEST_PROTOCOL)
        self._live = {code: self._live[code] for code in self._asked}
        self._asked = set()
        return self._kept.copy()

    def load(self, state: Sequence[bytes]) -> None:
        """Take over what `dump` gave."""
        self._kept = list(state)
        self._live, self._asked, self._prices = {}, set(), {}


def _load(kept: bytes) -> Run:
    plain = kept if kept.startswith(pickle.PROTO) else zlib.decompress(kept)
    return Run.load(pickle.loads(plain))  # noqa: S301 our own bytes

"""Which record the table `intensity` shows of several with one key (docs/semantics.md §4)."""

import pickle
from typing import Any

from kappawatt.ledger.rows import Row
from kappawatt.units import US_PER_H

_VALID_TO, _PUBLISHED_AT = 3, 10  # places in a row
_LONG_AGO = -(1 << 62)


class IntensityRows:
    """The rank of what is shown by key: the greatest (published_at, dataset, value) counts.

    Keys whose period ended more than *horizon_us* before the newest publication are forgotten: nothing is priced by
    them any more, and what still comes for them is shown as it comes.
    """

    def __init__(self, horizon_us: int) -> None:
        self._horizon_us = horizon_us
        self._best: dict[Row, tuple[Any, ...]] = {}
        self._newest_us = self._forgotten_us = _LONG_AGO
        self._dumped: bytes | None = None

    def __repr__(self) -> str:
        return f"<IntensityRows {len(self._best)} keys>"

    def better(self, row: Row, append_us: int) -> bool:
        """Whether *row*, appended to the log at an instant, is to be shown in place of what was."""
        key, rest = row[:8], row[8:]
        # A publication from the future would make everything old.
        self._newest_us = max(self._newest_us, min(row[_PUBLISHED_AT], append_us))
        rank = (rest[2], rest[1], rest[0], tuple(str(value) for value in rest[3:]))
        if key in self._best and self._best[key] >= rank:
            return False
        self._best[key] = rank
        self._dumped = None
        return True

    def dump(self) -> bytes:
        """Plain state, pickled; the same object as long as nothing changes."""
        self._forget()
        if self._dumped is None:
            self._dumped = pickle.dumps((self._newest_us, self._best), pickle.HIGHEST_PROTOCOL)
        return self._dumped

    def load(self, state: bytes) -> None:
        """Take over what `dump` gave."""
        self._newest_us, self._best = pickle.loads(state)  # noqa: S301 our own bytes
        self._dumped = state

    def _forget(self) -> None:
        """Once an hour of publications."""
        before = self._newest_us - self._horizon_us
        if before < self._forgotten_us + US_PER_H:
            return
        self._forgotten_us = before
        self._best = {key: rank for key, rank in self._best.items() if key[_VALID_TO] > before}
        self._dumped = None

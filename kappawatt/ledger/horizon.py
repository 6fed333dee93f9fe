"""What a shard forgets beyond the horizon, and what of it totals keep (design: one horizon bounds all state)."""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import zone_of
from kappawatt.ledger.places import Places
from kappawatt.ledger.prices import PriceBook
from kappawatt.ledger.usage import Usage
from kappawatt.stream.table import KeyedTable

Ints = NDArray[np.int64]


class Forgetful(Protocol):
    """Who holds codes of runs."""

    def forget_runs(self, runs: set[int]) -> None:
        """Let these codes go."""


def forget_runs(known: Places, others: Sequence[Forgetful], usage: Usage, before_us: int) -> None:
    """Give back the codes of the runs that nothing was heard of since an instant: all their windows are forgotten.

    One that was told of since the last time is kept until the next: the log of a host that was away is being read.
    """
    known.state.forget_events(before_us)
    gone = set(known.lives.silent_since(before_us))
    for other in others:
        other.forget_runs(gone)
    usage.forget(known.forget(gone))


def forget_names(known: Places, slots: KeyedTable, zones: Collection[int], prices: PriceBook) -> None:
    """Give back the codes of zones that have no cell and are not among *zones*, and the prices that nobody needs."""
    used = {*np.unique(zone_of(slots.key)).tolist(), *zones}
    gone = [code for code in known.zones.codes() if code not in used]
    known.forget_zones(gone)
    prices.forget_zones(gone)
    prices.forget_records(known.state.price_indices())

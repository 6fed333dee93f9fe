"""Settled 5-s rows are in the store only: orders to price them anew, and how a row is made that obeys one (§3)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.cells import PER_SLOT
from kappawatt.ledger.keys import CODE_MASK, SLOTS_A_DAY, run_of, window_of, zone_of
from kappawatt.ledger.places import Places
from kappawatt.ledger.priced import price_rows, site_water_l
from kappawatt.ledger.prices import UNPRICED, Price, PriceBook, Priced, price_columns
from kappawatt.ledger.rows import dates
from kappawatt.stream.table import KeyedTable
from kappawatt.units import WINDOW_5M_US, WINDOW_5S_US

Ints = NDArray[np.int64]


TABLE = "run_window_5s"
"""The table whose rows are settled."""


class Reprice(NamedTuple):
    """What settled 5-s rows of one run and day are priced by from now on; plain values, it travels.

    settled: For each 5-min slot from *first_slot* on, a bit for each of its 5-s windows that is meant.
    price: The fields of a `Price`; None: there is none.
    """

    run_id: str
    date: str
    first_slot: int
    settled: tuple[int, ...]
    price: tuple[Any, ...] | None
    pue: float
    wue_l_per_kwh: float | None

    @property
    def since_us(self) -> int:
        """The first window start that can be meant."""
        return self.first_slot * WINDOW_5M_US

    @property
    def until_us(self) -> int:
        """The last one."""
        return (self.first_slot + len(self.settled)) * WINDOW_5M_US - WINDOW_5S_US


def repriced(order: Reprice, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those of *rows* (of the order's run and day) that it means, whole, by its price.

    A settled row has one zone and no site water, so its energy is the only group, and what is derived from it is the
    same to the last bit as if the ledger had made the row now. Obeying an order again changes nothing.
    """
    start = np.array([row["window_start"] for row in rows], np.int64)
    slot = start // WINDOW_5M_US - order.first_slot
    inside = (slot >= 0) & (slot < len(order.settled))
    bits = np.array(order.settled, np.int64)[np.where(inside, slot, 0)]
    meant = np.flatnonzero(inside & (bits >> (start // WINDOW_5S_US % PER_SLOT) & 1 == 1))
    energy = np.array([rows[index]["energy_uj"] for index in meant.tolist()], np.int64)
    wue = np.nan if order.wue_l_per_kwh is None else order.wue_l_per_kwh
    count = len(meant)
    columns = price_rows(
        price_columns([] if order.price is None else [Price(*order.price)]),
        count,
        np.arange(count),
        np.full(count, UNPRICED if order.price is None else 0),
        energy,
        np.full(count, order.pue),
        site_water_l(np.zeros(count, np.int64), energy, np.full(count, wue)),
    )
    by_row = zip(meant.tolist(), *columns, strict=True)
    return [{**rows[index], **Priced(*derived)._asdict()} for index, *derived in by_row]


class Orders:
    """Which (slot, run, zone)s have settled rows to be priced anew. Oldest first, some at a time.

    Only that a row is due is kept, not its price: that is the one that counts when its turn comes.
    """

    def __init__(self) -> None:
        self._waiting = np.empty(0, np.int64)

    def __repr__(self) -> str:
        return f"<Orders {len(self._waiting)} slots wait>"

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, slot_key: Ints) -> None:
        """Have these keys of slots priced anew; those that wait already keep their turn."""
        fresh = np.setdiff1d(slot_key, self._waiting)
        by_run = np.argsort(fresh & CODE_MASK, kind="stable")  # so that an order is for many slots of one run
        self._waiting = np.concatenate((self._waiting, fresh[by_run]))

    def take(self, most: int, before: int) -> Ints:
        """The keys whose turn it is: *most* of them, and all of slots before *before*."""
        due = window_of(self._waiting) < before
        due[:most] = True
        taken, self._waiting = self._waiting[due], self._waiting[~due]
        return taken

    def dump(self) -> Ints:
        """Plain state."""
        return self._waiting.copy()

    def load(self, state: Ints) -> None:
        """Take over what `dump` gave."""
        self._waiting = state.copy()


def orders(slot_key: Ints, slots: KeyedTable, known: Places, prices: PriceBook) -> list[Reprice]:
    """The orders for the settled rows of some slots, one for each stretch of a run, zone and day under one price."""
    if len(slot_key) == 0:
        return []
    at, there = slots.find(slot_key)
    at = at[there]
    at = at[slots.take("settled", at) != 0]
    key = slots.key[at]
    price = prices.lookup(known.zones.names, zone_of(key), window_of(key))
    order = np.lexsort((window_of(key), key & CODE_MASK))
    key, price, settled = key[order], price[order], slots.take("settled", at[order])
    slot = window_of(key)
    breaks = _differs(key & CODE_MASK) | _differs(price) | _differs(slot // SLOTS_A_DAY) | (np.diff(slot) != 1)
    edges = np.flatnonzero(np.concatenate(([True], breaks, [True]))).tolist() if len(key) else []
    found = []
    for low, high in pairwise(edges):
        run, index = int(run_of(key[low])), int(price[low])
        record = None if index == UNPRICED else tuple(prices[index])
        begin = int(slot[low])
        (date,) = dates(slot[low : low + 1] * WINDOW_5M_US)
        bits = tuple(settled[low:high].tolist())
        state = known.state[run]
        found.append(Reprice(known.runs[run], date, begin, bits, record, state.pue, state.wue_l_per_kwh))
    return found


def _differs(values: Ints) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = values[1:] != values[:-1]
    return found

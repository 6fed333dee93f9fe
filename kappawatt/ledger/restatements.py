"""Which prices of what was already shown have changed, and the rows that say so (docs/semantics.md §3)."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.grid import fallbacks
from kappawatt.ledger.cells import in_zone
from kappawatt.ledger.frozen import Frozen
from kappawatt.ledger.keys import CODE_MASK, SLOTS_A_DAY, run_of, window_of, zone_of
from kappawatt.ledger.places import Places
from kappawatt.ledger.prices import KINDS, UNPRICED, Change, Price, PriceBook
from kappawatt.ledger.rows import Row, dates
from kappawatt.stream.table import KeyedTable
from kappawatt.units import UJ_PER_KWH, WINDOW_5M_US

Ints = NDArray[np.int64]


class Changes(NamedTuple):
    """Net changes of one flush: `slot << 12 | zone`, ascending, and the records that counted before and count now."""

    code: Ints
    before: Ints
    after: Ints


def net(changes: Iterable[Change]) -> Changes:
    """What is different in the end, whatever came in between, and in whatever order."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for zone, slot, before, after in changes:
        first.setdefault(slot << 12 | zone, before)
        last[slot << 12 | zone] = after
    rows = sorted((code, first[code], after) for code, after in last.items() if first[code] != after)
    code, before_, after_ = np.array(rows, np.int64).reshape(-1, 3).T.copy()
    return Changes(code, before_, after_)


class _Period(NamedTuple):
    """Slots [first, end) in which a run's energy (None: not known apart) went from one record to another."""

    run_id: str
    zone: str
    first: int
    end: int
    old: Price | None
    new: Price


def restated(
    key: Ints,
    slots: KeyedTable,
    changes: Changes,
    known: Places,
    prices: PriceBook,
) -> list[Row]:
    """Rows of table `restatement`: one for each run with energy under a change, its zone, period and day.

    Args:
        key: Keys of the slots whose price changed.
        slots: The table that has them.
        changes: What changed.
        known: Whom the codes in the keys are for.
        prices: The records behind the indices.
    """
    at, _ = slots.find(key)
    energy = slots.take("energy_uj", at).sum(axis=1)
    order = np.lexsort((window_of(key), key & CODE_MASK))
    order = order[energy[order] > 0]
    key, energy, slot = key[order], energy[order], window_of(key[order])
    where = np.searchsorted(changes.code, in_zone(key))
    before, after = changes.before[where], changes.after[where]
    same = (key & CODE_MASK, before, after, slot // SLOTS_A_DAY)
    breaks = np.any([column[1:] != column[:-1] for column in same], axis=0)
    edges = np.flatnonzero(np.concatenate(([True], breaks, [True]))).tolist() if len(key) else []
    rows = []
    for low, high in pairwise(edges):
        old, new = int(before[low]), int(after[low])
        period = _Period(
            known.runs[int(run_of(key[low]))],
            known.zones[int(zone_of(key[low]))],
            int(slot[low]),
            int(slot[high - 1]) + 1,
            None if old == UNPRICED else prices[old],
            prices[new],
        )
        joules = sum(energy[low:high].tolist())
        rows.append(_row(period, _grams(joules, period, known.state[int(run_of(key[low]))].pue), applied=True))
    return rows


def not_applied(price: Price, frozen: Frozen, known: Places, prices: PriceBook) -> list[Row]:
    """Rows that say which runs a record comes too late for: their energy in its period is beyond the horizon."""
    return [
        _row(period, (None, None), applied=False)
        for run, zone, first, end, old in frozen.beaten(price, prices)
        for period in _by_day(_Period(known.runs[run], zone, first, end, old, price))
    ]


def reason(old: Price | None, new: Price, zone: str) -> str:
    """Why *new* counts in place of *old* in *zone*, in one word."""
    if old is None:
        return "first"
    if old.kind == "static" and new.kind != "static":
        return "live"
    groups = fallbacks(zone)
    if groups.index(new.zone) < groups.index(old.zone):
        return "finer"
    if KINDS.index(new.kind) < KINDS.index(old.kind):
        return new.kind
    same = (old.valid_from, old.valid_to) == (new.valid_from, new.valid_to)
    return "revision" if same and (new.revision, new.published_at) > (old.revision, old.published_at) else "other"


def _grams(energy_uj: int, period: _Period, pue: float) -> tuple[float | None, float]:
    kwh = energy_uj / UJ_PER_KWH
    old = None if period.old is None else kwh * pue * period.old.intensity_g_per_kwh
    return old, kwh * pue * period.new.intensity_g_per_kwh


def _by_day(period: _Period) -> Iterator[_Period]:
    first = period.first
    while first < period.end:
        end = min(period.end, (first // SLOTS_A_DAY + 1) * SLOTS_A_DAY)
        yield period._replace(first=first, end=end)
        first = end


def _row(period: _Period, grams: tuple[float | None, float | None], *, applied: bool) -> Row:
    run_id, zone, first, end, old, new = period
    valid_from, valid_to = first * WINDOW_5M_US, end * WINDOW_5M_US
    identity: tuple[Any, ...] = (run_id, zone, valid_from, valid_to, None if old is None else tuple(old), tuple(new))
    digest = blake2b(repr(identity).encode(errors="surrogatepass"), digest_size=16).hexdigest()
    (date,) = dates(np.array([valid_from]))
    old_g = None if old is None else old.intensity_g_per_kwh
    values = (zone, valid_from, valid_to, old_g, new.intensity_g_per_kwh, *grams, reason(old, new, zone), applied)
    return (run_id, date, new.published_at, digest, *values)

"""What phases have of the cells of a shard: kept of closed cells, computed of those that may still change."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.cells import PER_SLOT, Cells, Closed, in_runs, in_zone
from kappawatt.ledger.keys import (
    WINDOW_SHIFT,
    cell_key,
    check_codes,
    run_of,
    wide_sums,
    window_of,
    with_window,
    zone_of,
)
from kappawatt.ledger.phases import UNPHASED, cut, line_of
from kappawatt.ledger.places import Places
from kappawatt.ledger.prices import PriceBook
from kappawatt.ledger.runs import Sums
from kappawatt.stream.intern import Interner, Register
from kappawatt.stream.table import Column, KeyedTable, distinct, reduce_by_key
from kappawatt.units import WINDOW_5S_US

Ints = NDArray[np.int64]

_SHARES = {"energy_uj": Column("sum")}
Open = Mapping[int, Mapping[str, Sums]]
"""By run code and phase the shares of cells that may still change."""


class _Pieces(NamedTuple):
    """Parts of cells by phase: the run and name of each code, and by part its code, slot, zone and nine integers."""

    names: list[tuple[int, str]]
    code: Ints
    slot: Ints
    zone: Ints
    values: Ints


class PhaseShares:
    """Shares of closed cells by `slot << 32 | (run, phase) << 12 | zone`, so that a price of a slot finds them.

    A cell is cut when it closes, by the marks that are known then: what a later mark says holds for open cells only.
    Sums of a run are in `Run.shares`; beyond the horizon they are all that is left.
    """

    def __init__(self, known: Places) -> None:
        self._known = known
        self._codes: Register[tuple[int, str]] = Register((-1, ""))
        self._table = KeyedTable(_SHARES)

    def __repr__(self) -> str:
        return f"<PhaseShares of {self._codes.used} phases in {len(self._table)} slots>"

    def begin(self, runs: Iterable[int], cells: Cells, prices: PriceBook) -> None:
        """Runs of which nothing was cut get their first mark: all that is closed was in no phase."""
        codes = np.array(sorted(runs), np.int64)
        if len(codes) == 0:
            return
        at = np.flatnonzero(in_runs(cells.slots.key, codes))
        key = cells.slots.key[at]
        energy = cells.slots.take("energy_uj", at)
        water = cells.slots.take("water_ul", at)
        open_ = cells.open_cells(codes)
        where, _ = self._find(key, open_.key)
        np.subtract.at(energy, where, open_.energy_uj)
        np.subtract.at(water, where, open_.water_ul)
        closed = cells.slots.take("closed", at) == 1
        self._begin_sums(codes, open_)
        price = prices.lookup(self._known.zones.names, zone_of(key), window_of(key)).tolist()
        left = energy.sum(axis=1)
        total = cells.slots.take("energy_uj", at).sum(axis=1)
        rows = zip(run_of(key).tolist(), price, (total - left).tolist(), closed.tolist(), strict=True)
        for run, index, joules, is_closed in rows:
            self._known.state[run].shares[UNPHASED].take(index, joules, 0 if is_closed else 1)
        for run in codes.tolist():
            if not self._known.state[run].shares[UNPHASED].cells:
                self._known.state[run].shares = {}
        unphased = np.array([self._code(run, UNPHASED) for run in run_of(key[closed]).tolist()], np.int64)
        self._table.merge(cell_key(window_of(key[closed]), unphased, zone_of(key[closed])), {"energy_uj": left[closed]})

    def book(self, cells: Closed, prices: PriceBook) -> None:
        """Cut cells that close, or pieces that come too late, and keep the shares."""
        if not any(self._known.state[code].marks for code in distinct(run_of(cells.key)).tolist()):
            return
        pieces = self._cut(cells)
        code = np.array([self._code(*name) for name in pieces.names], np.int64)[pieces.code]
        by_name = wide_sums(pieces.code, len(pieces.names), pieces.values)
        for (run, phase), sums in zip(pieces.names, by_name, strict=True):
            self._known.state[run].shares.setdefault(phase, Sums()).add(sums[:8], sums[8])
        shares = {"energy_uj": pieces.values[:, :8].sum(axis=1)}
        key, merged = reduce_by_key(cell_key(pieces.slot, code, pieces.zone), shares, _SHARES)
        _, known = self._table.find(key)
        self._table.merge(key, merged)
        price = prices.lookup(self._known.zones.names, zone_of(key), window_of(key)).tolist()
        rows = zip(run_of(key).tolist(), price, merged["energy_uj"].tolist(), (~known).tolist(), strict=True)
        for each, index, joules, fresh in rows:
            run, phase = self._codes[each]
            self._known.state[run].shares[phase].book(index, joules, int(fresh))

    def move(self, changed: Ints, before: Ints, after: Ints) -> None:
        """The price of `slot << 12 | zone`s, ascending, went from one record to another."""
        low = distinct(changed >> 12) << WINDOW_SHIFT
        at, _ = self._table.between(low, low + (1 << WINDOW_SHIFT))
        key = self._table.key[at]
        where = np.minimum(np.searchsorted(changed, in_zone(key)), len(changed) - 1)
        hit = changed[where] == in_zone(key)
        key, where, energy = key[hit], where[hit], self._table.take("energy_uj", at[hit])
        rows = zip(run_of(key).tolist(), before[where].tolist(), after[where].tolist(), energy.tolist(), strict=True)
        for code, old, new, joules in rows:
            run, phase = self._codes[code]
            self._known.state[run].shares[phase].move(old, new, joules)

    def open_shares(self, cells: Closed, prices: PriceBook) -> Open:
        """The shares of cells that may still change; nothing is kept of them."""
        if len(cells.key) == 0:
            return {}
        pieces = self._cut(cells)
        found: defaultdict[int, dict[str, Sums]] = defaultdict(dict)
        by_name = wide_sums(pieces.code, len(pieces.names), pieces.values)
        for (run, phase), sums in zip(pieces.names, by_name, strict=True):
            found[run][phase] = Sums(sums[:8], sums[8])
        shares = {"energy_uj": pieces.values[:, :8].sum(axis=1)}
        key, merged = reduce_by_key(cell_key(pieces.slot, pieces.code, pieces.zone), shares, _SHARES)
        price = prices.lookup(self._known.zones.names, zone_of(key), window_of(key)).tolist()
        for code, index, joules in zip(run_of(key).tolist(), price, merged["energy_uj"].tolist(), strict=True):
            run, phase = pieces.names[code]
            found[run][phase].book(index, joules, 1)
        return found

    def forget_before(self, slot: int) -> None:
        """Stop pricing shares of slots before this one; runs keep their sums."""
        self._table.drop(window_of(self._table.key) < slot)

    def forget_runs(self, runs: Collection[int]) -> None:
        """Give back the codes of the phases of runs, whose slots are forgotten."""
        for code in self._codes.codes() if runs else ():
            if self._codes[code][0] in runs:
                self._codes.release(code)

    def dump(self) -> tuple[Any, ...]:
        """Plain state."""
        return (self._codes.names.copy(), self._table.dump())

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave, into a new one."""
        names, table = state
        self._codes.load((run, phase) for run, phase in names)
        self._table.load(table)

    def _code(self, run: int, phase: str) -> int:
        code = self._codes.code((run, phase))
        check_codes(code, 0)
        return code

    def _cut(self, cells: Closed) -> _Pieces:
        """Parts of the cells whose runs have marks."""
        state = self._known.state
        runs = [code for code in distinct(run_of(cells.key)).tolist() if state[code].marks]
        codes = np.array(runs, np.int64)
        chosen = in_runs(cells.key, codes)
        key = cells.key[chosen]
        line = np.searchsorted(codes, run_of(key))
        lines = [found for found in (line_of(state[code]) for code in runs) if found is not None]
        start = window_of(key) * WINDOW_5S_US
        first = np.array([state[code].first_start for code in runs], np.int64)
        last = np.array([state[code].last_end for code in runs], np.int64)
        low, high = np.maximum(start, first[line]), np.minimum(start + WINDOW_5S_US, last[line])
        values = np.concatenate((cells.energy_uj[chosen], cells.water_ul[chosen][:, None]), axis=1)
        parts = cut(lines, line, low, high, values)
        names: Interner[tuple[int, str]] = Interner()
        of_line = [np.array([names.code((run, n)) for n in each.names]) for run, each in zip(runs, lines, strict=True)]
        behind = np.cumsum([0, *map(len, of_line)])[:-1]
        table = np.concatenate((*of_line, np.empty(0, np.int64)))
        code = table[behind[parts.line] + parts.phase] if len(parts.line) else np.empty(0, np.int64)
        used, code = np.unique(code, return_inverse=True)
        owner = key[parts.owner]
        slot = window_of(owner) // PER_SLOT
        return _Pieces([names[each] for each in used.tolist()], code, slot, zone_of(owner), parts.values)

    def _begin_sums(self, codes: Ints, open_: Closed) -> None:
        """Take what is open off the runs' sums: the rest is unphased."""
        values = np.concatenate((open_.energy_uj, open_.water_ul[:, None]), axis=1)
        of_run = wide_sums(np.searchsorted(codes, run_of(open_.key)), len(codes), values)
        for code, taken in zip(codes.tolist(), of_run, strict=True):
            run = self._known.state[code]
            energy = [all_ - part for all_, part in zip(run.sums.energy_uj, taken, strict=False)]
            sums = Sums(energy, run.sums.water_ul - taken[8], dict(run.sums.groups), dict(run.sums.cells))
            run.shares = {UNPHASED: sums}

    @staticmethod
    def _find(slot_key: Ints, cell: Ints) -> tuple[Ints, Ints]:
        """For 5-s cells the row of *slot_key* that each is in."""
        slot = with_window(cell, PER_SLOT)
        return np.searchsorted(slot_key, slot), slot

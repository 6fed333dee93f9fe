"""One shard of the ledger: all state of its runs, folded once an epoch into rows (docs/semantics.md §2–§4).

What arrives is only kept until `flush`, which folds it in a fixed order (prices, events, samples, watermarks), closes
what is due and gives the rows of every key that changed. So the result does not depend on the order within an epoch.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.config import TABLES, WIDTHS, LedgerConfig
from kappawatt.ledger.device_rows import DeviceRows
from kappawatt.ledger.fleet_time import FleetTime
from kappawatt.ledger.forgotten import renamed
from kappawatt.ledger.frames import Frame, Suspect
from kappawatt.ledger.horizon import forget_names, forget_runs, forget_slots, runs_before
from kappawatt.ledger.inbox import Inbox, Message, Report
from kappawatt.ledger.keys import cell_key, run_of, window_of, with_window, zone_of
from kappawatt.ledger.places import Places
from kappawatt.ledger.prices import Change, Price, PriceBook
from kappawatt.ledger.rows import RowMaker, dates
from kappawatt.ledger.run_rows import Flush, RunCells, freeze_phases, put_metric, put_phases, put_run
from kappawatt.ledger.runs import Event
from kappawatt.ledger.usage import Usage
from kappawatt.ledger.windows import Parts, Windows
from kappawatt.ledger.zones import contributions
from kappawatt.stream.table import Column, KeyedTable, reduce_by_key
from kappawatt.units import WINDOW_5M_US, WINDOW_5S_US

Ints = NDArray[np.int64]

CELLS = {"energy_uj": Column("sum", 8), "water_ul": Column("sum")}
_SLOT = WINDOW_5M_US // WINDOW_5S_US
_NEVER = 1 << 62


class Shard:
    """The state of some runs. `add` keeps, `flush` folds; see the module."""

    def __init__(self, config: LedgerConfig, buckets: Sequence[str], others: Sequence[str] = ()) -> None:
        self._config = config
        self._known = Places(config)
        self._runs, self._zones = self._known.runs, self._known.zones
        self._state = self._known.state
        self._cells = KeyedTable(CELLS)
        self._slots = KeyedTable(CELLS)
        self._windows = [Windows(width, width // WIDTHS[0], per) for width, per in zip(WIDTHS, (1, 1, 12), strict=True)]
        self._usage = Usage(self._known)
        self._devices = DeviceRows(config, self._runs)
        self._prices = PriceBook()
        self._watermark = FleetTime(buckets, others)
        self._dirty: set[int] = set()
        self._dirty_hours: set[tuple[int, int]] = set()
        self._open_hours: set[tuple[int, int]] = set()
        self._inbox = Inbox()
        self._makers = [
            RowMaker(table, windows, per, slots)
            for table, windows, per, slots in zip(
                (self._cells, self._slots, self._slots), self._windows, (1, 1, 12), (_SLOT, 1, 1), strict=True
            )
        ]
        self._all_ended = False
        self._flushes = 0
        self._forgotten_hour = 0

    def __repr__(self) -> str:
        return f"<Shard {len(self._runs)} runs, {len(self._cells)} cells, watermark {self._watermark.value}>"

    def add(self, message: Message) -> None:
        """Keep a message for the next flush."""
        self._inbox.add(message)

    def flush(self) -> Flush:
        """Fold what was kept and give every row that changed."""
        flush = Flush()
        self._flushes += 1
        inbox, self._inbox = self._inbox, Inbox()
        self._fold_prices(inbox.prices)
        self._fold_events(inbox.events, flush)
        frames, suspects = renamed(inbox.frames, inbox.suspects, self._known.name)
        self._fold_frames(frames)
        self._list_late(suspects, flush)
        self._advance(inbox.reports)
        self._write_windows(flush)
        self._write_runs(flush)
        flush.put("device_window_5m", self._devices.rows(self._known.frontier, self._all_ended, self._flushes))
        self._write_zones(flush)
        self._forget()
        return flush

    def dump(self) -> tuple[Any, ...]:
        """Plain state right after `flush`, independent of later changes."""
        return (
            1,
            self._known.dump(),
            self._usage.dump(),
            [table.dump() for table in (self._cells, self._slots)],
            [windows.dump() for windows in self._windows],
            self._devices.dump(),
            self._prices.dump(),
            self._watermark.dump(),
            (sorted(self._open_hours), self._flushes, self._forgotten_hour),
        )

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave, into a new shard: all buckets count as running again."""
        _, known, usage, tables, windows, devices, prices, watermark, rest = state
        self._known.load(known)
        self._usage.load(usage)
        for table, dumped in zip((self._cells, self._slots), tables, strict=True):
            table.load(dumped)
        for each, dumped in zip(self._windows, windows, strict=True):
            each.load(dumped)
        self._devices.load(devices)
        self._prices.load(prices)
        self._watermark.load(watermark)
        open_hours, self._flushes, forgotten_hour = rest
        self._forget_rows(forgotten_hour)
        self._open_hours = {(zone, hour) for zone, hour in open_hours}
        slot = self._slots.key
        self._prices.lookup(self._zones.names, zone_of(slot), window_of(slot))  # so that a better price finds them

    def _fold_prices(self, prices: list[Price]) -> None:
        changes = [change for price in prices for change in self._prices.add(price)]
        if changes:
            self._reprice(changes)

    def _reprice(self, changes: list[Change]) -> None:
        """Show again what lies in the (zone, slot)s whose price changed, and group totals anew."""
        changed = np.unique(np.array([change.slot << 12 | change.zone for change in changes], np.int64))
        slot_key = self._slots.key
        hit = slot_key[np.isin(window_of(slot_key) << 12 | zone_of(slot_key), changed)]
        cell = self._cells.key
        near = cell[np.isin(window_of(cell) // _SLOT << 12 | zone_of(cell), changed)]
        for windows, keys in zip(self._windows, (near, hit, hit), strict=True):
            windows.touch_cells(keys)
        for code in np.unique(run_of(hit)).tolist():
            self._regroup(code)
        self._touch_hours(hit)

    def _regroup(self, code: int) -> None:
        """Group a run's energy by price anew from its 5-min cells."""
        run = self._state[code]
        at = np.flatnonzero(run_of(self._slots.key) == code)
        key = self._slots.key[at]
        price = self._prices.lookup(self._zones.names, zone_of(key), window_of(key))
        unique, sums = reduce_by_key(price, {"e": self._slots["energy_uj"][at].sum(axis=1)}, {"e": Column("sum")})
        run.sums.groups = defaultdict(int, run.frozen)
        for index, energy in zip(unique.tolist(), sums["e"].tolist(), strict=True):
            run.sums.groups[index] += energy
        self._dirty.add(code)

    def _fold_events(self, events: list[tuple[str, Event]], flush: Flush) -> None:
        for said, event in events:
            run_id = self._known.name(said)
            if run_id != said and event.at < self._forgotten_us:
                flush.dead.extend([] if event.letter is None else [event.letter])
                continue
            code = self._known.run(run_id)
            run = self._state[code]
            before = (run.pue, run.wue_l_per_kwh)
            if not run.apply(event._replace(letter=None)):
                continue
            self._dirty.add(code)
            put_metric(flush, run_id, event)
            if before != (run.pue, run.wue_l_per_kwh):
                for windows in self._windows:
                    windows.touch_run(code)
                self._touch_hours(self._slots.key[run_of(self._slots.key) == code])

    def _fold_frames(self, frames: list[Frame]) -> None:
        """Fold frames into cells, rows, runs and devices."""
        if not frames:
            return
        codes = [self._known.codes(frame.places) for frame in frames]
        place = np.concatenate([code[frame.cell_place] for code, frame in zip(codes, frames, strict=True)])
        cells = {name: np.concatenate([frame.cells[name] for frame in frames]) for name in frames[0].cells}
        window = np.concatenate([frame.cell_window for frame in frames])
        parts = Parts(place[:, 0], place[:, 1], place[:, 2], window, **cells)
        usage_place = np.concatenate([code[frame.usage_place] for code, frame in zip(codes, frames, strict=True)])
        usage = {name: np.concatenate([frame.usage[name] for frame in frames]) for name in frames[0].usage}
        self._fold_cells(parts)
        self._dirty.update(self._usage.fold(usage_place, usage))
        for code, added in self._devices.fold(frames, self._known.frontier).items():
            self._state[code].gpus += added

    def _fold_cells(self, parts: Parts) -> None:
        cell = cell_key(parts.window, parts.run, parts.zone)
        key, sums = reduce_by_key(cell, {"energy_uj": parts.energy_uj, "water_ul": parts.water_ul}, CELLS)
        self._cells.merge(key, sums)
        slot, slot_sums = reduce_by_key(with_window(key, _SLOT), sums, CELLS)
        self._slots.merge(slot, slot_sums)
        self._add_totals(slot, slot_sums["energy_uj"], slot_sums["water_ul"])
        self._touch_hours(slot)
        for windows, base in zip(
            self._windows, (cell, with_window(cell, _SLOT), with_window(cell, _SLOT)), strict=True
        ):
            late = windows.is_late(parts.run, parts.window, self._known.frontier, self._config.lateness_us)
            if not late.any():
                windows.fold(parts)
                continue
            windows.fold_late(base[late], parts.energy_uj[late], parts.water_ul[late])
            windows.fold(parts.chosen(~late))

    def _add_totals(self, slot: Ints, energy_uj: Ints, water_ul: Ints) -> None:
        price = self._prices.lookup(self._zones.names, zone_of(slot), window_of(slot))
        rows = zip(run_of(slot).tolist(), price.tolist(), energy_uj.tolist(), water_ul.tolist(), strict=True)
        for code, index, energy, water in rows:
            sums = self._state[code].sums
            sums.add(energy, water)
            sums.groups[index] += sum(energy)
            self._dirty.add(code)

    def _list_late(self, suspects: list[Suspect], flush: Flush) -> None:
        """List the suspects that have pieces in evicted windows, and how much each width misses of them."""
        if not suspects:
            return
        owner = np.repeat(np.arange(len(suspects)), [len(suspect.window) for suspect in suspects])
        run = np.array([self._known.run(suspect.run_id) for suspect in suspects], np.int64)[owner]
        window = np.concatenate([suspect.window for suspect in suspects])
        energy = np.concatenate([suspect.energy_uj for suspect in suspects])
        hit, missed = np.zeros(len(suspects), bool), np.zeros((len(suspects), len(self._windows)), np.int64)
        for column, windows in enumerate(self._windows):
            late = windows.is_late(run, window, self._known.frontier, self._config.lateness_us)
            hit[owner[late]] = True
            np.add.at(missed[:, column], owner[late], energy[late])
        for at in np.flatnonzero(hit).tolist():
            suspect = suspects[at]
            day = dates(np.array([suspect.start_us]))[0]
            flush.put("late", [(suspect.run_id, day, *suspect[1:6], *missed[at].tolist())])

    def _advance(self, reports: list[Report]) -> None:
        self._watermark.take(reports)
        lives = self._known.lives
        lives.note(self._dirty, self._runs.names, self._state)
        if self._watermark.value is not None:
            lives.advance(self._watermark.value)
            for windows in self._windows:
                windows.close(self._known.frontier, self._config.lateness_us, self._known.run_of_pair)
        lives.settle()
        if self._watermark.now_us is not None:
            for code, lost in lives.expire(self._watermark.now_us).items():
                self._state[code].lost = lost
                self._dirty.add(code)
        if self._watermark.all_ended and not self._all_ended:
            self._all_ended = True
            for windows in self._windows:
                windows.touch_open()
            self._touch_hours(self._slots.key)

    def _write_windows(self, flush: Flush) -> None:
        dirty = self._windows[0].take_dirty()
        self._note_peaks(dirty)
        keys = (dirty, self._windows[1].take_dirty(), self._windows[2].take_dirty())
        for table, maker, key in zip(TABLES, self._makers, keys, strict=True):
            made = maker.make(
                key,
                runs=self._runs.names,
                zones=self._zones.names,
                prices=self._prices,
                pue=self._known.lives.pue,
                wue=self._known.lives.wue,
                ended=self._all_ended,
            )
            flush.put(table, made)

    def _note_peaks(self, key: Ints) -> None:
        """The energies of changed 5-s rows are the peaks of the rows above and of the run."""
        if len(key) == 0:
            return
        owner, energy, *_ = self._makers[0].energies(key)
        total = np.zeros(len(key), np.int64)
        np.add.at(total, owner, energy.sum(axis=1))
        for windows, divisor in zip(self._windows, (1, _SLOT, 12 * _SLOT), strict=True):
            windows.peak(with_window(key, divisor), total)
        code, peak = reduce_by_key(run_of(key), {"peak": total}, {"peak": Column("max")})
        for index, value in zip(code.tolist(), peak["peak"].tolist(), strict=True):
            self._state[index].power_max_uj = max(self._state[index].power_max_uj, value)

    def _write_runs(self, flush: Flush) -> None:
        for code in sorted(self._dirty):
            run_id, run = self._runs[code], self._state[code]
            put_run(flush, run_id, run, self._prices)
            if run.marks:
                put_phases(flush, run_id, run, self._prices, self._cells_of(code))
        self._dirty = set()

    def _cells_of(self, code: int, before: int = _NEVER) -> RunCells:
        """A run's 5-s cells before a window."""
        at = np.flatnonzero((run_of(self._cells.key) == code) & (window_of(self._cells.key) < before))
        key = self._cells.key[at]
        window = window_of(key)
        price = self._prices.lookup(self._zones.names, zone_of(key), window // _SLOT)
        return RunCells(window, self._cells["energy_uj"][at], self._cells["water_ul"][at], price)

    def _forget(self) -> None:
        """Drop what ended longer than the horizon before the watermark, whole hours at a time; totals keep it."""
        watermark = self._watermark.value
        hour = 0 if watermark is None else (watermark - self._config.horizon_us) // WIDTHS[2]
        if hour <= self._forgotten_hour:
            return
        first = hour * WIDTHS[2] // WIDTHS[0]
        for code in runs_before(self._cells, first):
            if self._state[code].marks:
                freeze_phases(self._state[code], self._cells_of(code, first))
        self._cells.drop(window_of(self._cells.key) < first)
        forget_slots(self._slots, hour * WIDTHS[2] // WIDTHS[1], self._state, self._zones.names, self._prices)
        self._forget_rows(hour)
        if not self._config.rebuilding:
            forget_runs(self._known, self._usage, self._devices, self._forgotten_us)
        forget_names(self._known, self._slots, {zone for zone, _ in self._open_hours}, self._prices)

    def _forget_rows(self, hour: int) -> None:
        self._forgotten_hour = hour
        for windows, width in zip(self._windows, WIDTHS, strict=True):
            windows.forget_before(hour * WIDTHS[2] // width)
        self._devices.forget_before(hour * WIDTHS[2] // WIDTHS[1])

    @property
    def _forgotten_us(self) -> int:
        """Runs that were last heard of before this instant are forgotten."""
        return self._forgotten_hour * WIDTHS[2]

    def _touch_hours(self, slot_key: Ints) -> None:
        pairs = set((window_of(slot_key) // 12 << 12 | zone_of(slot_key)).tolist())
        hours = {(code & 0xFFF, code >> 12) for code in pairs}
        self._dirty_hours |= hours
        self._open_hours |= hours

    def _write_zones(self, flush: Flush) -> None:
        over = {key for key in self._open_hours if self._is_over(key[1])}
        self._dirty_hours |= over
        self._open_hours -= over
        kept = {key for key in self._dirty_hours if key[1] >= self._forgotten_hour}
        if kept:
            flush.zones = contributions(kept, self._slots, self._state, self._zones.names, self._prices, self._is_over)
        self._dirty_hours = set()

    def _is_over(self, hour: int) -> bool:
        """No sample that is in time can change this hour of a zone any more."""
        watermark = self._watermark.value
        return self._all_ended or (
            watermark is not None and (hour + 1) * WIDTHS[2] + self._config.lateness_us <= watermark
        )

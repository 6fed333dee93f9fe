"""One shard of the ledger: all state of its runs, folded once an epoch into rows (docs/semantics.md §2–§4).

What arrives is only kept until `flush`, which folds it in a fixed order (prices, events, samples, watermarks), closes
what is due and gives the rows of every key that changed. So the result does not depend on the order within an epoch.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.cells import PER_SLOT, Booked, Cells, closed, in_runs, in_zone
from kappawatt.ledger.config import TABLES, WIDTHS, LedgerConfig
from kappawatt.ledger.device_rows import DeviceRows
from kappawatt.ledger.fleet_time import FleetTime
from kappawatt.ledger.forgotten import renamed
from kappawatt.ledger.frames import Frame
from kappawatt.ledger.frozen import Frozen
from kappawatt.ledger.horizon import forget_names, forget_runs
from kappawatt.ledger.inbox import Inbox, Message, Report
from kappawatt.ledger.keys import cell_key, run_of, window_of, with_window, zone_of
from kappawatt.ledger.late import late_rows
from kappawatt.ledger.phase_shares import PhaseShares
from kappawatt.ledger.phases import settle_marks
from kappawatt.ledger.places import Places
from kappawatt.ledger.prices import Price, PriceBook
from kappawatt.ledger.repricing import Orders, orders
from kappawatt.ledger.restatements import Changes, net, not_applied, restated
from kappawatt.ledger.rows import RowMaker
from kappawatt.ledger.run_rows import Flush, put_metric, put_phases, put_runs
from kappawatt.ledger.runs import Event
from kappawatt.ledger.usage import Usage
from kappawatt.ledger.windows import Parts, Windows, fold_spans
from kappawatt.ledger.zone_hours import ZoneHours
from kappawatt.ledger.zones import Over, contributions
from kappawatt.stream.table import Column, distinct, reduce_by_key

Ints = NDArray[np.int64]

_ORDERS = 64
"""Slots priced anew in the store by one flush of one shard: of all 16 shards 61,440 rows, some 2 s of SQLite."""


class _Part(Protocol):
    """A part of the state; runs come before what holds their codes."""

    def dump(self) -> Any: ...
    def load(self, state: Any) -> None: ...


class Shard:
    """The state of some runs. `add` keeps, `flush` folds; see the module."""

    def __init__(self, config: LedgerConfig, buckets: Sequence[str], others: Sequence[str] = ()) -> None:
        self._config = config
        self._known = Places(config)
        self._runs, self._zones = self._known.runs, self._known.zones
        self._state = self._known.state
        self._cells = Cells()
        self._windows = [Windows(width, width // WIDTHS[0], per) for width, per in zip(WIDTHS, (1, 1, 12), strict=True)]
        self._usage = Usage(self._known)
        self._devices = DeviceRows(config, self._runs)
        self._prices = PriceBook()
        self._phases = PhaseShares(self._known)
        self._orders = Orders()
        self._frozen = Frozen()
        self._watermark = FleetTime(buckets, others)
        self._dirty: set[int] = set()
        self._hours = ZoneHours()
        self._inbox = Inbox()
        self._makers = [
            RowMaker(table, windows, per, slots)
            for table, windows, per, slots in zip(
                (self._cells.fine, self._cells.slots, self._cells.slots),
                self._windows,
                (1, 1, 12),
                (PER_SLOT, 1, 1),
                strict=True,
            )
        ]
        self._parts: list[_Part] = [self._known, self._usage, self._cells, *self._windows, self._devices, self._prices]
        self._parts += [self._watermark, self._phases, self._orders, self._frozen, self._hours]
        self._all_ended = False
        self._flushes = 0
        self._forgotten_hour = 0

    def __repr__(self) -> str:
        return f"<Shard {len(self._runs)} runs, {len(self._cells.slots)} cells, watermark {self._watermark.value}>"

    def add(self, message: Message) -> None:
        """Keep a message for the next flush."""
        self._inbox.add(message)

    @property
    def has_more(self) -> bool:
        """Whether the next flush has something to give even if nothing comes."""
        return len(self._orders) > 0

    def flush(self, *, quiet: bool = False) -> Flush:
        """Fold what was kept and give every row that changed; if *quiet*, most are not made."""
        flush = Flush(quiet=quiet)
        self._flushes += 1
        inbox, self._inbox = self._inbox, Inbox()
        self._fold_events(inbox.events, flush)
        self._fold_prices(inbox.prices, flush)
        frames, suspects = renamed(inbox.frames, inbox.suspects, self._known.name)
        self._fold_frames(frames)
        flush.put("late", late_rows(suspects, self._known, self._windows, self._config.lateness_us))
        self._advance(inbox.reports)
        self._write_windows(flush)
        self._write_runs(flush)
        frontier, flushes = self._known.frontier, self._flushes
        flush.put("device_window_5m", self._devices.rows(frontier, self._all_ended, flushes, flush.skips))
        hours = self._hours.take(self._is_over)
        if hours and not quiet:
            zones = self._zones.names
            flush.zones = contributions(hours, self._cells.slots, self._state, zones, self._prices, self._is_over)
        self._settle(flush)
        return flush

    def dump(self) -> tuple[Any, ...]:
        """Plain state right after `flush`, independent of later changes."""
        return (2, [part.dump() for part in self._parts], (self._flushes, self._forgotten_hour))

    def load(self, state: Sequence[Any]) -> None:
        """Take over what `dump` gave, into a new shard: all buckets count as running again."""
        _, parts, (self._flushes, forgotten_hour) = state
        for part, dumped in zip(self._parts, parts, strict=True):
            part.load(dumped)
        self._forget_rows(forgotten_hour)
        slot = self._cells.slots.key
        self._prices.lookup(self._zones.names, zone_of(slot), window_of(slot))  # so that a better price finds them

    def _fold_prices(self, prices: list[Price], flush: Flush) -> None:
        changes = []
        for price in prices:
            if price not in self._prices:
                flush.put("restatement", not_applied(price, self._frozen, self._known, self._prices))
            changes.extend(self._prices.add(price))
        changed = net(changes)
        if len(changed.code) == 0:
            return
        near, hit = self._cells.of_slots(changed.code)
        flush.put("restatement", restated(hit, self._cells.slots, changed, self._known, self._prices))
        for windows, keys in zip(self._windows, (near, hit, hit), strict=True):
            windows.touch_cells(keys)
        self._hours.touch(hit)
        self._orders.ask(self._cells.settled(hit))
        self._move(changed, hit)
        self._phases.move(*changed)

    def _move(self, changed: Changes, slot_key: Ints) -> None:
        """The energy of some slots is under another price in the totals."""
        where = np.searchsorted(changed.code, in_zone(slot_key))
        at, _ = self._cells.slots.find(slot_key)
        energy = self._cells.slots.take("energy_uj", at).sum(axis=1).tolist()
        before, after = changed.before[where].tolist(), changed.after[where].tolist()
        for code, old, new, joules in zip(run_of(slot_key).tolist(), before, after, energy, strict=True):
            self._state[code].sums.move(old, new, joules)
            self._dirty.add(code)

    def _fold_events(self, events: list[tuple[str, Event]], flush: Flush) -> None:
        used_anew, marked = set(), set()
        for said, event in events:
            run_id = self._known.name(said)
            if run_id != said and event.at < self._forgotten_us:
                flush.dead.extend([] if event.letter is None else [event.letter])
                continue
            code = self._known.run(run_id)
            run = self._state[code]
            before = (run.pue, run.wue_l_per_kwh, bool(run.marks))
            if not run.apply(event._replace(letter=None)):
                continue
            self._dirty.add(code)
            put_metric(flush, run_id, event)
            if before[:2] != (run.pue, run.wue_l_per_kwh):
                used_anew.add(code)
            if before[2] != bool(run.marks):
                marked.add(code)
        self._phases.begin(marked, self._cells, self._prices)
        for code in marked:
            self._state[code].edge = self._edge(code)
        if used_anew:
            self._use_anew(np.array(sorted(used_anew), np.int64))

    def _use_anew(self, codes: Ints) -> None:
        """The PUE or WUE of some runs changed: everything of them within the horizon costs something else."""
        for windows in self._windows:
            windows.touch_runs(codes)
        slot = self._cells.slots.key
        key = slot[in_runs(slot, codes)]
        self._hours.touch(key)
        self._orders.ask(self._cells.settled(key))

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
        self._dirty.update(self._usage.fold(usage_place, usage))  # first: it tells how far runs reach
        self._fold_cells(parts)
        for code, added in self._devices.fold(frames, self._known.frontier).items():
            self._state[code].gpus += added

    def _fold_cells(self, parts: Parts) -> None:
        late = [
            windows.is_late(parts.run, parts.window, self._known.frontier, self._config.lateness_us)
            for windows in self._windows
        ]
        booked = self._cells.add(parts, late[0])
        self._add_totals(booked)
        self._hours.touch(booked.key)
        slot = with_window(cell_key(parts.window, parts.run, parts.zone), PER_SLOT)
        fold_spans(self._windows, parts.spans, late)
        for windows, is_late in zip(self._windows[1:], late[1:], strict=True):
            if is_late.any():
                windows.fold_late(slot[is_late], parts.energy_uj[is_late], parts.water_ul[is_late])
        if late[0].any():
            self._phases.book(closed(parts.chosen(late[0])), self._prices)

    def _add_totals(self, booked: Booked) -> None:
        key = booked.key
        price = self._prices.lookup(self._zones.names, zone_of(key), window_of(key)).tolist()
        energies = (booked.energy_uj.tolist(), booked.water_ul.tolist(), booked.fresh.tolist())
        for code, index, energy, water, fresh in zip(run_of(key).tolist(), price, *energies, strict=True):
            sums = self._state[code].sums
            sums.add(energy, water)
            sums.book(index, sum(energy), int(fresh))
            self._dirty.add(code)

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
            self._hours.touch(self._cells.slots.key)

    def _write_windows(self, flush: Flush) -> None:
        dirty = self._windows[0].take_dirty()
        self._note_peaks(dirty)
        keys = (dirty, self._windows[1].take_dirty(), self._windows[2].take_dirty())
        for table, maker, key in zip(TABLES, self._makers, keys, strict=True):
            if flush.skips(key):
                continue
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
        for windows, divisor in zip(self._windows, (1, PER_SLOT, 12 * PER_SLOT), strict=True):
            windows.peak(with_window(key, divisor), total)
        code, peak = reduce_by_key(run_of(key), {"peak": total}, {"peak": Column("max")})
        for index, value in zip(code.tolist(), peak["peak"].tolist(), strict=True):
            self._state[index].power_max_uj = max(self._state[index].power_max_uj, value)

    def _write_runs(self, flush: Flush) -> None:
        dirty = sorted(self._dirty)
        marked = np.array([code for code in dirty if self._state[code].marks], np.int64)
        open_ = self._phases.open_shares(self._cells.open_cells(marked), self._prices)
        put_runs(flush, [(self._runs[code], self._state[code]) for code in dirty], self._prices)
        for code in marked.tolist():
            put_phases(flush, self._runs[code], self._state[code], self._prices, open_.get(code, {}))
        self._dirty = set()

    def _settle(self, flush: Flush) -> None:
        """Order what is due of rows that left the state; let those go that are final now; forget what is too old."""
        watermark = self._watermark.value
        hour = self._forgotten_hour
        if watermark is not None:
            hour = max(hour, (watermark - self._config.horizon_us) // WIDTHS[2])
        first, slot = hour * WIDTHS[2] // WIDTHS[0], hour * WIDTHS[2] // WIDTHS[1]
        due = self._orders.take(len(self._orders) if self._all_ended else _ORDERS, slot)
        flush.orders = orders(due, self._cells.slots, self._known, self._prices)
        gone = self._cells.settle(self._windows[0], first)
        self._phases.book(gone, self._prices)
        for code in distinct(run_of(gone.key)).tolist():
            if self._state[code].marks:
                settle_marks(self._state[code], max(self._edge(code), hour * WIDTHS[2]))
        if hour > self._forgotten_hour:
            self._frozen.add(self._cells.slots, slot, self._known, self._prices)
            self._cells.forget_before(first)
            self._phases.forget_before(slot)
            self._prices.forget_before(slot)
            self._forget_rows(hour)
            self._forget_names()

    def _forget_names(self) -> None:
        if not self._config.rebuilding:
            holders = (self._devices, self._phases, self._frozen)
            forget_runs(self._known, holders, self._usage, self._forgotten_us)
        forget_names(self._known, self._cells.slots, self._hours.open_zones, self._prices)

    def _edge(self, code: int) -> int:
        """All cells of a run before this instant are closed."""
        over = int(self._known.frontier[code]) - self._config.lateness_us
        return max(over // WIDTHS[0] * WIDTHS[0], self._forgotten_hour * WIDTHS[2])

    def _forget_rows(self, hour: int) -> None:
        self._forgotten_hour = hour
        self._hours.forget_before(hour)
        for windows, width in zip(self._windows, WIDTHS, strict=True):
            windows.forget_before(hour * WIDTHS[2] // width)
        self._devices.forget_before(hour * WIDTHS[2] // WIDTHS[1])

    @property
    def _forgotten_us(self) -> int:
        """Runs that were last heard of before this instant are forgotten."""
        return self._forgotten_hour * WIDTHS[2]

    def _is_over(self, hour: int) -> Over:
        """Whether a sample that is in time can change this hour of a zone."""
        watermark = self._watermark.value
        if watermark is not None and (hour + 1) * WIDTHS[2] + self._config.lateness_us <= watermark:
            return Over.PASSED
        return Over.AT_THE_END if self._all_ended else Over.NO

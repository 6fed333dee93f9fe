"""What is known of a run: its events, its sums, and the rows made of them (docs/semantics.md §2 totals, §4)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, NamedTuple

from kappawatt.ledger.prices import UNPRICED, Group, PriceBook, price_row, site_water
from kappawatt.units import US_PER_S
from kappawatt.wire.records import DeadLetter

_DAY_US = 86_400 * US_PER_S
_DIGEST = 9
"""Bytes that tell event ids apart: with a million of them in a run, two agree by chance once in 10^10 runs."""
_META = ("name", "user", "team", "project", "model", "framework", "dataset", "environment", "zone")


class Event(NamedTuple):
    """A run event as the ledger keeps it; ordered by (at, event_id). *values* holds the fields that carry something.

    *letter* goes to the dead letters should the event have come too late; it is not kept.
    """

    at: int
    event_id: str
    type: str
    values: Mapping[str, Any]
    letter: DeadLetter | None = None


@dataclass(slots=True)
class Sums:
    """Integer sums of a run or a phase; Python ints have no bound.

    `groups` is energy by price index, −1 unpriced; `cells` says how many (5-min slot, zone)s each price is used for,
    because one that is used for 0 µJ is used all the same.
    """

    energy_uj: list[int] = field(default_factory=lambda: [0] * 8)
    water_ul: int = 0
    groups: dict[int, int] = field(default_factory=dict)
    cells: dict[int, int] = field(default_factory=dict)

    def add(self, energy_uj: Sequence[int], water_ul: int) -> None:
        """Add energies and water; what they are priced by is booked apart."""
        for column, value in enumerate(energy_uj):
            self.energy_uj[column] += value
        self.water_ul += water_ul

    def book(self, price: int, energy_uj: int, cells: int) -> None:
        """Add energy under a price, in so many cells that it was not used for."""
        self.groups[price] = self.groups.get(price, 0) + energy_uj
        self.cells[price] = self.cells.get(price, 0) + cells

    def take(self, price: int, energy_uj: int, cells: int) -> None:
        """Take energy and cells from under a price, which is not in use any more when no cell is left."""
        self.groups[price] -= energy_uj
        self.cells[price] -= cells
        if self.cells[price] == 0:
            del self.groups[price], self.cells[price]

    def move(self, before: int, after: int, energy_uj: int) -> None:
        """One cell's price changed."""
        self.take(before, energy_uj, 1)
        self.book(after, energy_uj, 1)

    def plus(self, other: "Sums | None") -> "Sums":
        """The sums of both, without a count of cells."""
        if other is None:
            return self
        groups = {p: self.groups.get(p, 0) + other.groups.get(p, 0) for p in self.groups.keys() | other.groups.keys()}
        energy = [one + two for one, two in zip(self.energy_uj, other.energy_uj, strict=True)]
        return Sums(energy, self.water_ul + other.water_ul, groups)

    def columns(self, prices: PriceBook, pue: float, wue: float | None) -> tuple[Any, ...]:
        """The energy and priced columns in the order of the tables."""
        total, by_kind, estimated = energy_columns(self.energy_uj)
        groups = [Group(e, prices[index] if index >= 0 else None, pue) for index, e in self.groups.items()]
        priced = price_row(groups, site_water(self.water_ul, total, wue))
        return (total, *by_kind, estimated, *priced)


def energy_columns(energy_uj: Sequence[int]) -> tuple[int, tuple[int, ...], int]:
    """Of the eight energies of a cell: all, by kind (cpu, gpu, memory, other), and the estimated part."""
    by_kind = tuple(energy_uj[2 * kind] + energy_uj[2 * kind + 1] for kind in range(4))
    return sum(by_kind), by_kind, sum(energy_uj[1::2])


@dataclass(slots=True)
class Run:
    """One run of a shard. Sums only grow, events are a set: the order of arrival leaves no trace."""

    sums: Sums = field(default_factory=Sums)
    shares: dict[str, Sums] = field(default_factory=dict)  # by phase, of cells that are closed
    held: dict[str, int] = field(default_factory=dict)  # µs that each phase held before `edge`
    edge: int | None = None  # what lies before is closed: marks hold from here on
    line: Any = None  # their timeline, once somebody asked for it
    phases: tuple[str, ...] = ()  # whose rows are in the store
    samples: int = 0
    cpu_time_us: int = 0
    cpu_known: int = 0
    disk_bytes: int = 0
    disk_known: int = 0
    network_bytes: int = 0
    network_known: int = 0
    memory_bytes_max: int = -1
    gpus: int = 0
    hosts: int = 0
    first_start: int | None = None
    last_end: int | None = None
    covered_us: int = 0
    span_us: int = 0
    power_max_uj: int = 0
    event_ids: dict[int, set[bytes]] = field(default_factory=dict)  # digests, by the day of their event
    known: dict[str, tuple[int, str, Any]] = field(default_factory=dict)  # latest (at, event_id, value) of each field
    turn: Event | None = None  # latest start or stop
    started_at: int | None = None
    first_event_at: int | None = None
    last_event_at: int | None = None
    marks: list[Event] = field(default_factory=list)  # starts and ends of phases
    listed: tuple[Any, ...] | None = None  # its row in runs_by_date
    lives: bool = False  # it has done something: a budget alone is a plan
    lost: bool = False

    def apply(self, event: Event) -> bool:
        """Take an event; False if its id was seen, or it says nothing new."""
        if not self._is_first(event):
            return False
        self.lives |= event.type != "budget"
        order = (event.at, event.event_id)
        for name, value in event.values.items():
            if name not in self.known or self.known[name][:2] < order:
                self.known[name] = (*order, value)
        if event.type in ("start", "stop") and (self.turn is None or (self.turn.at, self.turn.event_id) < order):
            self.turn = event
        if event.type == "start":
            self.started_at = event.at if self.started_at is None else min(self.started_at, event.at)
        self.first_event_at = event.at if self.first_event_at is None else min(self.first_event_at, event.at)
        self.last_event_at = event.at if self.last_event_at is None else max(self.last_event_at, event.at)
        if is_mark(event):
            self.marks.append(event)
            self.line = None
        return True

    def forget_events(self, before_us: int) -> None:
        """Drop the ids of events before a day's begin: a repeat so late is applied again, which changes nothing."""
        for day in [day for day in self.event_ids if (day + 1) * _DAY_US <= before_us]:
            del self.event_ids[day]

    def latest(self, name: str) -> Any:
        """The value of *name* in the event with the greatest (at, event_id) that carries one."""
        found = self.known.get(name)
        return None if found is None else found[2]

    @property
    def pue(self) -> float:
        """Power usage effectiveness for the whole run; 1.0 if nobody said."""
        found = self.latest("pue")
        return 1.0 if found is None else float(found)

    @property
    def wue_l_per_kwh(self) -> float | None:
        """Water usage effectiveness for the whole run, L per IT kWh."""
        found = self.latest("wue_l_per_kwh")
        return None if found is None else float(found)

    def total_row(self, run_id: str, columns: Sequence[Any]) -> tuple[Any, ...]:
        """The row of `run_total`; *columns*: of the run's sums, see `Sums.columns`."""
        coverage = min(1.0, self.covered_us / self.span_us) if self.span_us else None
        return (
            run_id,
            *columns,
            self.samples,
            coverage,
            self.power_max_uj / 5_000_000,
            self.cpu_time_us if self.cpu_known else None,
            self.memory_bytes_max if self.memory_bytes_max >= 0 else None,
            self.disk_bytes if self.disk_known else None,
            self.network_bytes if self.network_known else None,
            self.gpus,
            self.hosts,
            self.first_start,
            self.last_end,
        )

    def run_row(self, run_id: str) -> tuple[Any, ...]:
        """The row of `run`."""
        status, ended = self._status()
        meta = [self.latest(name) for name in _META]
        texts = [self._json("labels"), self._json("hardware")]
        first, last = self.seen()
        return (
            run_id,
            status,
            *meta,
            self.latest("pue") or 1.0,
            self.wue_l_per_kwh,
            *texts,
            self.started_at,
            ended,
            first,
            last,
        )

    def list_row(self, run_id: str) -> tuple[int | None, tuple[Any, ...]]:
        """When the run is listed as started, and what `runs_by_date` says behind the key."""
        names = [self.latest(name) for name in ("user", "project", "model", "name")]
        started = self.seen()[0] if self.started_at is None else self.started_at
        return started, (self._status()[0], *names)

    def price_indices(self) -> set[int]:
        """Which price records its sums rest on."""
        groups = (self.sums.groups, *(sums.groups for sums in self.shares.values()))
        return set().union(*groups) - {UNPRICED}

    def dump(self) -> tuple[Any, ...]:
        """Plain state: every field, sums and events as tuples."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NESTED}
        phases = {name: _dump_sums(sums) for name, sums in self.shares.items()}
        turn = None if self.turn is None else tuple(self.turn)
        marks = [tuple(mark) for mark in self.marks]
        return (
            plain,
            _dump_sums(self.sums),
            phases,
            dict(self.held),
            {day: b"".join(sorted(ids)) for day, ids in self.event_ids.items()},
            dict(self.known),
            turn,
            marks,
        )

    @classmethod
    def load(cls, state: Sequence[Any]) -> "Run":
        """A run from what `dump` gave."""
        plain, sums, phases, held, event_ids, known, turn, marks = state
        run = cls(**plain)
        run.sums = _load_sums(sums)
        run.shares, run.held = {name: _load_sums(value) for name, value in phases.items()}, dict(held)
        run.event_ids, run.known = {day: _parts(ids) for day, ids in event_ids.items()}, dict(known)
        run.turn = None if turn is None else Event(*turn)
        run.marks = [Event(*mark) for mark in marks]
        return run

    @property
    def stopped_at(self) -> int | None:
        """The instant of the stop that holds; None: no stop does."""
        return self._status()[1]

    def _status(self) -> tuple[str, int | None]:
        if self.turn is None or self.turn.type == "start":
            return "lost" if self.lost else "running", None
        status = self.turn.values.get("status") or "succeeded"
        if status == "running":
            return "lost" if self.lost else status, None
        return status, self.turn.at

    def seen(self) -> tuple[int | None, int | None]:
        """When the run was first and last heard of, by a sample or an event."""
        first = [at for at in (self.first_event_at, self.first_start) if at is not None]
        last = [at for at in (self.last_event_at, self.last_end) if at is not None]
        return min(first, default=None), max(last, default=None)

    def _is_first(self, event: Event) -> bool:
        """Whether the event's id is new; noted from now on, but for bare heartbeats: there would be one every 20 s."""
        digest = blake2b(event.event_id.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()
        if any(digest in ids for ids in self.event_ids.values()):
            return False
        if is_mark(event) and any(mark.event_id == event.event_id for mark in self.marks):
            return False
        if event.type != "heartbeat" or event.values:
            self.event_ids.setdefault(event.at // _DAY_US, set()).add(digest)
        return True

    def _json(self, name: str) -> str | None:
        value = self.latest(name)
        return None if value is None else json.dumps(value, sort_keys=True, separators=(",", ":"))


def is_mark(event: Event) -> bool:
    """Events of rank null or 0 that open or close a phase."""
    values = event.values
    return event.type in ("phase_start", "phase_end") and not values.get("rank") and bool(values.get("phase"))


_NESTED = ("sums", "line", "shares", "held", "event_ids", "known", "turn", "marks")


def _parts(digests: bytes) -> set[bytes]:
    return {digests[at : at + _DIGEST] for at in range(0, len(digests), _DIGEST)}


def _dump_sums(sums: Sums) -> tuple[Any, ...]:
    return (tuple(sums.energy_uj), sums.water_ul, dict(sums.groups), dict(sums.cells))


def _load_sums(state: Sequence[Any]) -> Sums:
    return Sums(list(state[0]), state[1], dict(state[2]), dict(state[3]))

"""What the page and the API ask the store: the one place that knows which tables answer which question."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kappawatt.grid import WORLD, country_of
from kappawatt.stores import Store
from kappawatt.units import WINDOW_1H_US, WINDOW_5M_US, WINDOW_5S_US

from .text import utc_day

T = TypeVar("T")

DAY_US = 86_400_000_000
MOST_POINTS = 2_000
"""Points a curve has at most; the width of its windows follows from that."""
MOST_DAYS = 400
"""Day partitions that one curve reads at most; an older beginning is left out, and said."""
KINDS = ("actual", "estimated", "forecast", "static")
"""Kinds of intensity, the weakest last."""
STATIC_YEARS = 30
"""How far back a static factor's beginning is looked for."""
STALE_US = 3 * WINDOW_5S_US
"""A running run without news for so long is marked."""


@dataclass(frozen=True, slots=True)
class Width:
    """One resolution of the curves."""

    name: str
    us: int
    table: str


WIDTHS: Mapping[str, Width] = {
    "5s": Width("5s", WINDOW_5S_US, "run_window_5s"),
    "5m": Width("5m", WINDOW_5M_US, "run_window_5m"),
    "1h": Width("1h", WINDOW_1H_US, "run_window_1h"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run as lists show it. Energies in µJ; None is unknown, which includes “no sample yet”."""

    run_id: str
    name: str | None
    status: str
    user: str | None
    project: str | None
    model: str | None
    zone: str | None
    simulated: bool
    started_us: int
    last_us: int | None
    energy_uj: int | None
    estimated_uj: int | None
    unpriced_uj: int | None
    emissions_g: float | None
    water_l: float | None
    cost: float | None
    currency: str | None
    coverage: float | None

    @property
    def words(self) -> str:
        """What the filter looks at, lower case."""
        parts = (self.run_id, self.name, self.status, self.user, self.project, self.model, self.zone)
        return "\n".join(part for part in parts if part).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Totals over lines: integers added exactly, doubles by `math.fsum`; None if no line knows the value."""

    runs: int
    running: int
    simulated: int
    energy_uj: int | None
    estimated_uj: int | None
    unpriced_uj: int | None
    emissions_g: float | None
    water_l: float | None
    costs: tuple[tuple[str, float], ...]
    """Amount per currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Window rows of one run, oldest first, none longer than `MOST_POINTS`."""

    rows: Sequence[Mapping[str, Any]]
    window_us: int
    """Length of a row: a stored width, or a multiple of an hour."""
    cut: bool
    """Its beginning lies further back than is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that the page of one run shows besides its curves; rows as the store has them."""

    run_id: str
    run: Mapping[str, Any]
    total: Mapping[str, Any]
    phases: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    restatements: Sequence[Mapping[str, Any]] = ()

    @property
    def simulated(self) -> bool:
        """Its numbers come from a simulator."""
        return is_simulated(self.run.get("labels"))

    @property
    def first_us(self) -> int | None:
        """Begin of its energy, or of the run as long as there is none."""
        return first_known(self.total.get("first_start"), self.run.get("started_at"), self.run.get("first_seen"))

    @property
    def last_us(self) -> int | None:
        """End of its newest sample, or what was last heard of it."""
        return first_known(self.total.get("last_end"), self.run.get("last_seen"))

    def silent_us(self, now_us: int) -> int | None:
        """Time without news if it should be sending and is not, else None."""
        if self.run.get("status") != "running":
            return None
        heard = max((us for us in (self.last_us, self.run.get("last_seen")) if us is not None), default=None)
        if heard is None or now_us - heard <= STALE_US:
            return None
        return now_us - heard


def first_known(*values: T | None) -> T | None:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)


def is_simulated(labels: str | None) -> bool:
    """Whether the labels (JSON text) of a run say that a simulator made it."""
    try:
        found = json.loads(labels or "{}")
    except ValueError:
        return False
    return isinstance(found, dict) and str(found.get("simulated", "")).lower() == "true"


def line(listed: Mapping[str, Any], run: Mapping[str, Any], total: Mapping[str, Any]) -> Line:
    """One line from the rows of `runs_by_date`, `run` and `run_total`; the newer table `run` wins over the list."""
    merged = {**listed, **{name: value for name, value in run.items() if value is not None}}
    return Line(
        run_id=listed["run_id"],
        name=merged.get("name"),
        status=merged.get("status") or "running",
        user=merged.get("user"),
        project=merged.get("project"),
        model=merged.get("model"),
        zone=merged.get("zone"),
        simulated=is_simulated(run.get("labels")),
        started_us=listed["started_at"],
        last_us=first_known(total.get("last_end"), run.get("last_seen")),
        energy_uj=total.get("energy_uj"),
        estimated_uj=total.get("estimated_uj"),
        unpriced_uj=total.get("unpriced_uj"),
        emissions_g=total.get("emissions_g"),
        water_l=total.get("water_l"),
        cost=total.get("cost"),
        currency=total.get("currency"),
        coverage=total.get("coverage"),
    )


def matching(lines: Iterable[Line], text: str, *, simulated: bool = True) -> list[Line]:
    """The lines in which every word of *text* occurs; without the simulated ones if *simulated* is false."""
    words = text.lower().split()
    return [one for one in lines if (simulated or not one.simulated) and all(word in one.words for word in words)]


def sums(lines: Sequence[Line]) -> Sums:
    """Totals of *lines*."""
    costs: dict[str, list[float]] = {}
    for one in lines:
        if one.cost is not None and one.currency:
            costs.setdefault(one.currency, []).append(one.cost)
    return Sums(
        runs=len(lines),
        running=sum(one.status == "running" for one in lines),
        simulated=sum(one.simulated for one in lines),
        energy_uj=_total(one.energy_uj for one in lines),
        estimated_uj=_total(one.estimated_uj for one in lines),
        unpriced_uj=_total(one.unpriced_uj for one in lines),
        emissions_g=_fsum(one.emissions_g for one in lines),
        water_l=_fsum(one.water_l for one in lines),
        costs=tuple((currency, math.fsum(amounts)) for currency, amounts in sorted(costs.items())),
    )


def run(store: Store, run_id: str) -> Run | None:
    """One run with its total, phases and metrics; None if the store knows nothing of it."""
    found = store.read("run", {"run_id": run_id})
    total = store.read("run_total", {"run_id": run_id})
    if not found and not total:
        return None
    head: Mapping[str, Any] = found[0] if found else {}
    sum_: Mapping[str, Any] = total[0] if total else {}
    times = [us for us in (head.get("first_seen"), head.get("started_at"), sum_.get("first_start")) if us is not None]
    last = [us for us in (head.get("last_seen"), sum_.get("last_end")) if us is not None]
    days = days_between(min(times), max(last)) if times and last else []
    metrics = [row for day in days for row in store.read("run_metric", {"run_id": run_id, "date": day})]
    restated = [row for day in days for row in store.read("restatement", {"run_id": run_id, "date": day})]
    phases = store.read("phase_total", {"run_id": run_id})
    return Run(run_id=run_id, run=head, total=sum_, phases=phases, metrics=metrics, restatements=restated)


def windows(store: Store, run_id: str, width: Width, day: str) -> list[dict[str, Any]]:
    """The window rows of one run and UTC day, oldest first."""
    return store.read(width.table, {"run_id": run_id, "date": day})


def curve(store: Store, found: Run) -> Curve:
    """The whole curve of a run at the width that fits its length."""
    first, last = found.total.get("first_start"), found.total.get("last_end")
    if first is None or last is None:
        return Curve(rows=(), window_us=WINDOW_5S_US, cut=False)
    width = width_for(last - first)
    days = days_between(first, max(first, last - 1))
    rows = [row for day in days for row in windows(store, found.run_id, width, day)]
    window_us = width.us * max(1, math.ceil((last - first) / (width.us * (MOST_POINTS - 2))))
    cut = utc_day(first) < days[0]
    return Curve(rows=rows if window_us == width.us else joined(rows, window_us), window_us=window_us, cut=cut)


def joined(rows: Sequence[Mapping[str, Any]], window_us: int) -> list[dict[str, Any]]:
    """Rows summed up to longer windows; the greatest power, the weakest kind of intensity stay visible."""
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["window_start"] // window_us * window_us, []).append(row)
    return [_join(start, group) for start, group in sorted(groups.items())]


def _join(start: int, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds = [row["intensity_kind"] for row in group if row["intensity_kind"] in KINDS]
    return {
        **group[-1],
        "window_start": start,
        **{name: sum(row[name] for row in group) for name in ("energy_uj", "estimated_uj", "unpriced_uj")},
        "emissions_g": _fsum(row["emissions_g"] for row in group),
        "intensity_kind": max(kinds, key=KINDS.index, default=None),
        "power_w_max": max((row["power_w_max"] for row in group if row["power_w_max"] is not None), default=None),
    }


def provider_of(store: Store, found: Run) -> str | None:
    """Who published the intensity that the newest energy of the run was priced with, as far as the store can tell.

    Rows of its kind that hold at the run's end, from the zone's partitions of its last days and, for static factors,
    of the beginnings of years; None if there is none.
    """
    zone, last = found.run.get("zone"), found.total.get("last_end")
    kind, level = found.total.get("intensity_kind"), found.total.get("zone_level")
    if last is None or kind is None:
        return None
    at = last - 1
    days = {utc_day(at), utc_day(at - DAY_US)}
    if kind == "static":
        year = int(utc_day(at)[:4])
        days |= {f"{past:04d}-01-01" for past in range(max(1970, year - STATIC_YEARS), year + 1)}
    place = {"world": WORLD, "country": country_of(zone) if zone else None}.get(level or "", zone)
    if place is None:
        return None
    rows = [row for day in sorted(days) for row in store.read("intensity", {"zone": place, "date": day})]
    fits = [row for row in rows if row["kind"] == kind and row["signal"] == "average"]
    fits = [row for row in fits if row["valid_from"] <= at < row["valid_to"]]
    if not fits:
        return None
    best = max(fits, key=lambda row: (row["revision"], row["published_at"] or 0, row["provider"]))
    return ", ".join(part for part in (best["provider"], best["dataset"]) if part)


def width_for(span_us: int) -> Width:
    """The narrowest windows that cover *span_us* with no more than `MOST_POINTS`; the widest if none does."""
    for width in WIDTHS.values():
        if span_us <= (MOST_POINTS - 2) * width.us:
            return width
    return WIDTHS["1h"]


def days_between(first_us: int, last_us: int) -> list[str]:
    """The UTC days from *first_us* to *last_us*, both included; the last `MOST_DAYS` of them."""
    last = last_us // DAY_US
    return [utc_day(day * DAY_US) for day in range(max(first_us // DAY_US, last - MOST_DAYS + 1), last + 1)]


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _fsum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None

"""What the page asks the store, over rows written by hand."""

from pathlib import Path
from typing import Any

import pytest

from dash_app import queries
from dash_app.fleet import REST_US, Fleet
from dash_app.queries import Curve, Line, Run
from kappawatt.stores.sqlite import SqliteStore
from kappawatt.stores.tables import TABLES

S = 1_000_000
NOON = 1_795_262_400 * S
"""2026-11-21 12:00 UTC."""


class Ledger:
    """An SQLite store that is written one row at a time."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self._version = 0

    def put(self, table: str, **values: Any) -> None:
        self._version += 1
        self.store.write(table, [tuple(values.get(name) for name in TABLES[table].columns)], self._version)
        self.store.flush()

    def run(self, run_id: str, started_us: int, **more: Any) -> None:
        head = {"run_id": run_id, "started_at": started_us, "first_seen": started_us, "last_seen": started_us} | more
        self.put("run", **head)
        self.put("runs_by_date", date=queries.utc_day(started_us), **head)


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    made = Ledger(tmp_path / "l.sqlite")
    yield made
    made.store.close()


def line(run_id: str = "r", **more: Any) -> Line:
    empty = dict.fromkeys(Line.__dataclass_fields__)
    return Line(**{**empty, "run_id": run_id, "status": "succeeded", "simulated": False, "started_us": 0, **more})


def window(start_us: int, energy_uj: int = 5 * S, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(TABLES["run_window_5s"].columns)
    known = {"window_start": start_us, "energy_uj": energy_uj, "estimated_uj": 0, "unpriced_uj": 0, "emissions_g": 1.0}
    return {**row, **known, "intensity_kind": "actual", "power_w_max": 1.0, **more}


def test_totals_are_exact_beyond_what_a_double_holds():
    lines = [line("a", energy_uj=2**60 + 1), line("b", energy_uj=2**60 + 1)]

    assert queries.sums(lines).energy_uj == 2**61 + 2


def test_totals_of_nothing_known_are_unknown_not_zero():
    found = queries.sums([line("a"), line("b")])

    assert (found.energy_uj, found.emissions_g, found.water_l, found.costs) == (None, None, None, ())


def test_costs_of_two_currencies_are_not_added():
    lines = [
        line("a", cost=1.5, currency="EUR"),
        line("b", cost=2.0, currency="USD"),
        line("c", cost=0.5, currency="EUR"),
    ]

    assert queries.sums(lines).costs == (("EUR", 2.0), ("USD", 2.0))


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ["a", "b"]), ("VISION ada", ["a"]), ("ada nlp", []), ("  ", ["a", "b"]), (".*", [])],
    ids=["nothing", "all words, any case", "not all words", "blank", "no pattern language"],
)
def test_filter_keeps_lines_with_all_words(text: str, found: list[str]):
    lines = [line("a", user="ada", project="vision"), line("b", user="grace", project="nlp")]

    assert [one.run_id for one in queries.matching(lines, text)] == found


def test_filter_can_leave_out_the_simulated():
    lines = [line("a", simulated=True), line("b")]

    assert [one.run_id for one in queries.matching(lines, "", simulated=False)] == ["b"]


@pytest.mark.parametrize(
    ("labels", "simulated"),
    [
        ('{"simulated":"true"}', True),
        ('{"simulated":"false"}', False),
        (None, False),
        ("[1]", False),
        ("no json", False),
    ],
)
def test_simulated_is_what_the_label_says(labels: str | None, simulated: bool):
    assert queries.is_simulated(labels) is simulated


@pytest.mark.parametrize(
    ("hours", "name"), [(0.01, "5s"), (2.7, "5s"), (2.8, "5m"), (160, "5m"), (170, "1h"), (100_000, "1h")]
)
def test_width_follows_the_length(hours: float, name: str):
    assert queries.width_for(int(hours * 3_600 * S)).name == name


def test_curve_has_no_more_points_than_a_figure_takes(ledger: Ledger):
    hours = 5_000
    rows = [window(hour * 3_600 * S) for hour in range(hours)]
    version = 1
    for row in rows:
        row |= {"run_id": "r", "date": queries.utc_day(row["window_start"]), "final": True}
    ledger.store.write(
        "run_window_1h", [tuple(row[name] for name in TABLES["run_window_1h"].columns) for row in rows], version
    )
    ledger.store.flush()
    total = {"first_start": 0, "last_end": hours * 3_600 * S}

    found = queries.curve(ledger.store, Run(run_id="r", run={}, total=total, phases=(), metrics=()))

    assert len(found.rows) <= queries.MOST_POINTS
    assert sum(row["energy_uj"] for row in found.rows) == hours * 5 * S


def test_joined_windows_keep_a_spike_and_the_weakest_intensity():
    rows = [window(0), window(5 * S, power_w_max=900.0, intensity_kind="static"), window(10 * S, emissions_g=None)]

    (joined,) = queries.joined(rows, 15 * S)

    assert joined["energy_uj"] == 15 * S
    assert (joined["power_w_max"], joined["intensity_kind"], joined["emissions_g"]) == (900.0, "static", 2.0)


def test_curve_of_a_run_without_samples_is_empty(ledger: Ledger):
    found = Run(run_id="r", run={}, total={}, phases=(), metrics=())

    assert queries.curve(ledger.store, found) == Curve(rows=(), window_us=5 * S, cut=False)


def test_unknown_run_is_none(ledger: Ledger):
    assert queries.run(ledger.store, "nope") is None


def test_run_collects_metrics_of_all_its_days(ledger: Ledger):
    ledger.run("r", NOON, last_seen=NOON + queries.DAY_US)
    for number in range(2):
        at = NOON + number * queries.DAY_US
        ledger.put(
            "run_metric", run_id="r", date=queries.utc_day(at), at=at, event_id=f"e{number}", type="epoch", loss=1.0
        )

    found = queries.run(ledger.store, "r")

    assert found is not None
    assert [row["event_id"] for row in found.metrics] == ["e0", "e1"]


@pytest.mark.parametrize(
    ("status", "silence_s", "silent"),
    [("running", 15, False), ("running", 16, True), ("succeeded", 3_600, False)],
    ids=["three windows", "longer", "ended"],
)
def test_running_run_is_silent_after_three_windows(status: str, silence_s: int, silent: bool):
    found = Run(run_id="r", run={"status": status}, total={"last_end": NOON}, phases=(), metrics=())

    assert (found.silent_us(NOON + silence_s * S) is not None) is silent


def test_provider_is_that_of_the_intensity_in_force(ledger: Ledger):
    base = {"zone": "DE-LU", "date": "2026-11-21", "signal": "average", "kind": "actual", "revision": 1}
    ledger.put("intensity", **base, valid_from=NOON - 3_600 * S, valid_to=NOON, provider="past", dataset="d")
    ledger.put("intensity", **base, valid_from=NOON, valid_to=NOON + 3_600 * S, provider="entsoe", dataset="2026-11")
    total = {"last_end": NOON + 60 * S, "intensity_kind": "actual", "zone_level": "zone"}

    found = queries.provider_of(
        ledger.store, Run(run_id="r", run={"zone": "DE-LU"}, total=total, phases=(), metrics=())
    )

    assert found == "entsoe, 2026-11"


def test_provider_of_a_static_factor_is_found_where_it_begins(ledger: Ledger):
    begin = 946_684_800 * S
    ledger.put(
        "intensity", zone="DEU", date="2000-01-01", signal="average", kind="static", revision=0, provider="ember",
        dataset="2024", valid_from=begin, valid_to=4_102_444_800 * S,
    )  # fmt: skip
    total = {"last_end": NOON, "intensity_kind": "static", "zone_level": "country"}

    found = queries.provider_of(
        ledger.store, Run(run_id="r", run={"zone": "DE-LU"}, total=total, phases=(), metrics=())
    )

    assert found == "ember, 2024"


def test_fleet_lists_the_newest_first(ledger: Ledger):
    ledger.run("old", NOON - 3_600 * S)
    ledger.run("new", NOON)

    listing = Fleet(lambda: NOON).look(ledger.store, 1)

    assert [one.run_id for one in listing.lines] == ["new", "old"]


def test_fleet_tells_which_lines_changed(ledger: Ledger):
    ledger.run("a", NOON, status="running")
    ledger.run("b", NOON, status="running")
    fleet = Fleet(lambda: NOON)
    first = fleet.look(ledger.store, 1).generation
    ledger.put("run_total", run_id="b", energy_uj=7, last_end=NOON)

    listing = fleet.look(ledger.store, 1)

    assert [one.run_id for one in listing.lines if listing.changed[one.run_id] > first] == ["b"]


def test_fleet_without_news_keeps_its_generation(ledger: Ledger):
    ledger.run("a", NOON)
    fleet = Fleet(lambda: NOON)

    assert fleet.look(ledger.store, 1).generation == fleet.look(ledger.store, 1).generation


def test_fleet_reads_a_settled_run_again_after_a_rest(ledger: Ledger):
    now = [NOON]
    fleet = Fleet(lambda: now[0])
    ledger.run("a", NOON - 2 * 3_600 * S, status="succeeded")
    fleet.look(ledger.store, 1)
    ledger.put("run_total", run_id="a", energy_uj=7, last_end=NOON - 3_700 * S)

    soon = fleet.look(ledger.store, 1).lines[0].energy_uj
    now[0] += 2 * REST_US
    later = fleet.look(ledger.store, 1).lines[0].energy_uj

    assert (soon, later) == (None, 7)


def test_fleet_knows_older_runs_from_none_at_all(ledger: Ledger):
    empty = Fleet(lambda: NOON).look(ledger.store, 1)
    ledger.run("a", NOON - 40 * queries.DAY_US)

    older = Fleet(lambda: NOON).look(ledger.store, 1)

    assert (empty.older, older.older) == (False, True)

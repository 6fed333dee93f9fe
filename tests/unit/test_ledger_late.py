"""Late pieces: not in the rows of evicted windows, but in the totals and listed (semantics §2, late)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.records import MIDNIGHT, price, sample
from tests.unit.ledger_kit import DAY, WINDOWS, Ledger
from tests.unit.ledger_stories import UNEXPLAINED, W1H, Story, events, prices, samples

SECOND = 1_000_000
LATE = ("late_5s_uj", "late_5m_uj", "late_1h_uj")


def at(first, last, **fields):
    return sample(
        **({"start": MIDNIGHT + first * SECOND, "end": MIDNIGHT + last * SECOND, "energy_uj": [100]} | fields)
    )


def open_until(seconds, *before):
    """A ledger whose run r1 has come to *seconds* and whose shards know it."""
    newest = at(seconds - 1, seconds, seq=999, energy_uj=[1])
    return Ledger().read(*before, newest).report(MIDNIGHT + seconds * SECOND).flush()


def sums(ledger, **where):
    """By width: what the windows hold and what they miss, and the total."""
    windows = [ledger.total(table, **where) for table in WINDOWS]
    late = [ledger.total("late", column, **where) for column in LATE]
    return [held + missed for held, missed in zip(windows, late, strict=True)], ledger.total("run_total", **where)


@pytest.mark.parametrize(
    ("seconds", "late"),
    [
        pytest.param(954, None, id="no window is evicted"),
        pytest.param(955, [100, 0, 0], id="5 s"),
        pytest.param(1_199, [100, 0, 0], id="not yet 5 min"),
        pytest.param(1_200, [100, 100, 0], id="5 min"),
        pytest.param(4_499, [100, 100, 0], id="not yet 1 h"),
        pytest.param(4_500, [100, 100, 100], id="1 h"),
    ],
)
def test_window_is_evicted_when_its_end_and_the_lateness_are_passed(seconds, late):
    ledger = open_until(seconds).read(at(50, 51)).flush()

    assert [[row[name] for name in LATE] for row in ledger.table("late")] == ([late] if late else [])
    assert ledger.only("run_total")["energy_uj"] == 101


def test_only_the_pieces_in_evicted_windows_are_late():
    ledger = open_until(1_000).read(at(95, 105)).flush()

    row = ledger.only("late")

    assert [row[name] for name in LATE] == [50, 0, 0]
    assert [each["energy_uj"] for each in ledger.table("run_window_5s")] == [50, 1]
    assert sums(ledger) == ([101, 101, 101], 101)


def test_late_row_tells_whose_sample_it_was():
    ledger = open_until(9_000).read(at(95, 105, collector_id="c7", seq=5, host="h7")).flush()

    row = ledger.only("late")

    assert [row[name] for name in ("run_id", "date", "collector_id", "seq", "host")] == [
        "r1",
        "2025-03-02",
        "c7",
        5,
        "h7",
    ]
    assert (row["start"], row["end"]) == (MIDNIGHT + 95 * SECOND, MIDNIGHT + 105 * SECOND)


def test_late_sample_without_energy_is_listed_too():
    ledger = open_until(9_000).read(at(95, 96, energy_uj=[0])).flush()

    assert [ledger.only("late")[name] for name in LATE] == [0, 0, 0]
    assert ledger.only("run_total")["samples"] == 2


def test_repeat_of_a_late_sample_is_a_duplicate():
    ledger = open_until(9_000).read(at(95, 96), at(95, 96)).flush()

    ledger.read(at(95, 96)).flush()

    assert len(ledger.table("late")) == 1
    assert ledger.only("run_total")["energy_uj"] == 101


def test_several_late_samples_are_listed_one_by_one():
    ledger = open_until(9_000).read(at(5, 6), at(5, 6, seq=1, run_id="r2"), at(7, 8, seq=2)).flush()

    assert [(row["run_id"], row["seq"]) for row in ledger.table("late")] == [("r1", 0), ("r1", 2)]


def test_run_that_is_behind_is_not_late():
    lone = [at(number, number + 1, seq=number, run_id="r2", host="h2") for number in range(3)]

    ledger = open_until(9_000).read(lone[0]).flush().read(*lone[1:]).flush()

    assert ledger.table("late") == []
    assert ledger.only("run_window_5s", run_id="r2")["energy_uj"] == 300


def test_run_has_come_as_far_as_its_greatest_end_in_whatever_order():
    ledger = Ledger().read(at(8_999, 9_000, seq=999)).flush().read(at(0, 1)).flush()

    ledger.report(MIDNIGHT + 9_000 * SECOND).flush()

    assert [row["final"] for row in ledger.table("run_window_1h")] == [True, False]


def test_watermark_that_is_behind_keeps_windows_open():
    ledger = Ledger("a", "b").read(at(8_999, 9_000, seq=999), bucket="a").report(MIDNIGHT + 9_000 * SECOND, bucket="a")

    ledger.flush().read(at(0, 1), bucket="b").flush()

    assert ledger.table("late") == []


def test_late_energy_is_priced_in_the_total_and_not_in_the_rows():
    ledger = open_until(9_000, at(50, 51)).price(
        price(zone="WORLD", valid_from=MIDNIGHT, valid_to=MIDNIGHT + DAY, intensity_g_per_kwh=3.6e12)
    )

    ledger.flush().read(at(52, 53, seq=1)).flush()

    assert [ledger.total(table, "emissions_g") for table in WINDOWS] == [101.0] * 3
    assert ledger.only("run_total")["emissions_g"] == 201.0


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_rows_shown_again_still_leave_out_what_was_late(restarted):
    wet = price(zone="WORLD", valid_from=MIDNIGHT, valid_to=MIDNIGHT + DAY, water_l_per_kwh=0.0)
    ledger = open_until(9_000, at(50, 51, water_ul=3_000_000)).read(at(52, 53, seq=1, water_ul=5_000_000)).flush()
    if restarted:
        ledger.restart()

    ledger.price(wet).flush()

    assert [ledger.table(table)[0]["energy_uj"] for table in WINDOWS] == [100] * 3
    assert [ledger.table(table)[0]["water_l"] for table in WINDOWS] == [3.0] * 3
    assert ledger.only("run_total")["water_l"] == 8.0


def test_coverage_goes_on_in_a_window_that_is_still_open_when_the_one_before_is_evicted():
    ledger = open_until(907, at(0, 1), at(5, 6, seq=1)).read(at(8, 9, seq=2)).flush()

    assert [row["coverage"] for row in ledger.table("run_window_5s")[:2]] == [1.0, 2 / 4]
    assert ledger.table("late") == []


def test_late_energy_makes_no_peak_and_no_coverage():
    ledger = open_until(9_000, at(50, 51)).read(at(51, 55, seq=1, energy_uj=[10**9])).flush()

    first = ledger.table("run_window_5s")[0]

    assert (first["power_w_max"], first["coverage"], first["samples"]) == (100 / 5e6, 1.0, 1)
    assert ledger.only("run_total")["power_w_max"] == 100 / 5e6


def test_evicted_rows_are_final_and_stay_as_they_are():
    ledger = open_until(9_000, at(50, 51))
    final = [row for table in WINDOWS for row in ledger.table(table) if row["final"]]
    assert [row["energy_uj"] for row in final] == [100, 100, 100]

    ledger.restart().read(at(52, 53, seq=1), at(53, 54, seq=7, host="h9", zone="FR")).flush()

    assert [row for table in WINDOWS for row in ledger.table(table) if row["final"]] == final


def test_late_energy_is_in_the_zone_of_its_cell():
    ledger = open_until(9_000, at(50, 51)).read(at(52, 53, seq=1)).flush()

    assert ledger.total("zone_window_1h") == ledger.total("run_total") == 201


late_stories = st.builds(Story, samples(span_us=3 * W1H, most=10), prices(span_us=3 * W1H), events(span_us=3 * W1H))


@settings(max_examples=20, phases=UNEXPLAINED)
@given(late_stories, st.data())
def test_windows_and_late_add_up_to_the_total_for_each_width(story, data):
    ledger = Ledger().price(*story.prices).event(*story.events)
    newest = MIDNIGHT
    final = {}
    for record in data.draw(st.permutations(story.samples)):
        ledger.read(record, partition=f"sample/{record['host']}")
        newest = max(newest, record["end"])
        if data.draw(st.booleans()):
            ledger.report(newest).flush()
            seen = {(table, *key): row for table in WINDOWS for key, row in ledger.rows[table].items() if row["final"]}
            assert {key: seen.get(key) for key in final} == final
            final = seen
        if data.draw(st.integers(0, 4)) == 0:
            ledger.flush().restart()
    ledger.end()

    for row in ledger.table("run_total"):
        by_width, total = sums(ledger, run_id=row["run_id"])
        assert by_width == [total] * 3
    assert ledger.total("zone_window_1h") == ledger.total("run_total")
    assert ledger.total("run_total") == sum(sum(record["energy_uj"]) for record in story.samples)
    for run_id in {row["run_id"] for row in ledger.table("phase_total")}:
        assert ledger.total("phase_total", run_id=run_id) == ledger.total("run_total", run_id=run_id)

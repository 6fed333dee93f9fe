"""The oracle against cases worked out by hand: verdicts, pieces, windows, devices and totals of docs/semantics.md."""

import math

import pytest

from tests.oracle.model import SECOND, W1H, CouldBeLate, Dead, Log, Parameters, Tables, utc_date
from tests.oracle.records import MIDNIGHT, sample
from tests.oracle.truth import expected_tables
from tests.oracle.verdicts import judge

DAY = 86_400 * SECOND
KWH = 3_600_000_000_000


def tables(samples=(), prices=(), events=()) -> Tables:
    return expected_tables(Log({"h1": list(samples)}, list(prices), list(events)))


def at(seconds: float) -> int:
    return MIDNIGHT + round(seconds * SECOND)


def only(table):
    assert len(table) == 1
    return next(iter(table.values()))


def by(table, column):
    return {key: row[column] for key, row in table.items()}


# --- verdicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": [2, 2], "run_id": "~x"}, "arrays_differ"),
        ({"device": []}, "arrays_differ"),
        ({"energy_uj": []}, "arrays_differ"),
        ({"memory_bytes": [1, 1]}, "arrays_differ"),
        ({"run_id": "~h1", "host": ""}, "reserved_run_id"),
        ({"run_id": ""}, "empty_id"),
        ({"host": "", "end": MIDNIGHT}, "empty_id"),
        ({"collector_id": ""}, "empty_id"),
        ({"end": MIDNIGHT}, "empty_interval"),
        ({"end": MIDNIGHT - 1}, "empty_interval"),
        ({"end": MIDNIGHT + 3_000 * SECOND, "energy_uj": [-1]}, "too_long"),
        ({"end": MIDNIGHT + 3_000 * SECOND - 1}, ""),
        ({"start": -1, "end": 1}, "before_epoch"),
        ({"start": 0, "end": 1, "energy_uj": [1]}, ""),
        ({"start": MIDNIGHT + W1H + 300 * SECOND, "energy_uj": [-1]}, "ahead_of_log"),
        ({"start": MIDNIGHT + W1H + 299 * SECOND}, ""),
        ({"energy_uj": [2**60, -1]}, "negative_energy"),
        ({"energy_uj": [10**12]}, ""),
        ({"energy_uj": [10**12 + 1]}, "implausible_power"),
        ({"energy_uj": [10**12, 10**12]}, ""),
        ({"run_id": None}, ""),
    ],
)
def test_sample_is_rejected_for_the_first_reason_that_applies(fields, reason):
    log = Log({"p": [sample(**fields)]}, append_us={"p": [MIDNIGHT + W1H]})

    assert judge(log, Parameters()).of["p"] == [("rejected" if reason else "counted", reason)]


def test_reading_of_two_to_the_53_is_implausible_whatever_the_setting():
    long = {"end": MIDNIGHT + 2_999 * SECOND}
    log = Log({"p": [sample(energy_uj=[2**53 - 1], **long), sample(energy_uj=[2**53], seq=1, **long)]})

    words = judge(log, Parameters(max_device_power_w=10**9)).of["p"]

    assert words == [("counted", ""), ("rejected", "implausible_power")]


def test_repeat_is_a_duplicate_even_of_a_rejected_record():
    records = [sample(run_id=""), sample(), sample(seq=1), sample(seq=1, run_id="")]

    words = [verdict for verdict, _ in judge(Log({"p": records}), Parameters()).of["p"]]

    assert words == ["rejected", "duplicate", "counted", "duplicate"]


def test_sample_is_expired_against_what_its_own_partition_accepted_before():
    old = MIDNIGHT - 14 * DAY
    log = Log(
        {
            "a": [sample(seq=0), sample(seq=1, start=old - 1), sample(seq=2, start=old)],
            "b": [sample(seq=3, start=old - 1)],
            "c": [sample(seq=4, start=MIDNIGHT + DAY, run_id=""), sample(seq=5, start=old - 1)],
        }
    )

    verdicts = judge(log, Parameters())

    assert verdicts.of["a"][1:] == [("rejected", "expired"), ("counted", "")]
    assert verdicts.of["b"] == [("counted", "")]
    assert verdicts.of["c"] == [("rejected", "empty_id"), ("counted", "")]


def test_accounting_adds_up_and_finds_holes_of_the_lowest_partition():
    log = Log(
        {
            "h10": [sample(seq=9), Dead("undecodable", sample()), sample(seq=9)],
            "h9": [sample(seq=5, start=at(1)), sample(seq=5, start=at(1)), sample(seq=6, run_id="", start=at(2))],
        },
        positions={"h9": "h9-0.avro:77"},
    )

    rows = expected_tables(log)["accounting"]

    columns = ("sent", "counted", "duplicate", "rejected", "dead", "lost")
    assert [rows[("sample/h10",)][name] for name in columns] == [3, 1, 1, 0, 1, 2]
    assert [rows[("sample/h9",)][name] for name in columns] == [3, 1, 1, 1, 0, 0]
    assert rows[("sample/h9",)]["position"] == "h9-0.avro:77"
    assert "position" not in rows[("sample/h10",)]


def test_identity_in_two_partitions_is_refused():
    with pytest.raises(AssertionError, match="partitions 'a' and 'b'"):
        expected_tables(Log({"a": [sample()], "b": [sample()]}))


# --- pieces, cells, rows ------------------------------------------------------------------------------------------


def test_energy_and_water_are_cut_at_the_edge_by_floors_reading_by_reading():
    record = sample(start=at(4), end=at(7), energy_uj=[10, 11, 2], kind=[2, 2, 1], water_ul=5)

    rows = tables([record])["run_window_5s"]

    # one third of 10, 11, 2 and 5 lies before the edge: 3, 3, 0 and 1
    key = ("r1", "2025-03-02")
    assert by(rows, "gpu_uj") == {(*key, at(0)): 6, (*key, at(5)): 15}
    assert by(rows, "cpu_uj") == {(*key, at(0)): 0, (*key, at(5)): 2}
    assert by(rows, "samples") == {(*key, at(0)): 1, (*key, at(5)): 0}


def test_interval_ending_on_an_edge_does_not_touch_the_next_window():
    rows = tables([sample(start=at(4), end=at(5))])["run_window_5s"]

    assert [key[2] for key in rows] == [at(0)]


def test_kinds_and_methods_go_to_their_columns():
    record = sample(energy_uj=[1, 2, 4, 8, 16, 32, 64], kind=[1, 2, 3, 4, 5, 0, 77], method=[1, 2, 3, 4, 0, 9, 6])

    row = only(tables([record])["run_total"])

    names = ("energy_uj", "cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj", "unpriced_uj")
    assert [row[name] for name in names] == [127, 1, 2, 4, 120, 120, 127]


def test_row_exists_at_zero_energy():
    rows = tables([sample(energy_uj=[0])])

    assert only(rows["run_window_1h"])["energy_uj"] == 0
    assert only(rows["zone_window_1h"])["runs"] == 1


def test_null_run_is_booked_under_its_host():
    rows = tables([sample(run_id=None)])

    assert list(rows["run"]) == [("~h1",)]
    assert rows["runs_by_date"] == {}
    assert rows["run"][("~h1",)]["status"] == "running"


def test_coverage_divides_what_is_covered_by_the_span_host_by_host():
    samples = [
        sample(seq=0, start=at(1), end=at(2)),
        sample(seq=1, start=at(3), end=at(4)),
        sample(seq=2, start=at(1), end=at(3), host="h2"),
        sample(seq=3, start=at(8), end=at(10), host="h2"),
    ]

    rows = tables(samples)

    assert rows["run_window_5s"][("r1", "2025-03-02", at(0))]["coverage"] == (2 + 2) / (3 + 2)
    assert rows["run_window_5m"][("r1", "2025-03-02", at(0))]["coverage"] == (2 + 4) / (3 + 9)
    assert rows["run_total"][("r1",)]["coverage"] == 0.5


def test_coverage_is_at_most_one_when_two_collectors_overlap():
    rows = tables([sample(), sample(collector_id="c2")])

    assert rows["run_total"][("r1",)]["coverage"] == 1.0


def test_power_is_the_greatest_five_second_mean():
    samples = [sample(seq=0, energy_uj=[5_000_000]), sample(seq=1, start=at(7), energy_uj=[15_000_000])]

    rows = tables(samples)

    assert sorted(by(rows["run_window_5s"], "power_w_max").values()) == [1.0, 3.0]
    assert only(rows["run_window_5m"])["power_w_max"] == 3.0
    assert only(rows["run_total"])["power_w_max"] == 3.0


def test_windows_at_midnight_belong_to_their_own_days():
    rows = tables([sample(start=at(-1), end=at(1), energy_uj=[3])])

    assert by(rows["run_window_1h"], "energy_uj") == {
        ("r1", "2025-03-01", at(-3600)): 1,
        ("r1", "2025-03-02", at(0)): 2,
    }


def test_totals_keep_unknown_apart_from_zero():
    samples = [
        sample(seq=0, disk_read_bytes=5, disk_write_bytes=-1, network_rx_bytes=0),
        sample(seq=1, disk_read_bytes=1, disk_write_bytes=2),
    ]

    row = only(tables(samples)["run_total"])

    assert (row["cpu_time_us"], row["disk_bytes"], row["network_bytes"]) == (None, 8, 0)


def test_memory_is_the_greatest_sum_of_memory_readings_in_one_sample():
    samples = [
        sample(seq=0, energy_uj=[1, 1, 1], kind=[3, 3, 2], memory_bytes=[5, -1, 100]),
        sample(seq=1, energy_uj=[1, 1], kind=[3, 3], memory_bytes=[3, 4]),
        sample(seq=2, kind=[3]),
    ]

    row = only(tables(samples)["run_total"])

    assert (row["memory_bytes_max"], row["gpus"], row["hosts"]) == (7, 1, 1)


def test_gpus_and_hosts_are_distinct():
    samples = [sample(seq=0), sample(seq=1), sample(seq=2, host="h2", energy_uj=[1, 1])]

    row = only(tables(samples)["run_total"])

    assert (row["gpus"], row["hosts"], row["samples"]) == (3, 2, 3)
    assert (row["first_start"], row["last_end"]) == (at(0), at(1))


def test_device_row_means_over_what_is_known_of_samples_that_start_in_it():
    samples = [
        sample(seq=0, start=at(299), end=at(301), energy_uj=[7], utilization=[0.25], temperature_c=[60.5]),
        sample(seq=1, start=at(301), utilization=[math.nan], memory_bytes=[9], method=[4], kind=[1]),
        sample(seq=2, start=at(302), utilization=[0.1], method=[4]),
        sample(seq=3, start=at(303), utilization=[0.3]),
    ]

    rows = tables(samples)["device_window_5m"]

    first = rows[("r1", "2025-03-02", "h1", at(0), "gpu:0")]
    second = rows[("r1", "2025-03-02", "h1", at(300), "gpu:0")]
    assert (first["energy_uj"], first["samples"], first["utilization"]) == (3, 1, 0.25)
    assert (first["temperature_c_max"], first["memory_bytes_max"]) == (60.5, None)
    assert (second["energy_uj"], second["estimated_uj"], second["samples"]) == (3_000_004, 2_000_000, 3)
    # 0.1 and 0.3 as Avro floats are 0.100000001… and 0.300000011…: millionths 100000 and 300000
    assert (second["utilization"], second["temperature_c_max"], second["memory_bytes_max"]) == (0.2, None, 9)
    assert second["kind"] == 2


# --- the oracle's own limits --------------------------------------------------------------------------------------


def test_log_with_a_sample_that_could_be_late_is_refused():
    ahead = sample(seq=1, start=at(904), end=at(905))

    with pytest.raises(CouldBeLate, match="c1 seq 0"):
        tables([ahead, sample(start=at(0))])


def test_sample_just_inside_the_lateness_is_not_refused():
    ahead = sample(seq=1, start=at(904), end=at(905) - 1)

    assert only(tables([ahead, sample(start=at(0))])["run_total"])["samples"] == 2


@pytest.mark.parametrize(
    ("instant_us", "date"),
    [(0, "1970-01-01"), (951_782_400 * SECOND, "2000-02-29"), (MIDNIGHT - 1, "2025-03-01"), (MIDNIGHT, "2025-03-02")],
)
def test_utc_date(instant_us, date):
    assert utc_date(instant_us) == date

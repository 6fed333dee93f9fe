"""What runs used beside energy, and how much of their time is covered (semantics §2, totals and coverage)."""

import pytest

from tests.oracle.records import MIDNIGHT, sample
from tests.unit.ledger_kit import Ledger

SECOND = 1_000_000
MOST = 2**63 - 1
NAMES = ("cpu_time_us", "disk_bytes", "network_bytes", "memory_bytes_max")


def total(*records):
    return Ledger().read(*records).end().only("run_total")


def at(first, last, **fields):
    return sample(start=MIDNIGHT + first * SECOND, end=MIDNIGHT + last * SECOND, **fields)


@pytest.mark.parametrize(
    ("records", "shown"),
    [
        pytest.param([sample()], [None, None, None, None], id="nothing is known"),
        pytest.param([sample(cpu_time_us=0, disk_read_bytes=0)], [0, 0, None, None], id="zero is known"),
        pytest.param(
            [sample(cpu_time_us=5), sample(seq=1), sample(seq=2, cpu_time_us=6)], [11, None, None, None], id="gaps"
        ),
        pytest.param(
            [sample(disk_read_bytes=3, network_tx_bytes=9), sample(seq=1, disk_read_bytes=1, disk_write_bytes=4)],
            [None, 8, 9, None],
            id="both directions, or one",
        ),
        pytest.param([sample(cpu_time_us=-7, disk_write_bytes=-9)], [None, None, None, None], id="negative is unknown"),
        pytest.param(
            [sample(cpu_time_us=2**53 - 1), sample(seq=1, cpu_time_us=2**53), sample(seq=2, cpu_time_us=MOST)],
            [2**53 - 1, None, None, None],
            id="beyond all sense is unknown",
        ),
        pytest.param(
            [sample(disk_read_bytes=MOST, disk_write_bytes=MOST, network_rx_bytes=MOST, network_tx_bytes=1)],
            [None, None, 1, None],
            id="and does not wrap",
        ),
    ],
)
def test_use_of_a_run(records, shown):
    assert [total(*records)[name] for name in NAMES] == shown


@pytest.mark.parametrize(
    ("kinds", "memory", "most"),
    [
        ([3, 3, 2], [5, 6, 100], 11),
        ([3, 3], [5, -1], 5),
        ([3, 3], [-1, -1], None),
        ([1, 2], [7, 7], None),
        ([3, 3], [MOST, 4], 4),
    ],
)
def test_memory_is_the_sum_of_the_memory_readings_of_one_sample(kinds, memory, most):
    record = sample(energy_uj=[0] * len(kinds), kind=kinds, memory_bytes=memory)

    assert total(record, sample(seq=1))["memory_bytes_max"] == most


def test_greatest_memory_of_all_samples_counts():
    records = [sample(seq=number, kind=[3], memory_bytes=[value]) for number, value in enumerate((4, 9, 2))]

    assert total(*records)["memory_bytes_max"] == 9


@pytest.mark.parametrize(
    ("records", "coverage"),
    [
        pytest.param([at(0, 10)], 1.0, id="all"),
        pytest.param([at(0, 1), at(9, 10, seq=1)], 0.2, id="a gap"),
        pytest.param([at(0, 1), at(9, 10, seq=1, host="h2")], 1.0, id="two hosts, each covered"),
        pytest.param(
            [at(0, 1), at(3, 4, seq=1), at(0, 4, seq=2, host="h2")], (1 + 1 + 4) / (4 + 4), id="two hosts, one gap"
        ),
        pytest.param([at(0, 10), at(0, 10, seq=1, collector_id="c2")], 1.0, id="never above 1"),
    ],
)
def test_coverage_is_time_covered_over_time_spanned_by_host(records, coverage):
    assert total(*records)["coverage"] == coverage


def test_coverage_of_a_window_is_clipped_to_it():
    ledger = Ledger().read(at(0, 1), at(4, 6, seq=1), at(8, 9, seq=2)).end()

    assert [row["coverage"] for row in ledger.table("run_window_5s")] == [2 / 5, 2 / 4]
    assert ledger.only("run_window_5m")["coverage"] == 4 / 9


def test_coverage_and_devices_go_on_after_a_restart():
    ledger = Ledger().read(at(0, 1), at(0, 1, seq=1, host="h2")).flush().restart()

    ledger.read(at(3, 4, seq=2), at(1, 2, seq=3, host="h2")).end()

    assert [ledger.only(table)["coverage"] for table in ("run_window_5s", "run_window_1h", "run_total")] == [4 / 6] * 3
    assert (ledger.only("run_total")["gpus"], ledger.only("run_total")["hosts"]) == (2, 2)


def test_hosts_gpus_and_span_of_a_run():
    records = [
        at(3, 4, energy_uj=[1, 1, 1], kind=[2, 2, 1]),
        at(1, 2, seq=1, host="h2"),
        at(2, 3, seq=2, energy_uj=[1], kind=[1], host="h3"),
    ]

    row = total(*records)

    assert (row["hosts"], row["gpus"], row["samples"]) == (3, 3, 3)
    assert (row["first_start"], row["last_end"]) == (MIDNIGHT + SECOND, MIDNIGHT + 4 * SECOND)


def test_power_is_the_greatest_5_s_mean():
    records = [at(0, 5, energy_uj=[50 * SECOND]), at(5, 7, seq=1, energy_uj=[80 * SECOND])]

    ledger = Ledger().read(*records).end()

    assert [row["power_w_max"] for row in ledger.table("run_window_5s")] == [10.0, 16.0]
    assert ledger.only("run_window_5m")["power_w_max"] == ledger.only("run_total")["power_w_max"] == 16.0


def test_lower_power_that_comes_later_does_not_hide_the_peak():
    ledger = Ledger().read(at(0, 5, energy_uj=[50 * SECOND])).flush().restart()

    ledger.read(at(5, 10, seq=1, energy_uj=[5 * SECOND])).flush()

    assert [row["power_w_max"] for row in ledger.table("run_window_5s")] == [10.0, 1.0]
    assert ledger.only("run_window_1h")["power_w_max"] == ledger.only("run_total")["power_w_max"] == 10.0


def test_windows_count_a_sample_where_it_starts():
    ledger = Ledger().read(at(4, 11)).end()

    assert [row["samples"] for row in ledger.table("run_window_5s")] == [1, 0, 0]


def test_window_touched_by_a_sample_without_energy_has_a_row():
    ledger = Ledger().read(at(4, 11, energy_uj=[0])).end()

    assert [row["energy_uj"] for row in ledger.table("run_window_5s")] == [0, 0, 0]


def test_samples_of_no_run_are_the_runs_of_their_hosts():
    ledger = Ledger().read(sample(run_id=None), sample(run_id=None, seq=1, host="h2")).end()

    assert [row["run_id"] for row in ledger.table("run_total")] == ["~h1", "~h2"]
    assert ledger.table("runs_by_date") == []

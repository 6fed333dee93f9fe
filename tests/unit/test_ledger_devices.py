"""Readings summed by device and 5 minutes, held against a plain loop (semantics §2, device rows)."""

import math
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.cells import as_float32
from tests.oracle.records import MIDNIGHT, sample
from tests.unit.ledger_kit import Ledger, frames_of

W5M = 300_000_000
DEVICES = ("gpu:0", "gpu:1", "cpu:0", "möbius")
FLOATS = (math.nan, math.inf, 0.0, 0.5, 1.0, 0.3333333, 0.6666666, -0.25)

start = st.integers(0, 3 * W5M) | st.sampled_from((W5M - 1, W5M, W5M + 1))
length = st.integers(1, W5M // 2) | st.sampled_from((1, W5M, W5M + 1, 2_999_999_999))
reading = st.tuples(
    st.sampled_from(DEVICES),
    st.integers(0, 5),
    st.integers(0, 6),
    st.integers(0, 10**6),
    st.sampled_from(FLOATS).map(as_float32),
    st.sampled_from(FLOATS).map(as_float32),
    st.integers(-1, 2),
)
NAMES = ("device", "kind", "method", "energy_uj", "utilization", "temperature_c", "memory_bytes")


@st.composite
def samples(draw):
    begin = MIDNIGHT + draw(start)
    columns = zip(*draw(st.lists(reading, min_size=1, max_size=4)), strict=True)
    arrays = {name: list(values) for name, values in zip(NAMES, columns, strict=True)}
    host, run = draw(st.sampled_from(("h1", "h2"))), draw(st.sampled_from(("r1", None)))
    return sample(start=begin, end=begin + draw(length), host=host, run_id=run, **arrays)


def plain(records):
    """(run, host, window, device) → kind, energy, estimated, samples, utilization, temperature, memory."""
    rows = defaultdict(lambda: [-(2**31), 0, 0, 0, [], [], []])
    for record in records:
        begin, end = record["start"], record["end"]
        for values in zip(*(record[name] for name in NAMES), strict=True):
            device, kind, method, energy, utilization, temperature, memory = values
            for window in range(begin // W5M, (end - 1) // W5M + 1):
                low, high = max(begin, window * W5M), min(end, (window + 1) * W5M)
                before, behind = (energy * (at - begin) // (end - begin) for at in (low, high))
                row = rows[record["run_id"] or f"~{record['host']}", record["host"], window * W5M, device]
                row[0] = max(row[0], kind)
                row[1] += behind - before
                row[2] += 0 if method in (1, 2, 3) else behind - before
                if low == begin:
                    row[3] += 1
                    row[4] += [round(utilization * 1_000_000)] if math.isfinite(utilization) else []
                    row[5] += [temperature] if math.isfinite(temperature) else []
                    row[6] += [memory] if memory >= 0 else []
    return {key: shown(row) for key, row in rows.items()}


def shown(row):
    *sums, utilization, temperature, memory = row
    mean = sum(utilization) / len(utilization) / 1_000_000 if utilization else None
    return [*sums, mean, max(temperature, default=None), max(memory, default=None)]


COLUMNS = ("kind", "energy_uj", "estimated_uj", "samples", "utilization", "temperature_c_max", "memory_bytes_max")


@settings(max_examples=40)
@given(st.lists(samples(), max_size=6), st.integers(0, 6))
def test_device_rows_are_those_of_a_plain_loop(records, cut):
    for number, record in enumerate(records):
        record["seq"] = number
    ledger = Ledger()

    for some in (records[:cut], records[cut:]):
        ledger.read(*some).flush()
    ledger.end()

    found = {
        (row["run_id"], row["host"], row["window_start"], row["device"]): [row[name] for name in COLUMNS]
        for row in ledger.table("device_window_5m")
    }
    assert found == plain(records)
    assert all(row["final"] for row in ledger.table("device_window_5m"))


def test_sample_across_an_edge_has_its_readings_where_it_starts_and_its_energy_where_it_is_drawn():
    record = sample(
        start=MIDNIGHT + W5M - 1, end=MIDNIGHT + W5M + 2, energy_uj=[10], utilization=[0.5], temperature_c=[60.0]
    )

    first, second = Ledger().read(record).end().table("device_window_5m")

    assert [first[name] for name in COLUMNS] == [2, 3, 0, 1, 0.5, 60.0, None]
    assert [second[name] for name in COLUMNS] == [2, 7, 0, 0, None, None, None]


@pytest.mark.parametrize("absurd", [3.4e38, -3.4e38, 1e6, -1e6], ids=str)
def test_utilization_beyond_all_sense_is_unknown(absurd):
    records = [sample(utilization=[absurd]), sample(seq=1, utilization=[0.25])]

    row = Ledger().read(*records).end().only("device_window_5m")

    assert (row["utilization"], row["samples"]) == (0.25, 2)


def test_utilization_is_rounded_to_millionths():
    row = Ledger().read(sample(utilization=[2 / 3])).end().only("device_window_5m")

    assert row["utilization"] == 0.666667


def test_device_named_twice_in_a_sample_is_one_device():
    record = sample(energy_uj=[3, 4], device=["gpu:0", "gpu:0"], kind=[1, 2])

    row = Ledger().read(record).end().only("device_window_5m")

    assert (row["energy_uj"], row["samples"], row["kind"]) == (7, 2, 2)


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("flushes", [16, 17])
def test_open_rows_are_shown_from_time_to_time_and_all_at_the_end(flushes, restarted):
    ledger = Ledger(shards=1)

    for seconds in range(flushes):
        start = MIDNIGHT + seconds * 1_000_000
        ledger.read(sample(seq=seconds, start=start, end=start + 1, energy_uj=[1])).flush()

    row = ledger.only("device_window_5m")
    assert (row["energy_uj"], row["final"]) == (16, False)
    if restarted:
        ledger.restart()
    row = ledger.end().only("device_window_5m")
    assert (row["energy_uj"], row["final"]) == (flushes, True)


def test_same_device_of_two_hosts_is_two_devices():
    ledger = Ledger().read(sample(), sample(seq=1, host="h2")).end()

    assert [row["host"] for row in ledger.table("device_window_5m")] == ["h1", "h2"]
    assert (ledger.only("run_total")["gpus"], ledger.only("run_total")["hosts"]) == (2, 2)


def test_frame_names_each_device_once():
    records = [sample(seq=number, start=MIDNIGHT + number * W5M, energy_uj=[1, 1]) for number in range(5)]

    ((_, frame),) = frames_of(*records)

    assert [device.name for device in frame.devices] == ["gpu:0", "gpu:1"]
    assert len(frame.device) == 10

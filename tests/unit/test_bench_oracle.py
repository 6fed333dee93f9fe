"""The benchmark's oracle and data against a slow restatement: records decoded by fastavro, rows added up one by one."""

import io
import math
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

import fastavro
import pytest

from benchmarks.harness.arrivals import Arrival, Log, framed, host_name, intensities, intensity_message, partition_of
from benchmarks.harness.oracle import Devices, Oracle, pieces
from benchmarks.harness.shape import PARTITIONS, Shape, small
from benchmarks.make_log import schema_of

FRAME = b"\0\0\0\0\x05"


def decoded(arrival: Arrival) -> dict[str, Any]:
    record = fastavro.schemaless_reader(io.BytesIO(arrival.datum), schema_of("sample"), None)
    assert isinstance(record, dict)
    return record


def micros(instant: Any) -> int:
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def test_rows_of_log_are_those_of_its_decoded_records() -> None:
    log = Log(small(6_000, devices=11, seed=3))
    energies: dict[str, int] = defaultdict(int)
    estimated = 0
    seen: set[tuple[str, int]] = set()
    dead = duplicates = 0
    for arrival in log:
        if arrival.wrong_frame or len(arrival.datum) < 60:
            dead += 1
            continue
        record = decoded(arrival)
        if record["run_id"] == "~flush":
            continue
        identity = record["collector_id"], record["seq"]
        duplicates += identity in seen
        if identity in seen:
            continue
        seen.add(identity)
        energies[record["run_id"]] += sum(record["energy_uj"])
        measured = {index for index, method in enumerate(record["method"]) if method in (1, 2, 3)}
        estimated += sum(energy for index, energy in enumerate(record["energy_uj"]) if index not in measured)

    rows = log.rows()

    assert {key: row["energy_uj"] for key, row in rows.items() if "|total|" in key} == {
        f"{run}|total|0": energy for run, energy in energies.items()
    }
    assert (dead, duplicates) == (log.oracle.counts["dead"], log.oracle.counts["duplicate"])
    assert dead == 3
    assert duplicates > 10
    assert sum(row["estimated_uj"] for key, row in rows.items() if "|5|" in key) == estimated > 0


def test_windows_and_late_ticks_make_the_totals() -> None:
    log = Log(Shape(ticks=40_000, devices=11, hosts=20, runs=4, late=0.01))
    for _ in log:
        pass
    rows = log.rows()
    sums = Counter(dict.fromkeys(("5", "300", "total"), 0))
    for key, row in rows.items():
        sums[key.split("|")[1]] += row["energy_uj"]
    assert log.oracle.counts["late"] > 300
    assert sums["5"] == sums["300"] < sums["total"]


def test_late_ticks_come_long_after_their_windows_and_repeats_within_ten_seconds() -> None:
    shape = Shape(ticks=30_000, devices=1, hosts=15, runs=3, late=0.01)
    log = Log(shape)
    newest = 0
    first: dict[tuple[str, int], int] = {}
    late = swapped = 0
    for arrival in log:
        if arrival.wrong_frame or len(arrival.datum) < 60:
            continue
        record = decoded(arrival)
        if record["run_id"] == "~flush":
            break
        end = micros(record["end"])
        behind_s = (newest - end) / 1e6
        identity = record["collector_id"], record["seq"]
        if identity in first:
            assert newest - first[identity] <= 10_000_000
            assert arrival.counts is None
            continue
        first[identity] = max(newest, end)
        late += behind_s > 900
        swapped += 0 < behind_s < 900
        assert behind_s < 6 or 990 < behind_s < 1_010
        newest = max(newest, end)
    assert late == log.oracle.counts["late"] > 200
    assert swapped > 0


def test_log_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    shape = Shape(ticks=300, hosts=15, runs=3)
    first = list(Log(shape))
    assert first == list(Log(shape))
    assert first != list(Log(Shape(ticks=300, hosts=15, runs=3, seed=2)))
    assert shape.key != Shape(ticks=300, hosts=15, runs=3, seed=2).key


def test_short_log_has_no_late_ticks_because_none_would_be_late_for_certain() -> None:
    assert Shape(ticks=100_000, hosts=500).delay_s == 0
    assert small(100_000).delay_s == 1_000


def test_runs_span_hosts_partitions_and_zones_and_one_partition_stays_empty() -> None:
    log = Log(Shape(ticks=4_000, devices=1))
    partitions: dict[str, set[int]] = defaultdict(set)
    zones: dict[str, set[str]] = defaultdict(set)
    for arrival in log:
        if arrival.counts:
            record = decoded(arrival)
            assert record["host"] == host_name(arrival.host)
            partitions[record["run_id"]].add(partition_of(arrival.host))
            zones[record["run_id"]].add(record["zone"])
    assert len(partitions) == 100
    assert min(map(len, partitions.values())) > 1
    assert min(map(len, zones.values())) > 1
    assert set().union(*partitions.values()) == set(range(PARTITIONS - 1))


def test_poison_is_a_cut_datum_a_wrong_magic_byte_and_an_empty_message() -> None:
    messages = [framed(arrival, FRAME) for arrival in Log(Shape(ticks=400, devices=1, hosts=15, runs=3))]
    assert sum(message == b"" for message in messages) == 1
    assert sum(message[:1] not in (b"", b"\0") for message in messages) == 1
    cut = [message for message in messages if message.startswith(FRAME) and len(message) < 60]
    assert len(cut) == 1
    with pytest.raises((EOFError, IndexError, ValueError)):
        fastavro.schemaless_reader(io.BytesIO(cut[0][5:]), schema_of("sample"), None)


def test_every_five_minutes_have_an_estimate_and_after_it_an_actual_value() -> None:
    values = intensities(Shape(ticks=40_000, hosts=20, runs=4))
    kinds: dict[tuple[str, int], list[str]] = defaultdict(list)
    for value in values:
        kinds[value["zone"], value["valid_from"]].append(value["kind"])
    assert set(map(tuple, kinds.values())) == {("estimated", "actual")}
    message = intensity_message(values[0], 9)
    assert message[:5] == b"\0\0\0\0\x09"
    assert fastavro.schemaless_reader(io.BytesIO(message[5:]), schema_of("intensity"), None)["kind"] == "estimated"


def test_pieces_are_the_floors_of_the_exact_shares() -> None:
    start, end, energy = 3_999_999, 17_000_001, 1_000_003
    parts = pieces(start, end, [energy])
    assert [slot for slot, _ in parts] == [0, 5_000_000, 10_000_000, 15_000_000]
    assert sum(part for _, (part,) in parts) == energy
    until = 0
    for slot, (part,) in parts:
        until += part
        edge = min(slot + 5_000_000, end)
        assert until == math.floor(Fraction(energy * (edge - start), end - start))


def test_grams_are_pieces_times_the_intensity_of_their_window() -> None:
    oracle = Oracle(Devices((2,), (1,)))
    oracle.take("r", "z", 4_000_000, 6_000_000, [7_200_000_000_000], [0, 7_200_000_000_000, 0, 0, 0], late=False)
    rows = oracle.rows(lambda zone, slot: 100.0 if slot == 0 else 300.0)
    assert rows["r|5|0"]["emissions_g"] == pytest.approx(100)
    assert rows["r|5|5000000"]["emissions_g"] == pytest.approx(300)
    assert rows["r|300|0"]["emissions_g"] == rows["r|total|0"]["emissions_g"] == pytest.approx(400)

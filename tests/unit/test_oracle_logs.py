"""The generated logs have in them what they promise, and are written as the oracle understands them."""

import io
from collections import Counter

import fastavro
import pytest

from tests.oracle.generate import Knobs, generate, small
from tests.oracle.generate_fuzz import fuzz
from tests.oracle.model import W1H, W5M, W5S, Dead, Log, Parameters
from tests.oracle.truth import expected_tables
from tests.oracle.verdicts import judge
from tests.oracle.write_log import encode, kafka_partition, long_bytes, on_kafka, write_files

REASONS = {
    *("arrays_differ", "reserved_run_id", "empty_id", "empty_interval", "too_long", "before_epoch"),
    *("ahead_of_log", "negative_energy", "implausible_power", "expired"),
}


@pytest.fixture(scope="module")
def log() -> Log:
    return small(1)


def verdicts_of(log):
    return Counter(word for words in judge(log, Parameters()).of.values() for word in words)


def counted_of(log):
    return judge(log, Parameters()).counted


def test_same_seed_gives_the_same_log():
    # NaN differs from itself, so the texts are compared
    assert repr(small(3)) == repr(small(3))
    assert repr(small(3)) != repr(small(4))


@pytest.mark.parametrize("seed", range(6))
def test_small_log_has_every_verdict_and_reason(seed):
    words = verdicts_of(small(seed, kafka_dead=True))

    assert {reason for verdict, reason in words if verdict == "rejected"} == REASONS
    assert {reason for verdict, reason in words if verdict == "dead"} == {
        *("undecodable", "trailing_bytes", "magic", "unknown_schema")
    }
    assert words[("duplicate", "")] >= 5
    assert 200 < words[("counted", "")] < 400


def test_small_log_crosses_edges_of_every_width(log):
    crossing = [
        {width for width in (W5S, W5M, W1H) if record["start"] // width != (record["end"] - 1) // width}
        for record in counted_of(log)
    ]

    assert 0.1 < sum(bool(widths) for widths in crossing) / len(crossing) < 0.4
    assert {width for widths in crossing for width in widths} == {W5S, W5M, W1H}


def test_about_a_fifth_of_one_second_intervals_cross_an_edge():
    log = generate(Knobs(seed=1, hosts=20, runs=4, ticks=100, slow=False, poison=False))

    records = counted_of(log)

    crossing = sum(record["start"] // W5S != (record["end"] - 1) // W5S for record in records)
    assert 0.15 < crossing / len(records) < 0.25


def test_small_log_has_a_host_with_three_runs_at_once_and_a_run_on_many_hosts(log):
    records = counted_of(log)

    together = Counter((record["host"], record["start"]) for record in records if record["run_id"] is not None)
    assert max(together.values()) == 3
    assert len({record["host"] for record in records if record["run_id"] == "wide"}) >= 3


def test_small_log_reaches_every_kind_of_price():
    rows = [row for seed in range(4) for row in expected_tables(small(seed))["run_window_5s"].values()]

    assert {row["intensity_kind"] for row in rows} == {"actual", "estimated", "forecast", "static", None}
    assert {row["zone_level"] for row in rows} == {"zone", "country", "world", None}
    assert {row["currency"] for row in rows} >= {"EUR", "USD", "SEK", "mixed", None}
    assert any(0 < row["unpriced_uj"] < row["energy_uj"] for row in rows)


@pytest.mark.parametrize("seed", range(6))
def test_windows_phases_and_zones_add_up_to_the_totals(seed):
    tables = expected_tables(small(seed))

    totals = {run: row["energy_uj"] for (run,), row in tables["run_total"].items()}
    for name in ("run_window_5s", "run_window_5m", "run_window_1h", "device_window_5m"):
        sums = Counter()
        for key, row in tables[name].items():
            sums[key[0]] += row["energy_uj"]
        assert sums == totals, name
    phased = Counter()
    for (run, _), row in tables["phase_total"].items():
        phased[run] += row["energy_uj"]
    assert phased == {run: totals[run] for run in phased}
    assert sum(row["energy_uj"] for row in tables["zone_window_1h"].values()) == sum(totals.values())


@pytest.mark.parametrize("seed", range(4))
def test_tables_are_the_same_when_hosts_share_partitions(seed):
    log = small(seed)
    shared = on_kafka(log, 3)

    tables, again = expected_tables(log), expected_tables(shared)

    books, others = tables.pop("accounting"), again.pop("accounting")
    assert again == tables
    for column in ("sent", "counted", "duplicate", "rejected", "dead", "lost"):
        assert sum(row[column] for row in books.values()) == sum(row[column] for row in others.values())


def test_records_keep_their_order_within_a_partition_on_kafka(log):
    there = on_kafka(log, 4)

    for name, records in log.samples.items():
        place = str(kafka_partition(name.split(".")[0].encode(), 4))
        own = {id(record) for record in records}
        assert [id(record) for record in there.samples[place] if id(record) in own] == [
            id(record) for record in records
        ]


def test_written_files_hold_one_datum_a_block_and_read_back_the_same(tmp_path):
    log = small(2)
    whole = {name: [r for r in records if not isinstance(r, Dead)] for name, records in log.samples.items()}

    positions = write_files(Log(whole, log.intensity, log.run_events), tmp_path, roll=20)

    for name, records in whole.items():
        paths = sorted((tmp_path / "sample").glob(f"{name}-*.avro"))
        assert positions[name] == f"{paths[-1].name}:{paths[-1].stat().st_size}"
        blocks = [block for path in paths for block in fastavro.block_reader(io.BytesIO(path.read_bytes()))]
        assert [block.num_records for block in blocks] == [1] * len(records)
    for topic, count in (("intensity", len(log.intensity)), ("run_event", len(log.run_events))):
        paths = sorted((tmp_path / topic).iterdir())
        assert sum(1 for path in paths for _ in fastavro.reader(io.BytesIO(path.read_bytes()))) == count


@pytest.mark.parametrize("value", [0, 1, -1, 63, 64, -64, -65, 2**53, 2**63 - 1, -(2**63)])
def test_long_bytes_are_what_avro_writes(value):
    assert long_bytes(value) == encode(fastavro.parse_schema("long"), value)


def test_floats_survive_the_wire_unchanged(tmp_path, log):
    records = [record for record in counted_of(log) if record["host"] == "h2"]
    write_files(Log({"h2": list(records)}), tmp_path)

    with (tmp_path / "sample" / "h2-000000.avro").open("rb") as file:
        back = [record["temperature_c"] for record in fastavro.reader(file)]

    assert repr(back) == repr([record["temperature_c"] for record in records])


@pytest.mark.parametrize("seed", range(8))
def test_fuzzed_log_is_accepted_and_adds_up(seed):
    tables = expected_tables(fuzz(seed))

    totals = sum(row["energy_uj"] for row in tables["run_total"].values())
    for name in ("run_window_5s", "run_window_5m", "run_window_1h", "zone_window_1h", "device_window_5m"):
        assert sum(row["energy_uj"] for row in tables[name].values()) == totals, name
    assert totals < 2**63

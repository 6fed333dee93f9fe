"""The second job, without an engine: what it gives for any log, batch, epoch and crash is what a plain loop gives."""

import struct
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.downsampling import files
from examples.downsampling.files import Writer
from examples.downsampling.job import downsampling_job
from examples.downsampling.readings import SCHEMA, Decoder, encode
from examples.downsampling.tables import TABLES, Tables
from kappawatt.errors import WireError
from kappawatt.stores.tables import Kind, Table
from kappawatt.testing.driver import JobDriver
from kappawatt.testing.store import MemoryStore
from kappawatt.wire import codec
from tests.unit.downsampling_oracle import answer, shown

NOON = 1_700_000_040_000 // 60_000 * 60_000
MINUTE = 60_000

any_long = st.integers(-(2**63), 2**63 - 1)
identifier = st.sampled_from(("m1", "m2", "Zähler 3", "")) | st.text(max_size=5) | st.just("x" * 2_000)


def columns_of(decoder, datums):
    """Readings as (index, identifier, timestamp, bits of the value), and what is dead."""
    end = np.cumsum([len(datum) for datum in datums], dtype=np.int64)
    start = end - np.array([len(datum) for datum in datums], np.int64)
    found = decoder.decode(b"".join(datums), start, end)
    names = [decoder.meters[code] for code in found.meter.tolist()]
    bits = [struct.pack("<d", value) for value in found.value_w.tolist()]
    return list(zip(found.index.tolist(), names, found.timestamp_ms.tolist(), bits, strict=True)), found.dead


def one_by_one(datums):
    good, dead = [], []
    for index, datum in enumerate(datums):
        try:
            record = codec.decode_one(SCHEMA, datum)
        except WireError:
            dead.append(index)
        else:
            good.append((index, record["identifier"], record["timestamp"], struct.pack("<d", record["value"])))
    return good, dead


datum = st.builds(encode, identifier, any_long | st.integers(0, 2**42), st.floats()) | st.binary(max_size=20)


@given(st.lists(datum, max_size=12), st.lists(datum, max_size=6))
def test_columns_are_what_the_exact_reader_gives(first, second):
    decoder = Decoder()

    assert columns_of(decoder, first) == one_by_one(first)
    assert columns_of(decoder, second) == one_by_one(second)


@given(st.binary(max_size=8), st.integers(0, 40), st.lists(datum, min_size=1, max_size=4))
def test_damaged_bytes_are_judged_as_by_the_exact_reader(junk, at, datums):
    changed = [datums[0][:at] + junk + datums[0][at + len(junk) :], *datums[1:]]

    assert columns_of(Decoder(), changed) == one_by_one(changed)


def described(name):
    """A table of the example, as the driver's store takes it."""
    key, columns = TABLES[name]
    names = columns.split()
    kinds = {each: Kind.TEXT if each in TEXTS else Kind.DOUBLE if each in DOUBLES else Kind.BIGINT for each in names}
    return Table(name, (names[0],), tuple(names[1:key]), kinds)


TEXTS = ("identifier", "status", "partition", "verdict", "reason", "payload")
DOUBLES = ("mean_w", "variance_w2")


def driver_over(log, *, until_end=True, **options):
    store = MemoryStore({name: described(name) for name in TABLES})
    return JobDriver(
        lambda runtime: downsampling_job(log, runtime, until_end=until_end), open_store=store.open, **options
    )


def rows_of(driver):
    """Rows of a table without their versions."""
    return lambda table: [tuple(row[name] for name in TABLES[table][1].split()) for row in driver.rows(table)]


def crash_in(driver, last):
    """An epoch; *last* is what still happens in it before a crash, None: all of it."""
    if last is None:
        driver.run()
        return
    driver.poll()
    for call in ("snapshot", "flush")[: ("poll", "snapshot", "flush").index(last)]:
        getattr(driver, call)()
    driver.restart()


# Edges of windows and of the lateness are hit often, and few readings are odd.
moment = st.integers(-4, 20).map(lambda at: NOON + 15_000 * at)
plain = st.tuples(st.sampled_from(("m1", "Zähler 3")), moment, st.sampled_from((1.0005, -3.25)))
odd_moment = st.integers(NOON - MINUTE, NOON + 5 * MINUTE) | st.sampled_from((NOON - 2 * 3_600_000, -1, 2**50))
odd_value = st.sampled_from((0.0, 1e6, 3_037_000.5, float("nan"), float("inf"))) | st.floats(-1e4, 1e4)
reading = plain | plain | plain | st.tuples(st.sampled_from(("m1", "")), moment | odd_moment, odd_value)
record = reading | reading | reading | st.sampled_from((b"junk", b"\x02a\x00"))
log = st.dictionaries(
    st.sampled_from(("a.avro", "b.avro", "c.avro")), st.lists(record, min_size=2, max_size=12), min_size=1, max_size=3
)
crash = st.lists(st.sampled_from((None, "poll", "snapshot", "flush")), min_size=2, max_size=6)


def owned(log):
    """Each file's meters are its own: a meter writes to one file."""
    return {
        name: [each if isinstance(each, bytes) or not each[0] else (f"{each[0]} {name}", *each[1:]) for each in records]
        for name, records in log.items()
    }


def write(folder, log):
    for name, records in log.items():
        writer = Writer(folder / name)
        writer.append_datums([each if isinstance(each, bytes) else encode(*each) for each in records])
        writer.close()


@given(log, crash, st.none() | st.integers(0, 99), st.integers(1, 3))
def test_rows_are_those_of_a_plain_loop_whatever_crashes(told, crashes, seed, processes):
    told = owned(told)
    with TemporaryDirectory() as folder:
        write(Path(folder), told)
        driver = driver_over(Path(folder), seed=seed, processes=processes)

        for last in crashes:
            if driver.current.parts:
                crash_in(driver, last)
        driver.to_end()

        assert shown(rows_of(driver)) == answer(told, now_ms=round(time.time() * 1_000))


@settings(max_examples=30)
@given(st.lists(reading, min_size=2, max_size=14), st.data())
def test_final_rows_depend_on_no_order_as_long_as_nobody_is_late(readings, data):
    moments = {(meter, at): (meter, NOON + at % MINUTE, 1.5) for meter, at, _ in readings if meter}
    told = list({each[:2]: each for each in moments.values()}.values())
    shuffled = data.draw(st.permutations(told + told[:3]))
    with TemporaryDirectory() as folder:
        for name, records in (("one", told), ("two", shuffled)):
            write(Path(folder, name), {"a.avro": records})

        one, two = (driver_over(Path(folder, name)).to_end() for name in ("one", "two"))

        assert rows_of(two)("window") == rows_of(one)("window")


def test_a_longer_log_goes_on_and_corrects_what_was_final_at_its_end(tmp_path):
    first, more = [("m", NOON + 1, 1.0)], [("m", NOON + 1, 1.0), ("m", NOON + 2, 3.0)]
    write(tmp_path, {"a.avro": first})
    driver = driver_over(tmp_path).to_end()
    write(tmp_path, {"a.avro": more})

    driver.start().to_end()

    assert shown(rows_of(driver)) == answer({"a.avro": first + more}, now_ms=round(time.time() * 1_000))


def test_rows_say_what_they_are_while_the_log_grows(tmp_path):
    driver, seen = driver_over(tmp_path, until_end=False), []
    for at in (10, MINUTE, 20, MINUTE + 15_000):
        write(tmp_path, {"a.avro": [("m", NOON + at, 1.0)]})
        driver.run(epochs=4)
        seen.append([(start - NOON, count, status) for _, start, count, *_, status in rows_of(driver)("window")])

    assert seen == [
        [(0, 1, "provisional")],
        [(0, 1, "complete"), (MINUTE, 1, "provisional")],
        [(0, 2, "corrected"), (MINUTE, 1, "provisional")],
        [(0, 2, "final"), (MINUTE, 2, "provisional")],
    ]


def test_a_file_that_is_none_of_ours_is_listed_once(tmp_path):
    (tmp_path / "a.avro").write_bytes(b"not an Avro file")

    driver = driver_over(tmp_path).to_end()

    assert rows_of(driver)("letter") == [("a.avro", 0, "dead", "damaged", b"not an Avro file".hex())]


def test_a_torn_write_is_left_for_later_and_damage_costs_its_block_only(tmp_path):
    write(tmp_path, {"a.avro": [("m", NOON + at, 1.0) for at in range(3)]})
    path = tmp_path / "a.avro"
    whole = path.read_bytes()
    third = whole.rindex(encode("m", NOON + 2, 1.0))
    path.write_bytes(whole[: third + 3])
    before = files.read(path, 0)
    path.write_bytes(whole[:third] + b"\xff\xff\xff" + whole[third + 3 :])

    after = files.read(path, before.next)

    assert (len(before.start), before.damaged) == (2, [])
    assert (len(after.start), after.damaged) == (1, [])
    assert Decoder().decode(after.buffer, after.start, after.end).dead == [0]


@pytest.mark.parametrize("table", ["window", "late", "letter", "accounting"])
def test_a_row_of_a_lower_version_changes_nothing(tmp_path, table):
    tables = Tables(tmp_path / "store.sqlite")
    width = len(TABLES[table][1].split())
    newer, older = ("k", 1, *range(width - 2)), ("k", 1, *range(10, width + 8))

    tables.write(table, [newer], 7)
    tables.write(table, [older], 6)
    tables.flush()

    assert tables.rows(table)[0][2:] == newer[2:]
    tables.close()

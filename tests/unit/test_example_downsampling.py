"""The second job, without an engine: what it gives for any log, batch, epoch and crash is what a plain loop gives."""

import pickle
import struct
import time
from collections import defaultdict
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
from kappawatt.stream.outbox import Outlet
from kappawatt.stream.target import write_outlet
from kappawatt.testing.runtime import ManualRuntime
from kappawatt.wire import codec
from tests.unit.downsampling_oracle import answer, shown

NOON = 1_700_000_040_000 // 60_000 * 60_000
MINUTE = 60_000
MEMORY = Path(":memory:")  # SQLite's name for it

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


class Engine:
    """The promises of an engine, in one thread: epochs of some polls, a commit, outlets into the store, crashes."""

    def __init__(self, log, store, *, until_end=True):
        self.log, self.tables, self.until_end = log, Tables(store), until_end
        self.committed, self.fence = {}, 0
        self.start()

    def start(self):
        self.fence = self.tables.raise_fence(0)
        self.runtime = ManualRuntime()
        self.job = downsampling_job(self.log, self.runtime, until_end=self.until_end)
        (source,), (self.step,) = self.job.sources, self.job.steps
        self.parts = {name: source.build(name, self._kept(name)) for name in source.parts}
        self.logics = {name: self.step.build(name, self._kept(name)) for name in self.step.keys if self._kept(name)}

    def epoch(self, polls=1, *, crash=None):
        """One epoch; *crash*: "polled", "snapshot" or "written" is the last thing that happens before it."""
        items, woken = [], set()
        for _ in range(polls):
            for name, part in list(self.parts.items()):
                try:
                    items += part.next_batch()
                    woken.add(name)
                except StopIteration:
                    self.parts.pop(name).close()
        outlets = [item for item in items if isinstance(item[1], Outlet)]
        sent = defaultdict(list)
        for key, value in items:
            if not isinstance(value, Outlet):
                sent[key].append(value)
        for key, values in sent.items():
            logic = self.logics.setdefault(key, None) or self.step.build(key, self._kept(key))
            self.logics[key] = logic
            outlets += logic.on_batch(pickle.loads(pickle.dumps(values)))
        if crash == "polled":
            return self.start()
        fixed = {name: self.parts[name].snapshot() for name in woken & set(self.parts)}
        fixed |= {key: self.logics[key].snapshot() for key in sent}
        if crash == "snapshot":
            return self.start()
        for _, outlet in outlets:
            write_outlet(self.tables, outlet, self.fence)
        self.tables.flush()
        if crash == "written":
            return self.start()
        self.committed |= {name: pickle.dumps(state) for name, state in fixed.items()}
        return None

    def to_end(self, crashes=()):
        for crash in crashes:
            self.epoch(crash=crash)
        for _ in range(100):
            if not self.parts:
                return self
            self.epoch()
        raise AssertionError("the job did not end")

    def _kept(self, name):
        return pickle.loads(self.committed[name]) if name in self.committed else None


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
crash = st.lists(st.sampled_from((None, "polled", "snapshot", "written")), min_size=2, max_size=6)


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


@given(log, crash)
def test_rows_are_those_of_a_plain_loop_whatever_crashes(told, crashes):
    told = owned(told)
    with TemporaryDirectory() as folder:
        write(Path(folder, "log"), told)

        engine = Engine(Path(folder, "log"), MEMORY).to_end(crashes)

        assert shown(engine.tables) == answer(told, now_ms=round(time.time() * 1_000))
        engine.tables.close()


@settings(max_examples=30)
@given(st.lists(reading, min_size=2, max_size=14), st.data())
def test_final_rows_depend_on_no_order_as_long_as_nobody_is_late(readings, data):
    moments = {(meter, at): (meter, NOON + at % MINUTE, 1.5) for meter, at, _ in readings if meter}
    told = list({each[:2]: each for each in moments.values()}.values())
    shuffled = data.draw(st.permutations(told + told[:3]))
    with TemporaryDirectory() as folder:
        for name, records in (("one", told), ("two", shuffled)):
            write(Path(folder, name), {"a.avro": records})
        one, two = (Engine(Path(folder, name), MEMORY).to_end() for name in ("one", "two"))

        assert two.tables.rows("window") == one.tables.rows("window")
        one.tables.close()
        two.tables.close()


def test_a_longer_log_goes_on_and_corrects_what_was_final_at_its_end(tmp_path):
    first, more = [("m", NOON + 1, 1.0)], [("m", NOON + 1, 1.0), ("m", NOON + 2, 3.0)]
    write(tmp_path / "log", {"a.avro": first})
    engine = Engine(tmp_path / "log", tmp_path / "store.sqlite").to_end()
    write(tmp_path / "log", {"a.avro": more})

    engine.start()
    engine.to_end()

    assert shown(engine.tables) == answer({"a.avro": first + more}, now_ms=round(time.time() * 1_000))
    engine.tables.close()


def test_rows_say_what_they_are_while_the_log_grows(tmp_path):
    engine, seen = Engine(tmp_path / "log", tmp_path / "store.sqlite", until_end=False), []
    for at in (10, MINUTE, 20, MINUTE + 15_000):
        write(tmp_path / "log", {"a.avro": [("m", NOON + at, 1.0)]})
        for _ in range(4):
            engine.epoch()
        seen.append([(start - NOON, count, status) for _, start, count, *_, status in engine.tables.rows("window")])
    engine.tables.close()

    assert seen == [
        [(0, 1, "provisional")],
        [(0, 1, "complete"), (MINUTE, 1, "provisional")],
        [(0, 2, "corrected"), (MINUTE, 1, "provisional")],
        [(0, 2, "final"), (MINUTE, 2, "provisional")],
    ]


def test_a_file_that_is_none_of_ours_is_listed_once(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/a.avro").write_bytes(b"not an Avro file")

    engine = Engine(tmp_path / "log", tmp_path / "store.sqlite").to_end()

    assert engine.tables.rows("letter") == [("a.avro", 0, "dead", "damaged", b"not an Avro file")]
    engine.tables.close()


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

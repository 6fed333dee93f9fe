"""Three ways from bytes to columns, one result."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.wire import codec
from kappawatt.wire.columns import LONGS, READINGS, Decoded, RawBatch, Series, join
from kappawatt.wire.decode import FEW, SampleDecoder
from kappawatt.wire.plan import plan
from kappawatt.wire.resolution import resolves
from tests.unit.decode_kit import APPENDED, SCHEMAS, V1, batch, by_block, by_numpy, evolved, exactly, facts, write

text = st.text(st.sampled_from("abz09-~:ü€𝄞\0"), max_size=12) | st.text(max_size=70)
long = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 300) | st.integers(0, 2**56)
number = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 6)
instant = st.integers(1_700_000_000_000_000, 1_800_000_000_000_000) | long
real = st.floats(width=32)


@st.composite
def samples(draw, narrow=False):
    """A record with fields for all schemas here."""
    count = draw(st.integers(0, 4) | st.sampled_from([2, 11, 70]))
    sizes = draw(st.just([count] * 7) | st.just([count] * 7) | st.lists(st.integers(0, 3), min_size=7, max_size=7))

    def many(item, at):
        pool = draw(st.lists(item, min_size=1, max_size=4))
        return list(itertools.islice(itertools.cycle(pool), sizes[at]))

    short = number if narrow else long
    return {
        "collector_id": draw(text),
        "seq": draw(short),
        "host": draw(text),
        "run_id": draw(st.none() | text),
        "zone": draw(text),
        "start": draw(instant),
        "end": draw(instant),
        "kind": many(number, 0),
        "method": many(number, 1),
        "energy_uj": many(short, 2),
        "device": many(text, 3),
        "utilization": many(real, 4),
        "temperature_c": many(real, 5),
        "memory_bytes": many(long, 6),
        "flags": draw(st.just([]) | st.lists(text, max_size=3)),
        **{name: draw(long) for name in LONGS},
        "rack": draw(text),
        "fan_rpm": draw(st.none() | long),
        "a": draw(number),
        "b": draw(st.none() | text),
        "c": draw(st.floats()),
        "d": draw(st.booleans()),
        "e": draw(st.none() | text),
        "f": draw(st.binary(max_size=9)),
        "g": draw(st.none() | st.booleans()),
        "h": draw(real),
        "i": draw(st.none() | st.floats()),
        "j": draw(st.none() | number),
        "tags": draw(st.lists(text, max_size=3)),
        "labels": draw(st.dictionaries(text, text, max_size=2)),
    }


def mutate(datum, changes):
    data = bytearray(datum)
    for how, at, value in changes:
        at %= len(data) + 1
        if how == "set" and at < len(data):
            data[at] = value
        elif how == "insert":
            data.insert(at, value)
        elif how == "cut":
            del data[at : at + value % 4]
        elif how == "long form" and at < len(data) and data[at] < 0x80:
            data[at : at + 1] = bytes([data[at] | 0x80, *[0x80] * (value % 8), 0])
    return bytes(data)


changes = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "cut", "long form"]),
        st.integers(0, 400),
        st.integers(0, 255) | st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]),
    ),
    max_size=3,
)


@pytest.mark.parametrize("schema_id", [0, 1, 2])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_numpy_way_agrees_with_the_exact_way(schema_id, data):
    schema = SCHEMAS[schema_id]
    records = data.draw(st.lists(st.tuples(samples(), changes), max_size=6))
    given_batch = batch([mutate(write(schema, record), each) for record, each in records], schema_id)

    assert by_numpy(schema, given_batch)[:2] == exactly(schema, given_batch)


@pytest.mark.parametrize("schema_id", [0, 1, 2, 3, 4, 5])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_block_way_agrees_with_the_exact_way(schema_id, data):
    schema = SCHEMAS[schema_id]
    records = data.draw(st.lists(st.tuples(samples(narrow=schema_id == 5), changes), max_size=3))
    given_batch = batch([mutate(write(schema, record), each) for record, each in records], schema_id)

    assert by_block(schema, given_batch)[:2] == exactly(schema, given_batch)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_batch_of_mixed_schemas_and_bytes_is_decoded_as_one_by_one(data):
    ids = data.draw(st.lists(st.sampled_from([*SCHEMAS, 99]), min_size=1, max_size=5))
    chosen = [(schema_id, data.draw(samples(narrow=schema_id == 5)), data.draw(changes)) for schema_id in ids]
    chosen *= data.draw(st.sampled_from([1, FEW + 1]))
    datums = [mutate(write(SCHEMAS.get(each, V1), record), change) for each, record, change in chosen]
    whole = batch(datums)
    whole = RawBatch(whole.buffer, whole.start, whole.end, np.array([each for each, *_ in chosen], np.int32))

    decoder = SampleDecoder(SCHEMAS.get)
    rows, bad = facts(decoder.decode(whole), decoder)

    alone = [SampleDecoder(SCHEMAS.get) for _ in datums]
    singles = [
        facts(each.decode(batch([datum], schema_id)), each)
        for each, datum, (schema_id, *_) in zip(alone, datums, chosen, strict=True)
    ]
    assert rows == [(at, *one[0][1:]) for at, (one, _) in enumerate(singles) if one]
    assert bad == [(at, one[0][1]) for at, (_, one) in enumerate(singles) if one]


def record(**changes):
    return {
        "collector_id": "c1",
        "seq": 7,
        "host": "h1",
        "run_id": "r1",
        "zone": "DEU",
        "start": 1_700_000_000_000_000,
        "end": 1_700_000_001_000_000,
        "kind": [1, 2],
        "method": [1, 4],
        "energy_uj": [65_000_000, 2**53 - 1],
        "device": ["cpu:0", "gpu:0"],
        "utilization": [0.5, math.nan],
        "temperature_c": [44.5, math.nan],
        "memory_bytes": [-1, 80 * 2**30],
        "flags": [],
        "cpu_time_us": 11,
        "disk_read_bytes": 12,
        "disk_write_bytes": 13,
        "network_rx_bytes": 14,
        "network_tx_bytes": -1,
        "water_ul": 15,
        "rack": "r7",
        "fan_rpm": 1200,
    } | changes


def test_columns_hold_the_record():
    decoder = SampleDecoder(SCHEMAS.get)

    found = decoder.decode(batch([write(V1, record())]))

    assert decoder.series == [Series("c1", "h1", "r1", "DEU")]
    assert decoder.layouts[found.layout[0]] == ("cpu:0", "gpu:0")
    assert (found.seq[0], found.start_us[0], found.end_us[0]) == (7, 1_700_000_000_000_000, 1_700_000_001_000_000)
    assert (found.kind.tolist(), found.method.tolist()) == ([1, 2], [1, 4])
    assert found.energy_uj.tolist() == [65_000_000, 2**53 - 1]
    assert found.memory_bytes.tolist() == [-1, 80 * 2**30]
    assert found.utilization[0] == 0.5
    assert np.isnan(found.temperature_c[1])
    assert [getattr(found, name)[0] for name in LONGS] == [11, 12, 13, 14, -1, 15]
    assert (found.offset.tolist(), found.bad, found.uneven.tolist()) == ([0, 2], [], [False])


COLUMNS = {
    **dict.fromkeys(("utilization", "temperature_c"), np.float32),
    **dict.fromkeys(("kind", "method", "energy_uj", "memory_bytes", "offset", "index", "series", "layout"), np.int64),
    **dict.fromkeys(("seq", "start_us", "end_us", *LONGS), np.int64),
    "uneven": np.bool_,
}


@pytest.mark.parametrize("copies", [0, 1, 100])
@pytest.mark.parametrize("schema_id", [0, 2, 4, 6, 99])
def test_columns_have_their_types_by_every_way(schema_id, copies):
    full = record(a=1, b=None, c=1.0, d=True, e=None, f=b"", g=None, h=1.0, i=None, j=None, labels={})
    datums = [write(SCHEMAS.get(schema_id, V1), full)] * copies

    found = SampleDecoder(SCHEMAS.get).decode(batch(datums, schema_id))

    assert {name: getattr(found, name).dtype for name in COLUMNS} == COLUMNS


def test_old_and_new_writers_decode_in_one_batch():
    datums = [write(V1, record(seq=0)), write(APPENDED, record(seq=1))] * 50
    one = batch(datums)
    mixed = RawBatch(one.buffer, one.start, one.end, np.array([0, 1] * 50, np.int32))

    found = SampleDecoder(SCHEMAS.get).decode(mixed)

    assert found.seq.tolist() == [0, 1] * 50
    assert found.index.tolist() == list(range(100))
    assert found.energy_uj.tolist() == [65_000_000, 2**53 - 1] * 100


@pytest.mark.parametrize("schema_id", [0, 1])
def test_plain_samples_all_go_the_numpy_way(schema_id):
    schema = SCHEMAS[schema_id]
    devices = [1, 11, 2, 64]
    plain = record(energy_uj=[65_000_000, 2**48 - 1])
    datums = [
        write(
            schema,
            record(
                run_id=None if number % 3 else "r" * 60,
                flags=["gap", "counter_reset"] if number % 5 == 0 else [],
                **{name: (plain[name] * 32)[: devices[number % 4]] for name in (*READINGS, "device")},
            ),
        )
        for number in range(200)
    ]

    assert by_numpy(schema, batch(datums))[2] == []


@pytest.mark.parametrize("schema_id", [3, 4, 5])
def test_plain_samples_of_other_shapes_all_go_the_block_way(schema_id):
    schema = SCHEMAS[schema_id]
    datums = [write(schema, record(tags=["a"], energy_uj=[1, 2], flags=["gap"])) for _ in range(20)]

    assert plan(schema) is None
    assert by_block(schema, batch(datums))[2] == []


def test_codes_stay_between_batches():
    decoder = SampleDecoder(SCHEMAS.get)
    many = [write(V1, record(host=f"h{number % 50}", device=["a", f"b{number % 9}"])) for number in range(2000)]
    first = decoder.decode(batch(many))

    second = decoder.decode(batch(many[::-1]))
    third = decoder.decode(batch(many[:5]))

    assert second.series.tolist() == first.series.tolist()[::-1]
    assert second.layout.tolist() == first.layout.tolist()[::-1]
    assert third.series.tolist() == first.series.tolist()[:5]
    assert (len(decoder.series), len(set(decoder.layouts))) == (50, 10)


def test_every_id_of_many_gets_its_own_code():
    decoder = SampleDecoder(SCHEMAS.get)
    many = [write(V1, record(collector_id=f"c{number:x}", run_id=f"r{number}")) for number in range(3000)]

    found = decoder.decode(batch(many))

    assert [decoder.series[code].run_id for code in found.series] == [f"r{number}" for number in range(3000)]


def test_ids_that_differ_in_nothing_but_zeros_differ():
    decoder = SampleDecoder(SCHEMAS.get)
    hosts = ["a", "a\0", "a\0\0", "", "\0"] * 10

    found = decoder.decode(batch([write(V1, record(host=host)) for host in hosts]))

    assert [decoder.series[code].host for code in found.series] == hosts


@pytest.mark.parametrize("copies", [1, 40])
@pytest.mark.parametrize(
    ("schema_id", "datum", "reason"),
    [
        (0, b"", "undecodable"),
        (0, write(V1, record())[:-1], "undecodable"),
        (0, write(V1, record()) + b"\0", "trailing_bytes"),
        (0, write(V1, record(host="\x7f")).replace(b"\x02\x7f", b"\x02\xff"), "undecodable"),
        (0, write(V1, record(device=["\x7f", "b"])).replace(b"\x02\x7f", b"\x02\xff"), "undecodable"),
        (0, write(V1, record(flags=["\x7f"])).replace(b"\x02\x7f", b"\x02\xff"), "undecodable"),
        (1, write(APPENDED, record(rack="\x7f")).replace(b"\x02\x7f", b"\x02\xff"), "undecodable"),
        (0, write(V1, record(host="x" * (1 << 20))), "too_large"),
        (0, write(V1, record(flags=["x"] * 5, kind=[1] * 1025)), "too_large"),
        (99, write(V1, record()), "unknown_schema"),
        (98, write(V1, record()), "undecodable"),
        (97, write(V1, record()), "undecodable"),
        (96, write(V1, record()), "undecodable"),
    ],
    ids=[
        *("empty", "short", "long", "host", "device", "flag", "rack", "large", "many", "unknown"),
        *("other topic", "unsafe schema", "lacks a field"),
    ],
)
def test_record_that_cannot_be_read_is_listed_with_its_reason(schema_id, datum, reason, copies):
    known = SCHEMAS | {
        98: codec.schema("alert"),
        97: evolved((3, "tags", {"type": "array", "items": "null"}, [])),
        96: evolved(drop=("zone",)),
    }
    fine = write(V1, record())
    whole = batch([fine, *[datum] * copies, fine])
    ids = np.array([0, *[schema_id] * copies, 0], np.int32)

    found = SampleDecoder(known.get).decode(RawBatch(whole.buffer, whole.start, whole.end, ids))

    assert found.bad == [(at, reason) for at in range(1, copies + 1)]
    assert found.index.tolist() == [0, copies + 1]


@pytest.mark.parametrize("name", [*READINGS, "device"])
def test_arrays_of_different_length_are_uneven(name):
    decoder = SampleDecoder(SCHEMAS.get)

    found = decoder.decode(batch([write(V1, record()), write(V1, record(**{name: record()[name][:1]}))] * 20))

    assert found.uneven.tolist() == [False, True] * 20
    assert np.diff(found.offset).tolist() == [2, 0] * 20
    assert {decoder.layouts[code] for code in found.layout[1::2]} == {()}


def test_sample_without_readings_is_uneven():
    nothing = {name: [] for name in (*READINGS, "device")}

    assert SampleDecoder(SCHEMAS.get).decode(batch([write(V1, record(**nothing))])).uneven.tolist() == [True]


def test_datums_may_lie_apart_and_in_any_order():
    one, two = write(V1, record(seq=1)), write(V1, record(seq=2))
    buffer = b"\xff" * 7 + two + b"\xff" * 9 + one
    start = np.array([len(buffer) - len(one), 7] * 10)
    given_batch = RawBatch(buffer, start, start + np.array([len(one), len(two)] * 10), np.zeros(20, np.int32))

    assert SampleDecoder(SCHEMAS.get).decode(given_batch).seq.tolist() == [1, 2] * 10


def test_schema_that_becomes_known_is_used():
    known = {}
    decoder = SampleDecoder(known.get)
    one = batch([write(APPENDED, record())], 1)
    before = decoder.decode(one)
    known[1] = APPENDED

    assert (before.bad, decoder.decode(one).seq.tolist()) == ([(0, "unknown_schema")], [7])


@pytest.mark.parametrize(
    ("schema", "readable"),
    [(each, True) for each in SCHEMAS.values()]
    + [
        (codec.schema("alert"), False),
        (evolved(drop=("host",)), False),
        (evolved((2, "host", "bytes", ""), drop=("host",)), False),
        (evolved((1, "seq", "double", 0), drop=("seq",)), False),
        (evolved((3, "run_id", "string", ""), drop=("run_id",)), True),
        (evolved((3, "run_id", ["null", "string", "int"], None), drop=("run_id",)), False),
        ({"type": "string"}, False),
        ({"type": "record", "name": "sample"}, False),
    ],
)
def test_writer_resolves_if_every_field_is_there_or_has_a_default(schema, readable):
    assert resolves(schema) is readable


def test_joining_nothing_gives_nothing():
    found = join([])

    assert isinstance(found, Decoded)
    assert (len(found.index), found.offset.tolist(), found.bad) == (0, [0], [])

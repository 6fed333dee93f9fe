"""Records, datums, frames and container files: what is written comes back, and hostile bytes are only an error."""

import dataclasses
import io
import json
import math
import tracemalloc

import fastavro
import pytest

from kappawatt.errors import WireError
from kappawatt.wire import codec
from kappawatt.wire.codes import DeviceKind, Method
from kappawatt.wire.records import Alert, DeadLetter, Hardware, Intensity, RunEvent, Sample

SAMPLE = Sample(
    collector_id="c1",
    seq=3,
    host="h7",
    run_id="r1",
    zone="DEU",
    start=1_700_000_000_000_000,
    end=1_700_000_001_000_000,
    kind=(1, 2),
    method=(1, 3),
    energy_uj=(65_000_000, 2**53 - 1),
    device=("cpu:0", "gpu:0"),
    utilization=(0.5, 1.0),
    temperature_c=(44.0, -3.5),
    memory_bytes=(-1, 80 * 2**30),
    flags=("gap",),
)
RECORDS = {
    "sample": SAMPLE,
    "intensity": Intensity(
        zone="DE",
        valid_from=0,
        valid_to=300_000_000,
        intensity_g_per_kwh=381.5,
        kind="actual",
        signal="average",
        provider="p",
        dataset="d1",
        revision=2,
        published_at=7,
        price_per_kwh=-0.1,
        currency="EUR",
    ),
    "run_event": RunEvent(
        event_id="e1",
        run_id="r1",
        type="start",
        at=5,
        rank=0,
        metrics={"loss": 0.25},
        pue=1.2,
        hardware=(Hardware(device="gpu:0", kind=2, model="H200", tdp_w=700.0),),
        budget_energy_uj=10**15,
        labels={"name": "über"},
    ),
    "dead_letter": DeadLetter(
        source="sample/3", position="17", verdict="dead", reason="undecodable", schema_id=4, payload=b"\0\xff"
    ),
    "alert": Alert(
        alert_id="run:r1/water_l/0.8/e1",
        at=9,
        run_id="r1",
        scope="run:r1",
        budget="water_l",
        threshold=0.8,
        used=80.5,
        limit_value=100.0,
        budget_version="e1",
    ),
}
LONG = {"type": "record", "name": "r", "fields": [{"name": "x", "type": "long"}]}


def of(kind, **more):
    return {"type": "record", "name": "r", "fields": [{"name": "x", "type": kind}], **more}


@pytest.mark.parametrize("topic", codec.TOPICS)
def test_record_comes_back_as_it_was(topic):
    record = RECORDS[topic]

    datum = codec.encode(topic, record.to_avro())

    assert type(record).from_avro(codec.decode_one(codec.schema(topic), datum)) == record


@pytest.mark.parametrize("topic", codec.TOPICS)
def test_reader_agrees_with_fastavro(topic):
    datum = codec.encode(topic, RECORDS[topic].to_avro())
    without_times = fastavro.parse_schema(json.loads(codec.canonical(codec.schema(topic))))

    expected = fastavro.schemaless_reader(io.BytesIO(datum), without_times)

    assert codec.decode_one(codec.schema(topic), datum) == expected


@pytest.mark.parametrize("topic", codec.TOPICS)
def test_dataclass_has_the_fields_and_defaults_of_the_schema(topic):
    bare = {}
    for field in codec.schema(topic)["fields"]:
        if "default" in field:
            bare[field["name"]] = field["default"]
    defaults = {
        each.name: each.default_factory() if each.default is dataclasses.MISSING else each.default
        for each in dataclasses.fields(RECORDS[topic])
        if not (each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING)
    }
    defaults = {name: [] if value == () else value for name, value in defaults.items()}

    assert [each.name for each in dataclasses.fields(RECORDS[topic])] == list(RECORDS[topic].to_avro())
    assert [each["name"] for each in codec.schema(topic)["fields"]] == list(RECORDS[topic].to_avro())
    assert {name: value for name, value in defaults.items() if name not in ("run_id", "flags")} == {
        name: value for name, value in bare.items() if name not in ("run_id", "flags")
    }


def test_every_field_of_every_schema_is_documented():
    def undocumented(node):
        if isinstance(node, list):
            return [name for each in node for name in undocumented(each)]
        if not isinstance(node, dict):
            return []
        own = [each["name"] for each in node.get("fields", ()) if not each.get("doc")]
        inner = [name for each in node.get("fields", ()) for name in undocumented(each["type"])]
        return own + inner + undocumented(node.get("items")) + undocumented(node.get("type"))

    assert [undocumented(codec.schema(topic)) for topic in codec.TOPICS] == [[]] * 5


@pytest.mark.parametrize(("field", "codes"), [("kind", DeviceKind), ("method", Method)])
def test_codes_in_the_schema_are_those_of_the_enum(field, codes):
    doc = next(each["doc"] for each in codec.schema("sample")["fields"] if each["name"] == field)

    assert all(f"{code.value} {code.name.lower()}" in doc for code in codes)


def test_nan_stays_nan():
    record = dataclasses.replace(SAMPLE, utilization=(math.nan, 0.25)).to_avro()

    found = codec.decode_one(codec.schema("sample"), codec.encode("sample", record))["utilization"]

    assert math.isnan(found[0])
    assert found[1] == 0.25


def test_fields_with_a_default_may_be_left_out():
    record = {name: value for name, value in SAMPLE.to_avro().items() if name not in ("run_id", "water_ul")}

    found = codec.decode_one(codec.schema("sample"), codec.encode("sample", record))

    assert (found["run_id"], found["water_ul"]) == (None, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 2**63},
        {"seq": 1.5},
        {"seq": "1"},
        {"kind": [2**31]},
        {"kind": None},
        {"energy_uj": [1.5]},
        {"host": None},
        {"host": "\ud800"},
        {"run_id": 3},
        {"unheard_of": 1},
    ],
    ids=str,
)
def test_record_that_does_not_fit_is_refused(change):
    with pytest.raises(WireError, match="topic 'sample'"):
        codec.encode("sample", SAMPLE.to_avro() | change)


def test_unknown_topic_is_refused_with_the_known_ones():
    with pytest.raises(WireError, match="sample, intensity"):
        codec.schema("samples")


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("long", b""),
        ("long", b"\x80"),
        ("long", b"\xff" * 9 + b"\x7f"),
        ("long", b"\x80" * 10 + b"\x01"),
        ("int", b"\xff\xff\xff\xff\x7f"),
        ("boolean", b"\x05"),
        ("float", b"abc"),
        ("double", b"1234567"),
        ("string", b"\x01abc"),
        ("string", b"\x04\xff\xff"),
        ("string", b"\x06\xed\xa0\x80"),
        ("string", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01abc"),
        (["null", "string"], b"\x01\x02a"),
        (["null", "string"], b"\x04\x02a"),
        ({"type": "array", "items": "int"}, b"\x80\x80\x80\x80\x80\x80\x01\x02"),
        ({"type": "array", "items": "int"}, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x00\x00"),
        ({"type": "array", "items": "int"}, b"\x03\x7f\x02\x04\x00"),
        ({"type": "map", "values": "int"}, b"\x80\x80\x80\x80\x80\x80\x80\x80\x10\x02a"),
        ({"type": "enum", "name": "e", "symbols": ["a"]}, b"\x02"),
    ],
    ids=str,
)
def test_bytes_against_the_specification_are_refused(kind, raw):
    with pytest.raises(WireError):
        codec.decode_one(of(kind), raw)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("long", b"\xff" * 9 + b"\x01", -(2**63)),
        ("long", b"\xfe" + b"\xff" * 8 + b"\x01", 2**63 - 1),
        ("long", b"\x80\x00", 0),
        ({"type": "array", "items": "int"}, b"\x03\x04\x02\x04\x02\x06\x00", [1, 2, 3]),
        ({"type": "map", "values": "int"}, b"\x02\x02a\x02\x00", {"a": 1}),
        ({"type": "enum", "name": "e", "symbols": ["a", "b"]}, b"\x02", "b"),
        ({"type": "fixed", "name": "f", "size": 2}, b"ab", b"ab"),
    ],
    ids=str,
)
def test_unusual_bytes_that_the_specification_allows_are_read(kind, raw, value):
    assert codec.decode_one(of(kind), raw) == {"x": value}


def test_bytes_behind_the_record_are_refused():
    with pytest.raises(codec.TrailingBytesError):
        codec.decode_one(LONG, b"\x02\x02")


def test_huge_counts_take_no_memory():
    hostile = b"\x80\x80\x80\x80\x80\x80\x80\x01" + b"\x02" * 1000
    tracemalloc.start()
    with pytest.raises(WireError):
        codec.decode_one(of({"type": "array", "items": "long"}), hostile)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1 << 20


NESTED = {"type": "record", "name": "n", "fields": [{"name": "down", "type": ["null", "n"]}]}
EMPTY = {"type": "record", "name": "e", "fields": []}


@pytest.mark.parametrize(
    "schema",
    [
        of(NESTED),
        NESTED,
        of({"type": "array", "items": "null"}),
        of({"type": "array", "items": EMPTY}),
        of({"type": "map", "values": {"type": "fixed", "name": "f", "size": 0}}),
        of("unheard_of"),
        of({"type": "strange"}),
        of([]),
        of(7),
        {"type": "record", "name": "r", "fields": [{"name": "x"}]},
        {"type": "record", "name": "r", "fields": [7]},
    ],
    ids=str,
)
def test_schema_that_cannot_be_read_safely_is_refused(schema):
    with pytest.raises(WireError):
        codec.decode_one(schema, b"\x02\x02")


def test_deep_schema_is_refused():
    schema = "long"
    for _ in range(100):
        schema = {"type": "array", "items": schema}

    with pytest.raises(WireError, match="deeper"):
        codec.decode_one(of(schema), b"\x00")


def test_type_named_once_can_be_used_again():
    schema = {
        "type": "record",
        "name": "r",
        "namespace": "n",
        "fields": [
            {"name": "a", "type": {"type": "fixed", "name": "f", "size": 1}},
            {"name": "b", "type": "f"},
            {"name": "c", "type": "n.f"},
        ],
    }

    assert codec.decode_one(schema, b"xyz") == {"a": b"x", "b": b"y", "c": b"z"}


def test_frame_and_back():
    assert codec.unframe(codec.frame(258, b"datum")) == (258, b"datum")


@pytest.mark.parametrize("message", [b"", b"\0\0\0\0", b"\x01\0\0\0\x07x"], ids=str)
def test_message_without_frame_is_refused(message):
    with pytest.raises(WireError):
        codec.unframe(message)


SYNC = bytes(range(16))


def test_container_file_is_read_by_fastavro():
    datum = codec.encode("sample", SAMPLE.to_avro())
    whole = codec.container_header("sample", SYNC) + codec.container_block(2, datum * 2, SYNC)

    assert [each["seq"] for each in fastavro.reader(io.BytesIO(whole))] == [3, 3]


def test_header_says_schema_sync_and_size():
    head = codec.container_header("intensity", SYNC)

    found = codec.read_header(head + b"blocks")

    assert found == codec.Header(codec.schema("intensity"), SYNC, len(head))


def test_torn_header_is_not_yet_there():
    head = codec.container_header("alert", SYNC)

    assert {codec.read_header(head[:size]) for size in range(len(head))} == {None}


def test_header_of_another_tool_is_read():
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(codec.schema("run_event")), [RECORDS["run_event"].to_avro()])

    assert codec.read_header(out.getvalue()).schema == codec.schema("run_event")


def written(schema, compression="null"):
    out = io.BytesIO()
    fastavro.writer(out, schema, [], codec=compression)
    return out.getvalue()


def test_header_with_a_registered_schema_is_read():
    assert codec.read_header(written(LONG), known=[LONG]).schema == LONG


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PAR1....", "no Avro container"),
        (written(LONG), "not known"),
        (written(codec.schema("sample"), "deflate"), "compressed"),
        (b"Obj\x01\x02\x16avro.schema\x06{x}\x00" + SYNC, "cannot be read"),
        (b"Obj\x01\x02\x16avro.schema\x8e\x9c\x01" + b"[" * 9991 + b"\x00" + SYNC, "cannot be read"),
        (b"Obj\x01\x02\x04\xff\xff\x00\x00" + SYNC, "UTF-8"),
        (b"Obj\x01\x01\x01\x00" + SYNC, "block"),
    ],
    ids=["magic", "unknown schema", "compressed", "not json", "deep json", "key", "block"],
)
def test_header_that_is_not_ours_is_refused(data, says):
    with pytest.raises(WireError, match=says):
        codec.read_header(data)


def test_block_of_many_records_is_split():
    one = codec.encode("sample", SAMPLE.to_avro())
    two = codec.encode("sample", SAMPLE.to_avro() | {"host": "a longer name", "seq": 4})

    found = list(codec.decode_many(codec.schema("sample"), one + two, 2))

    assert [(record["seq"], start, end) for record, start, end in found] == [
        (3, 0, len(one)),
        (4, len(one), len(one) + len(two)),
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_block_with_another_count_is_refused(count):
    one = codec.encode("sample", SAMPLE.to_avro())

    with pytest.raises(WireError):
        list(codec.decode_many(codec.schema("sample"), one * 2, count))


def test_same_schema_in_other_words_is_the_same():
    wordy = {"namespace": "kappawatt", "fields": [{"doc": "d", "type": {"type": "long"}, "name": "x"}]}
    plain = {"type": "record", "name": "kappawatt.r", "fields": [{"name": "x", "type": "long", "default": 3}]}

    assert codec.canonical(wordy | {"type": "record", "name": "r"}) == codec.canonical(plain)

"""Schemas of a registry that want to hurt the decoder: messages of such a writer are listed, nothing else happens."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kappawatt.wire import codec
from kappawatt.wire.resolution import TopicReader
from tests.hostile import corpus
from tests.hostile.cage import caged
from tests.oracle.records import event
from tests.oracle.write_log import encode, long_bytes, schema_of

CPU_S = 5.0
GROWN_MB = 128
MESSAGES = 40


def with_field(kind: Any, default: Any = None, topic: str = "sample") -> dict[str, Any]:
    """The topic's schema with one more field at its end: what a registry takes as a compatible version."""
    schema = copy.deepcopy(codec.schema(topic))
    schema["fields"].append({"name": "extra", "type": kind, "default": default})
    return schema


def with_type(name: str, kind: Any) -> dict[str, Any]:
    schema = copy.deepcopy(codec.schema("sample"))
    (field,) = (each for each in schema["fields"] if each["name"] == name)
    field["type"] = kind
    return schema


def wrapped(depth: int) -> Any:
    kind: Any = "long"
    for _ in range(depth):
        kind = {"type": kind}
    return kind


SELF = {"type": "array", "items": "kappawatt.sample"}
MANY = {"type": "record", "name": "sample", "fields": [{"name": f"f{n}", "type": "long"} for n in range(50_000)]}
SCHEMAS: dict[str, Any] = {
    "recursive": with_field(SELF, []),
    "only itself": corpus.RECURSIVE,
    "an array of nulls": with_field({"type": "array", "items": "null"}, []),
    "a map of nothing in an array": with_field(
        {"type": "array", "items": {"type": "fixed", "name": "z", "size": 0}}, []
    ),
    "records of records of nothing": with_field(corpus.LAUGHS),
    "an array of things of nothing and a byte": with_field(
        {
            "type": "array",
            "items": {
                "type": "record",
                "name": "r",
                "fields": [{"name": "b", "type": "boolean"}]
                + [{"name": f"n{number}", "type": "null"} for number in range(1_000)],
            },
        },
        [],
    ),
    "wrapped 300 times": with_type("seq", wrapped(300)),
    "arrays 200 deep": with_field(json.loads(corpus.nested(200)), []),
    "50,000 fields": MANY,
    "fields that are no list": {"type": "record", "name": "sample", "fields": 7},
    "fields that are no objects": {"type": "record", "name": "sample", "fields": ["long", None, 3]},
    "a field without a type": {"type": "record", "name": "sample", "fields": [{"name": "seq"}]},
    "a type that is a list": {"type": ["null", "sample"], "name": "sample"},
    "no type at all": {},
    "a name that is an object": {"type": "record", "name": {}, "fields": []},
    "a fixed of 2^62 bytes": with_field({"type": "fixed", "name": "big", "size": 1 << 62}),
    "a fixed of -1 bytes": with_field({"type": "fixed", "name": "big", "size": -1}),
    "an enum of nothing": with_field({"type": "enum", "name": "e", "symbols": []}),
    "an enum of a number": with_field({"type": "enum", "name": "e", "symbols": 3}),
    "the schema of another topic": codec.schema("run_event"),
    "a zone that is a number": with_type("zone", "long"),
}


def lay_out(folder: Path, schema: Any, datums: list[bytes]) -> Path:
    (folder / "schema.json").write_text(json.dumps(schema))
    for number, datum in enumerate(datums):
        (folder / f"{number:04d}").write_bytes(datum)
    return folder


def held(found: dict[str, Any]) -> bool:
    return found["cpu_s"] < CPU_S and found["grown_mb"] < GROWN_MB


@pytest.mark.parametrize("what", SCHEMAS)
def test_messages_of_a_hostile_schema_are_listed(tmp_path: Path, what: str) -> None:
    datum = corpus.good()[0] + long_bytes(1 << 40) + bytes(100)
    lay_out(tmp_path, SCHEMAS[what], [datum] * MESSAGES)

    found = caged("decode", tmp_path)

    assert (found["records"], found["bad"]) == (0, ["undecodable"])
    assert held(found)


@pytest.mark.parametrize("what", ["recursive", "records of records of nothing", "no type at all", "50,000 fields"])
def test_control_records_of_a_hostile_schema_are_listed(tmp_path: Path, what: str) -> None:
    lay_out(tmp_path, SCHEMAS[what], [bytes(200)] * 3)

    found = caged("read_control", tmp_path, "run_event")

    assert (found["records"], found["bad"]) == (0, ["undecodable"] * 3)
    assert held(found)


def array_of(item: bytes, count: int) -> bytes:
    return long_bytes(count) + item * count + b"\0"


FULL = (1 << 20) - 2_000
BIG: dict[str, tuple[Any, bytes]] = {
    "a million booleans": ({"type": "array", "items": "boolean"}, array_of(b"\0", FULL)),
    "a million empty strings": ({"type": "array", "items": "string"}, array_of(b"\0", FULL)),
    "a million empty arrays": ({"type": "array", "items": {"type": "array", "items": "long"}}, array_of(b"\0", FULL)),
    "a million numbers": ("bytes", long_bytes(FULL) + bytes(FULL)),
}


@pytest.mark.parametrize("what", BIG)
def test_valid_messages_that_swell_are_read_in_little_memory(tmp_path: Path, what: str) -> None:
    kind, extra = BIG[what]
    lay_out(tmp_path, with_field(kind, [] if isinstance(kind, dict) else ""), [each + extra for each in corpus.good()])

    found = caged("decode", tmp_path)

    assert (found["records"], found["bad"]) == (corpus.GOOD, [])
    assert found["cpu_s"] < 4 * CPU_S
    assert found["grown_mb"] < 2 * GROWN_MB


NUMBERS = (-1, -(1 << 63), (1 << 31) - 1, 1 << 33, 1 << 40, 1 << 60, (1 << 63) - 1)


@pytest.mark.parametrize("extra", [False, True], ids=["our schema", "another schema"])
def test_counts_and_lengths_beyond_the_message_take_nothing(tmp_path: Path, extra: bool) -> None:
    kind = {"type": "array", "items": "string"}
    schema = with_field(kind, []) if extra else codec.schema("sample")
    whole = corpus.good()[0] + (b"\0" if extra else b"")
    spoilt = [whole[:at] + long_bytes(number) + whole[at + 1 :] for at in range(len(whole)) for number in NUMBERS]
    eleven = [whole[:at] + b"\xff" * 10 + b"\x01" + whole[at + 1 :] for at in range(len(whole))]
    large = [whole + bytes(10 << 20)]
    lay_out(tmp_path, schema, [whole, *spoilt, *eleven, *large, whole + b"\0", whole])

    found = caged("decode", tmp_path)

    assert found["records"] >= 2
    assert set(found["bad"]) == {"undecodable", "trailing_bytes", "too_large"}
    assert held(found)


def test_huge_control_records_are_refused_by_their_size(tmp_path: Path) -> None:
    schema = schema_of("run_event")
    labels = {f"key {number}": "x" * 30 for number in range(10_000)}
    wide = [{"device": f"gpu:{number}", "kind": 2, "model": "m" * 100} for number in range(3_000)]
    events = [
        event(type="start", labels=labels),
        event(type="start", hardware=wide),
        event(type="start", user="u" * 10_000_000),
    ]
    small = event(type="start", labels={"k\0\u202e\U0001f600": "\x1b[31m" * 100}, metrics={"loss": float("nan")})
    lay_out(tmp_path, codec.schema("run_event"), [encode(schema, each) for each in [*events, small]])

    found = caged("read_control", tmp_path, "run_event")

    assert (found["records"], found["bad"]) == (1, ["too_large"] * 3)
    assert held(found)


def test_lone_surrogate_is_undecodable(tmp_path: Path) -> None:
    whole = encode(schema_of("run_event"), event(type="start", user="ada"))
    lay_out(tmp_path, codec.schema("run_event"), [whole, whole.replace(b"ada", b"\xed\xa0\x80")])

    found = caged("read_control", tmp_path, "run_event")

    assert (found["records"], found["bad"]) == (1, ["undecodable"])


def test_record_of_another_version_has_the_fields_of_ours() -> None:
    later = with_field({"type": "array", "items": {"type": "map", "values": "long"}}, [], topic="run_event")
    later["fields"] = [each for each in later["fields"] if each["name"] not in ("labels", "user")]
    record = {**event(type="start"), "extra": [{"a": 1}]}
    datum = encode(json.loads(json.dumps(later)), record)

    found = TopicReader("run_event", {3: later}.get, max_bytes=1 << 18).read(3, datum)

    assert isinstance(found, dict)
    assert set(found) == {each["name"] for each in codec.schema("run_event")["fields"]}
    assert (found["labels"], found["user"], found["run_id"]) == ({}, None, record["run_id"])

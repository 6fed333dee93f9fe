"""Records to bytes and back: plain datums, the Confluent frame, and Avro container files.

Writing is fastavro's; reading is `reader`'s, which trusts no byte. Nothing here knows a file or a registry.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from kappawatt.errors import WireError

from .reader import Read, compile_reader
from .schemas import TOPICS, canonical, schema

__all__ = [
    "FRAME_BYTES",
    "MAX_DATUM_BYTES",
    "TOPICS",
    "Header",
    "canonical",
    "container_block",
    "container_head",
    "container_header",
    "decode_many",
    "decode_one",
    "encode",
    "frame",
    "read_header",
    "schema",
    "unframe",
]

MAX_DATUM_BYTES = 1 << 20
"""Greatest size of one datum, bytes; larger ones are `too_large`."""

FRAME_BYTES = 5
"""Size of the Confluent frame before a datum: magic 0 and a schema id of 4 bytes, big-endian."""

SYNC_BYTES = 16
"""Size of a container file's sync marker."""

_MAGIC = b"Obj\x01"
_MAX_HEADER_BYTES = 1 << 20
_read_meta = compile_reader({"type": "map", "values": "bytes"})


class Header(NamedTuple):
    """Head of a container file: the known schema it is written by, its sync marker, its size in bytes."""

    schema: dict[str, Any]
    sync: bytes
    size: int


def encode(topic: str, record: Mapping[str, Any]) -> bytes:
    """One datum by the topic's bundled schema; a field with a default may be left out.

    Raises:
        WireError: A field is unknown, missing, of another type or out of its range.
    """
    from fastavro import schemaless_writer
    from fastavro.validation import ValidationError, validate

    out = io.BytesIO()
    try:
        # the writer alone cuts 1.5 to 1 and takes an int of 40 bits
        validate(record, _writer_schema(topic), disable_tuple_notation=True)
        schemaless_writer(out, _writer_schema(topic), dict(record), strict_allow_default=True)
    except (ValidationError, ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
        found = " ".join(str(error).split())
        raise WireError(f"a record does not fit the schema of topic {topic!r}: {found}") from error
    return out.getvalue()


def decode_one(schema: Mapping[str, Any], data: bytes | memoryview) -> dict[str, Any]:
    """The one record that the bytes hold by their writer's schema; timestamps are integer µs.

    Raises:
        WireError: The bytes are not such a record (`TrailingBytesError` if more follow), or the schema is unusable.
    """
    datum = bytes(data)
    record: dict[str, Any]
    record, at = _read(_reader(schema), datum, 0)
    if at != len(datum):
        raise TrailingBytesError(f"a record ends after {at} of {len(datum)} bytes; it was written by another schema")
    return record


def decode_many(
    schema: Mapping[str, Any], data: bytes | memoryview, count: int
) -> Iterator[tuple[dict[str, Any], int, int]]:
    """The *count* records of a container block, one by one: (record, start, end), bounds in bytes within the block.

    Raises:
        WireError: The block does not hold so many records and nothing else; those before were given.
    """
    block = bytes(data)
    read = _reader(schema)
    at = 0
    for _ in range(count):
        record, end = _read(read, block, at)
        yield record, at, end
        at = end
    if at != len(block):
        raise TrailingBytesError(f"a block of {count} records ends after {at} of {len(block)} bytes")


class TrailingBytesError(WireError):
    """More bytes follow where a datum must end."""


def frame(schema_id: int, datum: bytes) -> bytes:
    """The datum as a Kafka message in the Confluent wire format.

    >>> frame(7, b"x").hex()
    '000000000778'
    """
    return b"\0" + schema_id.to_bytes(4, "big") + datum


def unframe(message: bytes | memoryview) -> tuple[int, bytes]:
    """Schema id and datum of a message in the Confluent wire format."""
    head = bytes(message[:FRAME_BYTES])
    if len(head) < FRAME_BYTES or head[0]:
        raise WireError(f"a message begins with {head.hex()!r}, not with 00 and a schema id of 4 bytes")
    return int.from_bytes(head[1:], "big"), bytes(message[FRAME_BYTES:])


def container_header(topic: str, sync: bytes) -> bytes:
    """Head of a container file of the topic, not compressed; *sync* is 16 random bytes, the file's own."""
    return container_head(json.dumps(schema(topic), separators=(",", ":"), ensure_ascii=False), sync)


def container_head(written: str, sync: bytes) -> bytes:
    """Head of a container file whose schema is *written* so in JSON."""
    if len(sync) != SYNC_BYTES:
        raise WireError(f"a sync marker has {SYNC_BYTES} bytes, not {len(sync)}")
    pairs = ((b"avro.codec", b"null"), (b"avro.schema", written.encode()))
    meta = b"".join(_sized(key) + _sized(value) for key, value in pairs)
    return _MAGIC + _varint(len(pairs)) + meta + b"\0" + sync


def container_block(count: int, payload: bytes, sync: bytes) -> bytes:
    """A block of *count* datums, back to back in *payload*."""
    return _varint(count) + _varint(len(payload)) + payload + sync


def read_header(data: bytes | memoryview, *, known: Iterable[Mapping[str, Any]] = ()) -> Header | None:
    """Head of a container file; None if the bytes end before it does.

    Args:
        data: The file from its first byte on; 1 MiB is enough.
        known: Schemas to accept beside the bundled ones, from the registry say.

    Raises:
        WireError: It is no container file, is compressed, or its schema is none of the known ones.
    """
    head = bytes(data[:_MAX_HEADER_BYTES])
    if not head.startswith(_MAGIC[: len(head)]):
        raise WireError(f"a file begins with {head[:4]!r}, not with {_MAGIC!r}; it is no Avro container file")
    try:
        meta, at = _read_meta(head, len(_MAGIC))
    except IndexError:
        if len(head) == _MAX_HEADER_BYTES:
            raise WireError(f"the head of an Avro file has more than {_MAX_HEADER_BYTES} bytes") from None
        return None
    except UnicodeDecodeError as error:
        raise WireError("the head of an Avro file has a key that is not UTF-8") from error
    if len(head) < at + SYNC_BYTES:
        return None
    codec = meta.get("avro.codec", b"null")
    if codec != b"null":
        raise WireError(f"an Avro file is compressed by {codec!r}; write it with codec null")
    return Header(_accept(meta.get("avro.schema", b""), known), head[at : at + SYNC_BYTES], at + SYNC_BYTES)


def _accept(written: bytes, known: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The known schema that *written* says in other words."""
    try:
        found = json.loads(written)
        line = canonical(found)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise WireError(f"the schema in an Avro file cannot be read: {error}") from error
    for each in (*(schema(topic) for topic in TOPICS), *known):
        if canonical(each) == line:
            compile_reader(each)
            return dict(each)
    name = found.get("name") if isinstance(found, dict) else None
    raise WireError(f"an Avro file has a schema named {name!r} that is not known; register it or convert the file")


def _read(read: Read, data: bytes, at: int) -> tuple[Any, int]:
    try:
        return read(data, at)
    except IndexError:
        raise WireError(f"the bytes end within a record, after {len(data)} bytes") from None
    except UnicodeDecodeError as error:
        raise WireError(f"a string is not UTF-8: {error.reason}") from None


_readers: dict[int, tuple[Mapping[str, Any], Read]] = {}


def _reader(schema: Mapping[str, Any]) -> Read:
    """The compiled reader of a schema object; kept with the object, so that its id cannot mean another one."""
    kept = _readers.get(id(schema))
    if kept is not None:
        return kept[1]
    try:
        read = compile_reader(schema)
    except (KeyError, TypeError, AttributeError) as error:
        raise WireError(f"a schema cannot be read: {error!r}") from error
    if len(_readers) >= 256:
        _readers.clear()
    _readers[id(schema)] = schema, read
    return read


@cache
def _writer_schema(topic: str) -> Any:
    from fastavro import parse_schema

    return parse_schema(schema(topic))


def _varint(value: int) -> bytes:
    """A number of 0 or more, as Avro writes a long."""
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _sized(raw: bytes) -> bytes:
    return _varint(len(raw)) + raw

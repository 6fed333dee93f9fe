"""Nasty container files, made from a few lines each; all of them carry what is named, and good records around it."""

import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.oracle.records import sample
from tests.oracle.write_log import SYNC, block, encode, header, long_bytes, schema_of

GOOD = 5
"""Good records before the nasty thing, and as many behind it where reading can go on."""

SCHEMA = schema_of("sample")
HEAD = header(SCHEMA)
TEXT = json.dumps(json.loads((Path(__file__).resolve().parents[2] / "avro/sample.avsc").read_text()))


def good(first: int = 0, count: int = GOOD) -> list[bytes]:
    """Datums of samples that are read, with sequence numbers from *first* on; the ledger rejects their run's name."""
    return [encode(SCHEMA, sample(seq=first + number, run_id="~hostile")) for number in range(count)]


def blocks(first: int = 0) -> bytes:
    """Good records, one a block."""
    return b"".join(block(datum) for datum in good(first))


def head(*pairs: tuple[bytes, bytes], sync: bytes = SYNC) -> bytes:
    """The head of a container file with this metadata."""
    meta = b"".join(long_bytes(len(part)) + part for pair in pairs for part in pair)
    return b"Obj\x01" + (long_bytes(len(pairs)) + meta if pairs else b"") + b"\0" + sync


def raw_block(count: int, size: int, payload: bytes = b"") -> bytes:
    """A block that says *count* and *size*, whatever is in it."""
    return long_bytes(count) + long_bytes(size) + payload + SYNC


def deflate_bomb(megabytes: int) -> bytes:
    """A raw deflate stream, a thousandth of what it inflates to; each piece is the same, so it is made at once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15)
    return piece * megabytes + end.compress(b"") + end.flush()


def compressed(codec: bytes, payload: bytes, count: int = 1) -> bytes:
    """A file that says it is compressed so."""
    return head((b"avro.codec", codec), (b"avro.schema", TEXT.encode())) + raw_block(count, len(payload), payload)


def embedded(schema: Any, payload: bytes = b"\0" * 8) -> bytes:
    """A file whose writer's schema is its own."""
    written = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    return head((b"avro.schema", written)) + raw_block(1 << 40, len(payload), payload)


def nested(depth: int) -> bytes:
    """A schema of arrays of arrays of …, as text: no JSON writer would go so deep."""
    return b'{"type":"array","items":' * depth + b'"long"' + b"}" * depth


RECURSIVE = {
    "type": "record",
    "name": "sample",
    "namespace": "kappawatt",
    "fields": [{"name": "next", "type": ["null", "kappawatt.sample"]}],
}
LAUGHS = {"type": "record", "name": "n0", "fields": [{"name": f"f{number}", "type": "null"} for number in range(10)]}
for _level in range(1, 13):
    LAUGHS = {
        "type": "record",
        "name": f"n{_level}",
        "fields": [{"name": "f0", "type": LAUGHS}]
        + [{"name": f"f{number}", "type": f"n{_level - 1}"} for number in range(1, 10)],
    }


def array_bomb(count: int) -> bytes:
    """A sample whose array `kind` says so many items and ends."""
    return good()[0][:60] + long_bytes(count)


def _inside(nasty: bytes) -> bytes:
    """The nasty block between good ones."""
    return HEAD + blocks() + nasty + blocks(first=100)


def many_small(count: int) -> bytes:
    """One block of so many datums, as small as samples can be."""
    datum = encode(SCHEMA, sample(**dict.fromkeys(("collector_id", "host", "zone"), ""), run_id="~"))
    return HEAD + raw_block(count, count * len(datum), datum * count)


def garbage(seed: int, size: int) -> bytes:
    """Random bytes behind a good head, with sync markers strewn in, whole and torn."""
    random_ = random.Random(seed)
    out = bytearray(HEAD + blocks())
    while len(out) < size:
        out += random_.randbytes(random_.randint(0, 200))
        out += SYNC[: random_.choice((16, 16, 15, 8, 1))]
    return bytes(out) + SYNC + blocks(first=100)


FILES: dict[str, tuple[Callable[[], bytes], int, set[str]]] = {
    "deflate that inflates to 4 GiB": (lambda: compressed(b"deflate", deflate_bomb(4096)), 0, {"undecodable"}),
    "deflate of 2^40 records": (lambda: compressed(b"deflate", deflate_bomb(64), 1 << 40), 0, {"undecodable"}),
    "snappy": (lambda: compressed(b"snappy", b"\xff\xff\xff\xff\x0f" + bytes(64)), 0, {"undecodable"}),
    "zstandard": (
        lambda: compressed(b"zstandard", b"\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x80" + bytes(64)),
        0,
        {"undecodable"},
    ),
    "bzip2": (lambda: compressed(b"bzip2", b"BZh9" + bytes(64)), 0, {"undecodable"}),
    "xz": (lambda: compressed(b"xz", b"\xfd7zXZ\x00" + bytes(64)), 0, {"undecodable"}),
    "a codec of a megabyte": (lambda: compressed(b"x" * 900_000, b""), 0, {"undecodable"}),
    "no metadata": (lambda: head() + blocks(), 0, {"unknown_schema"}),
    "no schema": (lambda: head((b"avro.codec", b"null")) + blocks(), 0, {"unknown_schema"}),
    "no codec": (lambda: head((b"avro.schema", TEXT.encode())) + blocks(), GOOD, set()),
    "two schemas, the last hostile": (
        lambda: head((b"avro.schema", TEXT.encode()), (b"avro.schema", json.dumps(RECURSIVE).encode())) + blocks(),
        0,
        {"undecodable", "unknown_schema"},
    ),
    "two codecs, of which the last counts": (
        lambda: head((b"avro.schema", TEXT.encode()), (b"avro.codec", b"deflate"), (b"avro.codec", b"null")) + blocks(),
        GOOD,
        set(),
    ),
    "two megabytes of metadata": (
        lambda: head(*((str(number).encode(), bytes(2_000)) for number in range(1_000))) + blocks(),
        0,
        {"undecodable"},
    ),
    "metadata of 2^40 pairs": (lambda: b"Obj\x01" + long_bytes(1 << 40) + bytes(4_000), 0, {"undecodable"}),
    "a schema 5,000 deep": (lambda: embedded(nested(5_000)), 0, {"unknown_schema"}),
    "a schema 30,000 deep": (lambda: embedded(nested(30_000)), 0, {"unknown_schema"}),
    "a recursive schema": (lambda: embedded(RECURSIVE), 0, {"unknown_schema"}),
    "an array of nulls, 2^40 of them": (
        lambda: embedded({"type": "array", "items": "null"}, long_bytes(1 << 40) + b"\0"),
        0,
        {"unknown_schema"},
    ),
    "records of records of nothing": (lambda: embedded(LAUGHS), 0, {"unknown_schema"}),
    "a schema that is a number": (lambda: embedded(b"1" * 5_000), 0, {"unknown_schema"}),
    "a schema that is no text": (lambda: embedded(b'"\xff"'), 0, {"unknown_schema"}),
    "a block of minus one records": (lambda: _inside(raw_block(-1, 4, bytes(4))), 2 * GOOD, {"undecodable"}),
    "a block of 2^62 records": (lambda: _inside(raw_block(1 << 62, 4, bytes(4))), 2 * GOOD, {"undecodable"}),
    "a block of minus 2^63 bytes": (lambda: _inside(raw_block(1, -(1 << 63), bytes(4))), 2 * GOOD, {"undecodable"}),
    "a block of 2^62 bytes": (lambda: _inside(raw_block(1, 1 << 62, bytes(4))), 2 * GOOD, {"too_large"}),
    "a block of 17 MiB": (lambda: _inside(raw_block(1, 17 << 20, bytes(17 << 20))), 2 * GOOD, {"too_large"}),
    "a count of eleven bytes": (lambda: _inside(b"\x80" * 10 + b"\x01" + bytes(9) + SYNC), 2 * GOOD, {"undecodable"}),
    "a sync marker cut short": (
        lambda: _inside(block(good()[0])[:-3]),
        2 * GOOD - 1,  # the block behind the torn marker cannot be told from what was torn
        {"undecodable"},
    ),
    "a sync marker written twice": (lambda: _inside(SYNC), 2 * GOOD, {"undecodable"}),
    "half a record": (lambda: _inside(raw_block(2, 9, bytes(9))), 2 * GOOD, {"undecodable"}),
    "a block of 200,000 tiny records": (lambda: many_small(200_000), 200_000, set()),
    "half a million empty blocks": (lambda: _inside(raw_block(0, 0) * 500_000), 2 * GOOD, set()),
}
"""By what is wrong: how to make the file, how many good records are to be found, and why the rest is not."""

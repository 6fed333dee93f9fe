"""Structure-aware mutation of samples: the three decoders must agree on whatever comes out.

`python -m tests.hostile.fuzz --seconds 600 [--seed N]` goes on as long as it is told to and says how many datums it
tried; the tests try a fixed number.
"""

import argparse
import io
import math
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import fastavro

from kappawatt.wire.columns import LONGS
from tests.oracle.write_log import long_bytes
from tests.unit.decode_kit import SCHEMAS, batch, by_block, by_numpy, exactly

BY_NUMPY, BY_BLOCK = (0, 1, 2), (0, 1, 2, 3, 4, 5)
TEXTS = ("", "a", "gpu:0", "h" * 63, "h" * 64, "rün", "\0", "𝄞" * 20, "x" * 600)
LONGS_ = (0, 1, -1, 63, 64, 2**27, 2**31 - 1, -(2**31), 2**47, 2**48, 2**53, 2**55, 2**56, 2**62, 2**63 - 1, -(2**63))
COUNTS = (0, 1, -1, 2, 3, 64, 127, 128, 1024, 1025, 1 << 20, 1 << 40, (1 << 62) + 1, -(1 << 62))
FLOATS = (0.0, -0.0, 0.5, math.nan, math.inf, -math.inf, 1e30)


class Tried(NamedTuple):
    """How many datums went through the decoders, and how many of them some way could read."""

    datums: int
    readable: int


def record(rng: random.Random, *, narrow: bool) -> dict[str, Any]:
    """A sample with fields for all schemas of the kit."""
    long = (lambda: rng.choice(LONGS_[:6])) if narrow else (lambda: rng.choice(LONGS_))
    count = rng.choice((0, 1, 2, 2, 2, 11, 70))

    def many(item: Callable[[], Any]) -> list[Any]:
        size = count if rng.random() < 0.97 else rng.randint(0, 3)
        return [item() for _ in range(size)]

    def text() -> str:
        return rng.choice(TEXTS)

    def maybe(item: Callable[[], Any]) -> Any:
        return None if rng.random() < 0.5 else item()

    def code() -> int:
        return rng.choice((0, 1, 2, 3, 63, 64, -1, -64, -65, 2**31 - 1))

    def real() -> float:
        return rng.choice(FLOATS)

    plain = {name: rng.choice(LONGS_) for name in LONGS}
    return {
        **plain,
        **{name: text() for name in ("collector_id", "host", "zone", "rack")},
        **{name: maybe(text) for name in ("run_id", "b", "e")},
        **{name: many(code) for name in ("kind", "method")},
        **{name: many(real) for name in ("utilization", "temperature_c")},
        **{name: rng.choice(LONGS_) for name in ("start", "end")},
        "seq": long(),
        "energy_uj": many(long),
        "memory_bytes": many(lambda: rng.choice(LONGS_)),
        "device": many(text),
        "flags": [text() for _ in range(rng.choice((0, 0, 0, 1, 3)))],
        "tags": [text() for _ in range(rng.choice((0, 1, 3)))],
        "fan_rpm": maybe(lambda: rng.choice(LONGS_)),
        "j": maybe(code),
        "a": code(),
        "c": real(),
        "d": rng.random() < 0.5,
        "g": maybe(lambda: rng.random() < 0.5),
        "h": real(),
        "i": maybe(real),
        "f": rng.randbytes(rng.choice((0, 3, 70))),
    }


class Pieces:
    """A writer's datums cut at their fields."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._fields = [
            (each["name"], fastavro.parse_schema({"type": "record", "name": "one", "fields": [each]}))
            for each in schema["fields"]
        ]

    def of(self, values: dict[str, Any]) -> list[bytes]:
        """The bytes of each field, in the writer's order."""
        found = []
        for name, schema in self._fields:
            out = io.BytesIO()
            fastavro.schemaless_writer(out, schema, {name: values[name]})
            found.append(out.getvalue())
        return found


def _count(piece: bytes, rng: random.Random) -> bytes:
    """Another count, length or branch before the same rest."""
    return long_bytes(rng.choice(COUNTS)) + piece[1:]


def _long_form(piece: bytes, rng: random.Random) -> bytes:
    """The first number in more bytes than it needs, up to eleven."""
    if not piece or piece[0] > 0x7F:
        return piece
    return bytes([piece[0] | 0x80, *[0x80] * rng.randint(0, 9), 0]) + piece[1:]


def _sized_block(piece: bytes, rng: random.Random) -> bytes:
    """An array's block with a negative count and a size, right or wrong."""
    if len(piece) < 2 or piece[0] > 0x7E or piece[0] & 1:
        return piece
    size = len(piece) - 2 + rng.choice((0, 0, 0, 1, -1))
    return long_bytes(-(piece[0] >> 1)) + long_bytes(size) + piece[1:]


def _two_blocks(piece: bytes, rng: random.Random) -> bytes:
    """The array twice: what follows a block is another block."""
    return piece[:-1] + piece if piece[-1:] == b"\0" else piece


def _flip(piece: bytes, rng: random.Random) -> bytes:
    if not piece:
        return piece
    at = rng.randrange(len(piece))
    return piece[:at] + bytes([piece[at] ^ (1 << rng.randrange(8))]) + piece[at + 1 :]


def _cut(piece: bytes, rng: random.Random) -> bytes:
    return piece[: rng.randint(0, len(piece))]


def _noise(piece: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 9))


def _twice(piece: bytes, rng: random.Random) -> bytes:
    return piece * 2


MUTATIONS = (_count, _long_form, _sized_block, _two_blocks, _flip, _cut, _noise, _twice)


def mutated(pieces: list[bytes], others: list[bytes], rng: random.Random) -> bytes:
    """The fields put together again, some changed, moved or taken from another record."""
    pieces = list(pieces)
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 4))):
        at = rng.randrange(len(pieces))
        how = rng.random()
        if how < 0.85:
            pieces[at] = rng.choice(MUTATIONS)(pieces[at], rng)
        elif how < 0.95:
            pieces[at] = rng.choice(others)
        else:
            to = rng.randrange(len(pieces))
            pieces[at], pieces[to] = pieces[to], pieces[at]
    return b"".join(pieces)


def try_batches(schema_id: int, seed: int, batches: int) -> Tried:
    """Hold the fast ways to the exact one over so many batches of mutated samples.

    Raises:
        AssertionError: Two ways differ; the message has the datums.
    """
    rng = random.Random(f"{schema_id} {seed}")
    schema = SCHEMAS[schema_id]
    cutter = Pieces(schema)
    datums = readable = 0
    for _ in range(batches):
        whole = [cutter.of(record(rng, narrow=schema_id == 5)) for _ in range(rng.randint(1, 12))]
        made = [mutated(each, rng.choice(whole), rng) for each in whole]
        given = batch(made, schema_id)
        wanted = exactly(schema, given)
        where = f"schema {schema_id} seed {seed}: {[each.hex() for each in made]}"
        if schema_id in BY_NUMPY:
            assert by_numpy(schema, given)[:2] == wanted, f"numpy differs, {where}"
        assert by_block(schema, given)[:2] == wanted, f"block differs, {where}"
        datums, readable = datums + len(made), readable + len(wanted[0])
    return Tried(datums, readable)


def main() -> None:
    """Try until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first one; each round takes the next")
    args = parser.parse_args()
    deadline, seed = time.monotonic() + args.seconds, args.seed
    tried = {schema_id: Tried(0, 0) for schema_id in BY_BLOCK}
    while time.monotonic() < deadline:
        for schema_id in BY_BLOCK:
            more = try_batches(schema_id, seed, 20)
            tried[schema_id] = Tried(*map(sum, zip(tried[schema_id], more, strict=True)))
        seed += 1
    for schema_id, (datums, readable) in tried.items():
        print(
            f"schema {schema_id}: {datums} datums, {readable} readable, all ways agree; seeds {args.seed} to {seed - 1}"
        )


if __name__ == "__main__":
    main()

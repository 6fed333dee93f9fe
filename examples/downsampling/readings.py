"""Readings as Avro bytes and as columns: all datums of a batch at once, the odd ones by the exact reader."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from kappawatt.errors import WireError
from kappawatt.stream.intern import Interner
from kappawatt.wire import codec
from kappawatt.wire.interning import MAX_BLOCK_BYTES, Blocks, Interned
from kappawatt.wire.reader import compile_reader
from kappawatt.wire.words import Words, close, length, split, zigzag

Ints = NDArray[np.int64]

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("reading.avsc").read_text("utf-8"))
_TEXT = compile_reader("string")
_WRITER = fastavro.parse_schema(SCHEMA)


def encode(identifier: str, timestamp_ms: int, value_w: float) -> bytes:
    """One reading as an Avro datum."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _WRITER, {"identifier": identifier, "timestamp": timestamp_ms, "value": value_w})
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Readings:
    """Columns of the readings of a batch, in its order; `meter` is a code of `Decoder.meters`."""

    index: Ints
    meter: Ints
    timestamp_ms: Ints
    value_w: NDArray[np.float64]
    dead: list[int]
    """Places in the batch of what is no reading."""


class Decoder:
    """Bytes to columns; its codes of meters stay what they are for its life."""

    def __init__(self) -> None:
        self.meters: Interner[str] = Interner()
        self._interned = Interned(self._meter, 1)

    def decode(self, buffer: bytes, start: Ints, end: Ints) -> Readings:
        """The datums `buffer[start[i]:end[i]]`."""
        if len(start) == 0:
            return Readings(start, start, start, np.empty(0), [])
        words = Words(buffer, int(end.max()))
        text, text_size, fault = _number(words, start)
        behind = np.clip(start + text_size + text, 0, words.size)  # a length that lies stays in the buffer
        timestamp, size, odd = _number(words, behind)
        at = np.minimum(behind + size, words.size)
        value = words.rows(at, 8).view("<f8")
        good = (fault | odd | (text < 0) | (at + 8 != end)) == 0
        spans = Blocks(start, np.where(good & (behind - start <= MAX_BLOCK_BYTES), behind - start, 0))
        meter = self._interned.codes(words, [spans])
        good &= meter >= 0
        kept = np.flatnonzero(good)
        fast = Readings(kept, meter[kept], timestamp[kept], value[kept], [])
        left = np.flatnonzero(~good)
        return fast if len(left) == 0 else self._exactly(fast, left, buffer, start, end)

    def _exactly(self, fast: Readings, left: Ints, buffer: bytes, start: Ints, end: Ints) -> Readings:
        """With what the columnar way does not take, one by one: what fails here is dead."""
        dead, found = [], []
        for index in left.tolist():
            try:
                record = codec.decode_one(SCHEMA, buffer[int(start[index]) : int(end[index])])
            except WireError:
                dead.append(index)
            else:
                found.append((index, self.meters.code(record["identifier"]), record["timestamp"], record["value"]))
        columns = list(zip(*found, strict=True)) or [(), (), (), ()]
        index = np.concatenate((fast.index, np.array(columns[0], np.int64)))
        order = np.argsort(index, kind="stable")
        meter, timestamp = (
            np.concatenate((kept, np.array(more, np.int64)))[order]
            for kept, more in ((fast.meter, columns[1]), (fast.timestamp_ms, columns[2]))
        )
        value = np.concatenate((fast.value_w, np.array(columns[3], np.float64)))[order]
        return Readings(index[order], meter, timestamp, value, dead)

    def _meter(self, raw: Sequence[bytes]) -> int | None:
        try:
            return self.meters.code(_TEXT(raw[0], 0)[0])
        except (WireError, UnicodeDecodeError, IndexError):
            return None


def _number(words: Words, at: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """The number that stands at each place, its bytes, and whether it is longer than eight of them."""
    word = words.at(at)
    stop, mask = split(word)
    size = length(mask).astype(np.int64)
    return zigzag(close(word & mask)), size, stop == 0

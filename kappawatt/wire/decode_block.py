"""The second way to columns: datums of one schema, back to back, are a block of an Avro file, which Polars reads.

Polars 2.1 is lenient: it takes any union branch and boolean, cuts long numbers and lets bytes lie behind the last
record. So the length that each record must have is computed again from its values, and the bytes that do not show in
lengths are looked at; a block in which anything differs is left over as a whole.
"""

import io
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException, PolarsError

from .codec import container_block, container_head
from .columns import LONGS, MAX_READINGS, READINGS, Decoded, Ints, Names, Series, join, offsets
from .plan import primitive
from .schemas import canonical, plain_type, schema

BLOCK_ROWS = 1024
"""Datums in a block: what one bad datum sends the exact way."""

_SYNC = b"kappawatt block\n"
_ITEMS = frozenset({"int", "long", "float", "double", "string", "bytes"})
_WIDTHS = {"boolean": 1, "float": 4, "double": 8}
_LIMITS = {"int": 1 << 27, "long": 1 << 62}
_PARALLEL = (*READINGS, "device")
_DTYPES = {"utilization": np.float32, "temperature_c": np.float32}


class _DiffersError(Exception):
    """The bytes are not what a plain writer makes of the values."""


class _Frame:
    """A block as Polars read it, and facts about its columns in NumPy.

    `count` holds the items of arrays and whether an optional value is there, `value` all values that are there, end to
    end, of strings and bytes their length.
    """

    def __init__(self, frame: pl.DataFrame, fields: list[tuple[str, Any]]) -> None:
        self.frame = frame
        wanted: list[pl.Expr] = []
        for name, kind in fields:
            column = pl.col(name)
            if isinstance(kind, dict):
                wanted.append(column.list.len().cast(pl.Int64).implode().alias(f"{name} count"))
                # of an empty list explode() makes a null
                column, kind = column.filter(column.list.len() > 0).explode(), plain_type(kind["items"])
            elif isinstance(kind, list):
                wanted.append(column.is_not_null().cast(pl.Int64).implode().alias(f"{name} count"))
                column, kind = column.drop_nulls(), (primitive(kind) or ("",))[0]
            measure = {"string": column.str.len_bytes(), "bytes": column.bin.size()}.get(kind, column)
            wanted.append(measure.implode().alias(f"{name} value"))
        # one question for all columns: each costs half a millisecond
        found = frame.select(wanted)
        self.count = {name: found[f"{name} count"][0].to_numpy() for name, kind in fields if not isinstance(kind, str)}
        self.value = {name: found[f"{name} value"][0].to_numpy() for name, _ in fields}


class BlockWay:
    """Decodes the datums of one writer schema that has only primitives, optional ones, and arrays of them."""

    def __init__(self, names: Names, writer: Mapping[str, Any]) -> None:
        self._names = names
        self._head = container_head(canonical(writer), _SYNC)
        self._fields = [(str(each["name"]), plain_type(each["type"])) for each in writer["fields"]]
        self._defaults = {each["name"]: each.get("default") for each in schema("sample")["fields"]}

    @classmethod
    def of(cls, names: Names, writer: Mapping[str, Any]) -> Self | None:
        """The way for that writer, None if its schema is not so plain."""
        return cls(names, writer) if all(_plain(plain_type(each["type"])) for each in writer["fields"]) else None

    def decode(self, buffer: bytes, start: Ints, end: Ints, index: Ints) -> tuple[Decoded, NDArray[np.bool_]]:
        """Columns of the blocks that can be read, and which rows are left over."""
        left = np.ones(len(start), np.bool_)
        pieces = []
        for first in range(0, len(start), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            datums = [buffer[a:b] for a, b in zip(start[rows].tolist(), end[rows].tolist(), strict=True)]
            frame = self._read(datums)
            if frame is not None:
                pieces.append(self._columns(frame, index[rows]))
                left[rows] = False
        return join(pieces), left

    def _read(self, datums: list[bytes]) -> _Frame | None:
        payload = b"".join(datums)
        block = self._head + container_block(len(datums), payload, _SYNC)
        try:
            read = pl.read_avro(io.BytesIO(block))
            _demand(read.height == len(datums))
            frame = _Frame(read, self._fields)
            self._compare(frame, payload, offsets(np.array([len(each) for each in datums])))
        except (PolarsError, PanicException, OSError, ValueError, _DiffersError):
            return None
        return frame

    def _compare(self, frame: _Frame, payload: bytes, edges: Ints) -> None:
        """Walk the values as a plain writer would have written them, over the bytes that are there."""
        raw = np.frombuffer(payload + b"\0\0", np.uint8)
        at = edges[:-1]
        for name, kind in self._fields:
            size = _size(frame.value[name], frame.count.get(name), kind, raw, at)
            at = np.minimum(at + size, len(payload))
        _demand(bool((at == edges[1:]).all()))
        for name in _PARALLEL:
            _demand(int(frame.count[name].max(initial=0)) <= MAX_READINGS)

    def _columns(self, frame: _Frame, index: Ints) -> Decoded:
        count = frame.count["kind"]
        even = count > 0
        for name in _PARALLEL:
            even &= frame.count[name] == count
        readings: dict[str, Any] = {
            name: frame.value[name][np.repeat(even, frame.count[name])].astype(_DTYPES.get(name, np.int64))
            for name in READINGS
        }
        longs: dict[str, Any] = {name: self._long(frame, name) for name in ("seq", *LONGS)}
        devices = zip(frame.frame["device"].to_list(), even.tolist(), strict=True)
        return Decoded(
            **readings,
            **longs,
            index=index,
            series=np.array(self._series(frame.frame), np.int64),
            layout=np.array([self._names.layout_code(tuple(each) if so else ()) for each, so in devices], np.int64),
            start_us=self._long(frame, "start"),
            end_us=self._long(frame, "end"),
            uneven=~even,
            offset=offsets(np.where(even, count, 0)),
        )

    def _long(self, frame: _Frame, name: str) -> Ints:
        if name not in frame.value:
            return np.full(frame.frame.height, self._defaults[name], np.int64)
        values: Ints = frame.value[name].astype(np.int64)
        return values

    def _series(self, frame: pl.DataFrame) -> list[int]:
        missing = [None] * frame.height
        names = (frame[each].to_list() if each in frame.columns else missing for each in Series._fields)
        return [self._names.series_code(Series(*each)) for each in zip(*names, strict=True)]


def _plain(kind: Any) -> bool:
    if isinstance(kind, dict):
        items = plain_type(kind.get("items"))
        return kind.get("type") == "array" and isinstance(items, str) and items in _ITEMS
    return primitive(kind) is not None


def _demand(fact: bool) -> None:
    if not fact:
        raise _DiffersError


def _size(value: NDArray[Any], count: Ints | None, kind: Any, raw: NDArray[np.uint8], at: Ints) -> Ints:
    """Bytes that a plain writer gives each row's value, the first of them at those positions."""
    if isinstance(kind, dict) and count is not None:
        items = offsets(_sizes(value, plain_type(kind["items"])))
        edges = offsets(count)
        return items[edges[1:]] - items[edges[:-1]] + np.where(count > 0, _varint(count) + 1, 1)
    name, branch = primitive(kind) or ("", None)
    there = np.ones(len(at), np.bool_)
    size = np.zeros(len(at), np.int64)
    if count is not None and branch is not None:
        there = count > 0
        size += 1
        _demand(bool((raw[at] == np.where(there, 2 * branch, 2 * (1 - branch))).all()))
    if name == "boolean":
        _demand(bool((raw[(at + size)[there]] <= 1).all()))
    size[there] += _sizes(value, name)
    return size


def _sizes(value: NDArray[Any], name: str) -> Ints:
    """Bytes that a plain writer gives values of a primitive type; of strings and bytes, *value* is the length."""
    if name in _WIDTHS:
        return np.full(len(value), _WIDTHS[name], np.int64)
    number = value.astype(np.int64)
    if name in _LIMITS:
        # numbers that need the longest form may be cut ones
        _demand(bool(((number >= -_LIMITS[name]) & (number < _LIMITS[name])).all()))
        return _varint(number)
    return number + _varint(number)


def _varint(number: Ints) -> Ints:
    """Bytes of the shortest zigzag varint of each number."""
    value = ((number << 1) ^ (number >> 63)).view(np.uint64)
    edges = np.array([1 << 7 * size for size in range(1, 10)], np.uint64)
    return np.searchsorted(edges, value, side="right").astype(np.int64) + 1

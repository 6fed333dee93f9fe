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

BLOCK_ROWS = 512
"""Datums in a block: what one bad datum sends the exact way."""

_SYNC = b"kappawatt block\n"
_ITEMS = frozenset({"int", "long", "float", "double", "string", "bytes"})
_WIDTHS = {"boolean": 1, "float": 4, "double": 8}
_LIMITS = {"int": 1 << 27, "long": 1 << 62}
_PARALLEL = (*READINGS, "device")


class _DiffersError(Exception):
    """The bytes are not what a plain writer makes of the values."""


class BlockWay:
    """Decodes the datums of one writer schema that has only primitives, optional ones, and arrays of them."""

    def __init__(self, names: Names, writer: Mapping[str, Any]) -> None:
        self._names = names
        self._head = container_head(canonical(writer), _SYNC)
        self._fields = [(str(each["name"]), plain_type(each["type"])) for each in writer["fields"]]
        self._reader = {each["name"]: each for each in schema("sample")["fields"]}

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

    def _read(self, datums: list[bytes]) -> pl.DataFrame | None:
        payload = b"".join(datums)
        block = self._head + container_block(len(datums), payload, _SYNC)
        try:
            frame = pl.read_avro(io.BytesIO(block))
            if frame.height == len(datums):
                self._compare(frame, payload, np.array([len(each) for each in datums]))
                return frame
        except (PolarsError, PanicException, OSError, ValueError, _DiffersError):
            return None
        return None

    def _compare(self, frame: pl.DataFrame, payload: bytes, sizes: Ints) -> None:
        """Walk the values as a plain writer would have written them, over the bytes that are there."""
        raw = np.frombuffer(payload + b"\0", np.uint8)
        at = offsets(sizes)[:-1]
        for name, kind in self._fields:
            at = np.minimum(at + _size(frame[name], kind, raw, at), len(payload))
        _demand(bool((at == offsets(sizes)[1:]).all()))
        for name in _PARALLEL:
            _demand(bool((frame[name].list.len() <= MAX_READINGS).all()))

    def _columns(self, frame: pl.DataFrame, index: Ints) -> Decoded:
        arrays = {name: frame[name] for name in _PARALLEL}
        counts = {name: each.list.len().to_numpy().astype(np.int64) for name, each in arrays.items()}
        even = counts["kind"] > 0
        for each in counts.values():
            even &= each == counts["kind"]
        dtypes = {"utilization": np.float32, "temperature_c": np.float32}
        readings: dict[str, Any] = {
            name: _flat(arrays[name])[np.repeat(even, counts[name])].astype(dtypes.get(name, np.int64))
            for name in READINGS
        }
        longs: dict[str, Any] = {name: self._long(frame, name) for name in ("seq", *LONGS)}
        devices = zip(arrays["device"].to_list(), even.tolist(), strict=True)
        return Decoded(
            **readings,
            **longs,
            index=index,
            series=np.array(self._series(frame), np.int64),
            layout=np.array([self._names.layout_code(tuple(each) if so else ()) for each, so in devices], np.int64),
            start_us=self._long(frame, "start"),
            end_us=self._long(frame, "end"),
            uneven=~even,
            offset=offsets(np.where(even, counts["kind"], 0)),
        )

    def _long(self, frame: pl.DataFrame, name: str) -> Ints:
        if name not in frame.columns:
            return np.full(frame.height, self._reader[name]["default"], np.int64)
        return frame[name].to_numpy().astype(np.int64)

    def _series(self, frame: pl.DataFrame) -> list[int]:
        missing = [None] * frame.height
        names = (frame[each].to_list() if each in frame.columns else missing for each in Series._fields)
        return [self._names.series_code(Series(*each)) for each in zip(*names, strict=True)]


def _plain(kind: Any) -> bool:
    if isinstance(kind, dict):
        return kind.get("type") == "array" and plain_type(kind.get("items")) in _ITEMS
    optional = primitive(kind)
    return optional is not None and optional[0] != "null"


def _demand(fact: bool) -> None:
    if not fact:
        raise _DiffersError


def _size(values: pl.Series, kind: Any, raw: NDArray[np.uint8], at: Ints) -> Ints:
    """Bytes that a plain writer gives each value, the first of them at those positions."""
    if isinstance(kind, dict):
        counts = values.list.len().to_numpy().astype(np.int64)
        items = offsets(_flat_sizes(values, plain_type(kind["items"])))
        edges = offsets(counts)
        return items[edges[1:]] - items[edges[:-1]] + np.where(counts > 0, _varint(counts) + 1, 1)
    name, present = primitive(kind) or ("", 0)
    if present is None:
        return _sizes(values, name, raw, at)
    there = values.is_not_null().to_numpy()
    _demand(bool((raw[at] == np.where(there, 2 * present, 2 * (1 - present))).all()))
    size = np.ones(len(there), np.int64)
    within = np.minimum(at + 1, len(raw) - 1)
    size[there] += _sizes(values.drop_nulls(), name, raw, within[there])
    return size


def _sizes(values: pl.Series, name: str, raw: NDArray[np.uint8] | None, at: Ints) -> Ints:
    if name == "boolean" and raw is not None:
        _demand(bool((raw[at] <= 1).all()))
    if name in _WIDTHS:
        return np.full(len(values), _WIDTHS[name], np.int64)
    if name in _LIMITS:
        number = values.to_numpy().astype(np.int64)
        # numbers that need the longest form may be cut ones
        _demand(bool(((number >= -_LIMITS[name]) & (number < _LIMITS[name])).all()))
        return _varint(number)
    length = (values.str.len_bytes() if name == "string" else values.bin.size()).to_numpy().astype(np.int64)
    return length + _varint(length)


def _flat_sizes(values: pl.Series, name: str) -> Ints:
    return _sizes(values.filter(values.list.len() > 0).explode(), name, None, np.empty(0, np.int64))


def _flat(values: pl.Series) -> NDArray[Any]:
    return values.filter(values.list.len() > 0).explode().to_numpy()


def _varint(number: Ints) -> Ints:
    """Bytes of the shortest zigzag varint of each number."""
    value = ((number << 1) ^ (number >> 63)).view(np.uint64)
    edges = np.array([1 << 7 * size for size in range(1, 10)], np.uint64)
    return np.searchsorted(edges, value, side="right").astype(np.int64) + 1

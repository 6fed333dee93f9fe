"""The exact way to columns: one record after the other, for whatever the fast ways leave over."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kappawatt.errors import WireError

from .codec import TrailingBytesError, decode_one
from .columns import LONGS, MAX_READINGS, READINGS, Decoded, Ints, Names, Series, empty, join, offsets
from .schemas import schema

_PARALLEL = (*READINGS, "device")


class RecordWay:
    """Decodes by the writer's schema, record by record; what fails here cannot be read."""

    def __init__(self, names: Names, writer: Mapping[str, Any]) -> None:
        self._names = names
        self._writer = writer
        self._defaults = {each["name"]: each["default"] for each in schema("sample")["fields"] if "default" in each}
        self._wanted = [each["name"] for each in schema("sample")["fields"] if each["name"] != "flags"]

    def decode(self, buffer: bytes, start: Ints, end: Ints, index: Ints) -> Decoded:
        """The datums between those bounds as columns, and `bad` for those that are none."""
        view = memoryview(buffer)
        good: list[tuple[int, dict[str, Any]]] = []
        bad: list[tuple[int, str]] = []
        for a, b, i in zip(start.tolist(), end.tolist(), index.tolist(), strict=True):
            try:
                found = decode_one(self._writer, view[a:b])
            except TrailingBytesError:
                bad.append((i, "trailing_bytes"))
            except WireError:
                bad.append((i, "undecodable"))
            else:
                # what is not wanted goes at once: a million of bytes can say a million of lists
                record = {name: found[name] if name in found else self._defaults[name] for name in self._wanted}
                if max(len(record[name]) for name in _PARALLEL) > MAX_READINGS:
                    bad.append((i, "too_large"))
                else:
                    good.append((i, record))
        samples = self._columns(good) if good else empty()
        samples.bad = bad
        return samples

    def _columns(self, good: list[tuple[int, dict[str, Any]]]) -> Decoded:
        records = [record for _, record in good]
        uneven = [_uneven(record) for record in records]
        even = [record for record, odd in zip(records, uneven, strict=True) if not odd]
        layouts = [() if odd else tuple(record["device"]) for record, odd in zip(records, uneven, strict=True)]
        readings: dict[str, Any] = {
            name: np.array([value for record in even for value in record[name]], _dtype(name)) for name in READINGS
        }
        longs: dict[str, Any] = {name: _ints([record[name] for record in records]) for name in ("seq", *LONGS)}
        return Decoded(
            **readings,
            **longs,
            index=_ints([i for i, _ in good]),
            series=_ints([self._names.series_code(_series(record)) for record in records]),
            layout=_ints([self._names.layout_code(each) for each in layouts]),
            start_us=_ints([record["start"] for record in records]),
            end_us=_ints([record["end"] for record in records]),
            uneven=np.array(uneven, np.bool_),
            offset=offsets(_ints([len(each) for each in layouts])),
        )


def nothing(bad: list[tuple[int, str]]) -> Decoded:
    """No samples, only records that cannot be read."""
    samples = join(())
    samples.bad = bad
    return samples


def _ints(values: list[int]) -> Ints:
    return np.array(values, np.int64)


def _dtype(name: str) -> type[np.float32] | type[np.int64]:
    return np.float32 if name in ("utilization", "temperature_c") else np.int64


def _series(record: Mapping[str, Any]) -> Series:
    return Series(record["collector_id"], record["host"], record["run_id"], record["zone"])


def _uneven(record: Mapping[str, Any]) -> bool:
    sizes = {len(record[name]) for name in _PARALLEL}
    return len(sizes) > 1 or sizes == {0}

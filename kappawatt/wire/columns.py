"""Samples as columns: what the decoder takes and gives, and the dense codes of its names."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

MAX_READINGS = 1024
"""Most readings in one sample; more are `too_large`."""


class Series(NamedTuple):
    """Whose samples these are: all samples of one collector for one run in one zone."""

    collector_id: str
    host: str
    run_id: str | None
    zone: str


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Datums as they lie in one buffer: bounds of each (frame excluded), and its writer schema, 0: the bundled one.

    A buffer with `words.PAD` bytes of anything behind its last datum is decoded without being copied.
    """

    buffer: bytes
    start: Ints
    end: Ints
    schema_id: NDArray[np.int32]


@dataclass(slots=True)
class Decoded:
    """The samples of a batch in input order; `n` of them with `m` readings in all.

    The readings of sample i are those from `offset[i]` to `offset[i + 1]`. Where the sample's arrays differ in length
    or are empty, `uneven` is true, there are no readings and the layout is the empty one, code 0.
    """

    index: Ints
    """n: position in the input batch, ascending."""
    series: Ints
    """n: code into `SampleDecoder.series`."""
    layout: Ints
    """n: code into `SampleDecoder.layouts`."""
    seq: Ints
    start_us: Ints
    end_us: Ints
    cpu_time_us: Ints
    disk_read_bytes: Ints
    disk_write_bytes: Ints
    network_rx_bytes: Ints
    network_tx_bytes: Ints
    water_ul: Ints
    uneven: NDArray[np.bool_]
    offset: Ints
    """n + 1."""
    kind: Ints
    """m, as the other readings."""
    method: Ints
    energy_uj: Ints
    utilization: Floats
    temperature_c: Floats
    memory_bytes: Ints
    bad: list[tuple[int, str]] = field(default_factory=list)
    """Position in the input batch and reason of each record that could not be read."""


LONGS = ("cpu_time_us", "disk_read_bytes", "disk_write_bytes", "network_rx_bytes", "network_tx_bytes", "water_ul")
READINGS = ("kind", "method", "energy_uj", "utilization", "temperature_c", "memory_bytes")
ROWS = tuple(each.name for each in fields(Decoded) if each.name not in (*READINGS, "offset", "bad"))


class Names:
    """Dense codes of series and device layouts, stable for its life."""

    def __init__(self) -> None:
        self.series: list[Series] = []
        self.layouts: list[tuple[str, ...]] = [()]
        self._series: dict[Series, int] = {}
        self._layouts: dict[tuple[str, ...], int] = {(): 0}

    def series_code(self, series: Series) -> int:
        """Code of a series, a new one if it is new."""
        code = self._series.setdefault(series, len(self.series))
        if code == len(self.series):
            self.series.append(series)
        return code

    def layout_code(self, devices: tuple[str, ...]) -> int:
        """Code of a sample's device names, a new one if they are new."""
        code = self._layouts.setdefault(devices, len(self.layouts))
        if code == len(self.layouts):
            self.layouts.append(devices)
        return code


def offsets(counts: NDArray[np.integer]) -> Ints:
    """Where each of so many items begins, and where the last ends."""
    found = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=found[1:])
    return found


def take(samples: Decoded, rows: Ints) -> Decoded:
    """Those samples, in that order; `bad` stays."""
    offset = offsets(np.diff(samples.offset)[rows])
    by_row = {name: getattr(samples, name)[rows] for name in ROWS}
    return Decoded(**by_row, **_readings(samples, rows, offset), offset=offset, bad=samples.bad)


def _readings(samples: Decoded, rows: Ints, offset: Ints) -> dict[str, Any]:
    """The readings of those samples, which will begin at *offset*."""
    if width := common_width(samples):
        return {name: getattr(samples, name).reshape(-1, width).take(rows, axis=0).ravel() for name in READINGS}
    at = np.repeat(samples.offset[rows] - offset[:-1], np.diff(offset)) + np.arange(offset[-1])
    return {name: getattr(samples, name).take(at) for name in READINGS}


def common_width(samples: Decoded) -> int:
    """How many readings every sample has, 0 if not all have as many: whole rows are faster to pick than readings."""
    count = np.diff(samples.offset)
    return int(count[0]) if len(count) and bool((count == count[0]).all()) else 0


def join(pieces: Sequence[Decoded]) -> Decoded:
    """All samples of the pieces in input order."""
    pieces = [each for each in pieces if len(each.index) or each.bad] or [empty()]
    whole = pieces[0]
    if len(pieces) > 1:
        joined = {name: np.concatenate([getattr(each, name) for each in pieces]) for name in (*ROWS, *READINGS)}
        counts = np.concatenate([np.diff(each.offset) for each in pieces])
        whole = Decoded(**joined, offset=offsets(counts), bad=[one for each in pieces for one in each.bad])
    if np.any(whole.index[1:] < whole.index[:-1]):
        whole = take(whole, np.argsort(whole.index, kind="stable"))
    return replace(whole, bad=sorted(whole.bad))


def empty() -> Decoded:
    """No samples."""
    none = np.empty(0, np.int64)
    floats: dict[str, Any] = {name: np.empty(0, np.float32) for name in ("utilization", "temperature_c")}
    columns: dict[str, Any] = {name: none for name in (*ROWS, *READINGS) if name not in (*floats, "uneven")}
    return Decoded(**columns, **floats, uneven=np.empty(0, np.bool_), offset=np.zeros(1, np.int64))

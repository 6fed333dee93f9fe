"""Readings summed by device and 5-min window, per batch (docs/semantics.md, device rows)."""

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.frames import DEVICE_COLUMNS, Columns, Device, Place
from kappawatt.ledger.pieces import energy_of, readings_of
from kappawatt.ledger.routing import WINDOW_BITS
from kappawatt.stream.intern import Interner
from kappawatt.stream.split import split
from kappawatt.stream.table import reduce_by_key
from kappawatt.units import WINDOW_5M_US
from kappawatt.wire.columns import READINGS, Decoded, common_width

Ints = NDArray[np.int64]

_MOST_BUSY = 1_000_000
"""Utilization of that much and more, either way, is unknown, as NaN is: its millionths would not fit into sums."""

_AT_ONCE = 8192
"""Readings that are summed at once: so many fit in the caches next to the processor."""

_NOTHING = {
    name: -1 if name == "memory_bytes_max" else -np.inf if name == "temperature_c_max" else 0 for name in DEVICE_COLUMNS
}
"""What a part of a sample says of all that is not energy, unless it is the first part."""


class DeviceSums:
    """Dense codes for the devices of a bucket, and their sums in a batch.

    A host names its devices in the same order in every tick, so a (place, layout) pair stands for a row of codes, and
    ticks are grouped by pair instead of readings by device.
    """

    def __init__(self, places: Interner[Place]) -> None:
        self._places = places
        self.devices: Interner[Device] = Interner()
        self._base: dict[tuple[int, int], int] = {}
        self._codes = np.empty(0, np.int64)

    def sums(self, batch: Decoded, place: Ints, layouts: list[tuple[str, ...]]) -> tuple[Ints, Columns]:
        """Keys `device << 31 | window`, ascending, and DEVICE_COLUMNS by key; *place* is each sample's place code."""
        base = self._bases(place, batch.layout, layouts)
        window = batch.start_us // WINDOW_5M_US
        crosses = (batch.end_us - 1) // WINDOW_5M_US > window
        count = np.diff(batch.offset)
        parts = [self._crossing(batch, base, np.flatnonzero(crosses))] if crosses.any() else []
        for devices in np.unique(count[~crosses]).tolist():
            chosen = np.flatnonzero((count == devices) & ~crosses)
            order = chosen[np.argsort(base[chosen] << WINDOW_BITS | window[chosen], kind="stable")]
            step = max(1, _AT_ONCE // devices)
            for first in range(0, len(order), step):
                parts.append(self._whole(batch, base, window, order[first : first + step], devices))
        keys = np.concatenate([key for key, _ in parts]) if parts else np.empty(0, np.int64)
        columns = {name: np.concatenate([values[name] for _, values in parts]) for name in DEVICE_COLUMNS if parts}
        return reduce_by_key(keys, columns, DEVICE_COLUMNS)

    def _bases(self, place: Ints, layout: Ints, layouts: list[tuple[str, ...]]) -> Ints:
        """Where each sample's row of device codes begins in `_codes`."""
        pair, back = np.unique(place << 32 | layout, return_inverse=True)
        bases = [self._row(code >> 32, code & 0xFFFFFFFF, layouts) for code in pair.tolist()]
        return np.array(bases, np.int64)[back]

    def _row(self, place: int, layout: int, layouts: list[tuple[str, ...]]) -> int:
        known = self._base.get((place, layout))
        if known is not None:
            return known
        run_id, host, _ = self._places[place]
        codes = [self.devices.code(Device(run_id, host, name)) for name in layouts[layout]]
        known = self._base[place, layout] = len(self._codes)
        self._codes = np.concatenate((self._codes, np.array(codes, np.int64)))
        return known

    def _whole(self, batch: Decoded, base: Ints, window: Ints, order: Ints, devices: int) -> tuple[Ints, Columns]:
        """Sums of samples with *devices* readings within one window: [samples, devices] matrices, added up by group."""
        group = base[order] << WINDOW_BITS | window[order]
        starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        columns = _columns(_rows(batch, order, devices))
        reducers = {"sum": np.add, "max": np.maximum}
        summed = {
            name: reducers[column.merge].reduceat(columns[name], starts, axis=0).reshape(-1).astype(column.dtype)
            for name, column in DEVICE_COLUMNS.items()
            if name != "samples"
        }
        summed["samples"] = np.repeat(np.diff(np.append(starts, len(order))), devices)
        first = order[starts]
        device = self._codes[base[first][:, None] + np.arange(devices)]
        return (device << WINDOW_BITS | window[first][:, None]).reshape(-1), summed

    def _crossing(self, batch: Decoded, base: Ints, chosen: Ints) -> tuple[Ints, Columns]:
        """Parts of readings whose sample crosses an edge; the first part carries what is not energy."""
        start, end = batch.start_us[chosen], batch.end_us[chosen]
        pieces = split(start, end, WINDOW_5M_US)
        reading, piece = readings_of(batch.offset, chosen[pieces.owner])
        sample = pieces.owner[piece]
        share = energy_of(batch, chosen, pieces, reading, piece)
        device = self._codes[base[chosen[sample]] + reading - batch.offset[chosen[sample]]]
        picked = {name: getattr(batch, name)[reading] for name in READINGS}
        begins = pieces.start[piece] == start[sample]
        columns = {name: np.where(begins, values, _NOTHING[name]) for name, values in _columns(picked).items()}
        columns |= {"energy_uj": share, "samples": begins.astype(np.int64)}
        columns["estimated_uj"] = np.where(_is_measured(picked["method"]), 0, share)
        columns["kind"] = picked["kind"]
        columns["is_gpu"] = (columns["kind"] == 2).astype(np.int64)
        return device << WINDOW_BITS | pieces.window[piece], columns


def _rows(batch: Decoded, samples: Ints, devices: int) -> Columns:
    """The readings of samples that have *devices* each: [samples, devices] matrices."""
    if common_width(batch):
        return {name: getattr(batch, name).reshape(-1, devices).take(samples, axis=0) for name in READINGS}
    at = batch.offset[samples][:, None] + np.arange(devices)
    return {name: getattr(batch, name).take(at) for name in READINGS}


def _columns(readings: Columns) -> Columns:
    """DEVICE_COLUMNS of readings that are not cut, but for `samples`, which is 1 everywhere."""
    energy, kind, utilization = readings["energy_uj"], readings["kind"], readings["utilization"]
    temperature = readings["temperature_c"].astype(np.float64)
    temperature[~np.isfinite(temperature)] = -np.inf
    known = np.abs(utilization) < _MOST_BUSY
    ppm = np.where(known, utilization, 0).astype(np.float64)
    ppm *= 1e6
    return {
        "energy_uj": energy,
        "estimated_uj": np.where(_is_measured(readings["method"]), 0, energy),
        "utilization_ppm": np.rint(ppm, out=ppm).astype(np.int64),
        "utilization_known": known.astype(np.int64),
        "temperature_c_max": temperature,
        "memory_bytes_max": readings["memory_bytes"],
        "kind": kind,
        "is_gpu": kind == 2,
    }


def _is_measured(method: Ints) -> NDArray[np.bool_]:
    return (method >= 1) & (method <= 3)

"""Readings summed by device and 5-min window, per batch (docs/semantics.md, device rows)."""

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.frames import DEVICE_COLUMNS, Columns, Device, Place
from kappawatt.ledger.pieces import readings_of
from kappawatt.ledger.routing import WINDOW_BITS
from kappawatt.stream.intern import Interner
from kappawatt.stream.split import part_before, split
from kappawatt.stream.table import reduce_by_key
from kappawatt.units import WINDOW_5M_US
from kappawatt.wire.columns import Decoded

Ints = NDArray[np.int64]

_MOST_BUSY = 1_000_000
"""Utilization of that much and more, either way, is unknown, as NaN is: its millionths would not fit into sums."""


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
            parts.append(self._whole(batch, base, window, chosen, devices))
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

    def _whole(self, batch: Decoded, base: Ints, window: Ints, chosen: Ints, devices: int) -> tuple[Ints, Columns]:
        """Sums of samples with *devices* readings within one window: [samples, devices] matrices, added up by group."""
        order = chosen[np.argsort(base[chosen] << WINDOW_BITS | window[chosen], kind="stable")]
        group = base[order] << WINDOW_BITS | window[order]
        starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        reading = batch.offset[order][:, None] + np.arange(devices)
        columns = _columns(batch, reading, batch.energy_uj[reading], np.ones_like(reading))
        reducers = {"sum": np.add, "max": np.maximum}
        summed = {
            name: reducers[DEVICE_COLUMNS[name].merge].reduceat(values, starts, axis=0).reshape(-1)
            for name, values in columns.items()
        }
        first = order[starts]
        device = self._codes[base[first][:, None] + np.arange(devices)]
        return (device << WINDOW_BITS | window[first][:, None]).reshape(-1), summed

    def _crossing(self, batch: Decoded, base: Ints, chosen: Ints) -> tuple[Ints, Columns]:
        """Parts of readings whose sample crosses an edge; the first part carries what is not energy."""
        start, end = batch.start_us[chosen], batch.end_us[chosen]
        pieces = split(start, end, WINDOW_5M_US)
        reading, piece = readings_of(batch.offset, chosen[pieces.owner])
        sample = pieces.owner[piece]
        energy, low, high = batch.energy_uj[reading], start[sample], end[sample]
        share = part_before(energy, low, high, pieces.end[piece]) - part_before(energy, low, high, pieces.start[piece])
        device = self._codes[base[chosen[sample]] + reading - batch.offset[chosen[sample]]]
        columns = _columns(batch, reading, share, (pieces.start[piece] == low).astype(np.int64))
        return device << WINDOW_BITS | pieces.window[piece], columns


def _columns(batch: Decoded, reading: Ints, energy_uj: Ints, begins: Ints) -> Columns:
    """DEVICE_COLUMNS before any summing; all but the energies only where *begins* is 1."""
    kind, method = batch.kind[reading], batch.method[reading]
    utilization = batch.utilization[reading]
    temperature = batch.temperature_c[reading].astype(np.float64)
    known = (np.abs(utilization) < _MOST_BUSY) & (begins == 1)
    ppm = np.where(known, np.rint(np.where(known, utilization, 0).astype(np.float64) * 1e6), 0).astype(np.int64)
    return {
        "energy_uj": energy_uj,
        "estimated_uj": np.where((method >= 1) & (method <= 3), 0, energy_uj),
        "samples": begins,
        "utilization_ppm": ppm,
        "utilization_known": known.astype(np.int64),
        "temperature_c_max": np.where(np.isfinite(temperature) & (begins == 1), temperature, -np.inf),
        "memory_bytes_max": np.where(begins == 1, batch.memory_bytes[reading], -1),
        "kind": kind,
        "is_gpu": (kind == 2).astype(np.int64),
    }

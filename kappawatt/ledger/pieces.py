"""Samples cut at 5-s edges: per piece the eight energies and the water, to the microjoule (docs/semantics.md §2)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.verdicts import owners
from kappawatt.stream.split import Pieces, share_out, shares, split
from kappawatt.units import MAX_READING_UJ, WINDOW_5S_US
from kappawatt.wire.columns import Decoded

Ints = NDArray[np.int64]

CLASSES = 8
"""Energy columns of a cell: 2 · (0 cpu, 1 gpu, 2 memory, 3 other) + (1 if estimated)."""

_EXACT_DOUBLE = float(1 << 53)
_ROWS_AT_ONCE = 1 << 13  # what fits in the caches next to the processor


@dataclass(frozen=True, slots=True)
class Cut:
    """Pieces of samples: owner is the sample; energy_uj is [pieces, CLASSES]."""

    owner: Ints
    window: Ints
    start: Ints
    end: Ints
    energy_uj: Ints
    water_ul: Ints


def energy_class(kind: Ints, method: Ints) -> Ints:
    """The energy column of each reading; unknown kinds are other, unknown methods estimated."""
    by_kind = np.where((kind >= 1) & (kind <= 3), kind - 1, 3)
    return 2 * by_kind + ~((method >= 1) & (method <= 3))


def pivot(rows: int, row: Ints, column: Ints, energy_uj: Ints) -> Ints:
    """Sums of energy by (row, class), [rows, CLASSES]; exact: bincount's doubles only below 2^53 in all."""
    flat = row * CLASSES + column
    if float(energy_uj.sum(dtype=np.float64)) < _EXACT_DOUBLE:
        summed = np.bincount(flat, weights=energy_uj, minlength=rows * CLASSES)
        return summed.astype(np.int64).reshape(rows, CLASSES)
    exact = np.zeros(rows * CLASSES, np.int64)
    np.add.at(exact, flat, energy_uj)
    return exact.reshape(rows, CLASSES)


def cut(batch: Decoded) -> Cut:
    """All pieces of the (accepted) samples of *batch* at 5-s edges: whole samples first, then the crossing ones."""
    batch = replace(batch, water_ul=np.where(_is_known(batch.water_ul), batch.water_ul, 0))
    column = energy_class(batch.kind, batch.method)
    owner = owners(batch.offset)
    window = batch.start_us // WINDOW_5S_US
    crosses = (batch.end_us - 1) // WINDOW_5S_US > window
    inside = np.flatnonzero(~crosses)
    energy = pivot(len(window), owner, column, batch.energy_uj)
    whole = Cut(
        inside, window[inside], batch.start_us[inside], batch.end_us[inside], energy[inside], batch.water_ul[inside]
    )
    parts = [whole, *(_cut_crossing(batch, column, chosen) for chosen in _chunks(batch, np.flatnonzero(crosses)))]
    return Cut(*(np.concatenate([getattr(part, name) for part in parts]) for name in Cut.__slots__))


def _is_known(water_ul: Ints) -> NDArray[np.bool_]:
    """Neither negative nor so much that sums of it could wrap: 2^53 µL are nine million m³."""
    return (water_ul >= 0) & (water_ul < MAX_READING_UJ)


def _chunks(batch: Decoded, crossing: Ints) -> Iterator[Ints]:
    """Crossing samples in portions whose (piece, reading) pairs fit in memory."""
    windows = (batch.end_us[crossing] - 1) // WINDOW_5S_US - batch.start_us[crossing] // WINDOW_5S_US + 1
    pairs = np.cumsum(windows * np.diff(batch.offset)[crossing])
    begin = 0
    while begin < len(crossing):
        done = int(pairs[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(pairs, done + _ROWS_AT_ONCE, side="right")))
        yield crossing[begin:end]
        begin = end


def _cut_crossing(batch: Decoded, column: Ints, chosen: Ints) -> Cut:
    start, end = batch.start_us[chosen], batch.end_us[chosen]
    pieces = split(start, end, WINDOW_5S_US)
    reading, piece = readings_of(batch.offset, chosen[pieces.owner])
    share = energy_of(batch, chosen, pieces, reading, piece)
    return Cut(
        chosen[pieces.owner],
        pieces.window,
        pieces.start,
        pieces.end,
        pivot(len(pieces.owner), piece, column[reading], share),
        share_out(batch.water_ul[chosen], start, end, pieces),
    )


def energy_of(batch: Decoded, chosen: Ints, pieces: Pieces, reading: Ints, piece: Ints) -> Ints:
    """The energy of readings by piece; *pieces* are those of the *chosen* samples, the rest is of `readings_of`."""
    sample = pieces.owner[piece]
    owner = chosen[sample]
    return shares(
        batch.energy_uj[reading],
        batch.start_us[owner],
        batch.end_us[owner],
        pieces.start[piece],
        pieces.end[piece],
        np.diff(batch.offset)[owner],
    )


def readings_of(offset: Ints, sample: Ints) -> tuple[Ints, Ints]:
    """The readings of each of the *sample*s (which may repeat), and which of them each reading is for."""
    first, count = offset[sample], offset[sample + 1] - offset[sample]
    owner = np.repeat(np.arange(len(sample)), count)
    behind = np.cumsum(count) - count
    return first[owner] + np.arange(len(owner)) - behind[owner], owner

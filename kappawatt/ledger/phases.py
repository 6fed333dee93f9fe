"""Phases of a run: which one holds at each instant, and its share of the cells (docs/semantics.md §2)."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.keys import wide_sums
from kappawatt.ledger.runs import Event, Sums
from kappawatt.stream.split import part_before

Ints = NDArray[np.int64]

UNPHASED = "unphased"
_EVER = 1 << 62


class Timeline(NamedTuple):
    """Which phase holds from each instant on: `names[i]` in [starts[i], starts[i + 1]); the first start is −2^62."""

    starts: Ints
    names: list[str]


def timeline(events: Iterable[Event]) -> Timeline | None:
    """The latest-started open phase at every instant, from a run's phase events; None if there are none."""
    marks = sorted(events, key=lambda event: (event.at, event.event_id))
    if not marks:
        return None
    spans = _spans(marks)
    begins = sorted(spans)
    starts, names = [-_EVER], [UNPHASED]
    open_spans: list[tuple[int, int, str, int]] = []
    at = 0
    for instant in sorted({edge for begin, _, end, _ in spans for edge in (begin, end)}):
        while at < len(begins) and begins[at][0] <= instant:
            begin, _, end, name = begins[at]
            heapq.heappush(open_spans, (-begin, -at, name, end))
            at += 1
        while open_spans and open_spans[0][3] <= instant:
            heapq.heappop(open_spans)
        holding = open_spans[0][2] if open_spans else UNPHASED
        if holding != names[-1]:
            starts.append(instant)
            names.append(holding)
    return Timeline(np.array(starts, np.int64), names)


def _spans(marks: list[Event]) -> list[tuple[int, str, int, str]]:
    """(start, event_id of the start, end, phase) of every phase; open ones end never."""
    spans: list[tuple[int, str, int, str]] = []
    running: dict[str, Event] = {}
    for mark in marks:
        name = mark.values["phase"]
        begun = running.pop(name, None)
        if begun is not None:
            spans.append((begun.at, begun.event_id, mark.at, name))
        if mark.type == "phase_start":
            running[name] = mark
    spans.extend((mark.at, mark.event_id, _EVER, name) for name, mark in running.items())
    return [span for span in spans if span[0] < span[2]]


def shares(line: Timeline, start: Ints, end: Ints, energy_uj: Ints, water_ul: Ints, price: Ints) -> dict[str, Sums]:
    """Each phase's share of the cells [start, end): floor differences of every integer at the phase edges.

    Args:
        line: From `timeline`.
        start: Cells' starts, µs.
        end: Their ends, all behind the starts.
        energy_uj: [cells, 8].
        water_ul: [cells].
        price: Price index of each cell, −1 if none.
    """
    first = np.searchsorted(line.starts, start, side="right") - 1
    last = np.searchsorted(line.starts, end - 1, side="right") - 1
    count = last - first + 1
    owner = np.repeat(np.arange(len(start)), count)
    segment = first[owner] + np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
    ends = np.append(line.starts[1:], _EVER)
    low = np.maximum(line.starts[segment], start[owner])
    high = np.minimum(ends[segment], end[owner])
    values = np.concatenate((energy_uj, water_ul[:, None]), axis=1)[owner]
    begin, stop = start[owner][:, None], end[owner][:, None]
    part = part_before(values, begin, stop, high[:, None]) - part_before(values, begin, stop, low[:, None])
    return _summed(line, segment, part, price[owner])


def _summed(line: Timeline, segment: Ints, part: Ints, price: Ints) -> dict[str, Sums]:
    names = sorted(set(line.names))
    code = np.array([names.index(name) for name in line.names], np.int64)[segment]
    present, group = np.unique(code, return_inverse=True)
    totals = wide_sums(group, len(present), part)
    result = {names[c]: Sums(row[:8], row[8]) for c, row in zip(present.tolist(), totals, strict=True)}
    pair, group = np.unique(code << 32 | price + 1, return_inverse=True)
    energies = wide_sums(group, len(pair), part[:, :8].sum(axis=1)[:, None])
    for key, (energy,) in zip(pair.tolist(), energies, strict=True):
        result[names[key >> 32]].groups[(key & 0xFFFFFFFF) - 1] += energy
    return result


def held_us(line: Timeline, first: int, end: int) -> dict[str, int]:
    """How long each phase held within [first, end)."""
    held: dict[str, int] = {}
    edges = [*line.starts.tolist(), _EVER]
    for name, low, high in zip(line.names, edges, edges[1:], strict=False):
        overlap = min(high, end) - max(low, first)
        if overlap > 0:
            held[name] = held.get(name, 0) + overlap
    return held

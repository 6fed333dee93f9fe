"""Phases of a run: which one holds at each instant, and its share of the cells (docs/semantics.md §2)."""

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.runs import Event, Run
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
    marks = sorted(events, key=_order)
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


def line_of(run: Run) -> Timeline | None:
    """The timeline of a run's marks, made once for as long as they stay the same."""
    if run.line is None:
        run.line = timeline(run.marks)
    found: Timeline | None = run.line
    return found


def settle_marks(run: Run, edge: int) -> None:
    """Everything of a run before an instant is closed: note how long phases held, keep of the marks what counts.

    Whether a phase is open at the edge is told by its last mark before it; also against marks that come too late.
    """
    line = line_of(run)
    if line is None or run.first_start is None or run.last_end is None:
        return
    edge = min(edge, run.last_end)
    if run.edge is not None and edge <= run.edge:
        return
    for name, us in held_us(line, max(run.first_start, run.edge or run.first_start), edge).items():
        if name != UNPHASED:
            run.held[name] = run.held.get(name, 0) + us
    run.edge = edge
    last = {mark.values["phase"]: mark for mark in sorted(run.marks, key=_order) if mark.at < edge}
    kept = [*last.values(), *(mark for mark in run.marks if mark.at >= edge)]
    if len(kept) < len(run.marks):
        run.marks, run.line = kept, None


def durations(run: Run, line: Timeline) -> dict[str, int]:
    """How long each phase held in the run's span so far; what no other held is unphased."""
    if run.first_start is None or run.last_end is None:
        return {}
    held = dict(run.held)
    for name, us in held_us(line, max(run.first_start, run.edge or run.first_start), run.last_end).items():
        if name != UNPHASED:
            held[name] = held.get(name, 0) + us
    return {**held, UNPHASED: run.last_end - run.first_start - sum(held.values())}


def _order(mark: Event) -> tuple[int, str]:
    return (mark.at, mark.event_id)


class Cut(NamedTuple):
    """Parts of cells: of which cell, of which phase (`names[line][phase]`), and the nine integers of each."""

    owner: Ints
    line: Ints
    phase: Ints
    values: Ints


def cut(lines: Sequence[Timeline], line: Ints, start: Ints, end: Ints, values: Ints) -> Cut:
    """The cells [start, end) cut at the edges of phases: floor differences of every integer, so that parts add up.

    Args:
        lines: Timelines, one a run.
        line: Of each cell the index of its timeline.
        start: Cells' starts, µs.
        end: Their ends, all behind the starts.
        values: [cells, integers].
    """
    parts = [Cut(*(np.empty(0, np.int64),) * 3, np.empty((0, values.shape[1]), np.int64))]
    span = int((end - start.min()).max()).bit_length() if len(start) else 1
    at_once = 1 << max(0, 61 - span)  # so many timelines fit behind one another into 62 bits
    for first in range(0, len(lines), at_once):
        cells = np.flatnonzero((line >= first) & (line < first + at_once)) if at_once < len(lines) else slice(None)
        found = _cut(lines[first : first + at_once], line[cells] - first, start[cells], end[cells], values[cells])
        owner = found.owner if isinstance(cells, slice) else cells[found.owner]
        parts.append(Cut(owner, found.line + first, found.phase, found.values))
    return Cut(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _cut(lines: Sequence[Timeline], line: Ints, start: Ints, end: Ints, values: Ints) -> Cut:
    """`cut` with all timelines laid behind one another on one axis: a search finds every cell's phases at once."""
    base = int(start.min()) if len(start) else 0
    shift = (int(end.max()) - base).bit_length() if len(start) else 1
    starts = [np.minimum(np.maximum(each.starts, base) - base, 1 << shift) for each in lines]
    axis = np.concatenate((*(own + (at << shift) for at, own in enumerate(starts)), [len(lines) << shift]))
    low, high = start - base + (line << shift), end - base + (line << shift)
    first = np.searchsorted(axis, low, side="right") - 1
    count = np.searchsorted(axis, high - 1, side="right") - first
    owner = np.repeat(np.arange(len(start)), count)
    segment = first[owner] + np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
    begin, stop = low[owner], high[owner]
    edges = (np.maximum(axis[segment], begin), np.minimum(axis[segment + 1], stop))
    whole = values[owner]
    until = [part_before(whole, begin[:, None], stop[:, None], edge[:, None]) for edge in edges]
    behind = np.cumsum([0, *(len(each.starts) for each in lines[:-1])])
    return Cut(owner, line[owner], segment - behind[line[owner]], until[1] - until[0])


def held_us(line: Timeline, first: int, end: int) -> dict[str, int]:
    """How long each phase held within [first, end)."""
    held: dict[str, int] = {}
    start, stop = np.searchsorted(line.starts, (first, max(first, end)), side="right").tolist()
    edges = [*line.starts[start - 1 : stop].tolist(), _EVER]
    for name, low, high in zip(line.names[start - 1 : stop], edges, edges[1:], strict=False):
        overlap = min(high, end) - max(low, first)
        if overlap > 0:
            held[name] = held.get(name, 0) + overlap
    return held

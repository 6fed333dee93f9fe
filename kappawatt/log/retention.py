"""Keeping a spool within its bounds: acknowledged files go first, and what was never acknowledged is counted."""

import os
from dataclasses import dataclass
from pathlib import Path

from kappawatt.log import names
from kappawatt.log.blocks import scan
from kappawatt.log.slots import Losses, Slot, slots
from kappawatt.log.tail import FileTail, Position
from kappawatt.wire import codec


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a spool."""

    slot: Slot
    topic: str
    name: str
    path: Path
    size: int
    mtime_s: float
    last: bool
    """It is the newest of its partition: its writer may be at work on it."""
    shipped: Position | None

    @property
    def is_shipped(self) -> bool:
        """All its records were acknowledged."""
        return self.shipped is not None and (self.name, self.size) <= self.shipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a spool folder may hold; None: no bound."""

    max_bytes: int | None = None
    max_age_s: float | None = None


def survey(directory: Path) -> list[Segment]:
    """The files of all slots in *directory*, oldest first."""
    found = []
    for slot in slots(directory):
        shipped = slot.shipped()
        for topic in codec.TOPICS:
            existing = names.segments(directory, topic, slot.name)
            for name in existing:
                path = directory / topic / name
                try:
                    info = path.stat()
                except FileNotFoundError:
                    continue
                last = name == existing[-1]
                at = shipped.get(topic)
                found.append(Segment(slot, topic, name, path, info.st_size, info.st_mtime, last, at))
    return sorted(found, key=lambda each: (each.mtime_s, each.name))


def enforce(directory: Path, own: Slot, losses: Losses, bounds: Bounds, *, now_s: float) -> int:
    """Remove what is above *bounds*: too old files, then shipped ones, then the oldest. The number of bytes freed.

    Files of live writers other than *own* stay: their writers see to them; so does the newest file of *own*.
    """
    segments = survey(directory)
    doomed = [each for each in segments if bounds.max_age_s is not None and now_s - each.mtime_s > bounds.max_age_s]
    freed = _remove(directory, doomed, own, losses, sum(each.size for each in doomed))
    if bounds.max_bytes is None:
        return freed
    above = sum(each.size for each in segments) - freed - bounds.max_bytes
    rest = [each for each in segments if each not in doomed]
    return freed + (_remove(directory, _by_worth(rest), own, losses, above) if above > 0 else 0)


def make_room(directory: Path, own: Slot, losses: Losses, *, size: int, give_up: bool) -> int:
    """Free at least *size* bytes of a full disk if that can be; unshipped files go only if *give_up*."""
    segments = _by_worth(survey(directory))
    return _remove(directory, [each for each in segments if give_up or each.is_shipped], own, losses, size)


def count_unshipped(directory: Path, segment: Segment) -> int:
    """Records in *segment* that were not acknowledged."""
    start = 0 if segment.shipped is None or segment.shipped[0] < segment.name else segment.shipped[1]
    tail = FileTail(directory, segment.topic, segment.slot.name)
    position: Position | None = (segment.name, start)
    count = 0
    try:
        while position is not None and position[0] == segment.name:
            window = tail.window(position, 4 << 20)
            if window is None or window.file != segment.name:
                break
            found = scan(window.data, window.sync, final=window.ended)
            count += sum(block.count for block in found.blocks) + len(found.bad)
            position = (segment.name, window.start + found.used)
            if window.ended or found.used == 0:
                break
    finally:
        tail.close()
    return count


def _by_worth(segments: list[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda each: not each.is_shipped)  # stable: oldest first within each half


def _remove(directory: Path, segments: list[Segment], own: Slot, losses: Losses, size: int) -> int:
    freed = 0
    for segment in segments:
        if freed >= size:
            break
        if segment.slot.name == own.name:
            freed += 0 if segment.last else _remove_one(directory, segment, losses)
        elif segment.slot.writer.acquire():
            try:
                freed += _remove_one(directory, segment, Losses(segment.slot.lost_path))
            finally:
                segment.slot.writer.release()
    return freed


def _remove_one(directory: Path, segment: Segment, losses: Losses) -> int:
    if not segment.is_shipped:
        losses.announce(segment.path, segment.topic, count_unshipped(directory, segment))
    try:
        if segment.last:  # its name stays, so that the next writer counts on from it and no position goes back
            os.truncate(segment.path, 0)
        else:
            segment.path.unlink(missing_ok=True)
    except OSError:
        return 0
    losses.settle()
    losses.save()
    return segment.size

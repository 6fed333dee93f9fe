"""The meter: asks all sources at once and closes intervals that neither overlap nor leave holes."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from kappawatt.errors import SourceBroken, SourceBusy, SourceGone
from kappawatt.sensors.source import CLOCK_STEP, COUNTER_RESET, GAP, Device, Reading, Source
from kappawatt.units import MAX_INTERVAL_US, US_PER_S

_log = logging.getLogger(__name__)

STEP_US = US_PER_S
"""A wall clock further than this from the monotonic one was stepped."""

HOLD_US = 10 * US_PER_S
"""How long an interval is kept open for a device that cannot be read just now; RAPL is safe for that long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """All readings of one host over one half-open interval, in µs UTC."""

    start_us: int
    end_us: int
    readings: tuple[Reading, ...]
    flags: tuple[str, ...] = ()


class Meter:
    """Reads *sources* together, one interval after the other.

    An interval is as long as the monotonic clock says and starts where the last one ended. Only when the wall clock was
    stepped by more than a second does the next interval start at the new time; the one before is flagged `clock_step`.
    While a device cannot be read the interval stays open (at most `HOLD_US`), so that its energy stays where it was
    used; after that it closes without the device, flagged `gap`, and the device is not waited for again before it was
    read. A source that is gone or broken is left out, said once.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        wall_us: Callable[[], int],
        monotonic_us: Callable[[], int],
        *,
        period_us: int = US_PER_S,
    ) -> None:
        self._sources = list(sources)
        self._wall_us = wall_us
        self._monotonic_us = monotonic_us
        self._period_us = period_us
        self._start_us: int | None = None
        self._start_monotonic_us = 0
        self._held: dict[str, Reading] = {}
        self._flags: set[str] = set()
        self._given_up: set[str] = set()

    def __repr__(self) -> str:
        names = ", ".join(source.name for source in self._sources) or "no source"
        return f"<Meter {names}; {len(self.devices())} devices, {len(self._held)} held>"

    def devices(self) -> list[Device]:
        """The devices of the sources that still work."""
        return [device for source in self._sources for device in source.devices()]

    def tick(self, *, final: bool = False) -> Tick | None:
        """The interval since the last tick; None for the first (the baseline) and while an interval is held open.

        *final* closes it whatever is missing: the last call before the end.
        """
        wall_us, now_us = self._wall_us(), self._monotonic_us()
        absent = self._read(now_us)
        if self._start_us is None:
            self._open(wall_us, now_us)
            return None
        elapsed_us = now_us - self._start_monotonic_us
        if elapsed_us <= 0 or (absent - self._given_up and elapsed_us < HOLD_US and not final):
            return None
        self._given_up = absent
        if absent or elapsed_us > 3 * self._period_us:
            self._flags.add(GAP)
        end_us = self._start_us + elapsed_us
        stepped = abs(wall_us - end_us) > STEP_US
        if stepped:
            self._flags.add(CLOCK_STEP)
        tick = Tick(
            start_us=self._start_us,
            end_us=end_us,
            readings=tuple(self._held.values()),
            flags=tuple(sorted(self._flags.union(*(reading.flags for reading in self._held.values())))),
        )
        self._open(wall_us if stepped else end_us, now_us)
        return tick

    def _open(self, start_us: int, now_us: int) -> None:
        self._start_us, self._start_monotonic_us = start_us, now_us
        self._held, self._flags = {}, set()

    def _read(self, now_us: int) -> set[str]:
        """Adds what every source has; gives the devices that could not be read just now."""
        absent: set[str] = set()
        for source in tuple(self._sources):
            try:
                readings = source.read(now_us)
            except SourceBusy as busy:
                _log.debug("%s: %s", source.name, busy)
                absent.update(device.name for device in source.devices())
                continue
            except (SourceGone, SourceBroken) as end:
                self._leave_out(source, end)
                continue
            for reading in readings:
                self._held[reading.device] = _joined(self._held.get(reading.device), reading)
            absent.update(device for device, reason in source.missed.items() if reason == GAP)
            self._flags.update(reason for reason in source.missed.values() if reason != GAP)
        if COUNTER_RESET in self._flags:
            self._flags.add(GAP)
        return absent

    def _leave_out(self, source: Source, end: Exception) -> None:
        self._sources.remove(source)
        self._flags.add(GAP)
        level = logging.WARNING if isinstance(end, SourceBroken) else logging.INFO
        _log.log(level, "%s is not read any more: %s", source.name, end)


def cut(tick: Tick, max_us: int = MAX_INTERVAL_US - 1) -> list[Tick]:
    """The tick in equal pieces of at most *max_us*; every device's pieces add up to its reading.

    >>> [(t.start_us, t.end_us) for t in cut(Tick(start_us=0, end_us=10, readings=()), 4)]
    [(0, 3), (3, 6), (6, 10)]
    """
    length = tick.end_us - tick.start_us
    count = max(1, -(-length // max_us))
    edges = [length * i // count for i in range(count + 1)]
    return [
        replace(
            tick,
            start_us=tick.start_us + a,
            end_us=tick.start_us + b,
            readings=tuple(_between(reading, a, b, length) for reading in tick.readings),
        )
        for a, b in pairwise(edges)
    ]


def _between(reading: Reading, a: int, b: int, length: int) -> Reading:
    if not length:
        return reading
    return replace(reading, energy_uj=reading.energy_uj * b // length - reading.energy_uj * a // length)


def _joined(before: Reading | None, after: Reading) -> Reading:
    """Two readings of one device that follow each other; the state is the later one's."""
    if before is None:
        return after
    weakest = max(before.method, after.method, key=_weakness)
    flags = tuple(sorted({*before.flags, *after.flags}))
    return replace(after, energy_uj=before.energy_uj + after.energy_uj, method=weakest, flags=flags)


def _weakness(method: int) -> int:
    return method or 99  # unknown (0) is the weakest

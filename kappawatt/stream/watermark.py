"""Watermarks from event time only: per source partition, combined by the smallest that is not idle."""

from collections.abc import Iterable, Mapping
from typing import Any

IDLE = None
"""What a source reports that has read to its end and is silent: it holds nobody back."""


class MinWatermark:
    """The least watermark over a fixed set of sources; unknown ones hold it back, idle ones do not; it never goes back.

    >>> least = MinWatermark(["a", "b"])
    >>> least.report("a", 5), least.report("b", 3), least.report("b", IDLE), least.report("b", 4)
    (None, 3, 5, 5)
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._known: dict[str, int | None] = {}
        self._waiting = set(sources)
        self.value: int | None = None

    def __repr__(self) -> str:
        return f"<MinWatermark {self.value}, waiting for {len(self._waiting)}>"

    def report(self, source: str, watermark: int | None) -> int | None:
        """Take what *source* says of itself and return the combined watermark, None while it is unknown."""
        self._waiting.discard(source)
        self._known[source] = watermark
        if self._waiting:
            return self.value
        live = [value for value in self._known.values() if value is not IDLE]
        if live:
            least = min(live)
            self.value = least if self.value is None else max(self.value, least)
        return self.value

    @property
    def is_idle(self) -> bool:
        """Whether every source has reported, and all are idle: then event time stands still."""
        return not self._waiting and all(value is IDLE for value in self._known.values())

    def raise_to(self, value: int) -> None:
        """Go on to *value*, never back: for who has another reason to believe that nothing earlier comes."""
        self.value = value if self.value is None else max(self.value, value)

    def dump(self) -> tuple[Any, ...]:
        """Plain state for `load`."""
        return (self.value, dict(self._known), sorted(self._waiting))

    def load(self, state: tuple[Any, ...]) -> None:
        """Take over what `dump` gave."""
        self.value, known, waiting = state
        self._known, self._waiting = dict(known), set(waiting)


class PartitionClock:
    """How far one source partition has come in event time, and whether it is idle.

    Idle: read to the partition's end and silent for the idle time. `now_us` is only compared with itself.
    """

    def __init__(self, idle_us: int, newest: int | None = None) -> None:
        self._idle_us = idle_us
        self._silent_since: int | None = None
        self.newest = newest

    def advance(self, event_us: int) -> None:
        """An event was read."""
        self._silent_since = None
        self.newest = event_us if self.newest is None else max(self.newest, event_us)

    def at_end(self, now_us: int) -> None:
        """There was nothing more to read."""
        if self._silent_since is None:
            self._silent_since = now_us

    def busy(self) -> None:
        """There is more to read, whether or not it brought an event."""
        self._silent_since = None

    def is_idle(self, now_us: int) -> bool:
        """Silent at its end for the idle time."""
        return self._silent_since is not None and now_us - self._silent_since >= self._idle_us


def combine(clocks: Mapping[str, PartitionClock], now_us: int) -> tuple[bool, int | None]:
    """Of several partitions read as one: whether all are idle, and the least `newest` of those that are not.

    A partition that is not idle and has brought no event yet holds the watermark back: (False, None).
    """
    live = [clock.newest for clock in clocks.values() if not clock.is_idle(now_us)]
    if not live:
        return True, None
    if any(newest is None for newest in live):
        return False, None
    return False, min(newest for newest in live if newest is not None)

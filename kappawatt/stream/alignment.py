"""How much and how far ahead the parts of one process may read, so that a catch-up fits into memory."""

from collections import defaultdict

_PATIENCE_US = 10_000_000


class Alignment:
    """Shared by the parts of a source in one process.

    In an epoch they read about *limit_bytes* together; and a part that is more than *ahead_us* of event time ahead of
    the slowest one that has more to read waits for it, but for no part that has not moved for ten seconds. Nor does a
    part read further in one epoch: what is late is decided between epochs, and would be on time in one that is long.

    Windows stay open until every part has passed them: what one part reads ahead of another is held in state.
    """

    def __init__(self, *, limit_bytes: int, ahead_us: int) -> None:
        self._left, self._ahead_us = limit_bytes, ahead_us
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._at: dict[str, int] = {}
        self._moved_us: dict[str, int] = {}
        self._floor: dict[str, int] = {}  # the slowest, when a part began to read in this epoch

    def __repr__(self) -> str:
        return f"<Alignment {self._left} bytes left, {len(self._at)} parts with more to read>"

    def may_read(self, part: str, now_us: int) -> bool:
        """Whether a part may read now (*now_us*: a clock for waiting times)."""
        if self._left <= 0:
            return False
        if part not in self._at:
            return True
        if part in self._floor:
            return self._at[part] <= self._floor[part] + self._ahead_us
        slowest = min(
            (at for each, at in self._at.items() if now_us - self._moved_us[each] <= _PATIENCE_US),
            default=self._at[part],
        )
        if self._at[part] > slowest + self._ahead_us:
            return False
        self._floor[part] = slowest
        return True

    def note(self, part: str, event_us: int | None, size: int, now_us: int) -> None:
        """A part read *size* bytes and has come to *event_us*; None: it has nothing more to read and holds nobody."""
        self._left -= size
        self._taken[part] += size
        if event_us is None:
            self._at.pop(part, None)
        elif self._at.get(part) != event_us:
            self._at[part], self._moved_us[part] = event_us, now_us

    def end_epoch(self, part: str) -> None:
        """A part's epoch is over: others may read in its place."""
        self._left += self._taken.pop(part, 0)
        self._floor.pop(part, None)

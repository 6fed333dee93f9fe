"""Who is to be woken at the start of an epoch, so that what the last commit made final is released."""

from collections.abc import Iterable, Sequence
from typing import Any

from kappawatt.stream.job import Item

TICK = "tick"
"""Carries nothing: any message makes a key release its outbox, this one is sure to come."""


def is_tick(value: Any) -> bool:
    """Whether a message is only there to wake; equality of other messages may be costly or ambiguous."""
    return isinstance(value, str) and value == TICK


class Ticks:
    """Of one source part: ticks for the keys that it addressed in the last epoch, and for the steps behind one later.

    An engine opens an epoch only after the commit of the one before, and snapshots every key that was woken in it; idle
    keys of the first step are left asleep, so that they cost nothing. After a start all are woken: any may hold an
    outbox; and once more, for keys whose kept state came after the first ticks.

    Args:
        first: Keys of the step that parts address.
        behind: Keys of the steps that hear from that one only.
    """

    def __init__(self, first: Sequence[str], behind: Sequence[str] = ()) -> None:
        self._first, self._behind = frozenset(first), tuple(behind)
        self._addressed: set[str] = set(first)
        self._starting = True
        self._behind_due = True

    def __repr__(self) -> str:
        return f"<Ticks for {len(self._addressed)} keys>"

    def sent(self, items: Iterable[Item]) -> None:
        """Items that leave in this epoch."""
        self._addressed.update(key for key, _ in items)

    def begin(self) -> list[Item]:
        """The ticks that begin an epoch."""
        woken = sorted(self._addressed & self._first)
        behind = self._behind if self._behind_due else ()
        # The steps behind hear from the first in this epoch, and release in the next.
        self._behind_due = bool(woken)
        self._addressed = set(self._first) if self._starting else set()
        self._starting = False
        return [(key, TICK) for key in (*woken, *behind)]

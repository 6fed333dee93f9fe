"""Durable state at the price of what is new: a journal of messages and now and then the whole (docs/adr/0008).

An engine keeps a key's whole state in every epoch in which the key was woken. A `Folding` logic needs less: its state
follows from an older one and what came since. So `journaled` makes two steps of its step. The keys of the first keep a
few numbers. Those of the second keep the messages of one epoch each (slots), or the state before them (base). After a
restart the messages are folded again, epoch by epoch, and a new base is sent.

Why nothing is lost: an engine commits the states of an epoch together. In the epoch that sends a base of flush m, slots
are counted anew from m, so in every commit the slots 0 … n - m - 1 hold the flushes m + 1 … n: each was written in the
epoch of its flush or in an earlier one, and is written over only behind a later base, which is in the same commit.
"""

import pickle
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from kappawatt.errors import SettingsError, StateError
from kappawatt.stream.job import Folding, Item, Job, Step
from kappawatt.stream.ticks import is_tick

FORMAT = 2
"""Of the states of both steps. Format 1, which is read as well, did not note starts: each began with a base."""

_LIMIT_BYTES = 4 << 20
_PATIENCE = 30  # epochs; engines that deliver kept states at all deliver them before the first epoch, or during it


@dataclass(frozen=True, slots=True)
class Ring:
    """Names of the keys that keep one key's base and messages; an engine must place them where that key is."""

    base: str
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Journal:
    """How a step is kept: the ring of each of its keys, and its messages as bytes (of plain values) and back."""

    rings: Mapping[str, Ring]
    pack: Callable[[list[Any]], bytes]
    unpack: Callable[[bytes], list[Any]]


def journaled(job: Job, journals: Mapping[str, Journal], *, era: str = "", limit_bytes: int = _LIMIT_BYTES) -> Job:
    """*job* with the steps in *journals* (by step id; their logics are `Folding`) each followed by its journal.

    *era* says by which settings the logics fold: messages of another one are refused, a whole state is not.

    A key's whole state is kept after as many flushes as its ring has slots, or after *limit_bytes* of messages, or as
    many as the last whole state had, whatever is more. Not to be used for a second start: it takes what the first had.
    """
    steps: list[Step] = []
    for step in job.steps:
        steps.extend(_pair(step, journals[step.step_id], era, limit_bytes) if step.step_id in journals else [step])
    return replace(job, steps=tuple(steps))


def _pair(step: Step, journal: Journal, era: str, limit_bytes: int) -> tuple[Step, Step]:
    shelf = Shelf()
    phase = {key: number / len(step.keys) for number, key in enumerate(step.keys)}

    def keeper(key: str, state: Any) -> Keeper:
        ring = journal.rings[key]
        pace = _Pace(len(ring.slots), int(phase[key] * len(ring.slots)), limit_bytes)

        def build(whole: Any) -> Folding:
            return cast(Folding, step.build(key, whole))

        return Keeper(key, build, journal, era, pace, shelf, state)

    kept = tuple(name for key in step.keys for name in (journal.rings[key].base, *journal.rings[key].slots))
    return (
        Step(step.step_id, step.keys, keeper),
        Step(f"{step.step_id}_journal", kept, lambda _, state: Entry(journal, shelf, state), shelf.hear),
    )


class Shelf:
    """What entries tell keepers: after a start what they had kept, and then how much they keep, in bytes by key."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bool], dict[int, bytes]] = {}
        self.since: defaultdict[str, int] = defaultdict(int)

    def __repr__(self) -> str:
        return f"<Shelf {sum(map(len, self._kept.values()))} entries>"

    def hear(self, state: Any) -> Any:
        """Take over what an entry kept; its state without that. What lies before a base is let go.

        Raises:
            StateError: It is of another format.
        """
        key, is_base, flush, blob = _checked(state)
        if blob is not None:
            self._kept.setdefault((key, is_base), {})[flush] = blob
        base = max(self._kept.get((key, True), ()), default=0)
        for number in [number for number in self._kept.get((key, False), ()) if number <= base]:
            del self._kept[key, False][number]
        return (FORMAT, key, is_base, flush, None)

    def take(self, key: str, base: int, flush: int) -> tuple[bytes | None, list[bytes]] | None:
        """The base (None for 0) and the messages of the flushes behind it up to *flush*; None if some are missing."""
        bases, entries = self._kept.get((key, True), {}), self._kept.get((key, False), {})
        wanted = range(base + 1, flush + 1)
        if (base and base not in bases) or any(number not in entries for number in wanted):
            return None
        found = (bases[base] if base else None, [entries[number] for number in wanted])
        self._kept.pop((key, True), None)
        self._kept.pop((key, False), None)
        return found


@dataclass(slots=True)
class _Pace:
    """When the whole state is due. Keys have different *phase*s, so that they do not all send it in one epoch."""

    slots: int
    phase: int
    limit_bytes: int
    size: int = 0  # bytes of the last base

    def is_due(self, flush: int, base: int, since_bytes: int) -> bool:
        if flush - base >= self.slots or flush % self.slots == self.phase:
            return True
        return since_bytes >= max(self.limit_bytes, self.size)


class Keeper:
    """One key of a journaled step: runs its logic, and sends messages and bases to the journal's keys."""

    def __init__(
        self,
        key: str,
        build: Callable[[Any], Folding],
        journal: Journal,
        era: str,
        pace: _Pace,
        shelf: Shelf,
        state: Any,
    ) -> None:
        self._key, self._build, self._journal, self._pace, self._shelf = key, build, journal, pace, shelf
        self._ring, self._era, self._kept_era = journal.rings[key], era, era
        self._logic: Folding | None = None
        self._flush = self._base = 0
        self._released = True  # whether the items of the last flush were given out
        self._starts: tuple[int, ...] = ()  # flushes since the base after which a start began
        self._held: list[Any] = []  # messages that came before what was kept
        self._open = self._due = False
        self._waited = 0
        if state is not None:
            self._kept_era, self._flush, self._base, self._released, held, *starts = _checked(state)
            self._starts = tuple(*starts)
            self._held = [] if held is None else journal.unpack(held)

    def __repr__(self) -> str:
        return f"<Keeper {self._key} flush {self._flush}, base {self._base}, {self._logic!r}>"

    def on_batch(self, values: list[Any]) -> list[Item]:
        """Take values; what the logic gives, the messages for a slot, and the base if it is due."""
        fresh = [value for value in values if not is_tick(value)]
        if self._logic is None:
            self._logic = self._recovered()
        if self._logic is None:
            self._held += fresh
            return []
        fresh, self._held = self._held + fresh, []
        items = self._whole(self._logic) if self._due else []  # before anything of this epoch is in the state
        more = not self._open and self._logic.has_more()
        items += self._logic.on_batch(fresh)
        self._released = True
        if fresh or more:
            self._open = True
            slot = self._ring.slots[self._flush - self._base]
            items.append((slot, (self._key, False, self._flush + 1, fresh)))
        return items

    def on_end(self) -> list[Item]:
        """A last base: nothing has to be folded again, and no slot is asked for what it gave away."""
        items = self.on_batch([]) if self._logic is None else []
        if self._logic is None:
            raise self._misplaced()
        self._fold(self._logic)
        return items + self._whole(self._logic)

    def snapshot(self) -> Any:
        """Fold the epoch; the numbers that say which entries are needed.

        Raises:
            StateError: The journal did not come: an engine that places keys differently has it elsewhere.
        """
        if self._logic is None:
            self._logic = self._recovered()
        if self._logic is None:
            self._wait()
        else:
            self._fold(self._logic)
        held = self._journal.pack(self._held) if self._held else None
        return (FORMAT, self._kept_era, self._flush, self._base, self._released, held, self._starts)

    def _fold(self, logic: Folding) -> None:
        if not self._open:
            return
        logic.fold()
        self._open, self._released = False, False
        self._flush += 1
        self._due = self._pace.is_due(self._flush, self._base, self._shelf.since[self._key])

    def _whole(self, logic: Folding) -> list[Item]:
        blob = pickle.dumps(logic.dump(), pickle.HIGHEST_PROTOCOL)
        self._base, self._due, self._starts = self._flush, False, ()
        self._shelf.since[self._key], self._pace.size = 0, len(blob)
        return [(self._ring.base, (self._key, True, self._flush, blob))]

    def _recovered(self) -> Folding | None:
        """The logic as it was at the last commit; None as long as something of it is missing."""
        found = self._shelf.take(self._key, self._base, self._flush)
        if found is None:
            return None
        whole, entries = found
        if entries and self._kept_era != self._era:
            raise SettingsError(
                f"what came before the last crash was taken by other settings ({self._kept_era}; now {self._era}); "
                "start once with those and stop by SIGTERM, or give --rebuild"
            )
        self._kept_era = self._era
        self._pace.size, self._shelf.since[self._key] = len(whole or b""), sum(map(len, entries))
        self._due = bool(entries) and self._pace.is_due(self._flush, self._base, self._shelf.since[self._key])
        logic = self._build(None if whole is None else pickle.loads(whole))  # noqa: S301  # our own state
        del whole
        for flush in range(self._base + 1, self._flush + 1):
            # What it gives out here was given out, and durable, before the epoch of the next messages was committed.
            logic.on_batch(self._journal.unpack(entries.pop(0)))
            logic.fold(quiet=self._released or flush < self._flush)
            if flush in self._starts:
                logic = self._anew(logic)
        if self._released:
            logic.on_batch([])
        if self._flush > self._base and self._flush not in self._starts:
            logic, self._starts = self._anew(logic), (*self._starts, self._flush)
        return logic

    def _anew(self, logic: Folding) -> Folding:
        """As it is after a start: what holds for one only, as that the log has ended, does not go on into the next."""
        return self._build(logic.dump())

    def _wait(self) -> None:
        self._waited += 1
        if self._waited > _PATIENCE:
            raise self._misplaced()

    def _misplaced(self) -> StateError:
        return StateError(
            f"the journal of {self._key} from flush {self._base} to {self._flush} is not where its key is: the engine "
            "places keys differently than the one that kept this state"
        )


class Entry:
    """One key of a journal: the messages of one flush, or a base. It is let go once it is kept by the engine."""

    def __init__(self, journal: Journal, shelf: Shelf, state: Any) -> None:
        self._journal, self._shelf, self._state = journal, shelf, state
        self._of: tuple[str, bool, int] | None = None
        self._messages: list[Any] = []
        self._whole: bytes | None = None
        self._given = self._over = False

    def __repr__(self) -> str:
        return f"<Entry {self._of}>"

    def on_batch(self, values: list[Any]) -> list[Item]:
        """Take messages, or a base, in place of those of an earlier flush."""
        for key, is_base, flush, content in values:
            if self._of != (key, is_base, flush):
                self._of, self._messages = (key, is_base, flush), []
            if is_base:
                self._whole = content
            else:
                self._messages += content
        self._state, self._given = None, False
        return []

    def on_end(self) -> list[Item]:
        """Nothing more; the keeper's last base stands for what was let go."""
        self._over = True
        return []

    def snapshot(self) -> Any:
        """What is kept."""
        if self._state is not None or self._of is None:
            return self._state
        if self._given and not self._over:
            raise StateError(f"the journal was asked for {self._of} for a second time")
        found = (FORMAT, *self._of, None if self._given else self._packed(*self._of))
        self._messages, self._whole, self._given = [], None, True
        return found

    def _packed(self, key: str, is_base: bool, flush: int) -> bytes | None:
        if is_base:
            return self._whole
        blob = self._journal.pack(self._messages)
        self._shelf.since[key] += len(blob)
        return blob


def _checked(state: Any) -> tuple[Any, ...]:
    version, *rest = state
    if version not in (1, FORMAT):
        raise StateError(f"the state has format {version!r}, this release reads {FORMAT}; read the log again")
    return tuple(rest)

"""A job without an engine: sources made of parts, steps made of keys, and what an engine promises them.

An engine (Bytewax in `dataflows`, the driver in `kappawatt.testing`) works in epochs. In each it polls the parts, takes
every item to the step that owns its key, and at the end asks whatever was polled or woken for its snapshot. It commits
all snapshots of an epoch together and opens the next only then; after a crash it builds everything anew from the last
commit, and parts read on from the positions in theirs. What is given out in an epoch is durable before its commit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Item = tuple[str, Any]
"""A key and a value. An `Outlet` leaves the job, its key is its owner; any other value goes to the key's step."""


class Runtime(Protocol):
    """What parts ask of the process that they run in: time, the wish to stop, and marks between parts."""

    def monotonic_us(self) -> int:
        """A clock for waiting times, only compared with itself."""

    def now_us(self) -> int:
        """The time of day, µs UTC: to bound how new an event can be, and for what is silent to age by."""

    def stopping(self) -> bool:
        """Whether the job is to drain."""

    def beat(self) -> None:
        """Note progress."""

    def open(self, gate: str) -> None:
        """Set a mark for the parts of all processes of this start."""

    def is_open(self, gate: str) -> bool:
        """Whether a mark was set."""


class Part(Protocol):
    """One part of a source."""

    def next_batch(self) -> list[Item]:
        """What there is now. Raises StopIteration when there will be no more."""

    def wait_s(self) -> float:
        """How long the next poll can wait: 0 if there is more to read by now, inf if the next epoch will do."""

    def snapshot(self) -> Any:
        """Plain state, independent of later changes, at the end of an epoch."""

    def close(self) -> None:
        """Give back what is held."""


@runtime_checkable
class Releasing(Protocol):
    """A `Part` that can give what the last commit made final and read nothing: so rows need not wait for more input."""

    def release(self) -> list[Item]:
        """In place of `next_batch`, in an epoch that brings nothing new."""


class Logic(Protocol):
    """What one key of a step does."""

    def on_batch(self, values: list[Any]) -> list[Item]:
        """Take values, in any order and any cut; give items for later steps, and outlets."""

    def snapshot(self) -> Any:
        """Plain state, independent of later changes, at the end of an epoch in which the key was woken."""


@runtime_checkable
class Ending(Protocol):
    """A `Logic` that has something to give when the input is over."""

    def on_end(self) -> list[Item]:
        """The input is over, by a drain or for good: items before the last snapshot."""


class Folding(Logic, Protocol):
    """A `Logic` whose state is a function of what it took by epochs, so that a journal can stand for snapshots.

    Two of them that took the same values in the same epochs give the same items and the same `dump`.
    """

    def has_more(self) -> bool:
        """Whether the next epoch in which the key is woken is to be folded even if nothing comes in it."""

    def fold(self, *, quiet: bool = False) -> None:
        """The epoch is over: take into the state what came in it. Only called if something came or there is more.

        Args:
            quiet: What it gives out was given out before: the state is what matters, and `on_batch` may give nothing.
        """

    def dump(self) -> Any:
        """Plain state as the last `fold` left it, between a fold and the next values."""


def _as_kept(kept: Any) -> Any:
    """Most steps need no word of kept states beyond their keys' own."""
    return kept


@dataclass(frozen=True, slots=True)
class Source:
    """Parts by fixed names; `build(part, state or None)` makes one."""

    step_id: str
    parts: tuple[str, ...]
    build: Callable[[str, Any], Part]


@dataclass(frozen=True, slots=True)
class Step:
    """Keys by fixed names; `build(key, state or None)` makes the logic of one.

    hear: Is given every kept state of the step when the engine reads it, which may be long before the key is woken, and
        returns what the key is to be built with: less, if it has taken something out of the engine's hands.
    """

    step_id: str
    keys: tuple[str, ...]
    build: Callable[[str, Any], Logic]
    hear: Callable[[Any], Any] = _as_kept


@dataclass(frozen=True, slots=True)
class Job:
    """Sources, and steps in order: a step sends to later ones only. All names are part of the state's format."""

    name: str
    sources: tuple[Source, ...]
    steps: tuple[Step, ...]

"""The sink: outlets to a target and its dead letters; an epoch is committed only when all of it is durable."""

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from kappawatt.errors import Superseded
from kappawatt.stream.outbox import Outlet
from kappawatt.stream.target import FenceGuard, Target
from kappawatt.wire.records import DeadLetter

from .process import WATCHDOG, end_superseded, logged


class DeadLetters(Protocol):
    """Where dead letters go; repeats after a crash have the same source and position."""

    def write(self, letters: list[DeadLetter]) -> None:
        """Start to append."""

    def flush(self) -> None:
        """Return when all is durable."""


Open = Callable[[], tuple[Any, DeadLetters]]
Write = Callable[[Any, Outlet, int], None]


class OutletSink(FixedPartitionedSink):  # type: ignore[misc]  # bytewax has no types that mypy can follow
    """Parts of one process share its target, its letters, and the guard that keeps a superseded start from writing.

    Args:
        names: The fixed parts.
        open_: Opens the target, and the place of dead letters, of this process.
        write: Starts to write an outlet to the target, with a fence.
        fence: The same in all processes of a start.
    """

    def __init__(self, names: Sequence[str], open_: Open, write: Write, fence: int) -> None:
        self._names, self._open, self._write, self._fence = names, open_, write, fence
        self._way: Way | None = None

    def list_parts(self) -> list[str]:
        """The fixed parts."""
        return list(self._names)

    def part_fn(self, item_key: str) -> int:
        """The part of an owner: its rows stay in order."""
        return zlib.crc32(item_key.encode())

    @logged
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "OutletPart":
        """A part; there is nothing to resume, everything was durable."""
        if self._way is None:
            self._way = Way(*self._open(), self._write, self._fence)
        return OutletPart(self._way)


class OutletPart(StatefulSinkPartition):  # type: ignore[misc]  # as above
    """Writes as outlets come, waits in `snapshot`; a start that was superseded ends there and then."""

    def __init__(self, way: "Way") -> None:
        self._way = way

    @logged
    def write_batch(self, items: list[Outlet]) -> None:
        """Start to write; waits while too much is on its way, and for what an outlet orders."""
        with WATCHDOG.waiting(), _ending_if_superseded():
            for outlet in items:
                self._way.write(outlet)

    @logged
    def snapshot(self) -> Any:
        """Wait until all that was started is durable."""
        with WATCHDOG.waiting(), _ending_if_superseded():
            self._way.flush()
        return None


class Way:
    """The way out of one process: each outlet's letters and rows, if this start may still write."""

    def __init__(self, target: Target, letters: DeadLetters, write: Write, fence: int) -> None:
        self._target, self._letters, self._write, self._fence = target, letters, write, fence
        self._guard = FenceGuard(target, fence, lambda: time.monotonic_ns() // 1_000)

    def __repr__(self) -> str:
        return f"<Way to {self._target!r}, {self._guard!r}>"

    def write(self, outlet: Outlet) -> None:
        """Start to write.

        Raises:
            Superseded: A later start writes there.
        """
        self._guard.before_write()
        self._write(self._target, outlet, self._fence)
        if outlet.dead:
            self._letters.write(outlet.dead)

    def flush(self) -> None:
        """Return when all that was started is durable: for the parts of this process, their epoch is over.

        Raises:
            Superseded: A later start writes there, and the target could tell in time.
        """
        self._target.flush()
        self._letters.flush()
        self._guard.end_epoch()


@contextmanager
def _ending_if_superseded() -> Iterator[None]:
    try:
        yield
    except Superseded as error:
        end_superseded(error)

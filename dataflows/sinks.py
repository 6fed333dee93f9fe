"""The sink: outlets into the store and the dead-letter topic; an epoch is committed only when all of it is durable."""

import zlib
from collections.abc import Callable
from typing import Any, Protocol

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from kappawatt.emissions.names import SINK_PARTS
from kappawatt.stores import Store
from kappawatt.stores.outlets import write_outlet
from kappawatt.stream.outbox import Outlet
from kappawatt.wire.records import DeadLetter

from .process import WATCHDOG, logged


class DeadLetters(Protocol):
    """Where dead letters go; repeats after a crash have the same source and position."""

    def write(self, letters: list[DeadLetter]) -> None:
        """Start to append."""

    def flush(self) -> None:
        """Return when all is durable."""


class StoreSink(FixedPartitionedSink):  # type: ignore[misc]  # bytewax has no types that mypy can follow
    """Parts of one process share its store connection. *fence* is the same in all processes of a start."""

    def __init__(self, open_store: Callable[[], Store], open_letters: Callable[[], DeadLetters], fence: int) -> None:
        self._open_store, self._open_letters, self._fence = open_store, open_letters, fence
        self._shared: tuple[Store, DeadLetters] | None = None

    def list_parts(self) -> list[str]:
        """The fixed parts."""
        return list(SINK_PARTS)

    def part_fn(self, item_key: str) -> int:
        """The part of an owner: its rows stay in order."""
        return zlib.crc32(item_key.encode())

    @logged
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "StorePart":
        """A part; there is nothing to resume, everything was durable."""
        if self._shared is None:
            self._shared = (self._open_store(), self._open_letters())
        return StorePart(*self._shared, self._fence)


class StorePart(StatefulSinkPartition):  # type: ignore[misc]  # as above
    """Writes as outlets come, waits in `snapshot`."""

    def __init__(self, store: Store, letters: DeadLetters, fence: int) -> None:
        self._store, self._letters, self._fence = store, letters, fence

    @logged
    def write_batch(self, items: list[Outlet]) -> None:
        """Start to write; waits while too much is on its way, and for what an outlet orders."""
        with WATCHDOG.waiting():
            for outlet in items:
                write_outlet(self._store, outlet, self._fence)
                if outlet.dead:
                    self._letters.write(outlet.dead)

    @logged
    def snapshot(self) -> Any:
        """Wait until all that was started is durable."""
        with WATCHDOG.waiting():
            self._store.flush()
            self._letters.flush()
        return None

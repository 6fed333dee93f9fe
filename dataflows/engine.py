"""Any job on Bytewax: the only place where the two meet."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink

from kappawatt.errors import StateError
from kappawatt.stream.job import Ending, Item, Job, Logic, Part, Releasing, Source, Step
from kappawatt.stream.outbox import Outlet

from .pace import Pace
from .process import logged

INTERVAL = timedelta(0)
"""What Bytewax is told with a pace: an epoch ends with every poll."""

_LONGEST_WAIT_S = 1.0  # without a pace


def _untold(why: str) -> None:
    """The exception says it as well."""


def dataflow(
    job: Job, sink: FixedPartitionedSink, lost: Callable[[str], None] = _untold, pace: Pace | None = None
) -> Dataflow:
    """*job* as a dataflow. Step ids and keys are part of the state's format: they never change.

    Args:
        job: What to run.
        sink: Where its outlets go.
        lost: Is told why a kept state cannot be used, before this process ends by it.
        pace: When parts are polled, with `INTERVAL` as Bytewax's epoch interval; None: they are polled one read after
            the other, and epochs pass by Bytewax's clock.
    """
    flow = Dataflow(job.name)
    items = op.merge("inputs", *(op.input(source.step_id, flow, JobSource(source, pace)) for source in job.sources))
    outlets = [op.filter("rows", items, _is_outlet)]
    for step in job.steps:
        made = _step(step, items, lost)
        outlets.append(op.filter(f"{step.step_id}_rows", made, _is_outlet))
        items = op.merge(f"{step.step_id}_onward", items, made)
    op.output("store", op.merge("outlets", *outlets), sink)
    return flow


def _step(step: Step, items: Stream[Any], lost: Callable[[str], None]) -> Stream[Any]:
    keys = frozenset(step.keys)
    mine = op.filter(f"to_{step.step_id}", items, lambda item: item[0] in keys and not _is_outlet(item))
    names = op.map(f"{step.step_id}_named", mine, lambda item: (item[0], item))
    made = op.stateful_batch(step.step_id, names, lambda state: KeyLogic(step, state, lost))
    return op.map(f"{step.step_id}_made", made, lambda item: item[1])


def _is_outlet(item: Item) -> bool:
    return isinstance(item[1], Outlet)


class JobSource(FixedPartitionedSource):  # type: ignore[misc]  # bytewax has no types that mypy can follow
    """A source of a job."""

    def __init__(self, source: Source, pace: Pace | None = None) -> None:
        self._source, self._pace = source, pace

    def list_parts(self) -> list[str]:
        """The fixed parts."""
        return list(self._source.parts)

    @logged
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "SourcePart":
        """One part, at its kept place."""
        part = self._source.build(for_part, resume_state)
        return SourcePart(part) if self._pace is None else PacedPart(part, self._pace)


class SourcePart(StatefulSourcePartition):  # type: ignore[misc]  # as above
    """A part as Bytewax polls it.

    Bytewax reads its clock before it builds or polls the parts of a source, and sleeps until the first `next_awake`
    less that reading. So the wait counts from when the poll began. Counted from its end, a poll that was held up for a
    minute would be followed by a minute of sleep in which no epoch ends.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._awake: datetime | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._part!r}>"

    @logged
    def next_batch(self) -> list[Item]:
        """What there is now."""
        began = datetime.now(UTC)
        items = self._take()
        self._awake = began + timedelta(seconds=self._wait_s())
        return items

    def next_awake(self) -> datetime | None:
        """When to poll again; None before the first poll: at once."""
        return self._awake

    @logged
    def snapshot(self) -> Any:
        """The part's state."""
        return self._part.snapshot()

    def close(self) -> None:
        """Give back what is held."""
        self._part.close()

    def _take(self) -> list[Item]:
        return self._part.next_batch()

    def _wait_s(self) -> float:
        return min(self._part.wait_s(), _LONGEST_WAIT_S)


class PacedPart(SourcePart):
    """A part of which every poll is an epoch: it reads for as long as its pace allows, or only releases."""

    def __init__(self, part: Part, pace: Pace) -> None:
        super().__init__(part)
        self._pace = pace
        self._over = self._only_release = False
        pace.note(self, behind=True)  # until it was asked

    def close(self) -> None:
        """Give back what is held; nobody waits for it."""
        self._pace.note(self, behind=False)
        super().close()

    def _take(self) -> list[Item]:
        began_s = time.monotonic()
        if self._over:
            raise StopIteration
        if self._only_release and self._part.wait_s() > 0 and isinstance(self._part, Releasing):
            return self._part.release()
        until_s = began_s + self._pace.budget_s()
        items = more = self._part.next_batch()
        while more and self._part.wait_s() == 0 and time.monotonic() < until_s:
            try:
                more = self._part.next_batch()
            except StopIteration:
                self._over = True
                break
            items = items + more
        self._pace.note(self, behind=self._over or self._part.wait_s() == 0)
        return items

    def _wait_s(self) -> float:
        self._only_release = not self._only_release
        return self._pace.wait_s(self._part.wait_s(), release=self._only_release)


class KeyLogic(StatefulBatchLogic):  # type: ignore[misc]  # as above
    """One key of a step. Bytewax tells a logic's key only with its values: it is made with the first."""

    @logged
    def __init__(self, step: Step, state: Any, lost: Callable[[str], None]) -> None:
        self._step, self._state, self._lost = step, state, lost
        self._logic: Logic | None = None
        if state is not None:
            with self._told():
                self._state = step.hear(state)

    @logged
    def on_batch(self, values: list[Item]) -> tuple[list[Item], bool]:
        """Take values; the key is never discarded."""
        with self._told():
            if self._logic is None:
                self._logic, self._state = self._step.build(values[0][0], self._state), None
            return self._logic.on_batch([value for _, value in values]), False

    @logged
    def on_eof(self) -> tuple[list[Item], bool]:
        """The input is over; the key is kept."""
        with self._told():
            return (self._logic.on_end() if isinstance(self._logic, Ending) else []), False

    @logged
    def snapshot(self) -> Any:
        """The logic's state."""
        with self._told():
            return self._state if self._logic is None else self._logic.snapshot()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except StateError as error:
            self._lost(str(error))
            raise

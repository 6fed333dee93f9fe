"""Any job on Bytewax: the only place where the two meet."""

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
from kappawatt.stream.job import Ending, Item, Job, Logic, Part, Source, Step
from kappawatt.stream.outbox import Outlet

from .process import logged


def _untold(why: str) -> None:
    """The exception says it as well."""


def dataflow(job: Job, sink: FixedPartitionedSink, lost: Callable[[str], None] = _untold) -> Dataflow:
    """*job* as a dataflow. Step ids and keys are part of the state's format: they never change.

    *lost* is told why a kept state cannot be used, before this process ends by it.
    """
    flow = Dataflow(job.name)
    items = op.merge("inputs", *(op.input(source.step_id, flow, JobSource(source)) for source in job.sources))
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

    def __init__(self, source: Source) -> None:
        self._source = source

    def list_parts(self) -> list[str]:
        """The fixed parts."""
        return list(self._source.parts)

    @logged
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "SourcePart":
        """One part, at its kept place."""
        return SourcePart(self._source.build(for_part, resume_state))


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
        return f"<SourcePart {self._part!r}>"

    @logged
    def next_batch(self) -> list[Item]:
        """What there is now."""
        began = datetime.now(UTC)
        items = self._part.next_batch()
        self._awake = began + timedelta(seconds=self._part.wait_s())
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

"""What all parts of sources share: the order of an epoch, the drain, and the end of a bounded log."""

from typing import Any, Protocol

from kappawatt.stream.job import Item, Runtime
from kappawatt.stream.outbox import Outbox
from kappawatt.stream.ticks import Ticks

DRAIN_EPOCHS = 3
"""Epochs that a drain lets pass: rows leave in the one after their snapshot, those of a second step one later."""

_PATIENCE_S = 0.05


class Reading(Protocol):
    """What differs from source to source."""

    def read(self) -> list[Item]:
        """What there is to read now, at most so much as an epoch may bring."""

    def fix(self, outbox: Outbox) -> Any:
        """The epoch is over: put what it changed into the outbox, and give the plain state."""

    def wait_s(self) -> float:
        """How long the next read can wait: 0 if there is more by now, inf if the next epoch will do."""

    def ended(self) -> bool:
        """Whether all of a bounded log was read."""

    def may_go(self, epochs: int) -> bool:
        """Whether a part that has ended can go, *epochs* after its end; it may set marks here."""

    def close(self) -> None:
        """Give back what is held."""


class EpochPart:
    """A `Part`: ticks and committed changes first, then what *reading* brings.

    On a drain it reads no more, lets the epochs pass in which rows are still released, and ends; nothing becomes final.
    """

    def __init__(self, name: str, reading: Reading, ticks: Ticks, outbox: Outbox, runtime: Runtime) -> None:
        self._name, self.reading, self._ticks, self.outbox, self._runtime = name, reading, ticks, outbox, runtime
        self._fresh_epoch = True
        self._draining = DRAIN_EPOCHS
        self._end_epochs = 0

    def __repr__(self) -> str:
        return f"<EpochPart {self._name} {self.reading!r}>"

    def release(self) -> list[Item]:
        """Committed changes, and ticks for those that have some."""
        if not self._fresh_epoch:
            return []
        self._fresh_epoch = False
        return [*self._ticks.begin(), *((self._name, outlet) for outlet in self.outbox.release())]

    def next_batch(self) -> list[Item]:
        """Committed changes first, then one read's worth."""
        out = self.release()
        if self._runtime.stopping():
            if self._draining <= 0:
                raise StopIteration
            return out
        if self.reading.ended():
            if self.reading.may_go(self._end_epochs):
                raise StopIteration
            return out
        items = self.reading.read()
        self._ticks.sent(items)
        return out + items

    def wait_s(self) -> float:
        """How long the next poll can wait: not at all for the few epochs that pass before it goes."""
        if self._runtime.stopping() or self.reading.ended():
            return 0.0 if self._end_epochs <= DRAIN_EPOCHS else _PATIENCE_S
        return self.reading.wait_s()

    def snapshot(self) -> Any:
        """The reading's state, and the outbox that is released after the commit."""
        self._runtime.beat()
        state = self.reading.fix(self.outbox)
        if not self._fresh_epoch:  # an engine may end an epoch in which it did not poll: nothing was released in it
            self._draining -= self._runtime.stopping()
            self._end_epochs += self.reading.ended()
        self._fresh_epoch = True
        return (state, self.outbox.dump())

    def close(self) -> None:
        """Give back what the reading holds."""
        self.reading.close()

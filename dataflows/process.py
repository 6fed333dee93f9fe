"""What the parts of one process share: stop flag, watchdog, gates between processes, log of exceptions."""

import functools
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar, cast

from kappawatt.errors import Superseded

Method = TypeVar("Method", bound=Callable[..., Any])

LOG = logging.getLogger("kappawatt.flow")

STOP = threading.Event()
"""Set by SIGTERM or SIGINT: sources stop reading and the flow drains."""

SUPERSEDED = 73
"""Exit code of a start that found a later one at its store."""

_WATCHDOG_S = 60.0
_DRAIN_S = 30.0
_WAITING = "waiting."
_YOUNG = 100_000  # objects more than were let go: a batch of 5,000 records is some 20,000


def logged(method: Method) -> Method:
    """Log an exception where it happens: in a cluster Bytewax reports only that some thread panicked."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except StopIteration:
            raise
        except BaseException:
            LOG.exception("%s failed", method.__qualname__)
            raise

    return cast(Method, wrapper)


def end_superseded(error: Superseded) -> NoReturn:
    """Say why, and end this process at once: whatever else it would do, a later start does."""
    LOG.critical("%s", error)
    os._exit(SUPERSEDED)


def collect_rarely() -> None:
    """Look for cycles seldom: records and rows are many small objects without any, the search was a tenth of all.

    What the imports left is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)


class Watchdog:
    """Ends the process when epochs stop passing, or a drain takes too long: half-dead processes help nobody.

    `beat` is called once an epoch; `waiting` is for a store, broker or registry that is away: waiting is not death. An
    epoch ends for all processes of the flow or for none, so what one waits for holds off the watchdogs of all.
    """

    def __init__(self, limit_s: float = _WATCHDOG_S) -> None:
        self._limit_s = limit_s
        self._last = self._passed = time.monotonic()
        self._stopping_since: float | None = None
        self._waits = 0
        self._marks: Marks | None = None
        self._name = ""
        self._waits_since = self._last
        self._started = False

    def __repr__(self) -> str:
        return f"<Watchdog {time.monotonic() - self._last:.1f} s since the last epoch>"

    def attach(self, marks: "Marks", name: str) -> None:
        """Tell the other processes of this start by *marks* when this one waits, and hear of theirs."""
        self._marks, self._name = marks, f"{_WAITING}{name}"

    def start(self) -> None:
        """Watch from a daemon thread, from now on; a second call changes nothing."""
        self.beat()
        if not self._started:
            self._started = True
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """An epoch passed."""
        self._last = self._passed = time.monotonic()

    def waited_s(self) -> float:
        """How long this process has been waiting for store, log or registry; 0 if it does not."""
        return time.monotonic() - self._waits_since if self._waits else 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the store or the log is waited for: that may take as long as they are away. For the worker thread."""
        if not self._waits:
            self._waits_since = time.monotonic()
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            self._last = time.monotonic()

    def silent_s(self) -> float | None:
        """How long nothing moved although nobody waited; None before the start."""
        return time.monotonic() - self._last if self._started else None

    def epoch_age_s(self) -> float | None:
        """How long ago an epoch passed, whatever was waited for since; None before the start."""
        return time.monotonic() - self._passed if self._started else None

    def waits(self) -> bool:
        """Whether this process or another one of this start waits for something that is away."""
        return self._waits > 0 or (self._marks is not None and self._marks.any_open(_WAITING))

    def is_dead(self, now: float) -> bool:
        """Whether nothing moves although nobody waits, or a drain does not end."""
        if STOP.is_set() and self._stopping_since is None:
            self._stopping_since = now
        if self._stopping_since is not None and now - self._stopping_since > _DRAIN_S:
            return True
        if self._somebody_waits():
            self._last = now
        return now - self._last > self._limit_s

    def _watch(self) -> None:
        while True:
            time.sleep(1.0)
            now = time.monotonic()
            if self.is_dead(now):
                LOG.critical("no progress for %.0f s: ending this process, the state is kept", now - self._last)
                os._exit(70)

    def _somebody_waits(self) -> bool:
        """Whether this process waits, which the others are told, or another one does."""
        if self._marks is None:
            return self._waits > 0
        (self._marks.open if self._waits else self._marks.shut)(self._name)
        return self._waits > 0 or self._marks.any_open(_WAITING)


WATCHDOG = Watchdog()


class Marks(Protocol):
    """What the processes of one start tell each other, by names; all of them see the same ones soon."""

    def open(self, name: str) -> None:
        """Set a mark; once more changes nothing."""

    def shut(self, name: str) -> None:
        """Take a mark away, if it is there."""

    def is_open(self, name: str) -> bool:
        """Whether a mark is set."""

    def any_open(self, prefix: str) -> bool:
        """Whether a mark is set whose name begins so."""


class Gates:
    """Marks that the processes of one start set for each other, as files in a folder of that start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<Gates {self._folder}>"

    def open(self, name: str) -> None:
        """Set a mark."""
        (self._folder / name).touch()

    def shut(self, name: str) -> None:
        """Take a mark away, if it is there."""
        (self._folder / name).unlink(missing_ok=True)

    def is_open(self, name: str) -> bool:
        """Whether a mark is set."""
        return (self._folder / name).exists()

    def any_open(self, prefix: str) -> bool:
        """Whether a mark is set whose name begins so."""
        return any(self._folder.glob(f"{prefix}*"))


class Process:
    """The `Runtime` of a job that runs in this process."""

    def __init__(self, gates: Marks) -> None:
        self._gates = gates

    def __repr__(self) -> str:
        return f"<Process {self._gates!r}>"

    def monotonic_us(self) -> int:
        """The clock for waiting times."""
        return time.monotonic_ns() // 1_000

    def now_us(self) -> int:
        """The time of day, µs UTC."""
        return time.time_ns() // 1_000

    def stopping(self) -> bool:
        """Whether a signal asked for a drain."""
        return STOP.is_set()

    def beat(self) -> None:
        """Tell the watchdog."""
        WATCHDOG.beat()

    def open(self, gate: str) -> None:
        """Set a mark for all processes."""
        self._gates.open(gate)

    def is_open(self, gate: str) -> bool:
        """Whether a mark was set."""
        return self._gates.is_open(gate)

"""Runs any job without an engine: one thread, time by hand, crashes wherever a test wants them."""

import pickle
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kappawatt.errors import KappawattError
from kappawatt.stores import Store
from kappawatt.testing.runtime import ManualRuntime
from kappawatt.testing.start import MakeJob, Name, Start, spread
from kappawatt.testing.store import MemoryStore

END_EPOCHS = 1_000
"""So many epochs without coming to an end are a fault of the job."""


@dataclass(slots=True)
class Counters:
    """What a driver has done, all its starts together; `snapshot_bytes` is of the latest snapshot of each key."""

    starts: int = 0
    epochs: int = 0
    polls: int = 0
    items: int = 0
    outlets: int = 0
    committed_bytes: int = 0
    snapshot_bytes: dict[str, int] = field(default_factory=dict)


class JobDriver:
    """A job in a test's hand. It keeps an engine's promises (`kappawatt.stream.job`), and breaks down on demand.

    An epoch is: polls, then `snapshot`, `flush`, `commit`; `end_epoch` is all three, and `run` whole epochs. `crash`
    may come between any two calls, `start` builds everything anew from the last commit.

    Args:
        make_job: Makes the job for one process from its `Runtime`, the same each time.
        open_store: Opens the store for one start; by default a session of `store`, which is in memory.
        processes: How many the job is spread over: items between them are pickled.
        seed: Of the choices that engines are free in (order of keys, cuts of batches); None: the plainest.
        start_us: The time of day at the beginning, µs UTC.
    """

    def __init__(
        self,
        make_job: MakeJob,
        *,
        open_store: Callable[[], Store] | None = None,
        processes: int = 1,
        seed: int | None = None,
        start_us: int = 0,
    ) -> None:
        self._make_job, self._processes, self._now_us = make_job, processes, start_us
        self.store = MemoryStore()
        self._open_store = open_store or self.store.open
        self._rng = None if seed is None else random.Random(seed)
        self._chance = random.Random(f"crash {seed}")
        self.runtimes: list[ManualRuntime] = []
        self.committed: dict[Name, bytes] = {}
        """Pickled snapshots by step id and part or key: what a start begins with."""
        self.letters: list[Any] = []
        """Dead records that became durable; after a crash some may be there twice."""
        self.counters = Counters()
        self._phase = "stopped"
        self._current: Start | None = None
        self.start()

    def __repr__(self) -> str:
        return f"<JobDriver {self._phase}, {self.counters.epochs} epochs, {self.counters.starts} starts>"

    # --- starts and ends ----------------------------------------------------------------------------------------------

    def start(self, *, processes: int | None = None, assign: Callable[[str, int], int] = spread) -> "JobDriver":
        """Build everything from the last commit, with a higher fence.

        Args:
            processes: Another number of processes from now on.
            assign: The process of a part or key, of so many.
        """
        if self._current is not None:
            raise KappawattError("the job is running; crash() or drain() it first")
        self._processes = processes or self._processes
        self.runtimes = [ManualRuntime(start_us=self._now_us) for _ in range(self._processes)]
        for runtime in self.runtimes[1:]:
            runtime.gates = self.runtimes[0].gates  # marks are of all processes of a start
        store = self._open_store()
        fence = store.raise_fence(self._now_us)
        self._current = Start(self._make_job, self.runtimes, self.committed, store, fence, rng=self._rng, assign=assign)
        self.counters.starts += 1
        self._phase = "polls"
        return self

    def crash(self, *, durable: float = 0.0) -> Start:
        """Lose everything but the commits and the store.

        Args:
            durable: About which share of the writes under way still reach a store in memory; another store loses them.

        Returns:
            What was lost. It may write on (a half-dead process does), it can never commit.
        """
        lost, self._current, self._phase = self.current, None, "stopped"
        crash = getattr(lost.store, "crash", None)
        if durable and crash is None:
            raise ValueError(f"{lost.store!r} keeps or loses a flush as a whole; give durable only with a MemoryStore")
        if crash is not None:
            crash(durable, self._chance)
        lost.close()
        return lost

    def hold(self) -> Start:
        """Hold the start up as SIGSTOP does, with its writes under way; another may `start` from the last commit.

        Returns:
            What may go on later, without knowing: its calls are those of an epoch, and its commits are kept nowhere.
        """
        held, self._current, self._phase = self.current, None, "stopped"
        return held

    def restart(self, *, processes: int | None = None, assign: Callable[[str, int], int] = spread) -> "JobDriver":
        """Crash and start."""
        self.crash()
        return self.start(processes=processes, assign=assign)

    def drain(self) -> "JobDriver":
        """Let the job stop as a signal does: it reads no more, releases what is committed, and ends."""
        for runtime in self.runtimes:
            runtime.stop = True
        return self.to_end()

    def to_end(self) -> "JobDriver":
        """Run epochs until every part has ended.

        Raises:
            KappawattError: Parts go on for ever; a job ends after a drain, or if its log is bounded.
        """
        for _ in range(END_EPOCHS):
            if not self.current.parts:
                break
            self.run()
        else:
            left = ", ".join(list(self.current.parts)[:5])
            raise KappawattError(
                f"after {END_EPOCHS} epochs parts are still there ({left} …); drain(), or make the log bounded"
            )
        self.current.store.close()
        self._current, self._phase = None, "stopped"
        return self

    # --- an epoch -----------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Start:
        """The running start.

        Raises:
            KappawattError: There is none.
        """
        if self._current is None:
            raise KappawattError("the job is not running: it crashed or came to its end; start() it")
        return self._current

    @property
    def is_running(self) -> bool:
        """Whether there is a start that neither crashed nor came to its end."""
        return self._current is not None

    def poll(self, *parts: str) -> int:
        """Poll parts once each, by default all in their order; how many items they gave."""
        self._expect("polls", "poll")
        given = 0
        for name in parts or self.current.open_parts:
            given += self.current.poll(name)
            self.counters.polls += 1
        self.counters.items += given
        return given

    def end_epoch_of(self, *parts: str) -> "JobDriver":
        """End the epoch of some parts before that of the others: engines look at each part's clock by itself."""
        self._expect("polls", "end_epoch_of")
        for name in parts:
            self.current.end_epoch_of(name)
        return self

    def snapshot(self) -> "JobDriver":
        """Fix everything that was polled or woken; nothing is kept of it before `commit`."""
        self._expect("polls", "snapshot")
        self.current.snapshot()
        self._phase = "snapshot"
        return self

    def flush(self) -> "JobDriver":
        """Wait until what left in this epoch is durable in the store."""
        self._expect("snapshot", "flush")
        self.letters.extend(self.current.flush())
        self._phase = "flush"
        return self

    def commit(self) -> "JobDriver":
        """Keep all snapshots of the epoch together."""
        self._expect("flush", "commit")
        self.counters.outlets += len(self.current.outlets)
        fresh = self.current.commit()
        self.committed = {**self.committed, **fresh}
        self.counters.epochs += 1
        self.counters.committed_bytes += sum(map(len, fresh.values()))
        self.counters.snapshot_bytes |= {name: len(pickled) for (_, name), pickled in fresh.items()}
        self._phase = "polls"
        return self

    def end_epoch(self) -> "JobDriver":
        """`snapshot`, `flush`, `commit`."""
        return self.snapshot().flush().commit()

    def run(self, epochs: int = 1, *, polls: int = 1) -> "JobDriver":
        """Whole epochs of so many polls of every part."""
        for _ in range(epochs):
            for _ in range(polls):
                if self.current.open_parts:
                    self.poll()
            self.end_epoch()
        return self

    def settle(self, quiet: int = 4) -> "JobDriver":
        """Run epochs until *quiet* of them in a row let nothing leave and read nothing but ticks."""
        silent = 0
        for _ in range(END_EPOCHS):
            before = self.counters.outlets
            self.run()
            silent = 0 if self.counters.outlets > before else silent + 1
            if silent >= quiet:
                return self
        raise KappawattError(f"after {END_EPOCHS} epochs outlets still leave")

    def set_clock(self, now_us: int) -> "JobDriver":
        """Set the time of day, of every process; clocks for waiting times stay as they are."""
        for runtime in self.runtimes:
            runtime.start_us += now_us - self._now_us
        self._now_us = now_us
        return self

    def advance(self, microseconds: int) -> "JobDriver":
        """Let time pass, in every process."""
        self._now_us += microseconds
        for runtime in self.runtimes:
            runtime.advance(microseconds)
        return self

    # --- what can be seen ---------------------------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        """The time of day, µs UTC."""
        return self._now_us

    @property
    def phase(self) -> str:
        """Which call comes next: `polls`, or after which call the epoch stands; `stopped`."""
        return self._phase

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table that the store shows, `version` included, in the order of their keys."""
        store = self._open_store()
        try:
            return list(store.scan(table))
        finally:
            store.close()

    def state(self, name: str) -> Any:
        """The committed state of a part or key; None if it has none."""
        found = [pickled for (_, each), pickled in self.committed.items() if each == name]
        return pickle.loads(found[0]) if found else None  # noqa: S301 our own bytes

    def count(self) -> Counter[str]:
        """How many rows the store shows, by table."""
        return Counter({table: len(self.rows(table)) for table in self.store.tables})

    def _expect(self, phase: str, call: str) -> None:
        if self._phase != phase:
            after = {"polls": "an epoch is open", "stopped": "the job is not running"}
            state = after.get(self._phase, f"{self._phase}() was called last")
            wanted = {"polls": "while an epoch is open"}.get(phase, f"right after {phase}()")
            raise KappawattError(f"{call}() comes {wanted}, but {state}")

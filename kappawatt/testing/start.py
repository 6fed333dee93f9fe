"""One start of a job, in one thread: what an engine does between a start and the crash or the end of it."""

import pickle
import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kappawatt.errors import KappawattError
from kappawatt.stores import Store
from kappawatt.stores.outlets import write_outlet
from kappawatt.stream.job import Ending, Item, Job, Logic, Part, Runtime
from kappawatt.stream.outbox import Outlet
from kappawatt.stream.target import FenceGuard

Name = tuple[str, str]
"""A step id and a part or key of it: what a snapshot is of."""

MakeJob = Callable[[Runtime], Job]


def spread(name: str, processes: int) -> int:
    """The process that a part or key is in, if nobody says otherwise; a key and its journal are in the same."""
    return zlib.crc32(name.partition(".")[0].encode()) % processes


class Start:
    """Parts and keys of a job in *processes*, built from the last commit; a crash is to forget it.

    As an engine over several processes would, it takes values to keys in any order between senders and in any cut, if
    it has an *rng*; the order from one sender to one key stays. What goes from process to process is pickled.

    Args:
        make_job: Makes the job of one process.
        runtimes: The surroundings of each process.
        committed: Pickled snapshots by step id and name.
        store: Where outlets go, with *fence*.
        fence: Of this start.
        rng: Who chooses where the engine may; None: values are taken at once, in order.
        assign: The process of a part or key, of so many.
    """

    def __init__(
        self,
        make_job: MakeJob,
        runtimes: Sequence[Runtime],
        committed: Mapping[Name, bytes],
        store: Store,
        fence: int,
        *,
        rng: random.Random | None = None,
        assign: Callable[[str, int], int] = spread,
    ) -> None:
        self._jobs = [make_job(runtime) for runtime in runtimes]
        self._committed, self._rng = committed, rng
        self._assign, self.store, self.fence = assign, store, fence
        self._guard = FenceGuard(store, fence, runtimes[0].monotonic_us)
        self._steps = {key: number for number, step in enumerate(self._jobs[0].steps) for key in step.keys}
        self._logics: dict[str, Logic] = {}
        self._heard: dict[Name, Any] = {}
        self._queues: dict[str, list[Any]] = defaultdict(list)
        self._woken: set[str] = set()
        self._snapshots: dict[Name, Any] = {}
        self._source: dict[str, str] = {}
        self.parts: dict[str, Part] = {}
        """Those that have not ended, by name."""
        self.outlets: list[tuple[str, Outlet]] = []
        """What left in this epoch, with its owner."""
        self.letters: list[Any] = []
        """Dead records of this epoch that are not durable yet."""
        self._build_parts()
        self._tell_kept()

    def __repr__(self) -> str:
        return f"<Start fence {self.fence}, {len(self.parts)} parts, {len(self._woken)} keys woken>"

    @property
    def open_parts(self) -> list[str]:
        """Parts that can be polled: neither ended, nor is their epoch over."""
        return [name for name in self.parts if (self._source[name], name) not in self._snapshots]

    def poll(self, name: str) -> int:
        """Poll a part, give its items to the keys, and return how many there were.

        Raises:
            KappawattError: There is no such part that could be polled.
        """
        if name not in self.open_parts:
            raise KappawattError(self._why_not(name))
        try:
            items = self.parts[name].next_batch()
        except StopIteration:
            self.end_epoch_of(name)
            self.parts.pop(name).close()
            return 0
        self._send(items, self._process(name), -1)
        self._deliver(everything=self._rng is None)
        return len(items)

    def end_epoch_of(self, name: str) -> None:
        """Take a part's snapshot: it is polled again only in the next epoch."""
        self._snapshots[self._source[name], name] = self.parts[name].snapshot()

    def snapshot(self) -> None:
        """End the epoch: of the parts that are still in it, then, when all has arrived, of the keys that were woken."""
        for name in self._shuffled(self.open_parts):
            self.end_epoch_of(name)
        self._deliver(everything=True)
        if not self.parts:
            self._end()
        for number, step in enumerate(self._jobs[0].steps):
            for key in self._shuffled(sorted(key for key in self._woken if self._steps[key] == number)):
                self._snapshots[step.step_id, key] = self._logics[key].snapshot()

    def flush(self) -> list[Any]:
        """Wait, as the sink does, until all that left in this epoch is durable; the dead records among it."""
        self.store.flush()
        durable, self.letters = self.letters, []
        return durable

    def write_again(self) -> None:
        """Write all that left in this epoch once more, as a half-dead process does that was asleep for a while."""
        for _, outlet in self.outlets:
            write_outlet(self.store, outlet, self.fence)

    def commit(self) -> dict[Name, bytes]:
        """The snapshots of the epoch, pickled; the next epoch begins."""
        pickled = {name: pickle.dumps(state) for name, state in self._snapshots.items()}
        self._snapshots, self._woken, self.outlets = {}, set(), []
        self._guard.end_epoch()
        return pickled

    def close(self) -> None:
        """Give back what parts hold."""
        for part in self.parts.values():
            part.close()

    def _build_parts(self) -> None:
        for number, source in enumerate(self._jobs[0].sources):
            for name in source.parts:
                process = self._process(name)
                state = self._state(source.step_id, name)
                self.parts[name] = self._jobs[process].sources[number].build(name, state)
                self._source[name] = source.step_id

    def _tell_kept(self) -> None:
        """Let steps hear all that is kept of their keys, in the process of each."""
        numbers = {step.step_id: number for number, step in enumerate(self._jobs[0].steps)}
        for step_id, name in self._committed:
            if step_id in numbers:
                step = self._jobs[self._process(name)].steps[numbers[step_id]]
                self._heard[step_id, name] = step.hear(self._state(step_id, name))

    def _end(self) -> None:
        """The input is over: every key that is awake says its last, and is asked for a snapshot."""
        for number in range(len(self._jobs[0].steps)):
            for key in [key for key in self._logics if self._steps[key] == number]:
                logic = self._logics[key]
                self._woken.add(key)
                if isinstance(logic, Ending):
                    self._send(logic.on_end(), self._process(key), number)
            self._deliver(everything=True)

    def _process(self, name: str) -> int:
        return self._assign(name, len(self._jobs)) if len(self._jobs) > 1 else 0

    def _state(self, step_id: str, name: str) -> Any:
        pickled = self._committed.get((step_id, name))
        return None if pickled is None else pickle.loads(pickled)  # noqa: S301 our own bytes

    def _send(self, items: Iterable[Item], process: int, after: int) -> None:
        """Queue items for the keys of steps behind number *after*; outlets leave."""
        for key, value in items:
            if isinstance(value, Outlet):
                self.outlets.append((key, value))
                self._guard.before_write()
                self.letters.extend(value.dead)
                write_outlet(self.store, value, self.fence)
                continue
            step = self._steps.get(key)
            if step is None or step <= after:
                raise KappawattError(
                    f"an item is for key {key!r}, which no later step has; steps send to later ones: "
                    f"{', '.join(f'{each.step_id} ({len(each.keys)} keys)' for each in self._jobs[0].steps)}"
                )
            there = self._process(key)
            crossing = process != there
            self._queues[key].append(pickle.loads(pickle.dumps(value)) if crossing else value)  # noqa: S301 our own

    def _deliver(self, *, everything: bool) -> None:
        """Give queued values to their keys: all of them, or those that chance picks."""
        while self._queues:
            number = min(self._steps[key] for key in self._queues)
            keys = [key for key in self._queues if self._steps[key] == number]
            for key in self._shuffled(keys):
                self._wake(key, self._queues.pop(key))
            if not everything:
                return

    def _wake(self, key: str, values: list[Any]) -> None:
        number, process = self._steps[key], self._process(key)
        if key not in self._logics:
            step = self._jobs[process].steps[number]
            self._logics[key] = step.build(key, self._heard.pop((step.step_id, key), None))
        self._woken.add(key)
        for cut in self._cuts(values):
            self._send(self._logics[key].on_batch(cut), process, number)

    def _cuts(self, values: list[Any]) -> list[list[Any]]:
        if self._rng is None or len(values) < 2 or self._rng.random() < 0.5:
            return [values]
        at = self._rng.randrange(1, len(values))
        return [values[:at], values[at:]]

    def _shuffled(self, names: list[str]) -> list[str]:
        return names if self._rng is None else self._rng.sample(names, len(names))

    def _why_not(self, name: str) -> str:
        if name in self.parts:
            return f"part {name!r} has ended its epoch; commit, then poll it again"
        known = [each for source in self._jobs[0].sources for each in source.parts]
        if name in known:
            return f"part {name!r} has ended for good; restart the job to read on"
        return f"there is no part {name!r}; there are {', '.join(known)}"

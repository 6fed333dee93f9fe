"""A seeded history of one log: who writes, who is polled, where an epoch ends, where everything breaks down."""

import random
from collections import Counter
from dataclasses import dataclass, field

from dataflows.rebuild import sweep
from kappawatt.errors import Superseded
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stores.tables import TABLES
from kappawatt.testing import EmissionsDriver
from kappawatt.testing.start import Start
from tests.flows.ledger_compare import differences
from tests.oracle.model import SECOND, Parameters
from tests.oracle.truth import expected_tables
from tests.simulation.laws import Broken, Shown, conservation, lateness, prefixes, require, totals, zones
from tests.simulation.world import START, World

BATCHES = 60
IDLE_US = 60 * SECOND
NEVER_US = 1 << 60
CALLS = ("snapshot", "flush", "commit")
AWAKE_EPOCHS = 5
"""So many epochs a start that was held up has to come to a write, once its own is over."""
ORDERLY = ("run_window_5s", "run_window_5m", "run_window_1h", "device_window_5m", "late")
"""Tables whose rows depend on the order of reading once a sample is late."""


@dataclass(slots=True)
class Report:
    """What happened in a history."""

    counts: Counter[str] = field(default_factory=Counter)
    late: int = 0


class Simulation:
    """The history of one seed. `run` raises `Broken` when a law does not hold."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(f"history {seed}")
        self.short = rng.random() < 0.1  # a horizon of an hour: rows depend on order, laws do not
        self.calm = rng.random() < 0.4  # no partition is ever idle
        self.sloppy = rng.random() < 0.2  # parts may sleep through an epoch
        horizon_us = 3_600 * SECOND if self.short else LedgerConfig().horizon_us
        self.lateness_us = lateness_us = rng.choice((10, 900, 3_600, 36_000)) * SECOND
        self.driver = EmissionsDriver(
            config=LedgerConfig(lateness_us=lateness_us, horizon_us=horizon_us),
            idle_us=NEVER_US if self.calm else IDLE_US,
            processes=rng.choice((1, 1, 2, 3)),
            seed=seed,
            start_us=START,
        )
        slow = rng.choice((None, None, "sample/0", "sample/1"))
        self.driver.log.most = lambda name: 1 if name == slow else rng.choice((1, 2, 5, 50))
        self.parameters = Parameters(lateness_us=1 << 60, horizon_us=horizon_us)
        self.world = World(rng, self.driver, self.parameters, partitions=2)
        self.shown = Shown(self.driver.store)
        self.report = Report()
        self._zombies: list[Start] = []
        self._held: list[tuple[Start, tuple[str, ...]]] = []
        self._polled: set[str] = set()
        self._since_sleep = 9
        self._left = 0
        self._reading_anew = False
        self._life = 0
        """Fence of the first start that read the log anew."""
        self._held_uj: int | None = None

    def run(self) -> Report:
        """The whole history, to the end of the log."""
        actions = (self._write, self._poll, self._end_epoch, self._pass_time, self._break, self._grow)
        odds = (30, 40, 22, 8, 5, 1)
        while self.report.counts["poll"] < BATCHES:
            self.rng.choices(actions, odds)[0]()
        self.world.release()
        self._finish()
        return self.report

    # --- what happens -------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        self.world.produce(self.rng.randrange(1, 6))
        if self.rng.random() < 0.15:
            self.world.price()
        if self.rng.random() < 0.15:
            self.world.event()

    def _poll(self) -> None:
        open_parts = self.driver.current.open_parts
        for name in self.rng.sample(open_parts, self.rng.randint(0, len(open_parts))):
            self._poll_part(name)
        if open_parts and self.rng.random() < 0.1:
            self._wake(open_parts[0])
            self.driver.end_epoch_of(open_parts[0])

    def _poll_part(self, name: str) -> None:
        self.driver.poll(name)
        self._polled.add(name)
        self.report.counts["poll"] += 1
        self._note_outlets()

    def _end_epoch(self) -> None:
        self._awake()
        for number, call in enumerate(CALLS):
            if self.rng.random() < 0.03:
                self._crash(f"before {call}")
                return
            if self.rng.random() < 0.02:
                self._hold(CALLS[number:])
                return
            getattr(self.driver, call)()
            self._note_outlets()
            if call == "flush":
                self.shown.arrive(self.driver.current.outlets)
        self._committed()

    def _pass_time(self) -> None:
        seconds = self.rng.choice((1, 5, 20, 20, 70, 70, 400, 1_500))
        self.driver.advance(seconds * SECOND)
        self.report.counts["idle"] += seconds >= 60

    def _break(self) -> None:
        kind = self.rng.choice(("crash", "crash", "drain", "end", "zombie", "trim", "lose", "hold"))
        if kind == "drain":
            self._drain()
        elif kind == "end":
            if not self.calm and self.rng.random() < 0.3:
                self._until_end()
                self._start()
        elif kind == "lose":
            self._lose_state()
        elif kind == "zombie":
            self._haunt()
        elif kind == "hold":
            self._hold(CALLS)
        elif kind == "trim":
            self._trim()
        else:
            self._crash("polls")

    def _trim(self) -> None:
        if self.lateness_us < 3_600 * SECOND:  # the others may lose their state, and need the whole log then
            self.report.counts["trim"] += 1
            for name, at in prefixes(self.driver.store, self.world.accounts).items():
                self.world.trim(name, at // 2)

    def _lose_state(self) -> None:
        """The log is read anew into the same store. Without late samples the rows are the same whoever reads."""
        late = self.driver.store.content("late")
        if self.short or late or self.lateness_us < 3_600 * SECOND or self.rng.random() < 0.5:
            return
        self.report.counts["lost state"] += 1
        self.driver.crash()
        self.driver.committed = {}
        self.shown.new_life()
        self._reading_anew = True
        self._zombies, self._held = [], []
        self._start()
        self._life = self.driver.current.fence

    def _grow(self) -> None:
        if self.world.partitions < 8:
            self.world.grow()
            self.report.counts["grow"] += 1

    # --- starts and ends ----------------------------------------------------------------------------------------------

    def _crash(self, where: str) -> None:
        self.report.counts[f"crash {where}"] += 1
        old = self.driver.crash(durable=self.rng.choice((0.0, 0.5, 1.0)))
        self._left = 0
        self.shown.check()
        if old.outlets and self.rng.random() < 0.5:
            self._zombies.append(old)  # its writes are still under way when the next start is up
        self._start()

    def _hold(self, left: tuple[str, ...]) -> None:
        """A start is held up with so much left of its epoch; another one goes on from the last commit."""
        self._held.append((self.driver.hold(), left))
        self._left = 0
        self._start()

    def _start(self) -> None:
        self.driver.start(processes=self.rng.choice((None, None, 1, 2, 3)))
        self._asleep_since_start()

    def _drain(self) -> None:
        self.report.counts["drain"] += 1
        for runtime in self.driver.runtimes:
            runtime.stop = True
        self._run_down()
        self._start()

    def _until_end(self) -> None:
        """The log's end: everything is final."""
        self.report.counts["until end"] += 1
        if self.driver.is_running:
            self._crash_quietly()
        with self.driver.bounded():
            self.driver.start()
            self._asleep_since_start()
            self._run_down()

    def _crash_quietly(self) -> None:
        self.driver.crash()
        self._left = 0

    def _run_down(self) -> None:
        """Epochs until every part has ended."""
        for _ in range(2_000):
            if not self.driver.current.parts:
                break
            for name in self.driver.current.open_parts:
                self.driver.poll(name)
                self._note_outlets()
            self.driver.snapshot().flush()
            self._note_outlets()
            self.shown.arrive(self.driver.current.outlets)
            self.driver.commit()
            self._committed()
        require(not self.driver.current.parts, "it does not come to its end")
        self.driver.to_end()

    def _haunt(self) -> None:
        """An old start writes what it had under way, with its old fence."""
        for old in self._zombies:
            self.report.counts["zombie"] += 1
            old.write_again()
            old.flush()
        self._zombies = []
        self.shown.check()
        for old, left in self._held:
            self._wake_up(old, left)
        self._held = []

    def _wake_up(self, old: Start, left: tuple[str, ...]) -> None:
        """A start that was held up ends its epoch, in which only committed rows leave, and then changes nothing."""
        self.report.counts["woken"] += 1
        try:
            for call in left:
                getattr(old, call)()
                self.shown.leave(old.outlets)
        except Superseded:
            self.report.counts["superseded"] += 1
            return
        finally:
            self.shown.check()
        before = self._rows()
        try:
            for _ in range(AWAKE_EPOCHS):
                for name in old.open_parts:
                    old.poll(name)
                for call in CALLS:
                    getattr(old, call)()
        except Superseded:
            self.report.counts["superseded"] += 1
        require(self._rows() == before, "a start that was held up changed rows in the epoch after it")

    def _rows(self) -> dict[str, dict[object, object]]:
        return {table: self.driver.store.content(table) for table in TABLES}

    # --- laws ---------------------------------------------------------------------------------------------------------

    def _asleep_since_start(self) -> None:
        self._polled = set()
        self._left = 0

    def _awake(self) -> None:
        """Every part is polled at least once an epoch, unless this history is sloppy."""
        self._since_sleep += 1
        for name in self.driver.current.open_parts:
            if name not in self._polled:
                if self.sloppy and self.rng.random() < 0.2:
                    self._since_sleep = 0
                else:
                    self._poll_part(name)

    def _wake(self, name: str) -> None:
        if name not in self._polled:
            self._poll_part(name)

    def _note_outlets(self) -> None:
        outlets = self.driver.current.outlets
        self.shown.leave(outlets[self._left :])
        self._left = len(outlets)

    def _committed(self) -> None:
        self._left = 0
        self._polled = set()
        self.report.counts["epoch"] += 1
        positions = prefixes(self.driver.store, self.world.accounts)
        if self._since_sleep <= 3 or self._reading_anew:
            self._held_uj = None
            return
        conservation(self.driver.store)
        if not self.short:
            if self._held_uj is not None:
                zones(self.driver.store, self._held_uj)
            self._held_uj = totals(self.driver.store, self.world.accounts, positions)

    def _finish(self) -> None:
        self._until_end()
        if self._reading_anew:  # as the flow does at the end of a rebuild
            sweep(self.driver.store.open(), self._life)
        before = self._rows()
        self._haunt()
        require(self._rows() == before, "a start that woke after its successor had finished changed rows")
        store = self.driver.store.open()
        ends = {name: self.driver.log.end("sample", name) for name in self.world.accounts}
        positions = prefixes(self.driver.store, self.world.accounts)
        require(all(positions.get(name, 0) == end for name, end in ends.items()), "read to", positions, "of", ends)
        conservation(self.driver.store)
        self.report.late = len(self.driver.store.content("late"))
        if self.calm:
            lateness(self.driver.store, self.world.log, self.lateness_us)
        if self.short:
            return
        totals(self.driver.store, self.world.accounts, positions)
        expected = expected_tables(self.world.log, self.parameters)
        expected.pop("restatement")
        for table in ORDERLY if self.report.late else ():
            expected.pop(table)
        if self.lateness_us < 3_600 * SECOND:  # marks may come later than that
            expected.pop("phase_total")
        if self._reading_anew:  # a key of it may have changed: the flow's own rebuild sweeps such rows, the driver not
            expected.pop("runs_by_date")
        found = differences(Forgiving(store, late=bool(self.report.late)), forgiven(expected, self.report.late))
        require(not found, *found[:3])


class Forgiving:
    """A store without what the order of reading or of time decides, in a history with late samples or silence."""

    def __init__(self, store: object, *, late: bool) -> None:
        self._store, self._late = store, late

    def scan(self, table: str):
        for row in self._store.scan(table):
            yield _forgive(table, row, self._late)


def forgiven(expected, late):
    """The expectation without the same."""
    return {
        table: {key: _forgive(table, row, bool(late)) for key, row in rows.items()} for table, rows in expected.items()
    }


def _forgive(table: str, row, late: bool):
    if table in ("run", "runs_by_date") and row["status"] == "lost":
        return row | {"status": "running"}  # who is lost depends on how long the silence was
    if table == "run_total" and late:
        return row | {"power_w_max": None}
    return row


def run(seed: int) -> Report:
    """One history; a failure says how to see it again."""
    try:
        return Simulation(seed).run()
    except Exception as error:
        raise Broken(
            f"seed {seed}: {type(error).__name__}: {error}\nsee it again: python -m tests.simulation {seed}"
        ) from error

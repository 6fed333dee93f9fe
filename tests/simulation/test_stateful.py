"""A machine of rules over one log: whatever is done in whatever order, the laws hold and the end is the oracle's."""

import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kappawatt.ledger.config import LedgerConfig
from kappawatt.testing import EmissionsDriver
from kappawatt.testing.start import spread
from tests.flows.ledger_compare import differences
from tests.oracle.model import SECOND, W5M, Parameters
from tests.oracle.records import event, price
from tests.oracle.truth import expected_tables
from tests.simulation.laws import conservation, prefixes, totals
from tests.simulation.scheduler import Forgiving, forgiven
from tests.simulation.world import PRICED, RUNS, START, World

LATENESS_US = 36_000 * SECOND
PARAMETERS = Parameters(lateness_us=1 << 60)


class Machine(RuleBasedStateMachine):
    """Every rule is something that happens to a job or to its log."""

    def __init__(self) -> None:
        super().__init__()
        config = LedgerConfig(lateness_us=LATENESS_US)
        self.driver = EmissionsDriver(config=config, seed=1, start_us=START)
        self.world = World(random.Random(1), self.driver, PARAMETERS, partitions=2)
        self.events = 0

    # --- the log ------------------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 6))
    def produce(self, count: int) -> None:
        for _ in range(count):
            host = self.world.rng.choice(self.world.hosts)
            self.world.append(host, self.world.take(host))

    @rule(number=st.integers(0, 3))
    def delay(self, number: int) -> None:
        host = self.world.hosts[number % len(self.world.hosts)]
        host.held.append(self.world.take(host))

    @rule()
    def reorder(self) -> None:
        for host in self.world.hosts:
            host.held.reverse()
        self.world.release()

    @rule(number=st.integers(0, 3))
    def duplicate(self, number: int) -> None:
        self.world.again(self.world.hosts[number % len(self.world.hosts)])

    @rule(number=st.integers(0, 3))
    def poison(self, number: int) -> None:
        self.world.nonsense(self.world.hosts[number % len(self.world.hosts)])

    @rule(zone=st.sampled_from(PRICED), back=st.integers(-2, 12), revision=st.integers(0, 3), length=st.integers(1, 12))
    def price_again(self, zone: str, back: int, revision: int, length: int) -> None:
        self.events += 1
        start = (self.driver.now_us // W5M - back) * W5M
        figures = {"revision": revision, "intensity_g_per_kwh": 100.0 + self.events, "published_at": self.driver.now_us}
        record = price(zone=zone, valid_from=start, valid_to=start + length * W5M, **figures)
        self.world.control("intensity", record, self.world.log.intensity)

    @rule(run=st.sampled_from(RUNS))
    def stop_run(self, run: str) -> None:
        self._say(run, type="stop")

    @rule(run=st.sampled_from(RUNS), phase=st.sampled_from(("load", "train")))
    def start_phase(self, run: str, phase: str) -> None:
        self._say(run, type="phase_start", phase=phase)

    @rule(run=st.sampled_from(RUNS), phase=st.sampled_from(("load", "train")), pue=st.sampled_from((None, 1.2)))
    def end_phase(self, run: str, phase: str, pue: float | None) -> None:
        self._say(run, type="phase_end", phase=phase, pue=pue)

    @precondition(lambda self: self.world.partitions < 8)
    @rule()
    def grow(self) -> None:
        self.world.grow()

    def _say(self, run: str, **fields: Any) -> None:
        self.events += 1
        record = event(event_id=f"m{self.events}", run_id=run, at=self.driver.now_us, **fields)
        self.world.control("run_event", record, self.world.log.run_events)

    # --- the job ------------------------------------------------------------------------------------------------------

    @rule(epochs=st.integers(1, 3), polls=st.integers(1, 3))
    def epoch(self, epochs: int, polls: int) -> None:
        self.driver.run(epochs, polls=polls)

    @rule(most=st.sampled_from((1, 2, 50)))
    def cut(self, most: int) -> None:
        self.driver.log.most = most

    @rule(seconds=st.sampled_from((1, 30, 70, 600)))
    def idle(self, seconds: int) -> None:
        self.driver.advance(seconds * SECOND).run()

    @rule(calls=st.integers(0, 3), durable=st.sampled_from((0.0, 0.5, 1.0)))
    def crash(self, calls: int, durable: float) -> None:
        for call in ("poll", "snapshot", "flush")[:calls]:
            getattr(self.driver, call)()
        self.driver.crash(durable=durable)
        self.driver.start().run()

    @rule(processes=st.integers(1, 4), salt=st.integers(0, 9))
    def rescale(self, processes: int, salt: int) -> None:
        self.driver.crash()
        self.driver.start(processes=processes, assign=lambda name, count: spread(f"{salt}{name}", count))
        self.driver.run()

    @rule()
    def drain(self) -> None:
        self.driver.drain().start().run()

    # --- the laws -----------------------------------------------------------------------------------------------------

    @invariant()
    def law(self) -> None:
        conservation(self.driver.store)
        totals(self.driver.store, self.world.accounts, prefixes(self.driver.store, self.world.accounts))

    def teardown(self) -> None:
        self.world.release()
        self.driver.until_end()
        self.law()
        assert self.driver.broken() == []
        if self.driver.store.content("late"):
            return
        expected = expected_tables(self.world.log, PARAMETERS)
        expected.pop("restatement")
        store = Forgiving(self.driver.store.open(), late=False)
        assert differences(store, forgiven(expected, False)) == []


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30)

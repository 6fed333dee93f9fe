"""Properties of the whole job: what may differ from run to run leaves no trace in the rows, which are the oracle's."""

import random
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.ledger.config import LedgerConfig
from kappawatt.testing import EmissionsDriver
from tests.flows.ledger_compare import differences
from tests.oracle.model import SECOND, Log, Parameters, Record
from tests.oracle.truth import expected_tables
from tests.simulation.scheduler import Forgiving, forgiven
from tests.unit.ledger_stories import UNEXPLAINED, Story, stories

EXAMPLES = 40
"""So many stories a property, new ones each time."""

LATENESS_US = 36_000 * SECOND
NOW_US = 1_740_873_600 * SECOND + 86_400 * SECOND
CHECKED = settings(max_examples=EXAMPLES, phases=UNEXPLAINED)
seeds = st.integers(0, 1 << 32)


@dataclass
class Telling:
    """One way of telling a story to the job."""

    story: Story
    rng: random.Random
    processes: int = 1
    skewed: bool = False

    def partitions(self, count: int) -> dict[str, list[Record]]:
        """Samples by partition, hosts stay together, in any order within one."""
        found: dict[str, list[Record]] = {str(number): [] for number in range(count)}
        hosts = {host: self.rng.randrange(count) for host in ("h1", "h2", "h3")}
        for record in self.rng.sample(self.story.samples, len(self.story.samples)):
            found[str(hosts[record["host"]])].append(record)
        return found

    def tell(self, *, partitions: int, crashes: bool = False, repeats: bool = False, idle: bool = False) -> Any:
        """The store at the end, with the versions that went back on the way."""
        driver = EmissionsDriver(
            config=LedgerConfig(lateness_us=LATENESS_US),
            processes=self.processes,
            seed=self.rng.randrange(1 << 30),
            start_us=NOW_US,
            idle_us=60 * SECOND,
        )
        driver.log.most = lambda _: self.rng.choice((1, 2, 9))
        waiting = self.partitions(partitions)
        for name in waiting:
            driver.log.create("sample", name)
        prices, events = list(self.story.prices), list(self.story.events)
        if self.skewed:
            for number, runtime in enumerate(driver.runtimes):
                runtime.start_us += (number - 1) * 120 * SECOND
        versions: dict[Any, int] = {}
        while any(waiting.values()) or prices or events:
            self._write(driver, waiting, prices, events, repeats)
            driver.run(self.rng.randint(0, 2))
            if crashes and self.rng.random() < 0.4:
                self._crash(driver)
            if idle:
                driver.advance(self.rng.choice((0, 61, 400)) * SECOND)
            never_back(driver, versions)
        driver.until_end()
        never_back(driver, versions)
        return driver

    def _write(self, driver: Any, waiting: Any, prices: list[Record], events: list[Record], repeats: bool) -> None:
        rng = self.rng
        for name, records in waiting.items():
            count = rng.randint(0, len(records))
            taken, records[:] = records[:count], records[count:]
            for record in taken:
                driver.samples(name, *[record] * (1 + (repeats and rng.random() < 0.3)))
        for kept, write in ((prices, driver.prices), (events, driver.events)):
            rng.shuffle(kept)
            for _ in range(rng.randint(0, len(kept))):
                write(kept.pop())

    def _crash(self, driver: Any) -> None:
        for call in ("poll", "snapshot", "flush")[: self.rng.randrange(4)]:
            getattr(driver, call)()
        driver.crash(durable=self.rng.random())
        driver.start(processes=self.rng.choice((1, 2, 3)))


def never_back(driver: Any, versions: dict[Any, int]) -> None:
    """No row has a smaller version than it had before."""
    for table in driver.store.tables:
        for key, (_, version) in driver.store.content(table).items():
            assert version >= versions.get((table, key), version), (table, key)
            versions[table, key] = version


def expected(story: Story) -> Any:
    """The oracle's tables, without those that tell how it was read."""
    log = Log(run_events=story.events, intensity=story.prices)
    log.samples = {"all": sorted(story.samples, key=lambda record: record["start"])}
    tables = expected_tables(log, Parameters(lateness_us=1 << 60))
    for name in ("accounting", "restatement"):
        tables.pop(name)
    return tables


def told(story: Story, seed: int, **ways: Any) -> list[str]:
    """How the rows of one telling differ from the oracle's."""
    rng = random.Random(seed)
    telling = Telling(story, rng, ways.pop("processes", 1), ways.pop("skewed", False))
    driver = telling.tell(**{"partitions": 2, **ways})
    assert driver.store.content("late") == {}
    assert driver.broken() == []
    if ways.get("idle"):  # a silence has an end only in the log: who is lost meanwhile depends on how long it was
        return differences(Forgiving(driver.store.open(), late=False), forgiven(expected(story), False))
    return differences(driver.store.open(), expected(story))


@CHECKED
@given(stories, seeds, st.integers(1, 4))
def test_order_cut_and_partitions_leave_no_trace(story: Story, seed: int, partitions: int) -> None:
    assert told(story, seed, partitions=partitions) == []


@CHECKED
@given(stories, seeds)
def test_repeats_leave_no_trace(story: Story, seed: int) -> None:
    assert told(story, seed, repeats=True) == []


@CHECKED
@given(stories, seeds, st.integers(2, 4))
def test_processes_and_their_clocks_leave_no_trace(story: Story, seed: int, processes: int) -> None:
    assert told(story, seed, processes=processes, skewed=True) == []


@CHECKED
@given(stories, seeds)
def test_crashes_and_rescaling_leave_no_trace(story: Story, seed: int) -> None:
    assert told(story, seed, crashes=True) == []


@CHECKED
@given(stories, seeds)
def test_idle_and_waking_partitions_leave_no_trace(story: Story, seed: int) -> None:
    without_ends = replace(story, events=[event for event in story.events if event["type"] != "stop"])
    assert told(without_ends, seed, idle=True) == []


@CHECKED
@given(stories, seeds)
def test_all_of_it_together_leaves_no_trace(story: Story, seed: int) -> None:
    without_ends = replace(story, events=[event for event in story.events if event["type"] != "stop"])
    assert told(without_ends, seed, crashes=True, repeats=True, idle=True, processes=2, skewed=True) == []

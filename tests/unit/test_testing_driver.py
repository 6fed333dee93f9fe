"""The driver: what it promises, and what it says when it is misused. The job counts words by their first letter."""

import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from kappawatt.errors import KappawattError, Superseded
from kappawatt.stores.tables import Kind, Table
from kappawatt.stream.job import Item, Job, Source, Step
from kappawatt.stream.outbox import Outbox
from kappawatt.stream.part import EpochPart
from kappawatt.stream.ticks import Ticks, is_tick
from kappawatt.testing import JobDriver, MemoryLog, MemoryStore

KEYS = ("a", "b")
LETTERS = Table("letter", ("letter",), (), {"letter": Kind.TEXT, "count": Kind.BIGINT})


@dataclass
class Reading:
    """Reads the partition that has its part's name."""

    log: MemoryLog
    part: str
    positions: Any = None
    bounded: bool = False
    count: int = 0
    waited: int = field(default=0)

    def __post_init__(self):
        self.reader = self.log.reader("word", lambda name: name == self.part, self.positions, bounded=self.bounded)

    def read(self) -> list[Item]:
        batches = self.reader.poll(lambda _: 0)
        words = [
            bytes(b.raw.buffer[s:e]).decode() for b in batches for s, e in zip(b.raw.start, b.raw.end, strict=True)
        ]
        self.count += len(words)
        return [(word[0], word) for word in words]

    def fix(self, outbox: Outbox) -> Any:
        return (self.reader.dump(), self.count)

    def wait_s(self) -> float:
        return 0.0

    def ended(self) -> bool:
        return self.bounded and self.reader.at_end(f"word/{self.part}")

    def may_go(self, epochs: int) -> bool:
        return epochs >= 3

    def close(self) -> None:
        self.reader.close()


class Counting:
    """Counts the words of a letter; its row leaves in the epoch after."""

    def __init__(self, letter: str, state: Any) -> None:
        self.letter, self.count, self.outbox = letter, 0, Outbox()
        if state is not None:
            self.count, waiting = state
            self.outbox = Outbox(*waiting)
        self.shown = self.count

    def on_batch(self, values: list[Any]) -> list[Item]:
        self.count += sum(not is_tick(value) for value in values)
        return [(self.letter, outlet) for outlet in self.outbox.release()]

    def snapshot(self) -> Any:
        if self.count != self.shown:
            self.outbox.put({"letter": [(self.letter, self.count)]}, {})
            self.shown = self.count
        return (self.count, self.outbox.dump())


def driver(log: MemoryLog, *, parts=("p", "q"), bounded=False, **options: Any) -> JobDriver:
    def make(runtime):
        def part(name: str, state: Any) -> EpochPart:
            (positions, count), waiting = state or ((None, 0), ((), 0))
            reading = Reading(log, name, positions, bounded, count)
            return EpochPart(name, reading, Ticks(KEYS), Outbox(*waiting), runtime)

        return Job("words", (Source("words", parts, part),), (Step("letters", KEYS, Counting),))

    store = MemoryStore({"letter": LETTERS})
    made = JobDriver(make, open_store=store.open, **options)
    made.store = store
    return made


def words(*given: str, partition: str = "p") -> MemoryLog:
    log = MemoryLog()
    for name in ("p", "q"):
        log.create("word", name)
    for word in given:
        log.append("word", partition, word.encode())
    return log


def counts(run: JobDriver) -> dict[str, int]:
    return {row["letter"]: row["count"] for row in run.rows("letter")}


def test_rows_come_in_the_epoch_after_their_snapshot():
    run = driver(words("ant", "bee", "ape"))

    run.run()
    before = counts(run)
    run.run()

    assert (before, counts(run)) == ({}, {"a": 2, "b": 1})


@pytest.mark.parametrize("call", ["poll", "snapshot", "flush", "commit"])
def test_crash_anywhere_before_the_commit_takes_all_of_the_epoch_back(call):
    run = driver(words("ant", "ape"))
    for each in ("poll", "snapshot", "flush")[: ("poll", "snapshot", "flush", "commit").index(call)]:
        getattr(run, each)()

    run.restart()

    assert run.state("a") is None
    assert counts(run.run(2)) == {"a": 2}


def test_crash_after_the_commit_releases_the_same_outlet_again():
    run = driver(words("ant"))
    run.run()
    run.poll("p")
    first = list(run.current.outlets)

    run.restart()
    run.poll("p")

    assert run.current.outlets == first
    assert len(first) == 1


@pytest.mark.parametrize(("durable", "shown"), [(0.0, {}), (1.0, {"a": 1})])
def test_crash_keeps_the_given_share_of_the_writes_under_way(durable, shown):
    run = driver(words("ant"))
    run.run().poll()

    run.crash(durable=durable)

    assert counts(run) == shown


def test_half_dead_start_cannot_overwrite_the_next_one():
    log = words("ant")
    run = driver(log)
    run.run().poll()
    old = run.crash()
    old.store.write("letter", [("a", 1)], old.fence + 1)
    log.append("word", "p", b"ape")
    run.start().run(3)

    old.flush()

    assert counts(run) == {"a": 2}


def test_start_that_was_held_up_writes_what_was_committed_and_nothing_of_its_next_epoch():
    log = words("ant", "ape", "apt")
    log.most = 1
    run = driver(log)
    run.run().poll()
    old = run.hold()  # with the row of "ant" under way
    run.start().run(2)

    old.snapshot()
    old.flush()
    of_its_epoch = counts(run)
    old.commit()  # to where nobody looks: the successor went on from the commit before
    with pytest.raises(Superseded, match="another flow was started"):
        old.poll("p")

    assert of_its_epoch == counts(run) == {"a": 2}


def test_half_dead_start_may_still_poll():
    log = words("ant")
    run = driver(log)
    old = run.crash()

    assert old.poll("p") == 3  # two ticks and a word


def test_drain_shows_all_that_was_read_and_nothing_more():
    log = words("ant", "ape")
    log.most = 1
    run = driver(log)
    run.run()

    run.drain()

    assert counts(run) == {"a": 1}
    assert counts(run.start().run(3)) == {"a": 2}


def test_bounded_log_comes_to_its_end_and_a_later_start_goes_on():
    log = words("ant")
    run = driver(log, bounded=True).to_end()
    log.append("word", "p", b"ape")

    assert counts(run) == {"a": 1}
    assert counts(run.start().to_end()) == {"a": 2}


def test_parts_can_end_their_epochs_one_after_the_other():
    log = words("ant")
    log.append("word", "q", b"ape")
    run = driver(log)
    run.poll("p")
    run.end_epoch_of("p")

    run.poll("q")
    run.end_epoch()

    assert run.state("a")[0] == 2


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_order_of_keys_and_cut_of_batches_are_free(seed, processes):
    log = words(*("ant", "bee", "ape", "bug") * 5)
    log.append("word", "q", b"ass")
    run = driver(log, seed=seed, processes=processes)
    log.most = lambda _: 1 + seed % 3

    run.run(12, polls=2)

    assert counts(run) == {"a": 11, "b": 10}


def test_partition_that_appears_later_is_read():
    log = words("ant")
    run = driver(log).run()

    log.append("word", "q", b"bee")

    assert counts(run.run(2)) == {"a": 1, "b": 1}


def test_holes_and_removed_records_are_stepped_over():
    log = words("ant", "ape", "ass")
    log.append("word", "p", b"bee", offset=10)
    log.remove("word", "p", [1])
    log.trim("word", "p", 1)

    run = driver(log).run(2)

    assert counts(run) == {"a": 1, "b": 1}
    assert run.state("p")[0] == ({"p": 11}, 2)


def test_what_crosses_processes_is_pickled():
    class Stubborn(str):
        def __reduce__(self):
            raise pickle.PicklingError("stays here")

    run = driver(words()).restart(processes=2, assign=lambda name, _: int(name == "a"))
    run.current.parts["p"].reading.read = lambda: [("a", Stubborn("ant"))]

    with pytest.raises(pickle.PicklingError, match="stays here"):
        run.poll("p")


def test_counters_tell_what_was_done():
    run = driver(words("ant")).run(3)

    assert (run.counters.starts, run.counters.epochs, run.counters.polls) == (1, 3, 6)
    assert run.counters.outlets == 1
    assert set(run.counters.snapshot_bytes) == {"p", "q", "a", "b"}


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda run: run.start(), "the job is running; crash() or drain() it first"),
        (lambda run: run.flush(), "flush() comes right after snapshot(), but an epoch is open"),
        (lambda run: run.commit(), "commit() comes right after flush(), but an epoch is open"),
        (
            lambda run: (run.snapshot(), run.poll()),
            "poll() comes while an epoch is open, but snapshot() was called last",
        ),
        (lambda run: (run.crash(), run.poll()), "poll() comes while an epoch is open, but the job is not running"),
        (lambda run: (run.crash(), run.current), "the job is not running: it crashed or came to its end; start() it"),
        (lambda run: run.poll("x"), "there is no part 'x'; there are p, q"),
        (
            lambda run: (run.end_epoch_of("p"), run.poll("p")),
            "part 'p' has ended its epoch; commit, then poll it again",
        ),
        (
            lambda run: run.to_end(),
            "after 1000 epochs parts are still there (p, q …); drain(), or make the log bounded",
        ),
    ],
    ids=["start", "flush", "commit", "poll", "stopped", "current", "part", "epoch", "end"],
)
def test_misuse_says_what_to_do(misuse, message):
    run = driver(words("ant"))

    with pytest.raises(KappawattError) as raised:
        misuse(run)

    assert str(raised.value) == message


def test_item_for_nobody_is_refused():
    run = driver(words("cat"))

    with pytest.raises(KappawattError, match=r"an item is for key 'c', which no later step has; .* letters \(2 keys\)"):
        run.poll("p")

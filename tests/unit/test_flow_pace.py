"""When parts are polled: each poll is an epoch, readings come on the clock, nobody waits for who has nothing to do."""

import math
import time
from pathlib import Path

import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dataflows.engine import INTERVAL, PacedPart, dataflow
from dataflows.jobs import NoLetters
from dataflows.pace import Pace
from dataflows.process import Gates
from dataflows.sinks import OutletSink
from examples.downsampling.tables import Tables
from kappawatt.stream.job import Item, Job, Source
from kappawatt.stream.target import write_outlet

LONG_S = 1_000.0


class Reading:
    """A part that has *reads* items, one a read, and then nothing until it goes."""

    def __init__(self, reads: int) -> None:
        self.left = reads
        self.calls: list[str] = []

    def next_batch(self) -> list[Item]:
        self.calls.append("read")
        if self.left == 0:
            return []
        self.left -= 1
        return [("key", self.left)]

    def release(self) -> list[Item]:
        self.calls.append("release")
        return []

    def wait_s(self) -> float:
        return 0.0 if self.left else math.inf

    def snapshot(self) -> int:
        self.calls.append("snapshot")
        return self.left

    def close(self) -> None:
        self.calls.append("close")


class Going(Reading):
    """The same, but it goes when it has read all."""

    def next_batch(self) -> list[Item]:
        if self.left == 0:
            raise StopIteration
        return super().next_batch()

    def wait_s(self) -> float:
        return 0.0


def test_alone_it_waits_for_nothing_but_the_clock() -> None:
    pace = Pace(LONG_S)

    assert pace.wait_s(math.inf, release=True) == 0
    assert pace.wait_s(0.05, release=False) == 0.05
    beat_s = time.time() + pace.wait_s(math.inf, release=False)
    assert beat_s / LONG_S == pytest.approx(round(beat_s / LONG_S), abs=1e-4)


def test_who_is_behind_goes_on_at_once_and_tells_the_other_processes(tmp_path: Path) -> None:
    marks = Gates(tmp_path)
    alone, mine, other = Pace(LONG_S), Pace(LONG_S, marks, "0"), Pace(LONG_S, marks, "1")
    part, second = object(), object()

    for pace in (alone, mine):
        pace.note(part, behind=True)
        pace.note(second, behind=True)
    assert alone.wait_s(math.inf, release=False) == 0
    assert other.wait_s(math.inf, release=False) == 0
    assert mine.budget_s() == LONG_S

    mine.note(part, behind=False)
    assert marks.any_open("behind.")
    mine.note(second, behind=False)
    assert not marks.any_open("behind.")


def test_poll_reads_until_there_is_no_more_and_the_next_one_only_releases() -> None:
    reading = Reading(3)
    part = PacedPart(reading, Pace(LONG_S))

    assert part.next_batch() == [("key", 2), ("key", 1), ("key", 0)]
    assert part.next_batch() == []
    assert part.next_batch() == []

    assert reading.calls == ["read", "read", "read", "release", "read"]


def test_poll_ends_with_its_share_of_the_epoch_and_the_next_one_reads_on() -> None:
    reading = Reading(3)
    part = PacedPart(reading, Pace(LONG_S, backlog=0))

    assert [part.next_batch() for _ in range(3)] == [[("key", 2)], [("key", 1)], [("key", 0)]]
    assert reading.calls == ["read", "read", "read"]


def test_part_that_goes_in_the_middle_of_a_poll_gives_what_it_has_before() -> None:
    part = PacedPart(Going(2), Pace(LONG_S))

    assert part.next_batch() == [("key", 1), ("key", 0)]
    with pytest.raises(StopIteration):
        part.next_batch()


def test_sources_that_began_apart_are_in_the_same_epoch(tmp_path: Path) -> None:
    """With Bytewax's own interval, the first is polled again and again in vain while the second's epoch goes on."""
    first, second = Going(20), Going(20)

    def built_late(name: str, state: object) -> Going:
        time.sleep(0.7)
        return second

    job = Job("both", (Source("one", ("a",), lambda *_: first), Source("two", ("b",), built_late)), ())
    init_db_dir(tmp_path, 1)
    run_main(
        dataflow(
            job,
            OutletSink(["target"], lambda: (Tables(tmp_path / "store.sqlite"), NoLetters()), write_outlet, 1),
            pace=Pace(LONG_S, backlog=0),
        ),
        epoch_interval=INTERVAL,
        recovery_config=RecoveryConfig(str(tmp_path)),
    )

    for part in (first, second):
        assert part.calls == ["read", "snapshot"] * 20 + ["snapshot", "close"]

"""When Bytewax polls a part again: after what the part asked for, and not once more after what its last poll took."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dataflows.engine import dataflow
from dataflows.jobs import NoLetters
from dataflows.sinks import OutletSink
from examples.downsampling.tables import Tables
from kappawatt.stream.job import Item, Job, Part, Source
from kappawatt.stream.target import write_outlet

HELD_S = 3.0
SOON_S = HELD_S / 2
WAIT_S = 0.02


class Held:
    """A part with nothing to give, of which one thing takes long: as one that waits for a server does."""

    def __init__(self, held_at: int) -> None:
        self.held_at = held_at
        self.polls: list[tuple[float, float]] = []

    def next_batch(self) -> list[Item]:
        began = time.monotonic()
        if len(self.polls) == self.held_at:
            time.sleep(HELD_S)
        self.polls.append((began, time.monotonic()))
        if len(self.polls) > self.held_at + 2:
            raise StopIteration
        return []

    def wait_s(self) -> float:
        return WAIT_S

    def snapshot(self) -> int:
        return len(self.polls)

    def close(self) -> None:
        self.held_at = -1


def run(folder: Path, source: Source) -> None:
    init_db_dir(folder, 1)
    run_main(
        dataflow(
            Job("held", (source,), ()),
            OutletSink(["target"], lambda: (Tables(folder / "store.sqlite"), NoLetters()), write_outlet, 1),
        ),
        epoch_interval=timedelta(seconds=0.1),
        recovery_config=RecoveryConfig(str(folder)),
    )


@pytest.mark.parametrize("held_at", [0, 5])
def test_poll_that_was_held_up_is_followed_by_the_next_at_once(tmp_path: Path, held_at: int) -> None:
    part = Held(held_at)

    run(tmp_path, Source("held", ("one",), lambda name, state: part))

    (began, ended), (again, _) = part.polls[held_at : held_at + 2]
    assert ended - began >= HELD_S
    assert again - ended < SOON_S


def test_part_that_took_long_to_build_is_polled_at_once(tmp_path: Path) -> None:
    part, built = Held(-1), []

    def build(name: str, state: object) -> Part:
        time.sleep(HELD_S)
        built.append(time.monotonic())
        return part

    run(tmp_path, Source("held", ("one",), build))

    assert part.polls[0][0] - built[0] < SOON_S

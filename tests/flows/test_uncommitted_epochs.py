"""What a killed process kept of an epoch that was never committed does not come back, whoever is woken afterwards."""

import pickle
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, cluster_main

from dataflows.recovery_files import drop_uncommitted

PARTS = 2
A_DEAD_STATE = 1_000
SLEEPER, AWAKE = ("a", 1), ("b", 10)


def run(folder: Path, items: list[Any]) -> list[Any]:
    """Running sums by key, one item an epoch."""
    out: list[Any] = []
    flow = Dataflow("sums")
    given = op.input("given", flow, TestingSource(items, batch_size=1))
    sums = op.stateful_map("sum", given, lambda before, value: ((before or 0) + value,) * 2)
    op.output("out", sums, TestingSink(out))
    cluster_main(flow, [], 0, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(folder))
    return out


def leave_behind(folder: Path) -> None:
    """What is on disk when a process dies between its states of an epoch and the commit."""
    for path in folder.glob("*.sqlite3"):
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(
                "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) "
                "SELECT step_id, state_key, snap_epoch + 1, ? FROM snaps WHERE state_key = 'a'",
                (pickle.dumps(A_DEAD_STATE),),
            )


def story(folder: Path, *, drops: bool) -> list[Any]:
    """A key sleeps through the epoch that was once begun for it, and through a crash; what it says when it wakes."""
    init_db_dir(folder, PARTS)
    items: list[Any] = [SLEEPER, AWAKE]
    run(folder, items)
    leave_behind(folder)
    assert not drops or drop_uncommitted(folder) == 1
    items += [AWAKE, AWAKE, AWAKE, TestingSource.ABORT()]
    run(folder, items)
    items[-1:] = [SLEEPER]
    return [item for item in run(folder, items) if item[0] == "a"]


def test_bytewax_takes_an_uncommitted_state_for_committed_if_the_key_sleeps(tmp_path: Path) -> None:
    # Should this fail after an upgrade, `drop_uncommitted` may go.
    assert story(tmp_path, drops=False) == [("a", A_DEAD_STATE + 1)]


def test_uncommitted_states_are_dropped_before_bytewax_opens_the_files(tmp_path: Path) -> None:
    assert story(tmp_path, drops=True) == [("a", 2)]


def test_nothing_committed_is_dropped(tmp_path: Path) -> None:
    init_db_dir(tmp_path, PARTS)
    assert drop_uncommitted(tmp_path) == 0
    items: list[Any] = [SLEEPER, AWAKE]
    run(tmp_path, items)

    assert drop_uncommitted(tmp_path) == 0

    assert run(tmp_path, [*items, SLEEPER, AWAKE]) == [("a", 2), ("b", 20)]

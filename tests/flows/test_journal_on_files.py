"""The flow's journal on real recovery files: kills at any moment, any number of processes, journals that are gone."""

import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.flows import Flow, kill, rows_of, wait_for
from tests.flows.test_ledger_on_files import differing, flow_over, without_expired
from tests.oracle.generate import small
from tests.oracle.model import Log
from tests.oracle.write_log import write_files

PIECES = 5


def piece(log: Log, number: int) -> Log:
    """The first *number* of PIECES of the samples; prices and events that come later change what was shown."""
    cut = {name: records[: len(records) * number // PIECES] for name, records in log.samples.items()}
    return replace(log, samples=cut) if number < PIECES else log


def test_flow_killed_at_any_moment_goes_on_in_other_processes(tmp_path: Path) -> None:
    log = small(21)
    chance = random.Random(21)
    flow = flow_over(piece(log, 1), tmp_path)
    flow = replace(flow, flags=("--epoch-s", "0.05"))
    for number, processes in zip(range(2, PIECES + 1), [1, 2, 3, 1], strict=True):
        before = total(flow)
        write_files(piece(log, number), tmp_path / "log")
        dying = flow.start(processes=processes, until_end=False)
        try:
            wait_for(lambda before=before: total(flow) > before, what="more rows")
            chance_s = chance.random()
            wait_for(lambda at=chance_s: chance.random() > at, what="a random moment")
        finally:
            kill(dying)

    flow.run(processes=2)

    assert differing(flow, log) == []


def total(flow: Flow) -> int:
    """How many 5-s rows there are."""
    return len(rows_of(flow, "run_window_5s"))


def test_flow_whose_journal_is_gone_says_so_and_reads_the_log_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = without_expired(small(23))
    flow = flow_over(log, tmp_path)
    dying = flow.start()
    try:
        wait_for(lambda: total(flow) > 0, what="first rows")
    finally:
        kill(dying)
    forget_journal(flow.state)

    refused = flow.start()
    assert refused.wait(120) != 0
    flow.run()

    said = capfd.readouterr().err
    assert "is not where its key is: the engine places keys differently" in said
    assert "is not used: the journal of s" in said
    assert differing(flow, log) == []


def forget_journal(state: Path) -> None:
    for path in (state / "recovery").glob("*.sqlite3"):
        with sqlite3.connect(path) as part:
            part.execute("DELETE FROM snaps WHERE step_id LIKE '%_journal'")
        part.close()

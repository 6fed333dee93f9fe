"""A flow that waits is not dead, one that is refused does not wait, and a half-removed state is never resumed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataflows.patience import Patience
from dataflows.process import Gates, Watchdog
from dataflows.state import Identity, StateFolder
from kappawatt.errors import LogAway, LogError

ROOT = Path(__file__).resolve().parents[2]
LATER_S = 1_000.0


@pytest.fixture
def watchdogs(tmp_path: Path) -> tuple[Watchdog, Watchdog]:
    """Of two processes of one start; nothing watches but the test."""
    pair = Watchdog(10), Watchdog(10)
    for number, watchdog in enumerate(pair):
        watchdog.attach(Gates(tmp_path), str(number))
    return pair


def test_process_without_epochs_is_dead(watchdogs: tuple[Watchdog, Watchdog]) -> None:
    one, _ = watchdogs

    assert not one.is_dead(time.monotonic())
    assert one.is_dead(time.monotonic() + LATER_S)


def test_process_that_waits_is_not_dead_and_nor_are_the_others(watchdogs: tuple[Watchdog, Watchdog]) -> None:
    one, other = watchdogs

    with one.waiting(), one.waiting():
        of_one = one.is_dead(time.monotonic() + LATER_S)
        of_other = other.is_dead(time.monotonic() + LATER_S)

    assert not of_one
    assert not of_other


def test_waiting_ends_with_the_last_that_waits(watchdogs: tuple[Watchdog, Watchdog], tmp_path: Path) -> None:
    one, other = watchdogs
    with one.waiting():
        with one.waiting():
            pass
        one.is_dead(time.monotonic())
        marked = list(tmp_path.iterdir())
    one.is_dead(time.monotonic())

    assert len(marked) == 1
    assert list(tmp_path.iterdir()) == []
    assert other.is_dead(time.monotonic() + LATER_S)


def test_question_is_asked_again_until_it_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([LogAway("registry R cannot be reached"), LogAway("registry R cannot be reached"), 7])

    def question() -> int:
        answer = next(answers)
        if isinstance(answer, LogAway):
            raise answer
        return answer

    answer = Patience("asking").ask(question)

    said = [record.getMessage() for record in caplog.records]
    assert answer == 7
    assert said[0] == "asking: registry R cannot be reached; waiting until it answers"
    assert len(said) == 2
    assert said[1].startswith("asking: works again after")


def test_refusal_is_not_waited_for() -> None:
    def question() -> int:
        raise LogError("refused")

    with pytest.raises(LogError, match="refused"):
        Patience("asking").ask(question)


CRASH = """
import os, sys
from pathlib import Path
from dataflows.state import Identity, StateFolder
sys.addaudithook(lambda event, _: event == "shutil.rmtree" and os._exit(9))
StateFolder(Path(sys.argv[1])).prepare(Identity(store_id="s", log="l"), parts=1, why="asked", stale_below=None)
"""


def test_state_whose_removal_crashed_is_made_anew(tmp_path: Path) -> None:
    identity = Identity(store_id="s", log="l")
    state = StateFolder(tmp_path / "state")
    state.prepare(identity, parts=1, why="there is none", stale_below=None)
    unfit_before = state.why_anew(identity, parts=1, rebuild=False)

    crashed = subprocess.run([sys.executable, "-c", CRASH, state.folder], cwd=ROOT, check=False, timeout=60)

    assert unfit_before is None
    assert crashed.returncode == 9
    assert state.why_anew(identity, parts=1, rebuild=False) is not None

"""Child programs are ended whatever comes in between."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kappawatt.processes import Children

WAIT = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); print('ready', flush=True); input()"
LAST_WORD = (
    "import os, signal, sys, time\n"
    "def end(*_): os.kill(os.getppid(), signal.SIGINT); sys.exit()\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)\n"
)
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"


class Interrupting(tuple[str, ...]):
    """Arguments during whose reading Ctrl-C comes."""

    def __iter__(self) -> Iterator[str]:
        os.kill(os.getpid(), signal.SIGINT)
        yield from super().__iter__()


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(tmp_path, os.environ, grace_s=0.5)
    yield made
    made.end()


def test_ctrl_c_while_a_child_is_started_leaves_no_stranger(children: Children) -> None:
    with pytest.raises(KeyboardInterrupt):
        children.start("one", Interrupting(["-c", WAIT]))

    assert repr(children) == "<Children one>"


def test_ctrl_c_while_children_are_ended_waits_until_all_have(children: Children) -> None:
    ends = os.pipe(), os.pipe()
    deaf = children.start("deaf", ["-c", DEAF], stdout=ends[0][1])
    last = children.start("last word", ["-c", LAST_WORD], stdout=ends[1][1])
    for end, _ in ends:
        assert os.read(end, 6) == b"ready\n"

    with pytest.raises(KeyboardInterrupt):
        children.end()

    assert (deaf.process.returncode, last.process.returncode) == (-signal.SIGKILL, 0)
    assert repr(children) == "<Children none>"
    for each in (end for pair in ends for end in pair):
        os.close(each)

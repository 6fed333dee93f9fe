"""Child programs are ended whatever comes in between."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kappawatt.processes import Children

READY = "import time; print('ready', flush=True); time.sleep(600)"
WAIT = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); " + READY
LAST_WORD = (
    "import os, signal, sys\n"
    "def end(*_): os.kill(os.getppid(), signal.SIGINT); sys.exit()\n"
    "signal.signal(signal.SIGTERM, end)\n" + READY
)


class Interrupting(tuple[str, ...]):
    """Arguments during whose reading Ctrl-C comes."""

    def __iter__(self) -> Iterator[str]:
        os.kill(os.getpid(), signal.SIGINT)
        yield from super().__iter__()


def ready(told: int) -> bool:
    """Whether a child says so; waits for it."""
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(told, 1)
    return said == b"ready\n"


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(tmp_path, os.environ, grace_s=60)
    yield made
    made.end()


def test_ctrl_c_while_a_child_is_started_leaves_no_stranger(children: Children) -> None:
    with pytest.raises(KeyboardInterrupt):
        children.start("one", Interrupting(["-c", WAIT]))

    assert repr(children) == "<Children one>"


def test_ctrl_c_while_children_are_ended_waits_until_all_have(children: Children) -> None:
    told, write = os.pipe()
    other = children.start("other", ["-c", WAIT], stdout=write)
    assert ready(told)
    last = children.start("last word", ["-c", LAST_WORD], stdout=write)
    assert ready(told)

    with pytest.raises(KeyboardInterrupt):
        children.end()

    assert (other.process.returncode, last.process.returncode) == (0, 0)
    assert repr(children) == "<Children none>"
    os.close(told)
    os.close(write)


def test_child_that_does_not_heed_sigterm_is_killed(tmp_path: Path) -> None:
    children = Children(tmp_path, os.environ, grace_s=0.2)
    told, write = os.pipe()
    deaf = children.start("deaf", ["-c", f"import signal; signal.signal(15, signal.SIG_IGN)\n{READY}"], stdout=write)
    assert ready(told)

    children.end()

    assert deaf.process.returncode == -signal.SIGKILL
    os.close(told)
    os.close(write)

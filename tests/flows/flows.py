"""Start the real flow as a user would, in processes of its own, and kill it as a machine would."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from kappawatt.errors import StoreError
from kappawatt.stores import open_store

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 240


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The addresses that one `kappawatt flow` works on."""

    log: str
    store: str
    state: Path
    flags: Sequence[str] = field(default_factory=tuple)

    def start(
        self, *more: str, processes: int = 1, until_end: bool = True, stderr: IO[str] | None = None
    ) -> subprocess.Popen[str]:
        """Start it; its own messages go to the test's stderr, or to the file *stderr*."""
        command = [sys.executable, "-m", "kappawatt", "flow", "--log", self.log, "--store", self.store]
        command += ["--state", str(self.state), "--processes", str(processes), "--epoch-s", "0.3", *self.flags, *more]
        command += ["--until-end"] if until_end else []
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
        return subprocess.Popen(
            command, cwd=self.state.parent, env=environ, text=True, start_new_session=True, stderr=stderr
        )

    def run(self, *more: str, processes: int = 1) -> None:
        """Run it over a bounded log to the end."""
        flow = self.start(*more, processes=processes)
        try:
            assert flow.wait(LIMIT_S) == 0
        finally:
            kill(flow)


def kill(flow: subprocess.Popen[str]) -> None:
    """SIGKILL all processes of a flow at once, as a power cut does."""
    if flow.poll() is None:
        os.killpg(flow.pid, signal.SIGKILL)
    flow.wait(30)


def wait_for(condition: Callable[[], bool], *, what: str, limit_s: float = 60) -> None:
    """Return when *condition* holds; fail after a while."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit_s:.0f} s for {what}"
        time.sleep(0.02)


def rows_of(flow: Flow, table: str) -> list[dict[str, Any]]:
    """All rows of a table of the flow's store; none while there is no store yet."""
    try:
        store = open_store(flow.store, read_only=True)
    except StoreError:
        return []
    try:
        return list(store.scan(table))
    finally:
        store.close()

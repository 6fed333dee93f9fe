"""Any job with any target, in one process: what `kappawatt.engine` runs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytewax.run import cli_main

from kappawatt.errors import KappawattError
from kappawatt.stream.job import Job, Runtime
from kappawatt.stream.target import Target, write_outlet

from .engine import INTERVAL, dataflow
from .pace import Pace
from .process import WATCHDOG, Gates, Process
from .signals import stop_on_signals
from .sinks import OutletSink
from .state import Identity, StateFolder

_PART = "target"


def run(
    make_job: Callable[[Runtime], Job],
    target: Target,
    *,
    state: Path,
    log: str,
    state_version: int,
    epoch_s: float,
    rebuild: bool,
) -> None:
    """Run until the end or a drain; see `kappawatt.engine.run`."""
    stop_on_signals()
    WATCHDOG.start()
    folder = StateFolder(state)
    folder.lock()
    try:
        identity = Identity(store_id=target.store_id(), log=log, state_version=state_version)
        why = folder.why_anew(identity, parts=1, rebuild=rebuild)
        folder.prepare(identity, parts=1, why=why, stale_below=None)
        fence = target.raise_fence(time.time_ns() // 1_000)
        job = make_job(Process(Gates(folder.gates())))
        sink = OutletSink([_PART], lambda: (target, NoLetters()), write_outlet, fence)
        cli_main(
            dataflow(job, sink, folder.give_up, Pace(epoch_s)),
            epoch_interval=INTERVAL,
            recovery_config=folder.recovery(),
        )
    finally:
        folder.unlock()


class NoLetters:
    """Where a job's dead records would have to go, if it gave some."""

    def write(self, letters: list[Any]) -> None:
        """Refuse them: nothing is dropped in silence."""
        raise KappawattError("a job gave dead records; with this engine's door it has to give them as rows")

    def flush(self) -> None:
        """There are none."""

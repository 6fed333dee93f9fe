"""Any job with any target, in one process: what `kappawatt.engine` runs."""

import time
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.run import cli_main

from kappawatt.errors import KappawattError
from kappawatt.stream.job import Job, Runtime
from kappawatt.stream.outbox import Outlet
from kappawatt.stream.target import Target, write_outlet

from .engine import dataflow
from .process import WATCHDOG, Gates, Process, logged, stop_on_signals
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
        cli_main(
            dataflow(job, TargetSink(target, fence), folder.give_up),
            epoch_interval=timedelta(seconds=epoch_s),
            recovery_config=folder.recovery(),
        )
    finally:
        folder.unlock()


class TargetSink(FixedPartitionedSink):  # type: ignore[misc]  # bytewax has no types that mypy can follow
    """One part: everything goes to one target, in the order of its owner."""

    def __init__(self, target: Target, fence: int) -> None:
        self._target, self._fence = target, fence

    def list_parts(self) -> list[str]:
        """The one part."""
        return [_PART]

    def part_fn(self, item_key: str) -> int:
        """Any number: there is one part."""
        return zlib.crc32(item_key.encode())

    @logged
    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "TargetPart":
        """The part; there is nothing to resume, everything was durable."""
        return TargetPart(self._target, self._fence)


class TargetPart(StatefulSinkPartition):  # type: ignore[misc]  # as above
    """Writes as outlets come, waits in `snapshot`."""

    def __init__(self, target: Target, fence: int) -> None:
        self._target, self._fence = target, fence

    @logged
    def write_batch(self, items: list[Outlet]) -> None:
        """Start to write; waits while the target takes no more."""
        for outlet in items:
            if outlet.dead:
                raise KappawattError("a job gave dead records; with this engine's door it has to give them as rows")
            with WATCHDOG.waiting():
                write_outlet(self._target, outlet, self._fence)

    @logged
    def snapshot(self) -> Any:
        """Wait until all that was started is durable."""
        with WATCHDOG.waiting():
            self._target.flush()
        return None

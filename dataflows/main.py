"""Start of the emissions flow: checks, fence, state, processes."""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from kappawatt.emissions.names import BUCKETS
from kappawatt.errors import KappawattError, SettingsError
from kappawatt.settings import FlowSettings
from kappawatt.stores import Store, open_store

from . import rebuild
from .homes import Home, open_home
from .state import Identity, StateFolder
from .worker import Place, Stage, child, work

LOG = logging.getLogger("kappawatt.flow")

_MAX_PROCESSES = 8
_GRACE_S = 40.0


def run(settings: FlowSettings, open_store: Callable[[str], Store] = open_store) -> int:
    """Run the flow until its end (`--until-end`) or until SIGTERM or SIGINT drain it; the exit code.

    *open_store* gives the store of `settings.store`; with several processes it is one of a module's own functions.
    """
    _check(settings)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one thread a process: workers scale by processes
    home = open_home(settings.log, settings.registry, settings.topic_prefix, bounded=settings.until_end)
    home.check()
    store = open_store(settings.store)
    state = StateFolder(Path(settings.state))
    state.lock()
    try:
        identity = Identity(store_id=store.store_id(), log=f"{settings.log} {settings.topic_prefix}".strip())
        fence = store.raise_fence(time.time_ns() // 1_000)
        stale_below = fence if _has_rows(store) else None
        why = state.why_anew(identity, parts=settings.recovery_parts, rebuild=settings.rebuild)
        if why is not None and stale_below is not None:
            _check_beginnings(home, why, accepted=settings.rebuild)
        resumed = state.prepare(identity, parts=settings.recovery_parts, why=why, stale_below=stale_below)
        store.close()
        LOG.info(
            "flow: %s → %s, %d process(es), %s",
            settings.log,
            settings.store,
            settings.processes,
            "resuming" if resumed else "reading from the log's beginning",
        )
        return _stages(settings, open_store, state, fence)
    finally:
        state.unlock()


def _check(settings: FlowSettings) -> None:
    if not 1 <= settings.processes <= _MAX_PROCESSES:
        raise SettingsError(f"processes={settings.processes}: the flow runs in 1 to {_MAX_PROCESSES} processes")


def _has_rows(store: Store) -> bool:
    """Whether an earlier life of the flow wrote something."""
    return next(iter(store.scan("accounting")), None) is not None


def _check_beginnings(home: Home, why: str, *, accepted: bool) -> None:
    """A log that was cut off gives less than the store holds: nobody gets that without asking for it."""
    missing = home.missing_beginnings()
    if not missing:
        return
    some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    if not accepted:
        raise KappawattError(
            f"the log has to be read again ({why}), but its beginning is gone: {some}. Runs that it holds only in part "
            "would get the totals of that part. Bring the state folder back, or accept this with --rebuild"
        )
    LOG.warning("the log's beginning is gone: %s; runs that it holds only in part get the totals of that part", some)


def _stages(settings: FlowSettings, open_store: Callable[[str], Store], state: StateFolder, fence: int) -> int:
    """Rebuild first if that is due, or was not finished; then go on as asked."""
    since = state.rebuilding()
    if since is not None:
        LOG.info("rebuilding: reading the log to its present end; until then rows are those of its beginning")
        stage = Stage(bounded=True, final=settings.until_end, rebuilding=True)
        code = _start(settings, open_store, fence, state.gates(), stage)
        if code != 0 or not all(state.passed(bucket) for bucket in BUCKETS):
            return code  # killed or drained: the next start goes on with it
        with closing(open_store(settings.store)) as store:
            rebuild.report(rebuild.sweep(store, since))
            fence = store.raise_fence(time.time_ns() // 1_000)
        state.end_rebuild()
        LOG.info("rebuilt")
        if settings.until_end:
            return code
    stage = Stage(bounded=settings.until_end, final=settings.until_end, rebuilding=False)
    return _start(settings, open_store, fence, state.gates(), stage)


def _start(settings: FlowSettings, open_store: Callable[[str], Store], fence: int, gates: Path, stage: Stage) -> int:
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(settings.processes)]
    places = [
        Place(index=index, addresses=addresses, fence=fence, gates=gates, stage=stage)
        for index in range(settings.processes)
    ]
    if len(places) == 1:
        work(settings, places[0], open_store)
        return 0
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=child, args=(settings, place, os.getpid(), open_store)) for place in places]
    for process in children:
        process.start()
    return _watch(children)


def _watch(children: Sequence[BaseProcess]) -> int:
    """Wait for all; a signal drains them all, and when one dies the others cannot go on."""

    def forward(number: int, frame: FrameType | None) -> None:
        for process in children:
            if process.is_alive():
                process.terminate()

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    while all(process.exitcode in (None, 0) for process in children):
        alive = [process for process in children if process.exitcode is None]
        if not alive:
            return 0
        alive[0].join(0.2)
    LOG.error("a process of the flow died; ending the others, the state is kept: start the flow again")
    deadline = time.monotonic() + _GRACE_S
    forward(signal.SIGTERM, None)
    for process in children:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    return 1


def _free_ports(count: int) -> list[int]:
    """Free loopback ports, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()

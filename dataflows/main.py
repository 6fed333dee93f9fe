"""Start of the emissions flow: checks, fence, state, processes."""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from kappawatt.emissions.names import BUCKETS, READABLE
from kappawatt.errors import KappawattError, SettingsError, Superseded
from kappawatt.settings import FlowSettings, masked
from kappawatt.stores import Store, open_store

from . import rebuild
from .answers import answer
from .homes import Home, open_home
from .lines import SharedMarks
from .meeting import Meeting, place_of
from .member import NoState, Work, join
from .process import SUPERSEDED, Gates, Marks, end_superseded
from .signals import begin_anew, drained_by_another, stop_on_signals
from .state import Identity, StateFolder
from .worker import Place, Stage, child, serve_metrics, work

LOG = logging.getLogger("kappawatt.flow")

_MAX_PROCESSES = 8
_GRACE_S = 40.0
_HEAR_S = 2.0


def run(settings: FlowSettings, open_store: Callable[[str], Store] = open_store) -> int:
    """Run the flow until its end (`--until-end`) or until SIGTERM or SIGINT drain it; the exit code.

    *open_store* gives the store of `settings.store`; with several processes it is one of a module's own functions.
    """
    _check(settings)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one thread a process: workers scale by processes
    answer(settings)
    if settings.processes == 1:
        serve_metrics(settings)
    home = open_home(settings.log, settings.registry, settings.topic_prefix, bounded=settings.until_end)
    home.check()
    if settings.members > 1:
        return _as_member(settings, home, open_store)
    return _run(settings, home, open_store, None)


def _as_member(settings: FlowSettings, home: Home, open_store: Callable[[str], Store]) -> int:
    """Run as one of several members; when another one is told to end, this one waits for it to come back."""
    logging.basicConfig(format=f"%(levelname)s flow[{settings.member}]: %(message)s")
    LOG.setLevel(logging.INFO)
    stop_on_signals()
    if settings.member > 0:
        code = join(settings, _follow(settings, open_store))
    else:
        code = _run(settings, home, open_store, Meeting(settings))
    if drained_by_another():
        begin_anew()
    return code


def _run(settings: FlowSettings, home: Home, open_store: Callable[[str], Store], meeting: Meeting | None) -> int:
    store = open_store(settings.store)
    state = StateFolder(Path(settings.state), readable=READABLE)
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
            masked(settings.log),
            masked(settings.store),
            settings.processes * settings.members,
            "resuming" if resumed else "reading from the log's beginning",
        )
        if meeting is not None:
            meeting.give_up = state.give_up
        code = _stages(Flow(settings, open_store, state, meeting), fence)
        if meeting is not None:
            meeting.end(code)
        return code
    finally:
        state.unlock()


def _check(settings: FlowSettings) -> None:
    if not 1 <= settings.processes <= _MAX_PROCESSES:
        raise SettingsError(f"processes={settings.processes}: the flow runs in 1 to {_MAX_PROCESSES} processes")
    if settings.members == 1 and settings.member == 0:
        return
    place_of(settings.meeting)
    if not settings.member < settings.members <= _MAX_PROCESSES:
        raise SettingsError(
            f"member={settings.member} of members={settings.members}: members are 0 to members - 1, "
            f"{_MAX_PROCESSES} at most"
        )
    if settings.processes > 1:
        raise SettingsError(f"processes={settings.processes}: a member of a flow on several machines is one process")
    if settings.log.startswith("file:") or settings.store.startswith("sqlite:"):
        raise SettingsError("members above 1 need a log and a store that all reach: kafka:// and cassandra://")


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


@dataclass(frozen=True, slots=True)
class Flow:
    """What all starts of one `run` have in common."""

    settings: FlowSettings
    open_store: Callable[[str], Store]
    state: StateFolder
    meeting: Meeting | None


def _stages(flow: Flow, fence: int) -> int:
    """Rebuild first if that is due, or was not finished; then go on as asked."""
    settings, state = flow.settings, flow.state
    since = state.rebuilding()
    if since is not None:
        LOG.info("rebuilding: reading the log to its present end; until then rows are those of its beginning")
        stage = Stage(bounded=True, final=settings.until_end, rebuilding=True)
        code, marks = _start(flow, fence, stage)
        if code != 0 or not all(marks.is_open(bucket) for bucket in BUCKETS):
            return code  # killed or drained: the next start goes on with it
        with closing(flow.open_store(settings.store)) as store:
            if (found := store.fence()) > fence:  # held up since, and another start has gone on with the rebuild
                end_superseded(Superseded(store, fence, found))
            rebuild.report(rebuild.sweep(store, since))
            fence = store.raise_fence(time.time_ns() // 1_000)
        state.end_rebuild()
        LOG.info("rebuilt")
        if settings.until_end:
            return code
    stage = Stage(bounded=settings.until_end, final=settings.until_end, rebuilding=False)
    return _start(flow, fence, stage)[0]


def _start(flow: Flow, fence: int, stage: Stage) -> tuple[int, Marks]:
    """One start of all processes; its exit code, and the marks that they set."""
    settings = flow.settings
    if flow.meeting is not None:
        return _lead(flow, flow.meeting, fence, stage)
    gates = Gates(flow.state.gates())
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(settings.processes)]
    places = [
        Place(index=index, addresses=addresses, fence=fence, gates=gates, stage=stage)
        for index in range(settings.processes)
    ]
    if len(places) == 1:
        work(settings, places[0], flow.open_store, flow.state)
        return 0, gates
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=child, args=(settings, place, os.getpid(), flow.open_store)) for place in places]
    for process in children:
        process.start()
    return _watch(children), gates


def _lead(flow: Flow, meeting: Meeting, fence: int, stage: Stage) -> tuple[int, Marks]:
    """One start of all members, this one first."""
    begun = meeting.start({"fence": fence, "stage": asdict(stage)})
    if begun is None:
        return 0, SharedMarks()
    addresses, marks = begun
    LOG.info("all %d members are here: %s", len(addresses), ", ".join(addresses))
    place = Place(index=0, addresses=addresses, fence=fence, gates=marks, stage=stage)
    with _others_first():
        work(flow.settings, place, flow.open_store, flow.state)
    meeting.finish()
    return 0, marks


def _follow(settings: FlowSettings, open_store: Callable[[str], Store]) -> Work:
    """How a member that is not the first takes part in one start."""

    def part(plan: dict[str, Any], marks: SharedMarks, state: NoState) -> None:
        stage = Stage(**plan["stage"])
        place = Place(index=settings.member, addresses=plan["addresses"], fence=plan["fence"], gates=marks, stage=stage)
        with _others_first():
            work(settings, place, open_store, state)

    return part


@contextmanager
def _others_first() -> Iterator[None]:
    """When a member is gone the engine fails in all the others: who listens to it begins anew before that ends us."""
    try:
        yield
    except BaseException:
        time.sleep(_HEAR_S)
        raise


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
    if any(process.exitcode == SUPERSEDED for process in children):
        grace_s, code = 0.0, SUPERSEDED  # it has said why; what the others would still do, a later start does
    else:
        LOG.error("a process of the flow died; ending the others, the state is kept: start the flow again")
        grace_s, code = _GRACE_S, 1
        forward(signal.SIGTERM, None)
    deadline = time.monotonic() + grace_s
    for process in children:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    return code


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

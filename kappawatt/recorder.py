"""The background thread that measures one run on this host and writes what it sees to the log."""

import getpass
import itertools
import logging
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from kappawatt import identity, static_intensity
from kappawatt import settings as settings_
from kappawatt.errors import KappawattError, SettingsError
from kappawatt.measuring import Measuring
from kappawatt.outlet import Outlet
from kappawatt.sensors.host import Host
from kappawatt.sensors.sampler import boot_host_name
from kappawatt.sensors.selection import wall_us
from kappawatt.settings import Settings
from kappawatt.summary import Summary, Tally, price_of, summarise
from kappawatt.units import US_PER_S
from kappawatt.wire.records import RunEvent

_log = logging.getLogger("kappawatt")

START_LIMIT_S = 5.0
"""How long a training waits for the baseline of the counters before it goes on without it."""
HEARTBEAT_US = 20 * US_PER_S
"""A run says that it lives at least this often; the flow takes it for lost after a lease of silence."""

FRAMEWORKS = ("torch", "tensorflow", "jax", "sklearn", "xgboost", "lightgbm")
"""Modules that name the framework when the run does not, the first that is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known of a run when it starts."""

    run_id: str
    name: str | None
    settings: Settings
    rank: int | None = None
    whole_host: bool = False
    measure: bool = True
    """False: the run is measured by another process of this host; only phases, epochs and metrics are written."""
    root_pid: int | None = None
    """The process whose tree is the run; None: it will be followed later."""
    about: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def leads(self) -> bool:
        """The one process of the job that says when the run starts and stops."""
        return self.measure and self.rank in (None, 0)


class Recorder:
    """One run on this host, from `start` to `stop`. `event` may be called from any thread and never waits."""

    def __init__(self, job: Job) -> None:
        self.run_id = job.run_id
        self._job = job
        self._collector_id = secrets.token_hex(8)
        self.host_name = boot_host_name(job.settings.host)
        self._numbers = itertools.count()
        self._last_at = wall_us()
        self._clock_lock = threading.Lock()
        self._events: queue.SimpleQueue[RunEvent] = queue.SimpleQueue()
        self._measuring: Measuring | None = None
        self._tally = Tally()
        self._prices = static_intensity.records(job.settings.zone)
        self._notes: list[str] = []
        self._ready, self._end = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="kappawatt", daemon=True)

    def __repr__(self) -> str:
        state = "ended" if not self._thread.is_alive() else "measuring" if self._job.measure else "joined"
        return f"<Recorder {self.run_id} {state}, {self._tally.samples} samples>"

    def start(self) -> None:
        """Begin, and return when the baseline is set (or after `START_LIMIT_S`).

        Raises:
            KappawattError: The log or every source cannot be used.
        """
        self._thread.start()
        if not self._ready.wait(START_LIMIT_S):
            self._notes.append(
                f"the sensors took more than {START_LIMIT_S:g} s to answer: the first seconds are missing"
            )
        if self._error is not None:
            raise self._error

    def follow(self, pid: int) -> None:
        """Take the tree below process *pid*, just begun, for the run's."""
        if self._measuring is not None:
            self._measuring.follow(pid)

    def event(self, type: str, **fields: Any) -> None:
        """Queue a run event of this instant. Instants of one run never repeat, so their order is kept."""
        with self._clock_lock:
            self._last_at = max(wall_us(), self._last_at + 1)
            number, at = next(self._numbers), self._last_at
        event_id = f"{self._collector_id}-{number:08d}"
        rank = self._job.rank
        found = RunEvent(
            event_id=event_id, run_id=self.run_id, type=type, at=at, host=self.host_name, rank=rank, **fields
        )
        self._events.put(found)

    def stop(self, status: str, *, limit_s: float) -> Summary | None:
        """Measure the last interval, say *status*, and give the summary; None for a run measured by another.

        Raises:
            KappawattError: Measuring broke off, or the end took more than *limit_s*.
        """
        self._status = status
        self._end.set()
        self._thread.join(limit_s)
        if self._error is not None:
            raise self._error
        if self._thread.is_alive():
            raise KappawattError(
                f"run {self.run_id}: its last samples were not written within {limit_s:g} s; is the disk slow?"
            )
        return self._summary() if self._job.measure else None

    _status = "succeeded"

    def _run(self) -> None:
        with ExitStack() as stack:
            try:
                outlet = Outlet(self._job.settings, self.host_name)
                stack.callback(lambda: self._notes.extend(outlet.close()))
                if self._job.measure:
                    self._begin(stack, outlet)
            except Exception as error:
                self._error = error
                return
            finally:
                self._ready.set()
            try:
                self._loop(outlet)
            except Exception as error:
                self._error = error

    def _begin(self, stack: ExitStack, outlet: Outlet) -> None:
        """Set the baseline, and write the run's start and the price that counts without any better one."""
        job = self._job
        self._measuring = Measuring(
            job.settings,
            run_id=self.run_id,
            host=Host(),
            host_name=self.host_name,
            collector_id=self._collector_id,
            whole_host=job.whole_host,
        )
        stack.callback(self._measuring.close)
        if job.root_pid is not None:
            self._measuring.follow(job.root_pid)
        self._measuring.tick()
        outlet.write(self._prices)
        if job.leads:
            self.event("start", hardware=self._measuring.hardware(), **self._about())
        if self._measuring.agent:
            self._notes.append(f"measured by {self._measuring.agent}, the flow has the numbers")

    def _loop(self, outlet: Outlet) -> None:
        period_s = self._job.settings.period_s
        due_s = time.monotonic()
        outlet.write(list(self._queued()))
        while True:
            # Missed turns are skipped, not made up for: a tick covers whatever time went by.
            due_s = max(due_s + period_s, time.monotonic() + period_s / 10)
            if self._end.wait(due_s - time.monotonic()):
                break
            self._turn(outlet, final=False)
        self._turn(outlet, final=True)

    def _turn(self, outlet: Outlet, *, final: bool) -> None:
        samples = self._measuring.tick(final=final) if self._measuring else []
        for sample in samples:
            if sample.run_id == self.run_id:
                self._tally.add(sample)
        if final and self._job.leads:
            self.event("stop", status=self._status, framework=self._framework())
        elif wall_us() - self._last_at > HEARTBEAT_US:
            self.event("heartbeat")
        outlet.write([*samples, *self._queued()])

    def _queued(self) -> Iterable[RunEvent]:
        while True:
            try:
                yield self._events.get_nowait()
            except queue.Empty:
                return

    def _about(self) -> dict[str, Any]:
        job, settings = self._job, self._job.settings
        labels = dict(job.labels) | ({"name": job.name} if job.name else {})
        return {
            "user": settings.user or _login(),
            "team": settings.team,
            "project": settings.project,
            "environment": settings.environment,
            "zone": settings.zone,
            "pue": settings.pue,
            "wue_l_per_kwh": settings.wue_l_per_kwh,
            "labels": labels,
            **job.about,
            "framework": self._framework(),
        }

    def _framework(self) -> str | None:
        found = next((name for name in FRAMEWORKS if name in sys.modules), None)
        return self._job.about.get("framework") or found

    def _summary(self) -> Summary:
        return summarise(
            self._tally,
            run_id=self.run_id,
            status=self._status,
            price=price_of(self._prices),
            pue=self._job.settings.pue,
            notes=tuple(self._notes),
            view=f"kappawatt flow, then kappawatt show {self.run_id} or kappawatt dash",
        )


def start(
    *,
    name: str | None,
    run_id: str | None,
    scope: str,
    labels: Mapping[str, str],
    flags: Mapping[str, object],
    about: Mapping[str, str | None],
    inside: str | None,
) -> "Recorder | None":
    """Begin to measure this process, or to take part in a run that measures it already: the run *inside* which this
    one is in the same process, or one that another process of this host has begun.

    None for the further local ranks of a distributed job: the first measures the whole host's part of it.

    Raises:
        KappawattError: A setting is wrong, or the log cannot be used.
    """
    if scope not in ("process", "host"):
        raise SettingsError(f"track(scope={scope!r}) is unknown; use 'process' or 'host'")
    place = identity.place(os.environ)
    if place.local_rank > 0:
        return None
    settings = settings_.load(flags)
    joined = inside is not None or os.environ.get(identity.JOIN) == boot_host_name(settings.host)
    outer = inside or os.environ.get(identity.RUN_ID)
    job = Job(
        run_id=(outer if joined else run_id or outer) or new_id(name, place.job),
        name=name,
        settings=settings,
        rank=place.rank,
        whole_host=scope == "host",
        measure=not joined,
        # With several ranks on this host their launcher's tree is the run.
        root_pid=os.getppid() if place.peers > 1 else os.getpid(),
        about=about,
        labels={str(key): str(value) for key, value in labels.items()},
    )
    recorder = Recorder(job)
    recorder.start()
    return recorder


def new_id(name: str | None, job: str | None) -> str:
    """A run id from *name*, and from the launcher's *job* if there is one."""
    if job is not None:  # the same on all hosts of the job
        return f"{identity.slug(name or 'run')}-{identity.slug(job)}"
    return identity.run_id(name, now=time.strftime("%Y%m%d-%H%M%S", time.gmtime()), token=secrets.token_hex(3))


def _login() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user id without a name
        return None

"""The host agent: measures this host once, for all runs on it, and keeps or ships what it saw.

    kappawatt collect host --zone DEU
    python -m collectors.agent --log kafka://broker:9092 --registry http://registry:8081

Runs are found by the files that `track()` leaves below the spool's folder; what no run uses is booked to nobody. Each
device is measured by one process at a time, by lock files. SIGTERM writes the last, partial interval.
"""

import argparse
import itertools
import logging
import secrets
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kappawatt import logs
from kappawatt.commands import base
from kappawatt.errors import KappawattError, SourceGone
from kappawatt.log.locks import DeviceLock
from kappawatt.outlet import Outlet
from kappawatt.probes import serve
from kappawatt.sensors.host import Host, ProcessTree
from kappawatt.sensors.runs import AGENT, FOLDER, LOCKS, Registered, registered
from kappawatt.sensors.sampler import Sampler, boot_host_name
from kappawatt.sensors.selection import Selection, select
from kappawatt.settings import Settings, load, masked
from kappawatt.units import US_PER_S

from .telling import Timed, Told, measured, nobody

_log = logging.getLogger("kappawatt.agent")


ASKED_S = 0.2
"""How long an agent tries to become one: runs that ask for it hold its lock for an instant."""
RECHECK_S = 5.0
"""How often runs are looked up when no file came or went."""


class Trees:
    """The process trees of the runs that are registered in *directory*, one a run.

    A run inside another's tree is not counted twice: the outer one has it all, and a warning says so.
    """

    def __init__(self, directory: Path, host: Host, host_name: str) -> None:
        self._directory, self._host, self._host_name = directory, host, host_name
        self._trees: dict[Registered, ProcessTree] = {}
        self._told: set[Registered] = set()
        self._runs: list[Registered] = []
        self._changed_ns, self._read_s = -1, 0.0

    def __repr__(self) -> str:
        return f"<Trees {', '.join(run.run_id for run in self._trees) or 'no runs'}>"

    def by_themselves(self) -> frozenset[str]:
        """The runs that write their own samples, as of the last `now`."""
        return frozenset(run.run_id for run in self._trees if run.by_itself)

    def now(self) -> dict[str, ProcessTree]:
        """By run, the trees that live."""
        found = self._registered()
        self._trees = {run: tree for run, tree in self._trees.items() if run in found}
        for run in found:
            if run not in self._trees and not self._is_inside(run):
                self._follow(run)
        return {run.run_id: tree for run, tree in self._trees.items()}

    def _registered(self) -> list[Registered]:
        """The runs; the files are read again when one came or went, and every few seconds for those that ended."""
        try:
            changed_ns = (self._directory / FOLDER).stat().st_mtime_ns
        except FileNotFoundError:
            return []
        age_s = time.monotonic() - self._read_s
        # A folder's time may stand still for a few ms: a change just after the last look is seen at the next.
        if changed_ns != self._changed_ns or age_s > RECHECK_S:
            self._runs = registered(self._directory, host_name=self._host_name, host=self._host)
            self._changed_ns, self._read_s = changed_ns, time.monotonic()
        return self._runs

    def _follow(self, run: Registered) -> None:
        try:
            self._trees[run] = self._host.tree(run.pid)
        except SourceGone:
            return  # it ended between the two looks
        _log.info("run %s: following process %d", run.run_id, run.pid)

    def _is_inside(self, run: Registered) -> bool:
        outer = next((other for other, tree in self._trees.items() if self._holds(other, tree, run)), None)
        if outer is not None and outer.run_id != run.run_id and run not in self._told:
            self._told.add(run)
            _log.warning("run %s is inside run %s: its energy is counted there", run.run_id, outer.run_id)
        return outer is not None

    def _holds(self, other: Registered, tree: ProcessTree, run: Registered) -> bool:
        # A second root of one run (another rank) has no tree of its own here: the first stands for the run.
        return other.run_id == run.run_id or run.pid in tree.pids() or self._host.is_below(run.pid, other.pid)


class Agent:
    """One host's measuring, a turn a period.

    Written are the samples of all runs but those that measure themselves, and nobody's part while the devices are ours:
    a run that was there before the agent may have them, until it ends.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        host: Host,
        selection: Selection,
        outlet: Outlet,
        locks: "Locks",
        host_name: str,
        told: Told = nobody,
    ) -> None:
        self._outlet, self._locks, self._told = outlet, locks, told
        self._devices = [device.name for device in selection.devices()]
        self._trees = Trees(Path(settings.spool), host, host_name)
        self._seq = itertools.count()
        self._written = 0
        self.turned_s = time.monotonic()
        """When the last turn ended, by the clock for waiting times."""
        self._began = self._owned = False
        self._sampler = Sampler(
            selection,
            host,
            host_name=host_name,
            zone=settings.zone,
            collector_id=secrets.token_hex(8),
            period_us=round(settings.period_s * US_PER_S),
        )

    def __repr__(self) -> str:
        return f"<Agent {self._written} samples written, {self._sampler!r} {self._trees!r}>"

    @property
    def written(self) -> int:
        """How many samples it wrote."""
        return self._written

    def turn(self, *, final: bool = False) -> None:
        """Close an interval and write its samples; the first call sets the baseline."""
        # Nobody's part is ours only if the devices were when the interval began: who had them before may have written
        # up to a moment ago. So they are taken before the sensors are read.
        owned, owns = self._owned, self._locks.own(self._devices)
        samples = self._sampler.sample(self._trees.now(), final=final)
        if samples or not self._began:
            self._began, self._owned = True, owns
        others = self._trees.by_themselves()
        ours = [sample for sample in samples if (owned if sample.run_id is None else sample.run_id not in others)]
        # Numbered here, for a number that is missing would count as a sample that was lost.
        numbered = [replace(sample, seq=next(self._seq)) for sample in ours]
        self._outlet.write(numbered)
        self._told(numbered)
        self._written += len(ours)
        self.turned_s = time.monotonic()


def run(settings: Settings, stop: threading.Event) -> int:
    """Measure until *stop*; the exit code.

    Raises:
        KappawattError: Another agent measures this host, or the log cannot be used.
    """
    host, host_name = Host(), boot_host_name(settings.host)
    locks = Locks(Path(settings.spool) / LOCKS, host_name)
    try:
        locks.take_agent()
        selection = select(Path(settings.powercap), host=host, cpu_tdp_w=settings.cpu_tdp_w)
        _say_start(settings, host_name)
        outlet = Outlet(settings, host_name)
        began_s, cost_us = time.monotonic(), host.own_cpu_us()
        told, timed = measured(settings, outlet)
        agent = Agent(
            settings, host=host, selection=selection, outlet=outlet, locks=locks, host_name=host_name, told=told
        )
        if settings.probes is not None:
            beat = Beat(agent, settings.period_s)
            serve(settings.probes, {"/livez": beat.alive, "/readyz": beat.ready})
        try:
            _loop(agent, settings.period_s, stop, timed)
        finally:
            for note in outlet.close():
                _log.warning("%s", note)
        elapsed_s = time.monotonic() - began_s
        part = (host.own_cpu_us() - cost_us) / US_PER_S / elapsed_s
        _log.info("%d samples in %.0f s; measuring took %.2f %% of one core", agent.written, elapsed_s, 100 * part)
    finally:
        locks.release()
    return 0


class Turns(Protocol):
    """What is asked how it goes: an `Agent`."""

    turned_s: float

    @property
    def written(self) -> int:
        """How many samples it wrote."""


class Beat:
    """What the agent answers to probes: that it takes turns. A broker that is away is the spool's matter, not its."""

    def __init__(self, agent: Turns, period_s: float) -> None:
        self._agent, self._slow_s = agent, max(30.0, 10 * period_s)

    def __repr__(self) -> str:
        return f"<Beat of {self._agent!r}>"

    def alive(self) -> str | None:
        """Why somebody should start it anew."""
        age_s = time.monotonic() - self._agent.turned_s
        return f"no turn for {age_s:.0f} s" if age_s > self._slow_s else None

    def ready(self) -> str | None:
        """Why it measures nothing."""
        return self.alive() or (None if self._agent.written else "no sample was written so far")


def _loop(agent: Agent, period_s: float, stop: threading.Event, timed: Timed) -> None:
    due_s = time.monotonic()
    while not stop.is_set():
        with timed():
            agent.turn()
        # Missed turns are skipped, not made up for: an interval covers whatever time went by.
        due_s = max(due_s + period_s, time.monotonic() + period_s / 10)
        stop.wait(due_s - time.monotonic())
    agent.turn(final=True)


class Locks:
    """The right to measure a host, by lock files in *directory* that the kernel frees when their holder dies."""

    def __init__(self, directory: Path, host_name: str) -> None:
        self._directory, self._host_name = directory, host_name
        self._agent: DeviceLock | None = None
        self._devices: list[DeviceLock] = []
        self._told = False

    def __repr__(self) -> str:
        return f"<Locks {self._host_name} {'agent' if self._agent else 'nothing'}, {len(self._devices)} devices>"

    def take_agent(self) -> None:
        """Be the agent of this host.

        Raises:
            KappawattError: Another is.
        """
        lock = self._lock(AGENT)
        until_s = time.monotonic() + ASKED_S
        while not lock.acquire():
            if time.monotonic() < until_s:  # it may be a run that only asks who measures here
                time.sleep(ASKED_S / 20)
                continue
            raise KappawattError(
                f"an agent was to measure {self._host_name} and {lock.holder() or 'another one'} does already; stop it "
                "first (`kill PID`), or do nothing: it measures all runs on this host"
            )
        self._agent = lock

    def own(self, devices: Sequence[str]) -> bool:
        """Whether all *devices* are ours; taken over when who has them ends."""
        if self._devices:
            return True
        taken: list[DeviceLock] = []
        for device in devices:
            lock = self._lock(device)
            if not lock.acquire():
                self._wait_for(lock, device)
                for each in taken:
                    each.release()
                return False
            taken.append(lock)
        self._devices = taken
        return bool(taken)

    def _wait_for(self, lock: DeviceLock, device: str) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "%s is measured by %s; the agent takes over when that ends", device, lock.holder() or "another"
            )

    def release(self) -> None:
        """Let others measure."""
        for lock in (self._agent, *self._devices):
            if lock is not None:
                lock.release()

    def _lock(self, device: str) -> DeviceLock:
        return DeviceLock(self._directory, self._host_name, device, program="kappawatt collect host")


def _say_start(settings: Settings, host_name: str) -> None:
    if settings.zone == "WORLD":
        _log.warning(
            "no zone is set: emissions are the world's mean; set KAPPAWATT_ZONE, for example DEU or US-CAL-CISO"
        )
    _log.info(
        "measuring %s in zone %s every %g s into %s", host_name, settings.zone, settings.period_s, masked(settings.log)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The program; the exit code."""
    parser = argparse.ArgumentParser(
        prog="kappawatt collect host", description="measure this host, once for all runs on it, until SIGTERM or Ctrl-C"
    )
    base.add_settings(
        parser,
        "log",
        "registry",
        "topic_prefix",
        "spool",
        "zone",
        "period_s",
        "cpu_tdp_w",
        "powercap",
        "host",
        "spool_max_mb",
        "spool_max_days",
        "probes",
        "metrics",
        "log_format",
    )
    settings = load(base.given_flags(parser.parse_args(argv)))
    logs.begin(settings, "collect host")
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kappawatt").setLevel(logging.INFO)  # not the clients': they tell every request
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return run(settings, stop)


if __name__ == "__main__":
    sys.exit(main())

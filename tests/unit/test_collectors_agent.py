"""The host agent: one collector a host, all runs on it, nothing lost at the end."""

import contextlib
import fcntl
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from collectors.agent import Trees, run
from kappawatt.errors import KappawattError
from kappawatt.log.files import FileLog, FilePartition
from kappawatt.log.locks import DeviceLock
from kappawatt.sensors.host import Host
from kappawatt.sensors.runs import AGENT, LOCKS, register
from kappawatt.sensors.sampler import boot_host_name
from kappawatt.settings import Settings
from kappawatt.wire import codec
from kappawatt.wire.records import Sample

ROOT = Path(__file__).parents[2]


def samples(log: Path) -> list[Sample]:
    found = []
    for name in FileLog(log).partitions("sample"):
        chunk = FilePartition(log, "sample", name).read(None, 1 << 24)
        for a, b in zip(chunk.start, chunk.end, strict=True):
            found.append(Sample.from_avro(codec.decode_one(codec.schema("sample"), chunk.buffer[a:b])))
    return found


def until(condition: Callable[[], object], *, limit_s: float = 60.0) -> None:
    """Wait for a condition, not for a time."""
    end = time.monotonic() + limit_s
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        tick.wait(0.02)


@pytest.fixture
def settings(tmp_path):
    return Settings(log=f"file:{tmp_path / 'log'}", spool=str(tmp_path / "spool"), zone="DEU", period_s=0.1)


def agent_while(settings: Settings, condition: Callable[[], object]) -> list[Sample]:
    """All samples of an agent that runs until *condition*."""
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(settings, stop))
    thread.start()
    try:
        until(condition)
    finally:
        stop.set()
        thread.join(30)
    return samples(Path(settings.log.removeprefix("file:")))


def test_host_without_runs_is_measured_for_nobody(settings):
    log = Path(settings.log.removeprefix("file:"))

    found = agent_while(settings, lambda: len(samples(log)) >= 3)

    assert {sample.run_id for sample in found} == {None}
    assert {sample.zone for sample in found} == {"DEU"}
    assert [sample.seq for sample in found] == list(range(len(found)))


def test_host_is_called_as_it_is_told_and_probes_are_answered(settings):
    log = Path(settings.log.removeprefix("file:"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    asked = []

    def measured() -> bool:
        if len(samples(log)) >= 1:
            # For a moment the sample is there and the agent has not yet counted it.
            with contextlib.suppress(urllib.error.HTTPError):
                asked.append(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).read())
        return bool(asked)

    found = agent_while(replace(settings, host="node-7", probes=f"127.0.0.1:{port}"), measured)

    assert asked == [b"ok\n"]
    assert {sample.host for sample in found} == {"node-7"}


def test_intervals_follow_each_other_to_the_end(settings):
    log = Path(settings.log.removeprefix("file:"))

    found = agent_while(settings, lambda: len(samples(log)) >= 3)

    assert all(a.end == b.start for a, b in itertools.pairwise(found))


def test_several_registered_runs_are_measured_at_once(settings):
    host, name = Host(), boot_host_name()
    log = Path(settings.log.removeprefix("file:"))
    burn = "while True: pass"
    children = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2)]
    try:
        for child in children:
            register(Path(settings.spool), run_id=f"r{child.pid}", host_name=name, host=host, pid=child.pid)
        wanted = {f"r{child.pid}" for child in children}

        found = agent_while(settings, lambda: wanted <= {s.run_id for s in samples(log) if s.cpu_time_us > 0})
    finally:
        for child in children:
            child.kill()
            child.wait()

    assert {sample.run_id for sample in found} == wanted | {None}


def test_second_agent_on_a_host_is_refused_with_the_remedy(settings):
    lock = DeviceLock(Path(settings.spool) / LOCKS, boot_host_name(), AGENT, program="another agent")
    with lock, pytest.raises(KappawattError, match=f"another agent \\(pid {os.getpid()}\\) does already; stop it"):
        run(settings, threading.Event())


def test_agent_begins_although_a_run_is_just_asking_for_one(settings):
    lock = DeviceLock(Path(settings.spool) / LOCKS, boot_host_name(), AGENT)
    log = Path(settings.log.removeprefix("file:"))
    lock.path.parent.mkdir(parents=True)
    with open(lock.path, "w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (asking, fcntl.LOCK_UN)).start()

        assert agent_while(settings, lambda: len(samples(log)) >= 1)


def test_devices_of_a_run_that_was_there_before_are_taken_over_when_it_ends(settings):
    log = Path(settings.log.removeprefix("file:"))
    lock = DeviceLock(Path(settings.spool) / LOCKS, boot_host_name(), "memory:0", program="run r")
    turns = []

    def held_for_a_while() -> bool:
        turns.append(len(samples(log)))
        if len(turns) == 30:
            lock.release()
        return turns[-1] >= 2

    with lock:
        found = agent_while(settings, held_for_a_while)

    assert set(turns[:30]) == {0}
    assert [sample.seq for sample in found] == list(range(len(found)))


def test_run_that_measures_itself_is_left_to_itself_and_is_nobodys_either(settings):
    log = Path(settings.log.removeprefix("file:"))
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        register(
            Path(settings.spool),
            run_id="r",
            host_name=boot_host_name(),
            host=Host(),
            pid=child.pid,
            by_itself=True,
        )
        found = agent_while(settings, lambda: len(samples(log)) >= 5)
    finally:
        child.kill()
        child.wait()

    assert {sample.run_id for sample in found} == {None}
    assert [sample.seq for sample in found] == list(range(len(found)))


def test_sigterm_writes_the_last_partial_interval(tmp_path):
    flags = [
        "--log",
        f"file:{tmp_path / 'log'}",
        "--spool",
        str(tmp_path / "spool"),
        "--period-s",
        "30",
        "--zone",
        "DEU",
    ]
    agent = subprocess.Popen(
        [sys.executable, "-m", "collectors.agent", *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert agent.stderr is not None
    until(lambda: "measuring" in agent.stderr.readline())
    until(lambda: (tmp_path / "log").is_dir())

    agent.send_signal(signal.SIGTERM)
    _, said = agent.communicate(timeout=60)

    assert agent.returncode == 0
    assert "% of one core" in said
    assert all(sample.end - sample.start < 30_000_000 for sample in samples(tmp_path / "log"))
    assert len(samples(tmp_path / "log")) == 1


def test_run_inside_another_is_counted_once(tmp_path, caplog):
    host = Host()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        register(tmp_path, run_id="outer", host_name="h", host=host)
        register(tmp_path, run_id="inner", host_name="h", host=host, pid=child.pid)
        trees = Trees(tmp_path, host, "h")

        assert set(trees.now()) == {"outer"}
        assert set(trees.now()) == {"outer"}
        assert [r.message for r in caplog.records] == ["run inner is inside run outer: its energy is counted there"]
    finally:
        child.communicate(b"\n")


def test_run_that_comes_later_is_found(tmp_path):
    host = Host()
    trees = Trees(tmp_path, host, "h")
    assert trees.now() == {}

    register(tmp_path, run_id="r", host_name="h", host=host)

    assert set(trees.now()) == {"r"}

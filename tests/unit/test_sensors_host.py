"""The host and its process trees, on the machine that runs the tests."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from kappawatt.errors import SourceGone
from kappawatt.sensors.host import Host, PsutilProcesses
from kappawatt.sensors.runs import register, registered
from kappawatt.sensors.tree import REFRESH_US, ProcessTree, ProcProcesses

BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"


def test_machine_has_busy_and_idle_time_and_memory():
    host = Host()

    assert host.cpu_times().busy_us > 0
    assert host.cpu_times().idle_us > 0
    assert 0 < host.memory().used_bytes < host.memory().total_bytes
    assert host.cpu_count() >= 1


def test_asking_does_not_wait():
    host = Host()
    host.tree(os.getpid()).read(0)
    before = time.process_time()

    for _ in range(10):
        host.cpu_times()
        host.memory()

    assert time.process_time() - before < 0.1


@pytest.fixture(params=["proc", "psutil"])
def own(request):
    """The tree of the tests' process, by /proc and as on systems without it."""
    portable = PsutilProcesses(psutil)
    processes = ProcProcesses(portable) if request.param == "proc" else portable
    return ProcessTree(processes, os.getpid(), started_us=0)


def test_finished_children_are_counted(own):
    before = own.read(0)

    subprocess.run([sys.executable, "-c", BURN], check=True)

    assert own.read(1).cpu_time_us - before.cpu_time_us >= 150_000


def test_living_children_are_members(own):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        own.read(0)

        assert child.pid in own.pids()
    finally:
        child.communicate(b"\n")


def test_children_that_come_later_are_found_at_the_next_search(own):
    own.read(0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        own.read(REFRESH_US)

        assert child.pid in own.pids()
    finally:
        child.communicate(b"\n")


def test_cpu_time_never_goes_back_when_a_child_ends(own):
    child = subprocess.Popen([sys.executable, "-c", BURN])
    found = [own.read(i * REFRESH_US).cpu_time_us for i in range(5)]
    child.wait()
    found.append(own.read(6 * REFRESH_US).cpu_time_us)

    assert found == sorted(found)


def test_process_that_is_not_there_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()

    with pytest.raises(SourceGone, match=f"process {child.pid}"):
        Host().tree(child.pid)


def test_tree_whose_last_member_ended_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tree = Host().tree(child.pid)
    tree.read(0)
    child.communicate(b"\n")

    with pytest.raises(SourceGone, match="have ended"):
        tree.read(1)


def test_registered_run_is_found_by_its_living_process(tmp_path):
    host = Host()
    register(tmp_path, run_id="r", host_name="h7", host=host)

    (run,) = registered(tmp_path, host_name="h7", host=host)

    assert (run.run_id, run.pid) == ("r", os.getpid())


def test_run_whose_process_ended_is_forgotten(tmp_path):
    host = Host()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = register(tmp_path, run_id="r", host_name="h7", host=host, pid=child.pid)
    child.communicate(b"\n")

    assert registered(tmp_path, host_name="h7", host=host) == []
    assert not path.exists()


def test_process_id_that_came_again_is_not_the_run(tmp_path):
    host = Host()
    path = register(tmp_path, run_id="r", host_name="h7", host=host)
    path.write_text(path.read_text().replace(str(host.started_us(os.getpid())), "1000000"))

    assert registered(tmp_path, host_name="h7", host=host) == []


def test_files_of_other_hosts_and_other_things_are_left_alone(tmp_path):
    host = Host()
    other = register(tmp_path, run_id="r", host_name="h8", host=host)
    (tmp_path / "runs" / "notes.json").write_text("[]")

    assert registered(tmp_path, host_name="h7", host=host) == []
    assert other.exists()


def test_both_ways_see_the_same_memory_and_cpu_time():
    portable = PsutilProcesses(psutil)
    by_proc, by_psutil = ProcProcesses(portable).usage(os.getpid()), portable.usage(os.getpid())

    assert by_proc.cpu_time_us == pytest.approx(by_psutil.cpu_time_us, abs=100_000)
    assert by_proc.memory_bytes == pytest.approx(by_psutil.memory_bytes, rel=0.1)

"""What /proc says, from recorded files."""

import os

import pytest

from kappawatt.sensors import procfs

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 500 6 7 80 9 0\ncpu0 1 2 3\nintr 1\n")
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  400 kB\nBuffers: 1 kB\n")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(
        "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 11 12 13 14 20 0 1 0 987654 10000 250 18446744073709551615 0 0"
    )
    (tmp_path / "7" / "io").write_text("rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\n")
    for thread, children in (("7", "8 9 "), ("12", "10 ")):
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
        (tmp_path / "7" / "task" / thread / "children").write_text(children)
    return tmp_path


def test_guests_are_in_user_time_already_and_stolen_time_is_neither(proc):
    assert procfs.cpu_us(proc) == (163 * TICK_US, 4_500 * TICK_US)


def test_used_memory_is_what_is_not_available(proc):
    assert procfs.memory_bytes(proc) == (600 * 1024, 1_000 * 1024)


def test_process_whose_name_holds_brackets_and_spaces_is_read(proc):
    found = procfs.process(7, proc)

    assert (found.cpu_time_us, found.memory_bytes, found.started_ticks) == (50 * TICK_US, 250 * PAGE, 987_654)


def test_children_of_all_threads_are_listed(proc):
    assert sorted(procfs.children(7, proc)) == [8, 9, 10]


def test_process_that_ended_has_no_children(proc):
    assert procfs.children(99, proc) == []


def test_disk_bytes_are_unknown_where_they_are_not_told(proc):
    assert procfs.disk_bytes(7, proc) == (4_096, 8_192)
    assert procfs.disk_bytes(99, proc) == (-1, -1)

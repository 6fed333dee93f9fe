"""The spool keeps what it was given through kill -9, full disks and missing folders, and counts what it cannot keep."""

import errno
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kappawatt.log.file_writer import RawFile, open_new
from kappawatt.log.files import FileLog
from kappawatt.log.slots import Losses, lost_records, slots
from kappawatt.log.spool import Spool
from kappawatt.wire import codec
from kappawatt.wire.records import RunEvent, Sample


def sample(seq: int, note: str = "") -> Sample:
    return Sample(
        collector_id="c",
        seq=seq,
        host="h7",
        zone="DEU",
        start=seq * 1_000_000,
        end=(seq + 1) * 1_000_000,
        kind=(1,),
        method=(1,),
        energy_uj=(seq,),
        device=("cpu:0",),
        utilization=(0.5,),
        temperature_c=(40.0,),
        memory_bytes=(-1,),
        flags=(note,) if note else (),
    )


def seqs(directory: Path, topic: str = "sample") -> list[int]:
    log = FileLog(directory)
    found = []
    for name in log.partitions(topic):
        partition, position = log.partition(topic, name), None
        while True:
            chunk = partition.read(position)
            assert chunk.bad == []
            for start, end in zip(chunk.start, chunk.end, strict=True):
                found.append(codec.decode_one(codec.schema(topic), chunk.buffer[start:end])["seq"])
            position = chunk.next
            if chunk.at_end:
                break
        partition.close()
    return found


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FullDisk:
    """Files on a disk for `size` bytes of them, which says that it is full in the middle of a write."""

    def __init__(self, size: int) -> None:
        self.size = size

    def open(self, path: Path) -> RawFile:
        return FullFile(self, path)

    def room(self, folder: Path) -> int:
        return max(0, self.size - sum(each.stat().st_size for each in folder.glob("*.avro")))


class FullFile:
    def __init__(self, disk: FullDisk, path: Path) -> None:
        self._disk = disk
        self._folder = path.parent
        self._file = open_new(path)

    def write(self, data: bytes, /) -> int | None:
        part = data[: self._disk.room(self._folder)]
        if not part:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(part)

    def truncate(self, size: int, /) -> int:
        return self._file.truncate(size)

    def seek(self, offset: int, /) -> int:
        return self._file.seek(offset)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


WRITER = """
import sys
from kappawatt.log.spool import Spool
from tests_spool import sample
spool = Spool(sys.argv[1], host="h7")
seq = int(sys.argv[2])
while True:
    spool.append(sample(seq, "x" * (seq * 37 % 3000)))
    if seq % 10 == 0 and spool.sync():
        print(seq, flush=True)
    seq += 1
"""


@pytest.fixture
def killed_writer(tmp_path: Path) -> Callable[[Path, int, int], int]:
    """Runs a real writer from a seq on, kills it after it confirmed *lines* times; gives the last confirmed seq."""
    (tmp_path / "tests_spool.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")

    def run(spool: Path, first: int, lines: int) -> int:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(spool), str(first)], stdout=subprocess.PIPE, env=environ, text=True
        ) as process:
            assert process.stdout is not None
            last = [int(process.stdout.readline()) for _ in range(lines)][-1]
            process.send_signal(signal.SIGKILL)
            return max([last, *(int(line) for line in process.stdout.read().splitlines())])

    return run


def test_a_killed_writer_loses_nothing_that_was_confirmed(tmp_path: Path, killed_writer: Callable[..., int]) -> None:
    seed = random.randrange(10**6)
    spool, confirmed, first = tmp_path / "spool", [], 0
    for lines in random.Random(seed).choices(range(1, 9), k=4):
        last = killed_writer(spool, first, lines)
        confirmed += range(first, last + 1)
        first += 1_000_000

    found = seqs(spool)

    assert set(confirmed) <= set(found), f"seed {seed}"
    assert len(found) == len(set(found))
    assert FileLog(spool).partitions("sample") == ["h7.0"]


def test_a_cut_at_any_byte_costs_the_torn_record_only_and_is_counted(tmp_path: Path) -> None:
    with Spool(tmp_path / "whole", host="h7") as spool:
        spool.append(*[sample(seq) for seq in range(4)])
    path = tmp_path / "whole" / "sample" / "h7.0-000000.avro"
    data = path.read_bytes()
    ends = [*map(int, FileLog(tmp_path / "whole").partition("sample", "h7.0").read(None).position[1:]), len(data)]

    for size in random.Random(4).sample(range(len(data)), 25):
        folder = tmp_path / str(size)
        (folder / "sample").mkdir(parents=True)
        (folder / "sample" / path.name).write_bytes(data[:size])
        with Spool(folder, host="h7") as spool:
            spool.append(sample(9))
        whole = sum(end <= size for end in ends)
        clean = [0, ends[0] - (ends[1] - ends[0]), *ends]
        assert seqs(folder) == [*range(whole), 9], size
        assert (Losses(slots(folder)[0].lost_path).torn_bytes > 0) == (size not in clean), size


def test_what_was_not_synced_may_go_in_a_power_cut_and_the_rest_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path, host="h7")
    spool.append(*[sample(seq) for seq in range(5)])
    assert spool.sync()
    path = tmp_path / "sample" / "h7.0-000000.avro"
    synced = path.stat().st_size
    spool.append(*[sample(seq) for seq in range(5, 9)])
    spool.close()
    os.truncate(path, synced)

    with Spool(tmp_path, host="h7") as after:
        after.append(sample(9))

    assert seqs(tmp_path) == [0, 1, 2, 3, 4, 9]


def test_a_full_disk_keeps_records_in_memory_until_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk, clock = FullDisk(size=6_000), Clock()
    spool = Spool(tmp_path, host="h7", open_file=disk.open, now=clock)
    with caplog.at_level(logging.WARNING):
        for seq in range(200):
            spool.append(sample(seq))
            clock.now_s += 1
    full = spool.waiting
    disk.size = 1 << 20
    clock.now_s += 60
    spool.append(sample(200))
    spool.close()

    assert full > 0
    assert seqs(tmp_path) == list(range(201))
    first, second = [record.getMessage() for record in caplog.records]
    assert "No space left" in first
    assert "works again" in second


def test_a_full_disk_and_full_memory_lose_the_oldest_and_count_them(tmp_path: Path) -> None:
    disk, clock = FullDisk(size=5_000), Clock()
    spool = Spool(tmp_path, host="h7", open_file=disk.open, now=clock, memory_bytes=3_000)
    for seq in range(300):
        spool.append(sample(seq))
    disk.size = 1 << 20
    clock.now_s += 60
    spool.sync()
    lost = spool.lost
    spool.close()

    found = seqs(tmp_path)
    assert lost > 0
    assert len(found) + lost == 300
    assert found[-1] == 299
    assert lost_records(tmp_path) == {"sample": lost}


class SilentDisk(FullDisk):
    """A disk that takes everything and confirms nothing once it is `broken`."""

    broken = False

    def open(self, path: Path) -> RawFile:
        return SilentFile(self, path)


class SilentFile(FullFile):
    def __init__(self, disk: SilentDisk, path: Path) -> None:
        super().__init__(disk, path)
        self._silent = disk

    def fileno(self) -> int:
        if self._silent.broken:
            raise OSError(errno.EIO, "Input/output error")
        return super().fileno()


def test_records_that_the_disk_did_not_confirm_are_counted_and_the_next_file_is_begun(tmp_path: Path) -> None:
    disk, clock = SilentDisk(size=1 << 20), Clock()
    spool = Spool(tmp_path, host="h7", open_file=disk.open, now=clock)
    spool.append(sample(0), sample(1))
    assert spool.sync()
    spool.append(sample(2))
    disk.broken = True
    assert not spool.sync()

    disk.broken = False
    clock.now_s += 60
    spool.append(sample(3))
    assert spool.sync()
    spool.close()

    assert seqs(tmp_path) == [0, 1, 2, 3]
    assert len(list((tmp_path / "sample").glob("*.avro"))) == 2
    assert Losses(slots(tmp_path)[0].lost_path).unconfirmed == {"sample": 1}


def test_closing_on_a_broken_disk_raises_nothing(tmp_path: Path) -> None:
    disk = SilentDisk(size=1 << 20)
    spool = Spool(tmp_path, host="h7", open_file=disk.open)
    spool.append(sample(0))
    disk.broken = True

    spool.close()

    with Spool(tmp_path, host="h7") as after:
        assert after.slot == "h7.0"


def test_a_full_disk_gives_up_the_oldest_of_a_bounded_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path, host="h7", open_file=FullDisk(size=40_000).open, max_bytes=64_000)
    for seq in range(600):
        spool.append(sample(seq))
    waiting, lost = spool.waiting, spool.lost
    spool.close()

    found = seqs(tmp_path)
    assert lost > 0
    assert len(found) + lost == 600
    assert found == list(range(600 - len(found), 600))
    assert waiting == 0


def test_the_bound_holds_and_what_was_given_up_is_counted(tmp_path: Path) -> None:
    with Spool(tmp_path, host="h7", max_bytes=64_000) as spool:
        for seq in range(2000):
            spool.append(sample(seq))
        lost = spool.lost

    size = sum(path.stat().st_size for path in (tmp_path / "sample").iterdir() if path.suffix == ".avro")
    found = seqs(tmp_path)
    assert size <= 64_000 + 8_000
    assert len(found) + lost == 2000
    assert found == list(range(lost, 2000))


def test_shipped_files_go_first_and_are_no_loss(tmp_path: Path) -> None:
    with Spool(tmp_path, host="h7", max_bytes=64_000) as spool:
        spool.append(RunEvent(event_id="e", run_id="r", type="start", at=0))
        for first in range(0, 1000, 20):
            spool.append(*[sample(seq) for seq in range(first, first + 20)])
            slots(tmp_path)[0].save_shipped({"sample": (sorted(os.listdir(tmp_path / "sample"))[-1], 0)})

        assert spool.lost == 0

    assert len(FileLog(tmp_path).partitions("run_event")) == 1


def test_files_above_the_age_go_and_are_counted(tmp_path: Path) -> None:
    clock, wall = Clock(), Clock()
    with Spool(tmp_path, host="h7", max_age_s=800, now=clock, wall=wall) as spool:
        for seq in range(5):
            spool.append(sample(seq))
            spool.sync()
            clock.now_s += 101
            spool.sync()
            path = max((tmp_path / "sample").glob("*.avro"))
            os.utime(path, (wall.now_s + seq * 200, wall.now_s + seq * 200))
        wall.now_s += 1001
        clock.now_s += 61
        spool.sync()
        lost = spool.lost

    assert lost == 2
    assert seqs(tmp_path) == [2, 3, 4]


def test_a_missing_folder_is_warned_of_once_and_used_when_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    blocked = tmp_path / "spool"
    blocked.write_text("a file where the folder should be")
    spool = Spool(blocked, host="h7", now=clock)
    for seq in range(20):
        spool.append(sample(seq))
        clock.now_s += 5
    assert not spool.sync()
    warned = len(caplog.records)
    state = repr(spool)

    blocked.unlink()
    clock.now_s += 60
    assert spool.sync()
    spool.close()

    assert warned == 1
    assert "20 records in memory" in state
    assert seqs(blocked) == list(range(20))


def test_two_writers_at_once_take_two_partitions_and_the_next_takes_the_first_again(tmp_path: Path) -> None:
    first, second = Spool(tmp_path, host="h7"), Spool(tmp_path, host="h7")
    first.append(sample(0))
    second.append(sample(1))
    names = [first.slot, second.slot]
    first.close()
    with Spool(tmp_path, host="h7") as third:
        third.append(sample(2))
        names.append(third.slot)
    second.close()

    assert names == ["h7.0", "h7.1", "h7.0"]
    assert sorted(seqs(tmp_path)) == [0, 1, 2]


def test_removing_files_never_lets_names_go_back(tmp_path: Path) -> None:
    with Spool(tmp_path, host="h7") as spool:
        spool.append(sample(0))
    slots(tmp_path)[0].save_shipped({"sample": ("h7.0-000000.avro", 10**9)})
    with Spool(tmp_path, host="h8", max_bytes=4096, max_age_s=10.0, wall=lambda: 9e9) as other:
        other.append(sample(1))
        other._check()
    with Spool(tmp_path, host="h7") as spool:
        spool.append(sample(2))

    assert sorted(path.name for path in (tmp_path / "sample").glob("h7*.avro")) == [
        "h7.0-000000.avro",
        "h7.0-000001.avro",
    ]
    assert seqs(tmp_path) == [2, 1]


def test_repr_tells_the_state(tmp_path: Path) -> None:
    spool = Spool(tmp_path, host="h7")
    spool.append(sample(0))

    assert repr(spool).startswith("<Spool h7.0 0.0 MB, oldest ")
    spool.close()

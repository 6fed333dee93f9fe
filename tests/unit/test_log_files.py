"""The file log: what is written is read, exactly once, whatever was torn, damaged or added meanwhile."""

import os
import random
from pathlib import Path

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.errors import LogError
from kappawatt.log.files import Chunk, FileLog, FilePartition, FileWriter, partitions
from kappawatt.wire import codec
from kappawatt.wire.records import Intensity


def datum(seq: int, dataset: str = "entsoe-2026") -> bytes:
    price = Intensity(
        zone="DEU",
        valid_from=0,
        valid_to=300_000_000,
        intensity_g_per_kwh=400.0,
        kind="actual",
        signal="average",
        provider="test",
        dataset=dataset,
        revision=seq,
        published_at=0,
    )
    return codec.encode("intensity", price.to_avro())


def revision(data: bytes) -> int:
    return int(codec.decode_one(codec.schema("intensity"), data)["revision"])


def write(directory: Path, seqs: range, partition: str = "h7", **options: int) -> str:
    writer = FileWriter(directory, "intensity", partition, **options)
    for seq in seqs:
        writer.append([datum(seq)])
    file = writer.file
    writer.close()
    return str(directory / "intensity" / (file or ""))


def datums(chunk: Chunk) -> list[bytes]:
    return [chunk.buffer[a:b] for a, b in zip(chunk.start, chunk.end, strict=True)]


def read_all(partition: FilePartition, max_bytes: int = 1 << 20) -> tuple[list[int], list[tuple[str, int, str]]]:
    found, bad, position = [], [], None
    while True:
        chunk = partition.read(position, max_bytes)
        found += [revision(each) for each in datums(chunk)]
        bad += [(file, offset, reason) for file, offset, _, reason in chunk.bad]
        position = chunk.next
        if chunk.at_end:
            partition.close()
            return found, bad


def test_records_come_back_in_order_over_several_files(tmp_path: Path) -> None:
    write(tmp_path, range(50), segment_bytes=1000)

    found, bad = read_all(FilePartition(tmp_path, "intensity", "h7"))

    assert len(os.listdir(tmp_path / "intensity")) > 3
    assert (found, bad) == (list(range(50)), [])


@pytest.mark.parametrize("max_bytes", [1, 17, 100, 1000, 1 << 20])
def test_a_small_window_gives_the_same_records(tmp_path: Path, max_bytes: int) -> None:
    write(tmp_path, range(40), segment_bytes=800)

    assert read_all(FilePartition(tmp_path, "intensity", "h7"), max_bytes) == (list(range(40)), [])


def test_positions_are_block_starts_from_which_reading_goes_on(tmp_path: Path) -> None:
    write(tmp_path, range(10))
    partition = FilePartition(tmp_path, "intensity", "h7")
    chunk = partition.read(None)

    rest = partition.read((chunk.file, int(chunk.position[4])))

    assert [revision(each) for each in datums(rest)] == [4, 5, 6, 7, 8, 9]


def test_any_avro_tool_can_read_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, range(3))

    with open(path, "rb") as file:
        assert [record["revision"] for record in fastavro.reader(file)] == [0, 1, 2]


def test_any_avro_tool_can_write_the_file(tmp_path: Path) -> None:
    records = [codec.decode_one(codec.schema("intensity"), datum(seq)) for seq in range(100)]
    (tmp_path / "intensity").mkdir()
    with open(tmp_path / "intensity" / "export.avro", "wb") as file:
        fastavro.writer(file, codec.schema("intensity"), records, sync_interval=500)

    assert partitions(tmp_path, "intensity") == ["export"]
    assert read_all(FilePartition(tmp_path, "intensity", "export")) == (list(range(100)), [])


def test_records_of_a_known_other_schema_are_translated(tmp_path: Path) -> None:
    later = {**codec.schema("intensity")}
    later["fields"] = [*later["fields"], {"name": "note", "type": "string", "default": ""}]
    records = [{**codec.decode_one(codec.schema("intensity"), datum(seq)), "note": "x"} for seq in range(5)]
    (tmp_path / "intensity").mkdir()
    with open(tmp_path / "intensity" / "h-0.avro", "wb") as file:
        fastavro.writer(file, later, records)

    assert read_all(FilePartition(tmp_path, "intensity", "h", known=[later])) == (list(range(5)), [])


def test_a_file_of_an_unknown_schema_is_reported_once_and_passed(tmp_path: Path) -> None:
    (tmp_path / "intensity").mkdir()
    with open(tmp_path / "intensity" / "h7-0.avro", "wb") as file:
        fastavro.writer(file, {"type": "record", "name": "other", "fields": [{"name": "a", "type": "int"}]}, [{"a": 1}])
    write(tmp_path, range(2))

    assert read_all(FilePartition(tmp_path, "intensity", "h7")) == ([0, 1], [("h7-0.avro", 0, "unknown_schema")])


def test_a_last_file_that_is_refused_is_not_reported_again(tmp_path: Path) -> None:
    (tmp_path / "intensity").mkdir()
    (tmp_path / "intensity" / "h7-0.avro").write_bytes(b"PAR1 no avro at all")
    partition = FilePartition(tmp_path, "intensity", "h7")

    first = partition.read(None)
    second = partition.read(first.next)

    assert [each[3] for each in first.bad] == ["undecodable"]
    assert (second.bad, second.at_end, second.next) == ([], True, first.next)


def test_a_schema_of_another_topic_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    os.rename(write(tmp_path, range(2)), tmp_path / "sample" / "h7-0.avro")

    assert read_all(FilePartition(tmp_path, "sample", "h7")) == ([], [("h7-0.avro", 0, "unknown_schema")])


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "intensity").mkdir()
    with open(tmp_path / "intensity" / "h7-0.avro", "wb") as file:
        fastavro.writer(file, codec.schema("intensity"), [], codec="deflate")

    assert read_all(FilePartition(tmp_path, "intensity", "h7")) == ([], [("h7-0.avro", 0, "undecodable")])


def test_a_growing_file_is_followed_and_then_the_next(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path, "intensity", "h7")
    partition = FilePartition(tmp_path, "intensity", "h7")
    assert partition.read(None).next is None

    writer.append([datum(0)])
    first = partition.read(None)
    writer.append([datum(1)])
    writer.roll()
    writer.append([datum(2)])
    second = partition.read(first.next)
    third = partition.read(second.next)
    writer.close()

    assert [[revision(each) for each in datums(chunk)] for chunk in (first, second, third)] == [[0], [1], [2]]
    assert (first.at_end, second.at_end, third.at_end) == (True, False, True)


def test_every_cut_of_a_last_file_gives_its_whole_records(tmp_path: Path) -> None:
    path = Path(write(tmp_path, range(4)))
    data = path.read_bytes()
    ends = [int(at) for at in FilePartition(tmp_path, "intensity", "h7").read(None).position[1:]] + [len(data)]

    for size in range(len(data)):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends)
        assert read_all(FilePartition(tmp_path, "intensity", "h7")) == (list(range(whole)), []), size


def test_a_torn_tail_is_cut_off_before_the_next_writer_begins(tmp_path: Path) -> None:
    path = Path(write(tmp_path, range(3)))
    path.write_bytes(path.read_bytes()[:-7])

    writer = FileWriter(tmp_path, "intensity", "h7")
    writer.append([datum(3)])
    writer.close()

    assert writer.torn_bytes > 0
    assert read_all(FilePartition(tmp_path, "intensity", "h7")) == ([0, 1, 3], [])


def test_every_cut_is_mended_by_the_next_writer(tmp_path: Path) -> None:
    path = Path(write(tmp_path, range(3)))
    data = path.read_bytes()
    ends = [int(at) for at in FilePartition(tmp_path, "intensity", "h7").read(None).position[1:]] + [len(data)]

    for size in range(0, len(data), 3):
        folder = tmp_path / str(size)
        (folder / "intensity").mkdir(parents=True)
        (folder / "intensity" / path.name).write_bytes(data[:size])
        write(folder, range(9, 10))
        whole = sum(end <= size for end in ends)
        assert read_all(FilePartition(folder, "intensity", "h7")) == ([*range(whole), 9], []), size


def test_zeros_at_the_end_count_as_torn(tmp_path: Path) -> None:
    path = Path(write(tmp_path, range(3)))
    path.write_bytes(path.read_bytes() + bytes(4096))

    write(tmp_path, range(3, 4))

    assert read_all(FilePartition(tmp_path, "intensity", "h7")) == ([0, 1, 2, 3], [])


def test_a_reader_that_saw_more_than_survived_a_power_cut_goes_on_with_the_next_file(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path, "intensity", "h7")
    writer.append([datum(0)])
    writer.sync()
    survives = writer.synced_bytes
    writer.append([datum(1), datum(2)])
    partition = FilePartition(tmp_path, "intensity", "h7")
    seen = partition.read(None)
    file = writer.file
    writer.close()
    os.truncate(tmp_path / "intensity" / str(file), survives)

    write(tmp_path, range(3, 5))

    rest = partition.read(seen.next)
    assert [revision(each) for each in datums(rest)] == [3, 4]


@settings(max_examples=60, deadline=None)
@given(flip=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_one_record_at_most(tmp_path_factory: pytest.TempPathFactory, flip: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("flip")
    path = Path(write(folder, range(8)))
    at = FilePartition(folder, "intensity", "h7").read(None).position
    data = bytearray(path.read_bytes())
    place = int(at[1]) + flip % int(at[6] - at[1])  # in blocks 1 to 5: the last ones could still be torn
    hit = int((at <= place).sum()) - 1
    data[place] ^= 1 << bit
    path.write_bytes(data)

    chunk = FilePartition(folder, "intensity", "h7").read(None)

    readable = [int(each) for each in at if int(each) != int(at[hit])]
    assert set(readable) <= set(chunk.position.tolist())
    assert len(chunk) + len(chunk.bad) == 8
    assert [offset for _, offset, _, _ in chunk.bad] == [int(at[hit])] * (8 - len(chunk))


@settings(max_examples=60, deadline=None)
@given(rubbish=st.binary(min_size=1, max_size=200), after=st.integers(0, 5))
def test_rubbish_between_blocks_is_reported_and_passed(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes, after: int
) -> None:
    folder = tmp_path_factory.mktemp("rubbish")
    path = Path(write(folder, range(6)))
    data = path.read_bytes()
    at = int(FilePartition(folder, "intensity", "h7").read(None).position[after])
    path.write_bytes(data[:at] + rubbish + data[at:])

    found, bad = read_all(FilePartition(folder, "intensity", "h7"))

    assert [each for each in found if each != after] == [each for each in range(6) if each != after]
    assert [offset for _, offset, _ in bad] == [at]


def test_a_block_longer_than_the_window_is_read(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path, "intensity", "h7")
    writer.append([datum(0), datum(1, dataset="x" * 700_000), datum(2)])
    writer.close()

    assert read_all(FilePartition(tmp_path, "intensity", "h7"), 1000) == ([0, 1, 2], [])


def test_a_giant_block_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    path = Path(write(tmp_path, range(1)))
    header = codec.read_header(path.read_bytes())
    assert header is not None
    with open(path, "ab") as file:
        file.write(codec.container_block(1, random.Random(1).randbytes(40 << 20), header.sync))
        file.write(codec.container_block(1, datum(1), header.sync))

    found, bad = read_all(FilePartition(tmp_path, "intensity", "h7"))

    assert found == [0, 1]
    assert {reason for _, _, reason in bad} <= {"too_large", "undecodable"}
    assert bad[0][2] == "too_large"


def test_a_hostile_count_is_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path, range(1)))
    header = codec.read_header(path.read_bytes())
    assert header is not None
    with open(path, "ab") as file:
        file.write(
            codec.container_block(1 << 40, b"abc", header.sync) + codec.container_block(1, datum(1), header.sync)
        )

    found, bad = read_all(FilePartition(tmp_path, "intensity", "h7"))

    assert (found, [reason for _, _, reason in bad]) == ([0, 1], ["undecodable"])


def test_a_file_that_was_removed_gives_way_to_the_next(tmp_path: Path) -> None:
    first = write(tmp_path, range(2))
    write(tmp_path, range(2, 4))
    os.unlink(first)

    chunk = FilePartition(tmp_path, "intensity", "h7").read((os.path.basename(first), 40))

    assert [revision(each) for each in datums(chunk)] == [2, 3]


def test_a_partition_has_one_writer_at_a_time(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path, "intensity", "h7")

    with pytest.raises(LogError, match="being written by"):
        FileWriter(tmp_path, "intensity", "h7")
    writer.close()

    FileWriter(tmp_path, "intensity", "h7").close()


def test_partitions_are_named_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    for name in ("h7-000.avro", "h7-001.avro", "a-b-2.avro", "solo.avro", ".hidden-1.avro", "note.txt"):
        (tmp_path / "sample" / name).touch()

    log = FileLog(tmp_path)

    assert log.partitions("sample") == ["a-b", "h7", "solo"]
    assert log.partitions("intensity") == []
    assert log.topics() == ["sample"]


def test_append_time_is_not_before_the_records(tmp_path: Path) -> None:
    path = write(tmp_path, range(1))
    os.utime(path, ns=(5_000_000, 7_000_000))

    assert FilePartition(tmp_path, "intensity", "h7").read(None).mtime_us == 7_000

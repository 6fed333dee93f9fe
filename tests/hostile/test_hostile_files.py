"""Files that want to hurt their reader: refused at once, in little memory, with a reason; all around them is read."""

import os
from pathlib import Path

import pytest

from tests.hostile import corpus
from tests.hostile.cage import caged

CPU_S = 5.0
GROWN_MB = 96


def write(folder: Path, data: bytes, name: str = "h-000000.avro") -> Path:
    (folder / "sample").mkdir(parents=True, exist_ok=True)
    path = folder / "sample" / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("what", corpus.FILES)
def test_hostile_file_is_read_as_far_as_it_is_good(tmp_path: Path, what: str) -> None:
    make, records, reasons = corpus.FILES[what]
    write(tmp_path, make())
    write(tmp_path, corpus.HEAD + corpus.blocks(first=500), "h-000001.avro")

    found = caged("read_log", tmp_path, "sample")

    assert found["records"] == records + corpus.GOOD
    assert set(found["bad"]) <= reasons
    assert bool(found["bad"]) == bool(reasons)
    assert found["cpu_s"] < CPU_S
    assert found["grown_mb"] < GROWN_MB


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_hide_no_good_record(tmp_path: Path, seed: int) -> None:
    write(tmp_path, corpus.garbage(seed, 300_000))

    found = caged("read_log", tmp_path, "sample")

    assert found["records"] == 2 * corpus.GOOD
    assert set(found["bad"]) <= {"undecodable", "too_large"}


def test_what_is_no_file_is_listed_and_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, corpus.HEAD + corpus.blocks(), "h-000002.avro")
    os.mkfifo(tmp_path / "sample/h-000000.avro")
    (tmp_path / "sample/h-000001.avro").mkdir()

    found = caged("read_log", tmp_path, "sample")

    assert (found["records"], found["bad"]) == (corpus.GOOD, ["undecodable", "undecodable"])

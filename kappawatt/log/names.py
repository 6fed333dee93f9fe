"""How the files of a file log are called: `<topic>/<partition>-NNNNNN.avro`, read in name order within a partition."""

import os
import re
from pathlib import Path

from kappawatt.errors import LogError

SUFFIX = ".avro"
_LAST_NUMBER = 999_999


def safe_name(text: str) -> str:
    """*text* as a part of a file name: no separators, nothing hidden, nothing above ASCII, at most 100 signs.

    >>> safe_name("../etc/h7"), safe_name("node-1.example"), safe_name("")
    ('_.._etc_h7', 'node-1.example', '_')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:100]
    return plain if plain[:1].isalnum() else f"_{plain}"


def partition_of(file: str) -> str:
    """The source partition that *file* belongs to: its stem up to the last `-`, else the whole stem.

    >>> partition_of("h7-000001.avro"), partition_of("a-b-2.avro"), partition_of("export.avro")
    ('h7', 'a-b', 'export')
    """
    stem = file.removesuffix(SUFFIX)
    return stem.rpartition("-")[0] or stem


def files(directory: Path, topic: str) -> list[str]:
    """Names of all container files of *topic*, in name order; none if the folder is missing."""
    try:
        names = os.listdir(directory / topic)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LogError(f"folder {directory / topic} cannot be read: {error.strerror}; check its permissions") from error
    return sorted(name for name in names if name.endswith(SUFFIX) and not name.startswith("."))


def segments(directory: Path, topic: str, partition: str) -> list[str]:
    """Names of the files of one partition, in the order in which they are read."""
    return [name for name in files(directory, topic) if partition_of(name) == partition]


def partitions(directory: Path, topic: str) -> list[str]:
    """The source partitions of *topic*, sorted."""
    return sorted({partition_of(name) for name in files(directory, topic)})


def next_segment(existing: list[str], partition: str) -> str:
    """The name of the file after the *existing* ones of *partition*.

    >>> next_segment([], "h7"), next_segment(["h7-000004.avro"], "h7")
    ('h7-000000.avro', 'h7-000005.avro')
    """
    numbers = [name.removesuffix(SUFFIX).rpartition("-")[2] for name in existing]
    number = 1 + max((int(text) for text in numbers if text.isdecimal() and text.isascii()), default=-1)
    name = f"{partition}-{number:06d}{SUFFIX}"
    if number > _LAST_NUMBER or (existing and name <= existing[-1]):
        last = existing[-1] if existing else ""
        raise LogError(f"no file name is left after {last} of partition {partition}; move its files to another folder")
    return name

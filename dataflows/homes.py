"""The two homes of a log, files and Kafka, as the flow's sources need them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kappawatt.emissions.names import BUCKETS, bucket_of
from kappawatt.emissions.reading import Reader
from kappawatt.errors import LogError
from kappawatt.log.names import SUFFIX, partitions, segments
from kappawatt.log.urls import FileUrl, parse

from .letters import FileLetters
from .readers import FileReader
from .sinks import DeadLetters


class Home(Protocol):
    """Opens what one process reads and writes beside the store."""

    def check(self) -> None:
        """Raise LogError, with the remedy, if the log cannot be read."""

    def missing_beginnings(self) -> list[str]:
        """Partitions of samples whose first records are not there any more, each with what is missing."""

    def bucket(self, bucket: str, positions: Any) -> Reader:
        """The reader of one bucket of samples."""

    def topic(self, topic: str, positions: Any) -> Reader:
        """A reader of all partitions of another topic."""

    def letters(self) -> DeadLetters:
        """Where dead letters go."""

    def schemas(self) -> Callable[[int], Mapping[str, Any] | None]:
        """Writer schemas by registry id."""


class FileHome:
    """A folder of Avro files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<FileHome {self._folder}>"

    def check(self) -> None:
        """The folder may still be empty, but must not be something else."""
        if self._folder.exists() and not self._folder.is_dir():
            raise LogError(f"log file:{self._folder} is not a folder; give the folder that holds sample/, intensity/ …")

    def missing_beginnings(self) -> list[str]:
        """Partitions whose lowest file number is not 0, or whose first file was emptied."""
        found = []
        for name in partitions(self._folder, "sample"):
            first = segments(self._folder, "sample", name)[0]
            number = first.removesuffix(SUFFIX).removeprefix(f"{name}-")
            if number.isdecimal() and int(number) > 0:
                found.append(f"sample/{name} begins with {first}")
            elif (self._folder / "sample" / first).stat().st_size == 0:
                found.append(f"sample/{name}: {first} is empty")
        return found

    def bucket(self, bucket: str, positions: Any) -> Reader:
        """File partitions whose name hashes to the bucket."""
        number = BUCKETS.index(bucket)
        return FileReader(self._folder, "sample", lambda name: bucket_of(name) == number, positions)

    def topic(self, topic: str, positions: Any) -> Reader:
        """All file partitions of a topic."""
        return FileReader(self._folder, topic, lambda _: True, positions)

    def letters(self) -> DeadLetters:
        """Files beside the log's."""
        return FileLetters(self._folder)

    def schemas(self) -> Callable[[int], Mapping[str, Any] | None]:
        """Files carry their schema: no id is known."""
        return lambda _: None


def open_home(log: str, registry: str | None, topic_prefix: str, *, bounded: bool) -> Home:
    """The home of a log URL. *bounded*: read only what is there now."""
    url = parse(log)
    if isinstance(url, FileUrl):
        return FileHome(url.directory)
    from .kafka_home import KafkaHome

    return KafkaHome(url.bootstrap, registry, topic_prefix, bounded=bounded)

"""Where a collector writes: one partition of a file log, or Kafka."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kappawatt.errors import SettingsError
from kappawatt.log.files import FileWriter, partitions
from kappawatt.log.names import safe_name
from kappawatt.wire import codec
from kappawatt.wire.records import Intensity, RunEvent, Sample

Record = Sample | RunEvent | Intensity


class Sink(Protocol):
    """Takes records in order; what was appended before `sync` returned survives a crash."""

    def append(self, topic: str, record: Record) -> None:
        """Add one record."""
        ...

    def has(self, topic: str) -> bool:
        """Whether this collector's records of *topic* are there already (files only; Kafka cannot say)."""
        ...

    def sync(self) -> None:
        """Make everything durable."""
        ...

    def close(self) -> None:
        """Sync and let go."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class FileSink:
    """One partition, of the same name in every topic, of the file log in *directory*."""

    def __init__(self, directory: Path, partition: str) -> None:
        self._directory = directory
        self._partition = safe_name(partition)
        self._writers: dict[str, FileWriter] = {}
        self._pending: dict[str, list[bytes]] = {}

    def __repr__(self) -> str:
        records = sum(writer.records for writer in self._writers.values())
        return f"<FileSink {self._directory} partition {self._partition}, {records} records>"

    def append(self, topic: str, record: Record) -> None:
        """Add one record; it is written with its neighbours at the next `flush` or `sync`."""
        waiting = self._pending.setdefault(topic, [])
        waiting.append(codec.encode(topic, record.to_avro()))
        if len(waiting) >= 1_000:
            self.flush()

    def has(self, topic: str) -> bool:
        """Whether the partition has files of *topic*."""
        return self._partition in partitions(self._directory, topic)

    def flush(self) -> None:
        """Hand everything to the operating system: it survives the process."""
        for topic, datums in self._pending.items():
            if topic not in self._writers:
                self._writers[topic] = FileWriter(self._directory, topic, self._partition)
            self._writers[topic].append(datums)
        self._pending = {}

    def sync(self) -> None:
        """Everything survives a power cut."""
        self.flush()
        for writer in self._writers.values():
            writer.sync()

    def close(self) -> None:
        """Sync, and let another writer have the partition."""
        try:
            self.flush()
        finally:
            for writer in self._writers.values():
                writer.close()
            self._writers = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_sink(log: str, *, partition: str, registry: str | None = None, topic_prefix: str = "") -> Sink:
    """The log at URL *log* for writing; *partition* names this collector's files in a file log.

    Raises:
        SettingsError: The URL is neither `file:DIR` nor `kafka://HOST:PORT`.
        LogError: It cannot be written.
    """
    if log.startswith("file:"):
        return FileSink(Path(log.removeprefix("file:")), partition)
    raise SettingsError(f"--log {log} was given; a log is file:DIR or kafka://HOST:PORT")

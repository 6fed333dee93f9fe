"""Where records that nobody measured are written: one partition of a file log, or Kafka by way of a spool."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from kappawatt.errors import LogError
from kappawatt.log.files import FileWriter, partitions
from kappawatt.log.names import safe_name
from kappawatt.outlet import Outlet
from kappawatt.sensors.sampler import boot_host_name
from kappawatt.settings import Settings, masked
from kappawatt.wire import codec
from kappawatt.wire.records import Intensity, RunEvent, Sample

Record = Mapping[str, Any]
"""A record as plain values: what `to_avro` gives."""

_BATCH = 1_000
_CLASSES: Mapping[str, type[Sample | RunEvent | Intensity]] = {
    "sample": Sample,
    "run_event": RunEvent,
    "intensity": Intensity,
}


class Sink(Protocol):
    """Takes records in order; what was handed on by `flush` survives the process, and all does after `close`."""

    def append(self, topic: str, record: Record) -> None:
        """Add one record."""
        ...

    def has(self, topic: str) -> bool:
        """Whether this collector's records of *topic* are there already (files only; Kafka cannot say)."""
        ...

    def flush(self) -> None:
        """Hand on what waits for its neighbours."""
        ...

    def close(self) -> None:
        """Hand everything on and let go."""
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
        """Add one record; it is written with its neighbours."""
        waiting = self._pending.setdefault(topic, [])
        waiting.append(codec.encode(topic, record))
        if len(waiting) >= _BATCH:
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


class ShippedSink:
    """Kafka, by way of a spool on this machine: a broker that is away holds nothing up and loses nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outlet = Outlet(settings, boot_host_name(settings.host))
        self._pending: list[Sample | RunEvent | Intensity] = []

    def __repr__(self) -> str:
        return f"<ShippedSink {self._outlet!r}, {len(self._pending)} waiting>"

    def append(self, topic: str, record: Record) -> None:
        """Add one record; it is shipped with its neighbours."""
        self._pending.append(_CLASSES[topic].from_avro(record))
        if len(self._pending) >= _BATCH:
            self.flush()

    def has(self, topic: str) -> bool:
        """Never: Kafka cannot say, and what is written twice counts once."""
        return False

    def flush(self) -> None:
        """Hand everything to the spool."""
        self._outlet.write(self._pending)
        self._pending = []

    def close(self) -> None:
        """Return when Kafka has everything.

        Raises:
            LogError: It has not, and takes nothing more; the rest stays in the spool.
        """
        try:
            self.flush()
            self._outlet.ship()
        finally:
            notes = self._outlet.close(0.0)
        if notes:
            raise LogError(
                f"records were to be shipped to {masked(self._settings.log)}: {'; '.join(notes)}; "
                "the next collector or run with this spool ships them"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_sink(settings: Settings, *, partition: str) -> Sink:
    """The log in *settings* for writing; *partition* names this collector's files in a file log.

    Raises:
        SettingsError: The log's URL is not understood.
        LogError: It cannot be written.
    """
    kind, _, rest = settings.log.partition(":")
    if kind == "file" and rest:
        return FileSink(Path(rest), partition)
    return ShippedSink(settings)

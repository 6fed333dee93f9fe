"""Where a recorder's records go: the spool, and from there to Kafka when the log is there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kappawatt.log import urls
from kappawatt.log.spool import Spool
from kappawatt.settings import Settings
from kappawatt.wire.records import Intensity, RunEvent, Sample

if TYPE_CHECKING:
    from kappawatt.log.publisher import Publisher

DRAIN_LIMIT_S = 5.0
"""How long the end of a run waits for Kafka; what is not shipped by then stays in the spool for the next writer."""


class Outlet:
    """One writer of the log in *settings*. Once made it never raises because of the disk or the broker.

    Raises:
        SettingsError: The log's URL is not understood.
        KappawattError: Kafka is asked for and its client is not installed.
    """

    def __init__(self, settings: Settings, host_name: str) -> None:
        self._publisher: Publisher | None = None
        url = urls.parse(settings.log)
        if isinstance(url, urls.FileUrl):
            self._spool = Spool(url.directory, host=host_name, program="kappawatt")
            return
        self._spool = Spool(
            Path(settings.spool),
            host=host_name,
            max_bytes=settings.spool_max_mb * 1_000_000,
            max_age_s=settings.spool_max_days * 86_400,
            program="kappawatt",
        )
        self._publisher = _publisher(settings)

    def __repr__(self) -> str:
        return f"<Outlet {self._spool!r} {self._publisher or 'is the log'}>"

    @property
    def lost(self) -> int:
        """Records that had to be given up."""
        return self._spool.lost

    @property
    def shipped(self) -> int:
        """Records that Kafka has acknowledged since the start; 0 where files are the log."""
        return 0 if self._publisher is None else self._publisher.shipped

    @property
    def trouble(self) -> str | None:
        """Why the disk takes nothing, or nothing is shipped, just now; None while both work."""
        return self._spool.trouble or (None if self._publisher is None else self._publisher.trouble)

    def backlog(self) -> tuple[int, float]:
        """Bytes that are kept until Kafka has them, and the age of the oldest file in seconds."""
        return (0, 0.0) if self._publisher is None else self._spool.kept()

    def write(self, records: Sequence[Sample | RunEvent | Intensity]) -> None:
        """Keep *records*, in order, so that they survive a power cut if the disk allows it."""
        if records:
            self._spool.append(*records)
            self._spool.sync()
        if records and self._publisher is not None:
            self._publisher.wake()

    def ship(self) -> None:
        """Return when the log has all that was written, or when Kafka has taken nothing more for `DRAIN_LIMIT_S`."""
        before = -1
        while self._publisher is not None and self._publisher.shipped > before:
            before = self._publisher.shipped
            if self._publisher.drain(DRAIN_LIMIT_S):
                return

    def close(self, limit_s: float = DRAIN_LIMIT_S) -> list[str]:
        """Ship what can be shipped within *limit_s*, and say what is not where it should be."""
        notes = []
        self._spool.close()
        if self._spool.lost:
            notes.append(
                f"{self._spool.lost} records are lost: the disk below {self._spool.directory} did not take them"
            )
        if self._publisher is not None:
            if not self._publisher.drain(limit_s):
                notes.append(f"the broker has not taken all records; the rest waits in {self._spool.directory}")
            self._publisher.close()
        return notes


def _publisher(settings: Settings) -> "Publisher":
    from kappawatt.programs import missing

    try:
        from kappawatt.log.publisher import Publisher
    except ModuleNotFoundError as error:
        raise missing("a log in Kafka", error) from error
    return Publisher.from_settings(settings)

"""Who writes and who ships which part of a spool.

A spool folder is a file log that several processes may write at once. Each takes a **slot**, the first of `<host>.0`,
`<host>.1`, … that nobody holds, and writes partitions of that name; so there are never more partitions than there
were writers at one time. Beside the topics, `.spool/` keeps for each slot the writer's lock, the shipper's lock, the
place up to which the records are acknowledged, and what had to be given up.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from kappawatt.errors import LogError
from kappawatt.log.atomic import read_json, write_json
from kappawatt.log.locks import FileLock
from kappawatt.log.names import safe_name
from kappawatt.log.tail import Position

_logger = logging.getLogger(__name__)
_MOST_SLOTS = 1000


class Slot:
    """The small files of slot *name* of the spool in *directory*."""

    def __init__(self, directory: Path, name: str, *, program: str = "") -> None:
        self.name = name
        folder = directory / ".spool"
        self.writer = FileLock(folder / f"{name}.writer.lock", program=program)
        self.shipper = FileLock(folder / f"{name}.shipper.lock", program=program)
        self.lost_path = folder / f"{name}.lost.json"
        self._shipped_path = folder / f"{name}.shipped.json"

    def shipped(self) -> dict[str, Position]:
        """Per topic, where the acknowledged records end; none if that cannot be read: repeats do no harm."""
        try:
            found = read_json(self._shipped_path)
            return {str(topic): (str(file), int(offset)) for topic, (file, offset) in found.items()}
        except (OSError, ValueError, TypeError) as error:
            _logger.warning("%s cannot be read (%s); all records are shipped again", self._shipped_path, error)
            return {}

    def save_shipped(self, positions: Mapping[str, Position]) -> None:
        """Keep *positions* for good; only the holder of `shipper` may.

        Raises:
            LogError: The disk refuses.
        """
        try:
            write_json(self._shipped_path, positions)
        except OSError as error:
            raise LogError(f"{self._shipped_path} cannot be written: {error.strerror}; make room or mend it") from error

    def __repr__(self) -> str:
        return f"<Slot {self.name}>"


class Losses:
    """What a spool had to give up, by topic, kept in *path*; counted once even if the process dies in between."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, int] = {}
        """Records that were never acknowledged and are gone."""
        self.unconfirmed: dict[str, int] = {}
        """Records of which the disk did not say whether it keeps them."""
        self.torn_bytes = 0
        """Bytes of unfinished writes that were cut off at a start."""
        self._going: dict[str, tuple[str, int]] = {}
        self._changed = False
        self._load()

    @property
    def total(self) -> int:
        """Records of all topics that are gone."""
        return sum(self.records.values())

    def add(self, topic: str, count: int) -> None:
        """*count* records of *topic* are gone."""
        self.records[topic] = self.records.get(topic, 0) + count
        self._changed = True

    def add_unconfirmed(self, topic: str, count: int) -> None:
        """*count* records of *topic* may be gone after a power cut."""
        self.unconfirmed[topic] = self.unconfirmed.get(topic, 0) + count
        self._changed = True

    def add_torn(self, size: int) -> None:
        """*size* bytes were cut off."""
        self.torn_bytes += size
        self._changed |= size > 0

    def announce(self, path: Path, topic: str, count: int) -> None:
        """File *path* with *count* records is about to be removed: noted before, so that a crash forgets nothing."""
        self._going[str(path)] = (topic, count)
        self._changed = True
        self.save()

    def settle(self) -> None:
        """Count the announced files that are gone or empty."""
        for path, (topic, count) in list(self._going.items()):
            if _is_gone(Path(path)):
                del self._going[path]
                self.add(topic, count)

    def save(self) -> bool:
        """Keep the counts if they changed; False if the disk refuses, then the next `save` has them."""
        if not self._changed:
            return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            counts = {"records": self.records, "unconfirmed": self.unconfirmed, "torn_bytes": self.torn_bytes}
            write_json(self.path, {**counts, "going": self._going})
        except OSError:
            return False
        self._changed = False
        return True

    def _load(self) -> None:
        try:
            found = read_json(self.path)
            self.records = {str(k): int(v) for k, v in found.get("records", {}).items()}
            self.unconfirmed = {str(k): int(v) for k, v in found.get("unconfirmed", {}).items()}
            self.torn_bytes = int(found.get("torn_bytes", 0))
            self._going = {str(k): (str(topic), int(n)) for k, (topic, n) in found.get("going", {}).items()}
        except (OSError, ValueError, TypeError, AttributeError, json.JSONDecodeError) as error:
            _logger.warning("%s cannot be read (%s); counting losses anew", self.path, error)
        self.settle()


def _is_gone(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return True


def claim(directory: Path, host: str, *, program: str = "") -> Slot:
    """The first slot of *host* that nobody writes; its `writer` lock is held.

    Raises:
        LogError: The folder cannot be written.
    """
    for number in range(_MOST_SLOTS):
        slot = Slot(directory, f"{safe_name(host)}.{number}", program=program)
        if slot.writer.acquire():
            return slot
    raise LogError(f"spool {directory} has {_MOST_SLOTS} live writers of host {host}; stop some or use another folder")


def lost_records(directory: Path) -> dict[str, int]:
    """Records by topic that the spool in *directory* ever had to give up."""
    total: dict[str, int] = {}
    for slot in slots(directory):
        for topic, count in Losses(slot.lost_path).records.items():
            total[topic] = total.get(topic, 0) + count
    return total


def slots(directory: Path) -> list[Slot]:
    """All slots that ever had a writer, by name."""
    found = (directory / ".spool").glob("*.writer.lock")
    return [Slot(directory, name) for name in sorted(path.name.removesuffix(".writer.lock") for path in found)]

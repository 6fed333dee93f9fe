"""Appending records to a file log: one datum a block, so that the end of any record is a place to stop and go on."""

import contextlib
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from kappawatt.errors import LogError, WireError
from kappawatt.log import names
from kappawatt.log.atomic import sync_folder
from kappawatt.log.blocks import SYNC_BYTES, is_torn
from kappawatt.log.locks import FileLock
from kappawatt.wire import codec

SEGMENT_BYTES = 64 * 1024 * 1024


class RawFile(Protocol):
    """What the writer needs of a file; a test passes one whose disk is full."""

    def write(self, data: bytes, /) -> int | None: ...
    def truncate(self, size: int, /) -> int: ...
    def seek(self, offset: int, /) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def open_new(path: Path) -> RawFile:
    """A file that did not exist before, unbuffered: what is written survives the process."""
    return open(path, "xb", buffering=0)


class FileWriter:
    """The one writer of partition *partition* of *topic* below *directory*.

    `append` hands the records to the operating system: they survive kill -9. After `sync` they survive a power cut.
    Every writer begins a file of its own, `<partition>-NNNNNN.avro`, at its first record; what its predecessor was
    writing when it was killed is cut off before (`torn_bytes`). So a reader's place never shows other bytes later.

    Args:
        directory: The folder of the log.
        topic: Which records.
        partition: Name of the partition; one writer at a time.
        segment_bytes: Size above which the next file is begun.
        open_file: Makes a new file.

    Raises:
        LogError: Another process writes this partition, or its files cannot be opened.
    """

    def __init__(
        self,
        directory: Path | str,
        topic: str,
        partition: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        open_file: Callable[[Path], RawFile] = open_new,
    ) -> None:
        self.directory = Path(directory)
        self.topic = topic
        self.partition = partition
        self.segment_bytes = segment_bytes
        self.records = 0
        """Records that were appended by this writer."""
        self.synced_bytes = 0
        """Size of the current file that is known to survive a power cut."""
        self._open_file = open_file
        self._marker = os.urandom(SYNC_BYTES)
        self._header = codec.container_header(topic, self._marker)
        self._file: RawFile | None = None
        self._path: Path | None = None
        self._size = 0
        self._lock = FileLock(self.directory / topic / f".{partition}.lock")
        if not self._lock.acquire():
            raise LogError(
                f"partition {partition} in {self.directory / topic} is being written by {self._lock.holder()}; "
                "stop that program or use another folder"
            )
        self.torn_bytes = self._mend()
        """Bytes of an unfinished record that were cut off when this writer was made."""

    @property
    def file(self) -> str | None:
        """Name of the file that is being written; None before the first record."""
        return None if self._path is None else self._path.name

    @property
    def size(self) -> int:
        """Bytes in the current file."""
        return self._size

    def append(self, datums: Sequence[bytes]) -> None:
        """Add one record for each of *datums* (plain Avro data of the topic's bundled schema), all or none.

        Raises:
            LogError: They could not be written; `__cause__` is the OSError. The file ends with its last whole record.
        """
        if not datums:
            return
        if self._file is not None and self._size >= self.segment_bytes:
            self.roll()
        blocks = b"".join([codec.container_block(1, datum, self._marker) for datum in datums])
        try:
            self._write(self._current(), blocks)
        except OSError as error:
            self._undo()
            raise LogError(f"{self._where()} cannot be written: {error.strerror}; make room on the disk") from error
        self.records += len(datums)

    def sync(self) -> None:
        """Return when all records survive a power cut.

        Raises:
            LogError: The disk did not confirm: nothing is known about the records since the last `sync`, and a second
                try could falsely succeed (the kernel forgets the failure), so the next record begins another file.
        """
        if self._file is None or self._path is None or self.synced_bytes == self._size:
            return
        try:
            os.fsync(self._file.fileno())
            if self.synced_bytes == 0:
                sync_folder(self._path.parent)
                sync_folder(self.directory)
        except OSError as error:
            where = self._where()
            self._drop()
            raise LogError(f"{where} cannot be synced: {error.strerror}; check the disk") from error
        self.synced_bytes = self._size

    def roll(self) -> None:
        """Finish the current file; the next record begins another."""
        self.sync()
        self._drop()

    def close(self) -> None:
        """Sync, close and let another writer have the partition; a second call does nothing."""
        try:
            self.roll()
        finally:
            self._drop()
            self._lock.release()

    def _current(self) -> RawFile:
        if self._file is not None:
            return self._file
        existing = names.segments(self.directory, self.topic, self.partition)
        path = self.directory / self.topic / names.next_segment(existing, self.partition)
        self._file = self._open_file(path)
        self._path = path
        self._size = self.synced_bytes = 0
        self._write(self._file, self._header)
        return self._file

    def _write(self, file: RawFile, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(bytes(rest) if len(rest) != len(data) else data) or 0 :]
        self._size += len(data)

    def _undo(self) -> None:
        """Take a write back that failed half-way; a file that cannot be cut is left, and the next one is begun."""
        if self._file is None:
            return
        try:
            self._file.truncate(self._size)
            self._file.seek(self._size)
        except OSError:
            self._drop()
            return
        if self._size < len(self._header):
            path = self._path
            self._drop()
            if path is not None:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._path = None, None
        self._size = self.synced_bytes = 0

    def _where(self) -> Path:
        return self._path or self.directory / self.topic

    def _mend(self) -> int:
        """Cut off what the last writer of this partition had not finished; the number of bytes."""
        existing = names.segments(self.directory, self.topic, self.partition)
        if not existing:
            return 0
        path = self.directory / self.topic / existing[-1]
        try:
            with open(path, "r+b") as file:
                size = os.fstat(file.fileno()).st_size
                keep = _whole_bytes(file.fileno(), size)
                if keep < size:
                    file.truncate(keep)
                    os.fsync(file.fileno())
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise LogError(f"log file {path} cannot be opened for writing: {error.strerror}") from error
        return size - keep


def _whole_bytes(fd: int, size: int) -> int:
    """How much of a file to keep: all, unless it ends in a write that was cut short."""
    if size == 0:
        return 0
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as data:
        head = data[: 1024 * 1024]
        try:
            header = codec.read_header(head)
        except WireError:
            return size  # not ours: the reader reports it, we do not touch it
        if header is None:
            return 0 if len(head) == size else size
        last = data.rfind(header.sync)
        whole = max(header.size, last + SYNC_BYTES)
        return whole if whole < size and is_torn(data[whole:], 0) else size

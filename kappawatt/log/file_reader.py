"""Reading a file log in columns: where each datum stands in one buffer, megabytes at a time."""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.errors import WireError
from kappawatt.log.blocks import MAX_BLOCK_BYTES, SYNC_BYTES, scan
from kappawatt.log.datums import datums_of
from kappawatt.log.tail import FileTail, Position, Window
from kappawatt.wire import codec

Ints = NDArray[np.int64]
Bad = tuple[str, int, bytes, str]
"""What cannot be read: file, byte offset in it, the bytes, the reason."""

_NONE: Ints = np.empty(0, np.int64)
_STRETCH_BYTES = 512 * 1024
_EMPTY_WINDOWS = 16
_SIZE_BYTES = 4  # a varint of four bytes says up to 2^27 - 1, more than a block may have


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one file, in order. Datum i is `buffer[start[i]:end[i]]`, in the topic's bundled schema."""

    buffer: bytes
    start: Ints
    end: Ints
    position: Ints
    """Byte offset in `file` of the block that each datum stands in; not falling."""
    file: str
    next: Position | None
    """Where to read on; None while the partition has no file."""
    bad: list[Bad]
    at_end: bool
    """There is nothing after `next` for now; what is torn there is not yet written."""
    mtime_us: int
    """When the file was last written, µs; no record in the chunk was written later. 0: no file."""

    def __len__(self) -> int:
        return len(self.start)


class FilePartition:
    """One source partition of a file log, read from any position on; the reader keeps no place of its own.

    Args:
        directory: The folder of the log.
        topic: Which records.
        name: The partition, one of `names.partitions`.
        known: Writers' schemas to accept beside the bundled one; their records are translated to it.
    """

    def __init__(
        self, directory: Path | str, topic: str, name: str, *, known: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self.topic = topic
        self.name = name
        self._tail = FileTail(directory, topic, name, known=known)

    def read(self, position: Position | None, max_bytes: int = 4 << 20) -> Chunk:
        """The records from *position* (None: the oldest) on, about *max_bytes* of one file.

        Every whole record is given exactly once along the chain of `next`; damaged ones are in `bad` once. A file
        that cannot be read at all is in `bad` as one entry at offset 0 with its first bytes. A chunk may be empty and
        not at the end: hundreds of megabytes of blocks without a record are not read through in one go.

        Raises:
            LogError: The operating system refuses a file.
        """
        chunk = None
        for _ in range(_EMPTY_WINDOWS):
            window = self._tail.window(position, max_bytes)
            if window is None:
                return Chunk(b"", _NONE, _NONE, _NONE, position[0] if position else "", position, [], True, 0)
            chunk = _chunk(self.topic, window)
            if len(chunk) or chunk.bad or chunk.at_end:
                return chunk
            if chunk.next == position:  # a block longer than max_bytes: look further
                max_bytes = min(max_bytes * 4, 2 * MAX_BLOCK_BYTES)
            position = chunk.next
        assert chunk is not None
        return chunk

    def close(self) -> None:
        """Close the file that is kept open between reads."""
        self._tail.close()

    def __repr__(self) -> str:
        return f"<FilePartition {self.topic}/{self.name}>"


def _chunk(topic: str, window: Window) -> Chunk:
    bad: list[Bad] = [(window.file, offset, data, reason) for offset, data, reason in window.bad]
    buffer, start, end, at, used = window.data, _NONE, _NONE, _NONE, 0
    if window.data:
        plain = window.schema is codec.schema(topic)
        columns = split_blocks(window.data, window.sync) if plain else None
        if columns is not None:
            start, end, at, used = columns
        if columns is None or (window.final and used < len(window.data)):
            buffer, start, end, at, used = _carefully(topic, window, bad)
    next_: Position = (window.file, window.start + used)
    done = window.ended and used == len(window.data)
    if done and window.following is not None:
        next_ = (window.following, 0)
    return Chunk(
        buffer=buffer,
        start=start,
        end=end,
        position=at + window.start,
        file=window.file,
        next=next_,
        bad=bad,
        at_end=window.ended and window.following is None,
        mtime_us=window.mtime_us,
    )


def split_blocks(data: bytes, sync: bytes) -> tuple[Ints, Ints, Ints, int] | None:
    """Starts, ends, block starts and bytes used, if all blocks hold one datum and are in order; else None.

    Cuts at the sync markers and then proves by the sizes written in the blocks that these cuts are the blocks.
    """
    length = _lengths(data, sync)
    n = len(length)
    if not n or length.min() < 3:
        return None
    behind = np.cumsum(length + SYNC_BYTES)
    stop = behind - SYNC_BYTES
    at = stop - length
    raw = np.frombuffer(data, np.uint8)
    size = np.zeros(n, np.int64)
    wide = np.zeros(n, np.int64)
    open_ = np.ones(n, bool)
    for i in range(_SIZE_BYTES):
        byte = raw[np.minimum(at + 1 + i, len(raw) - 1)].astype(np.int64)
        size += np.where(open_, (byte & 0x7F) << (7 * i), 0)
        wide += open_
        open_ &= byte > 0x7F
        if not open_.any():
            break
    begin = at + 1 + wide
    if open_.any() or (raw[at] != 2).any() or (begin + (size >> 1) != stop).any() or (size & 1).any():
        return None
    return begin, stop, at, int(behind[-1])


def _lengths(data: bytes, sync: bytes) -> Ints:
    """Bytes between one sync marker and the next, from the start of *data* to the last marker that was found."""
    found = []
    at = 0
    while True:
        pieces = data[at : at + _STRETCH_BYTES].split(sync)  # in stretches, so that the pieces stay in the cache
        pieces.pop()
        if not pieces:
            break
        length = np.fromiter(map(len, pieces), np.int64, len(pieces))
        at += int(length.sum()) + SYNC_BYTES * len(pieces)
        found.append(length)
    return np.concatenate(found) if found else _NONE


def _carefully(topic: str, window: Window, bad: list[Bad]) -> tuple[bytes, Ints, Ints, Ints, int]:
    """The same, block by block, for foreign schemas, blocks of many datums and damage; damage is added to *bad*."""
    assert window.schema is not None
    found = scan(window.data, window.sync, final=window.final)
    bad.extend((window.file, window.start + a, window.data[a:b], reason) for a, b, reason in found.bad)
    start, end, at = array("q"), array("q"), array("q")  # a hostile block says a million datums
    extra: list[bytes] = []
    size = len(window.data)
    for block in found.blocks:
        try:
            datums = datums_of(topic, window.schema, window.data, block)
        except WireError:
            bad.append((window.file, window.start + block.start, window.data[block.begin : block.end], "undecodable"))
            continue
        for datum in datums:
            if isinstance(datum, bytes):
                extra.append(datum)
                datum = (size, size + len(datum))
                size = datum[1]
            start.append(datum[0])
            end.append(datum[1])
            at.append(block.start)
    bad.sort(key=lambda each: each[1])
    buffer = b"".join((window.data, *extra)) if extra else window.data
    columns = [np.array(each, np.int64) for each in (start, end, at)]
    return buffer, columns[0], columns[1], columns[2], found.used

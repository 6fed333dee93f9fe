"""A log of readings: a folder of Avro container files, each a source partition that one writer appends to."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kappawatt.errors import WireError
from kappawatt.log.blocks import MAX_BLOCK_BYTES, scan
from kappawatt.log.file_reader import split_blocks
from kappawatt.wire import codec

from .readings import SCHEMA, encode

Ints = NDArray[np.int64]

_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 1 << 20
_NONE: Ints = np.empty(0, np.int64)


class Writer:
    """Appends readings to a file, one datum a block: the end of each is a place to stop and go on."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        header = codec.read_header(path.read_bytes()[:_HEAD_BYTES], known=[SCHEMA])
        self._sync = os.urandom(codec.SYNC_BYTES) if header is None else header.sync
        if header is None:
            self._file.write(codec.container_head(codec.canonical(SCHEMA), self._sync))

    def append(self, readings: Iterable[tuple[str, int, float]]) -> None:
        """Add (identifier, timestamp in ms, value in W); they survive the death of this process."""
        self.append_datums(encode(*reading) for reading in readings)

    def append_datums(self, datums: Iterable[bytes]) -> None:
        """Add records that are Avro already, or claim to be."""
        self._file.write(b"".join(codec.container_block(1, datum, self._sync) for datum in datums))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Datums of a file in order: `buffer[start[i]:end[i]]`; the buffer begins at byte `base` of the file."""

    buffer: bytes
    base: int
    start: Ints
    end: Ints
    next: int
    """Where to read on."""
    damaged: list[tuple[int, bytes]]
    """Position and bytes of what is no block."""
    mtime_us: int
    """No record here was written later."""


def partitions(folder: Path) -> list[str]:
    """The source partitions of a log: names of its files."""
    return sorted(path.name for path in folder.glob("*.avro"))


def read(path: Path, offset: int, max_bytes: int = _CHUNK_BYTES) -> Chunk:
    """The readings from *offset* on, about *max_bytes*; what a writer has not finished is left for later.

    Of a file that does not hold readings the first bytes are listed as damaged, once.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        try:
            header = codec.read_header(head, known=[SCHEMA])
            foreign = header is not None and codec.canonical(header.schema) != codec.canonical(SCHEMA)
        except WireError:
            header, foreign = None, True
        if foreign:
            return Chunk(b"", 0, _NONE, _NONE, len(head), [(0, head)] if offset == 0 else [], 0)
        if header is None:
            return Chunk(b"", 0, _NONE, _NONE, 0, [], 0)
        begin = max(offset, header.size)
        file.seek(begin)
        data = file.read(max_bytes)
        info = os.fstat(file.fileno())
    at_end, mtime_us = begin + len(data) >= info.st_size, info.st_mtime_ns // 1_000
    columns = split_blocks(data, header.sync) if data else (_NONE, _NONE, _NONE, 0)
    if columns is not None:
        start, end, _, used = columns
        damaged: list[tuple[int, bytes]] = []
    else:
        start, end, used, damaged = _carefully(data, header.sync)
    if used == 0 and not at_end and max_bytes < MAX_BLOCK_BYTES:
        return read(path, offset, 2 * MAX_BLOCK_BYTES)
    damaged = [(begin + place, piece) for place, piece in damaged]
    return Chunk(data, begin, start, end, begin + used, damaged, mtime_us)


def _carefully(data: bytes, sync: bytes) -> tuple[Ints, Ints, int, list[tuple[int, bytes]]]:
    """Block by block, for blocks of several datums and for damage."""
    found = scan(data, sync, final=False)
    damaged = [(low, data[low:high]) for low, high, _ in found.bad]
    spans = []
    for block in found.blocks:
        try:
            datums = list(codec.decode_many(SCHEMA, data[block.begin : block.end], block.count))
        except WireError:
            if block.count == 1:  # its bounds are known: the decoder lists it
                spans.append((block.begin, block.end))
            else:
                damaged.append((block.start, data[block.begin : block.end]))
            continue
        spans += [(block.begin + low, block.begin + high) for _, low, high in datums]
    start, end = np.array(spans, np.int64).reshape(-1, 2).T
    return start, end, found.used, damaged

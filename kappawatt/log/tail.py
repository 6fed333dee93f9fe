"""Following one partition of a file log: which bytes of which file come next. Without NumPy, so that collectors can."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappawatt.errors import LogError, WireError
from kappawatt.log import names
from kappawatt.log.blocks import MAX_BLOCK_BYTES
from kappawatt.wire import codec

Position = tuple[str, int]
"""A file's name and a byte offset in it: where a block starts, or 0 for the start of the file."""

_HEADER_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 1024 * 1024
_MOST_BYTES = 2 * MAX_BLOCK_BYTES
_BAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Window:
    """The bytes of one file from a block's start on; they may end within a block."""

    file: str
    start: int
    """Offset of `data` in the file."""
    data: bytes
    sync: bytes
    schema: Mapping[str, Any] | None
    """The file's schema, the very object of `codec.schema` if it is the bundled one; None: nothing to read."""
    ended: bool
    """`data` reaches to the present end of the file."""
    following: str | None
    """The file that follows, if it was there before `data` was read: then this file grows no more."""
    mtime_us: int
    bad: tuple[tuple[int, bytes, str], ...] = ()
    """Of a file that cannot be read at all: offset, first bytes, reason; once, when it is opened at 0."""

    @property
    def final(self) -> bool:
        """Nothing will ever follow `data` in this file."""
        return self.ended and self.following is not None


@dataclass(slots=True)
class _File:
    name: str
    fd: int
    schema: Mapping[str, Any] | None = None
    sync: bytes = b""
    body: int = 0
    """Offset of the first block; 0 while the header is incomplete."""
    refused: str | None = None
    regular: bool = True


class FileTail:
    """The files of partition *name* of *topic* below *directory*, as one sequence of bytes that still grows.

    Files whose schema is neither the topic's bundled one nor among *known* are refused.
    """

    def __init__(
        self, directory: Path | str, topic: str, name: str, *, known: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self.directory = Path(directory)
        self.topic = topic
        self.name = name
        self._file: _File | None = None
        self._schema = codec.schema(topic)
        self._known = tuple(known)

    def window(self, position: Position | None, max_bytes: int) -> Window | None:
        """What stands at *position* (None: at the beginning), at most *max_bytes*; None if there is no file yet.

        A file that is gone gives way to the one that follows it, if there is one.
        """
        position = position or self._first()
        if position is None:
            return None
        file = self._open(position[0])
        if file is None:
            later = self._following(position[0])
            return None if later is None else self.window((later, 0), max_bytes)
        return self._read(file, position[1], min(max_bytes, _MOST_BYTES))

    def close(self) -> None:
        """Close the file that is kept open between reads."""
        if self._file is not None:
            os.close(self._file.fd)
            self._file = None

    def _read(self, file: _File, offset: int, max_bytes: int) -> Window:
        following = None
        window = self._piece(file, offset, max_bytes, following)
        if not window.ended:
            return window
        following = self._following(file.name)
        if following is None:
            return window
        # The writer may have added its last blocks between the read and the look: what is read now is all there is.
        return self._piece(file, offset, max_bytes, following)

    def _piece(self, file: _File, offset: int, max_bytes: int, following: str | None) -> Window:
        size = os.fstat(file.fd).st_size
        self._read_header(file, size, final=following is not None)
        start = max(offset, file.body)
        readable = file.schema is not None
        data = _guard(self._path(file), lambda: os.pread(file.fd, max_bytes, start)) if readable else b""
        info = os.fstat(file.fd)  # after the bytes: they were written no later than this
        bad: tuple[tuple[int, bytes, str], ...] = ()
        if file.refused is not None:
            start = max(offset, size)
            begin = os.pread(file.fd, _BAD_BYTES, 0) if file.regular else b""
            bad = ((0, begin, file.refused),) if offset == 0 else ()
        return Window(
            file=file.name,
            start=start,
            data=data,
            sync=file.sync,
            schema=file.schema,
            ended=not readable or start + len(data) >= info.st_size,
            following=following,
            mtime_us=info.st_mtime_ns // 1000,
            bad=bad,
        )

    def _read_header(self, file: _File, size: int, *, final: bool) -> None:
        if file.body or file.refused is not None or size == 0:
            return
        length = _HEADER_BYTES
        try:
            header = codec.read_header(os.pread(file.fd, length, 0), known=self._known)
            while header is None and length < min(size, _MAX_HEADER_BYTES):
                length *= 4
                header = codec.read_header(os.pread(file.fd, length, 0), known=self._known)
        except WireError as error:
            file.refused = _refusal(error)
            return
        if header is None:
            file.refused = "undecodable" if final or size >= _MAX_HEADER_BYTES else None
        elif header.schema.get("name") != self._schema.get("name"):
            file.refused = "unknown_schema"
        else:
            file.schema = self._schema if header.schema == self._schema else header.schema
            file.sync, file.body = header.sync, header.size

    def _open(self, name: str) -> _File | None:
        if self._file is not None and self._file.name == name:
            return self._file
        self.close()
        path = self.directory / self.topic / name
        try:
            # a named pipe must not be waited for
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LogError(f"log file {path} cannot be opened: {error.strerror}; check its permissions") from error
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self._file = _File(name, fd, regular=regular, refused=None if regular else "undecodable")
        return self._file

    def _path(self, file: _File) -> Path:
        return self.directory / self.topic / file.name

    def _first(self) -> Position | None:
        found = names.segments(self.directory, self.topic, self.name)
        return (found[0], 0) if found else None

    def _following(self, name: str) -> str | None:
        later = (found for found in names.segments(self.directory, self.topic, self.name) if found > name)
        return next(later, None)


def _refusal(error: WireError) -> str:
    return "unknown_schema" if "schema" in str(error) else "undecodable"


def _guard(path: Path, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError as error:
        raise LogError(f"log file {path} cannot be read: {error.strerror}; check the disk") from error

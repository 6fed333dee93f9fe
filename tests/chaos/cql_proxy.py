"""A door to Cassandra that understands the frames going through it: it holds back answers, breaks writes, counts both.

Native protocol v4: a header of 9 bytes (version, flags, stream, opcode, length), then the body. A *write* is a batch or
the execution of a prepared INSERT or DELETE; it is in flight from when the door has it until its answer is on the way
back to the client.
"""

import asyncio
import contextlib
import random
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.stack.proxy import dead_port

ERROR, RESULT, PREPARE, EXECUTE, BATCH = 0x00, 0x08, 0x09, 0x0A, 0x0D
OVERLOADED, WRITE_TIMEOUT = 0x1001, 0x1100
_PREPARED = 4
_HEAD = struct.Struct(">BBhBI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the door does to writes; shares are of writes, from 0 to 1."""

    hold_s: tuple[float, float] = (0.0, 0.0)
    """Each answer to a write is held back for a time between these."""
    refused: float = 0.0
    """Not passed on, and answered by Overloaded."""
    denied: float = 0.0
    """Passed on and applied, but answered by WriteTimeout."""
    cut: float = 0.0
    """The connection ends instead."""


@dataclass(slots=True)
class Seen:
    """What became of the writes so far."""

    writes: int = 0
    refused: int = 0
    denied: int = 0
    cuts: int = 0


@dataclass(slots=True, eq=False)
class _Link:
    """One client's connection: its writes without an answer, and which of them are to be denied."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    flying: set[int] = field(default_factory=set)
    denied: set[int] = field(default_factory=set)
    asked: dict[int, bytes] = field(default_factory=dict)


class CqlProxy:
    """Forwards 127.0.0.1:*port* to *target* (`host:port`) while it is open; may be used from any thread."""

    def __init__(self, target: str, *, seed: str, trouble: Trouble | None = None) -> None:
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.port = dead_port()
        self.trouble = trouble or Trouble()
        self.seen = Seen()
        self._rng = random.Random(seed)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._statements: dict[bytes, bytes] = {}
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cql proxy", daemon=True)
        self._flows: asyncio.Event = self._run(self._make_event(), start=True)

    def __enter__(self) -> "CqlProxy":
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def __repr__(self) -> str:
        return f"<CqlProxy {self.address}, {self.in_flight} writes in flight>"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def in_flight(self) -> int:
        """Writes that a client sent and has no answer to."""
        return sum(len(link.flying) for link in list(self._links))

    def open(self) -> "CqlProxy":
        """Listen; nothing happens if it does."""
        self._run(self._open())
        return self

    def shut(self) -> None:
        """Stop listening and cut every connection, as a dead server does."""
        self._run(self._shut())

    def freeze(self) -> None:
        """Let nothing through in either direction from now on; connections stay."""
        self._run(self._set_flow(False))

    def thaw(self) -> None:
        """Let everything through again, first what was held."""
        self._run(self._set_flow(True))

    def _run(self, work: Coroutine[Any, Any, Any], *, start: bool = False) -> Any:
        if start:
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _make_event(self) -> asyncio.Event:
        event = asyncio.Event()
        event.set()
        return event

    async def _set_flow(self, flows: bool) -> None:
        (self._flows.set if flows else self._flows.clear)()

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for link in list(self._links):
            self._cut(link)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self, link: _Link) -> None:
        self._links.discard(link)
        link.flying.clear()
        for writer in (link.client, link.server):
            writer.transport.abort()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, forward = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, forward)
        self._links.add(link)
        self._spawn(self._pump(link, reader, self._take_request))
        self._spawn(self._pump(link, behind, self._take_answer))

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, take: Any) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(_HEAD.size)
                *_, stream, opcode, length = _HEAD.unpack(head)
                body = await reader.readexactly(length)
                await self._flows.wait()
                take(link, stream, opcode, head + body)
                await (link.server if take == self._take_request else link.client).drain()
        self._cut(link)

    def _take_request(self, link: _Link, stream: int, opcode: int, frame: bytes) -> None:
        if opcode == PREPARE:
            link.asked[stream] = frame[13:]
        if not self._is_write(opcode, frame):
            link.server.write(frame)
            return
        self.seen.writes += 1
        link.flying.add(stream)
        fate, trouble = self._rng.random(), self.trouble
        if fate < trouble.cut:
            self.seen.cuts += 1
            self._cut(link)
        elif fate < trouble.cut + trouble.refused:
            self.seen.refused += 1
            self._answer(link, stream, _error(stream, OVERLOADED))
        else:
            if fate < trouble.cut + trouble.refused + trouble.denied:
                self.seen.denied += 1
                link.denied.add(stream)
            link.server.write(frame)

    def _is_write(self, opcode: int, frame: bytes) -> bool:
        if opcode == EXECUTE:
            (size,) = struct.unpack_from(">H", frame, 9)
            return self._statements.get(frame[11 : 11 + size], b"").startswith((b"INSERT", b"DELETE"))
        return opcode == BATCH

    def _take_answer(self, link: _Link, stream: int, opcode: int, frame: bytes) -> None:
        statement = link.asked.pop(stream, None)
        if statement is not None and opcode == RESULT and struct.unpack_from(">i", frame, 9)[0] == _PREPARED:
            (size,) = struct.unpack_from(">H", frame, 13)
            self._statements[frame[15 : 15 + size]] = statement
        if stream not in link.flying:
            link.client.write(frame)
            return
        if stream in link.denied:
            link.denied.discard(stream)
            frame = _error(stream, WRITE_TIMEOUT)
        least, most = self.trouble.hold_s
        if most:
            self._spawn(self._later(link, stream, frame, self._rng.uniform(least, most)))
        else:
            self._answer(link, stream, frame)

    async def _later(self, link: _Link, stream: int, frame: bytes, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await self._flows.wait()
        self._answer(link, stream, frame)

    def _answer(self, link: _Link, stream: int, frame: bytes) -> None:
        if link in self._links:
            link.flying.discard(stream)
            link.client.write(frame)


def _error(stream: int, code: int) -> bytes:
    message = b"made by the test"
    body = struct.pack(">iH", code, len(message)) + message
    if code == WRITE_TIMEOUT:  # consistency LOCAL_QUORUM, 0 of 1 answered, kind of write
        body += struct.pack(">HiiH", 6, 0, 1, 6) + b"SIMPLE"
    return _HEAD.pack(0x84, 0, stream, ERROR, len(body)) + body

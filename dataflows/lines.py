"""What members of one flow say to each other, JSON objects, a line each, on a TCP connection; the marks they share."""

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

LOG = logging.getLogger("kappawatt.flow")

Message = Mapping[str, Any]

_MOST_BYTES = 64 << 10
# The kernel finds out that a machine vanished, whatever the interpreter is busy with: after 25 s in all.
_IDLE_S, _EVERY_S, _TIMES = 10, 5, 3


class Line:
    """One connection between two members."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPINTVL", _EVERY_S), ("TCP_KEEPCNT", _TIMES)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (_IDLE_S + _EVERY_S * _TIMES) * 1_000)
        self._connection, self._reader = connection, connection.makefile("rb")
        self._sending = threading.Lock()
        self.here: str = connection.getsockname()[0]
        """Our address as the other one reaches it."""
        self.there: str = connection.getpeername()[0]

    def __repr__(self) -> str:
        return f"<Line {self.here} to {self.there}>"

    def send(self, message: Message) -> None:
        """Say it; a connection that is gone is noticed by who reads from it."""
        try:
            with self._sending:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            LOG.debug("could not tell %s: %s", self.there, error)

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when there will be no more."""
        try:
            text = self._reader.readline(_MOST_BYTES)
            message = json.loads(text) if text.endswith(b"\n") else None
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """End it for both."""
        with contextlib.suppress(OSError):  # the other one was faster
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._reader.close()


class SharedMarks:
    """Marks of one start in memory; *tell* passes on what this process changes."""

    def __init__(self, tell: Callable[[Message], None] | None = None) -> None:
        self._tell = tell or _nobody
        self._open: set[str] = set()

    def __repr__(self) -> str:
        return f"<SharedMarks {sorted(self._open)}>"

    def open(self, name: str) -> None:
        """Set a mark."""
        if name not in self._open:
            self._open.add(name)
            self._tell({"open": name})

    def shut(self, name: str) -> None:
        """Take a mark away, if it is there."""
        if name in self._open:
            self._open.discard(name)
            self._tell({"shut": name})

    def is_open(self, name: str) -> bool:
        """Whether a mark is set."""
        return name in self._open

    def any_open(self, prefix: str) -> bool:
        """Whether a mark is set whose name begins so."""
        return any(name.startswith(prefix) for name in tuple(self._open))

    def retire(self) -> None:
        """The start is over: nobody hears of changes any more."""
        self._tell = _nobody

    def hear(self, message: Message) -> bool:
        """Take over what another process changed; whether the message was about marks."""
        if "open" in message:
            self._open.add(str(message["open"]))
        elif "shut" in message:
            self._open.discard(str(message["shut"]))
        else:
            return False
        return True


def _nobody(message: Message) -> None:
    """Marks of a start that is over, or never was."""


def free_port(address: str) -> int:
    """A port of *address* that nobody has."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def joined(address: str, port: int) -> str:
    """An address and a port as one text."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

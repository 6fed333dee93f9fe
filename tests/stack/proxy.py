"""A TCP door that tests open and shut: behind it a real server, in front of it an address that can be dead."""

import contextlib
import socket
import threading
from types import TracebackType


def dead_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Proxy:
    """Forwards connections from *here*:*port* to *target* (`host:port`) from `open` to `shut`."""

    def __init__(self, target: str, port: int | None = None, *, here: str = "127.0.0.1") -> None:
        host, _, target_port = target.rpartition(":")
        self.target, self.here = (host, int(target_port)), here
        self.port = dead_port() if port is None else port
        self._server: socket.socket | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        return f"{self.here}:{self.port}"

    def open(self) -> "Proxy":
        self._server = socket.create_server((self.here, self.port))
        self._spawn(self._accept, self._server)
        return self

    def shut(self) -> None:
        """Stop listening and cut every connection."""
        server, self._server = self._server, None
        for each in [server, *self._sockets] if server else self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)
        self._sockets, self._threads = [], []

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
                behind = socket.create_connection(self.target, timeout=10)
            except OSError:
                return
            behind.settimeout(None)
            self._sockets += [client, behind]
            self._spawn(self._pump, client, behind)
            self._spawn(self._pump, behind, client)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Proxy":
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.shut()

"""The registry as one should run it: HTTPS, a log-in for everybody, and changes by who may write only."""

import base64
import http.client
import http.server
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.stack.secured import Papers


class Gate(http.server.ThreadingHTTPServer):
    """HTTPS with basic authentication before the real registry: `writers` may do all, `readers` only ask."""

    daemon_threads = True

    def __init__(
        self, registry: str, papers: Papers, *, writers: Mapping[str, str], readers: Mapping[str, str]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Keeper)
        place = urlsplit(registry)
        self.behind, self.path = place.netloc, place.path
        self.writers, self.readers = writers, readers
        self.refused: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(papers.pem)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self._papers = papers

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}{self.path}"

    def login(self, user: str, password: str, *, ca: Path | None = None) -> dict[str, str]:
        """The environment of a program that comes as *user*."""
        return {
            "KAPPAWATT_REGISTRY_USERNAME": user,
            "KAPPAWATT_REGISTRY_PASSWORD": password,
            "KAPPAWATT_REGISTRY_CA_FILE": str(ca or self._papers.ca),
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who does not trust the certificate ends the connection; it says so itself."""

    @contextmanager
    def running(self) -> Iterator["Gate"]:
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class _Keeper(http.server.BaseHTTPRequestHandler):
    server: Gate

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind, _, packed = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(packed).decode().partition(":") if kind == "Basic" else ("", "", "")
        known = {**self.server.writers, **self.server.readers}
        if not user or known.get(user) != password:
            self._answer(401, b'{"error_code": 401, "message": "Unauthorized"}')
        elif user not in self.server.writers and not self._asks():
            self.server.refused.append(f"{user} {self.command} {self.path}")
            self._answer(403, b'{"error_code": 403, "message": "Forbidden"}')
        else:
            behind = http.client.HTTPConnection(self.server.behind, timeout=30)
            kept = {name: self.headers[name] for name in ("Content-Type", "Accept") if name in self.headers}
            behind.request(self.command, self.path, body, kept)
            answer = behind.getresponse()
            self._answer(answer.status, answer.read(), answer.headers.get("Content-Type", "application/json"))
            behind.close()

    def _asks(self) -> bool:
        """Reading; looking a schema up and testing one are POSTs that change nothing."""
        place = urlsplit(self.path).path.removeprefix(self.server.path)
        looks_up = place.startswith("/subjects/") and place.count("/") == 2
        return self.command == "GET" or (self.command == "POST" and (looks_up or place.startswith("/compatibility/")))

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 - names of the standard library

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests say what went wrong."""

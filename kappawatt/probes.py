"""Answers to probes: whether a program lives, and whether it does its work. Standard library only."""

import logging
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kappawatt.errors import SettingsError

Question = Callable[[], str | None]
"""What is wrong, in words; None if nothing is."""

_log = logging.getLogger("kappawatt.probes")


def serve(address: str, questions: Mapping[str, Question]) -> ThreadingHTTPServer:
    """Answer `GET` of each path from a daemon thread: 200 if nothing is wrong, else 503 and what.

    Args:
        address: HOST:PORT; port 0 is any free one.
        questions: By path.

    Raises:
        SettingsError: The address cannot be used.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"probes={address!r} is not HOST:PORT, for example 127.0.0.1:8081")
    try:
        server = _Server((host.removeprefix("[").removesuffix("]"), int(port)), _handler(questions))
    except OSError as error:
        raise SettingsError(f"probes={address!r}: cannot listen there: {error.strerror or error}") from error
    threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _handler(questions: Mapping[str, Question]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            question = questions.get(self.path)
            if question is None:
                self._answer(404, f"there is only {', '.join(questions)}")
                return
            wrong = question()
            self._answer(200 if wrong is None else 503, wrong or "ok")

        def log_message(self, format: str, *args: object) -> None:
            _log.debug(format, *args)

        def _answer(self, status: int, text: str) -> None:
            body = f"{text}\n".encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler

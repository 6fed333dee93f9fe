"""A member of a flow on several machines other than member 0: it goes there, and works as it is told."""

import logging
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytewax.recovery import RecoveryConfig

from kappawatt.retry import Outage
from kappawatt.settings import FlowSettings

from .lines import Line, Message, SharedMarks, free_port
from .meeting import fingerprint, place_of
from .process import STOP, WATCHDOG
from .signals import begin_anew

LOG = logging.getLogger("kappawatt.flow")

_TRY_S = 1.0
_LOOK_S = 0.2
_CONNECT_S = 10.0


class NoState:
    """Member 0 keeps all state; what the others have of it is an empty folder."""

    def __init__(self, folder: Path, tell: Callable[[Message], None]) -> None:
        self._folder, self._tell = folder, tell

    def __repr__(self) -> str:
        return f"<NoState {self._folder}>"

    def recovery(self) -> RecoveryConfig:
        """For Bytewax, which finds no file there."""
        return RecoveryConfig(self._folder)

    def give_up(self, why: str) -> None:
        """Member 0 is told: the next start reads the log again."""
        self._tell({"unfit": why})


Work = Callable[[dict[str, Any], SharedMarks, NoState], None]
"""Takes part in one start, given its plan."""


def join(settings: FlowSettings, work: Work) -> int:
    """Take part in every start of member 0 until it says that there are no more, or a signal comes; the exit code."""
    away = Outage(LOG, f"member {settings.member}", now=time.monotonic, first_s=_TRY_S, most_s=_TRY_S)
    while not STOP.is_set():
        try:
            line = Line(socket.create_connection(place_of(settings.meeting), _CONNECT_S))
        except OSError as error:
            away.failed(f"member 0 is not at {settings.meeting}: {error.strerror or error}; trying until it is")
            STOP.wait(_TRY_S)
            continue
        visit = Visit(settings, line)
        code = visit.take_part(work)
        line.close()
        if code is not None:
            return code
        if visit.refused is None:
            away.worked()
        else:
            away.failed(f"member 0 at {settings.meeting} refused: {visit.refused}; trying again")
        STOP.wait(_TRY_S)
    return 0


class Visit:
    """One connection to member 0."""

    def __init__(self, settings: FlowSettings, line: Line) -> None:
        self._settings, self._line = settings, line
        self._heard: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._marks = SharedMarks(line.send)
        self._working = False
        self.refused: str | None = None
        """Why member 0 does not want us, if it said so."""

    def __repr__(self) -> str:
        return f"<Visit {self._line!r} {'working' if self._working else 'waiting'}>"

    def take_part(self, work: Work) -> int | None:
        """In one start after the other; the exit code, or None if member 0 went without a word."""
        threading.Thread(target=self._listen, name="member", daemon=True).start()
        while True:
            self._say_hello()
            with WATCHDOG.waiting():
                told = self._wait()
            if told is None or "refused" in told:
                self.refused = None if told is None else str(told["refused"])
                return 0 if STOP.is_set() else None
            if "end" in told:
                return int(told["end"])
            threading.Thread(target=self._drain_all, name="drain", daemon=True).start()
            with tempfile.TemporaryDirectory(prefix="kappawatt-") as empty:
                work(told["start"], self._marks, NoState(Path(empty), self._line.send))
            self._working = False
            self._line.send({"done": True})

    def _say_hello(self) -> None:
        settings = self._settings
        self._line.send(
            {
                "hello": 1,
                "member": settings.member,
                "members": settings.members,
                "port": free_port(self._line.here),
                "settings": fingerprint(settings),
            }
        )

    def _wait(self) -> dict[str, Any] | None:
        """The next word that is no mark; None when there will be none, or a signal ends the waiting."""
        while True:
            try:
                return self._heard.get(timeout=_LOOK_S)
            except queue.Empty:
                if STOP.is_set():
                    return None

    def _listen(self) -> None:
        while (message := self._line.receive()) is not None:
            if self._marks.hear(message):
                continue
            if "drain" in message:
                STOP.set()
            elif "start" in message:
                self._marks.retire()
                self._marks = SharedMarks(self._line.send)
                self._working = True
                self._heard.put(message)
            else:
                self._heard.put(message)
        if self._working:
            LOG.error("member 0 at %s is gone: beginning anew when it is back", self._line.there)
            begin_anew()
        self._heard.put(None)

    def _drain_all(self) -> None:
        STOP.wait()
        self._line.send({"drain": True})

"""Member 0 of a flow on several machines: the others come here, are told of each start, and end with it.

Every start has ports of its own, so that a process that was left over from an earlier one can never join it. A member
that is lost ends the start for all: an epoch ends for all or for none. The others begin anew, from the last commit.
"""

import hashlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import kappawatt
from kappawatt.emissions.names import STATE_VERSION
from kappawatt.errors import SettingsError
from kappawatt.settings import FlowSettings, masked

from .lines import Line, Message, SharedMarks, free_port, joined
from .process import STOP, WATCHDOG
from .signals import begin_anew

LOG = logging.getLogger("kappawatt.flow")

_OWN = ("state", "processes", "member", "meeting", "probes", "until_end", "rebuild", "metrics")
"""Settings that members need not have in common."""

_REMIND_S = 15.0
_END_S = 30.0


class Meeting:
    """The door of member 0."""

    give_up: Callable[[str], None]
    """Is told when another member finds that the kept state cannot be used; set before the first start."""

    def __init__(self, settings: FlowSettings) -> None:
        self._members, self._known = settings.members, fingerprint(settings)
        self._changed = threading.Condition()
        self._lines: dict[int, Line] = {}
        self._ready: dict[int, str] = {}
        self._working: set[int] = set()
        self._marks = SharedMarks()
        self._door = _listen(settings)
        threading.Thread(target=self._welcome, name="meeting", daemon=True).start()
        threading.Thread(target=self._drain_all, name="drain", daemon=True).start()

    def __repr__(self) -> str:
        return f"<Meeting of {self._members}, {len(self._ready)} ready, {len(self._working)} working>"

    def start(self, plan: Message) -> tuple[list[str], SharedMarks] | None:
        """Wait until all are here, and let them begin: addresses by member, and new marks; None if a signal came first.

        Args:
            plan: What all of this start share.
        """
        with WATCHDOG.waiting(), self._changed:
            if not self._wait_for_all():
                return None
            here = next(iter(self._lines.values())).here
            addresses = [joined(here, free_port(here)), *(self._ready[each] for each in range(1, self._members))]
            self._ready.clear()
            self._working = set(self._lines)
            self._marks.retire()
            marks = self._marks = SharedMarks(self._tell)
            for line in self._lines.values():
                line.send({"start": {**plan, "addresses": addresses}})
        return addresses, marks

    def finish(self) -> None:
        """Wait until the others have ended their part too."""
        with WATCHDOG.waiting(), self._changed:
            self._changed.wait_for(lambda: not self._working, _END_S)

    def end(self, code: int) -> None:
        """There will be no further start; the others end with *code*. After a drain they know by themselves."""
        if not STOP.is_set():
            self._tell({"end": code})
        self._door.close()

    def _wait_for_all(self) -> bool:
        others = range(1, self._members)
        said_s = 0.0
        while missing := [each for each in others if each not in self._ready]:
            if STOP.is_set():
                return False
            if time.monotonic() - said_s > _REMIND_S:
                said_s = time.monotonic()
                LOG.info("waiting for member %s of %d", ", ".join(map(str, missing)), self._members)
            self._changed.wait(0.5)
        return True

    def _tell(self, message: Message, *, but: int = 0) -> None:
        for member, line in tuple(self._lines.items()):
            if member != but:
                line.send(message)

    def _drain_all(self) -> None:
        STOP.wait()
        self._tell({"drain": True})

    def _welcome(self) -> None:
        while True:
            try:
                connection, _ = self._door.accept()
            except OSError:
                return  # the door is closed
            threading.Thread(target=self._serve, args=(Line(connection),), daemon=True).start()

    def _serve(self, line: Line) -> None:
        member, why = self._seat(line, line.receive())
        if why is not None:
            LOG.warning("%s may not join: %s", line.there, why)
            line.send({"refused": why})
            line.close()
            return
        while (message := line.receive()) is not None:
            self._hear(member, line, message)
        self._part(member, line)

    def _seat(self, line: Line, hello: dict[str, Any] | None) -> tuple[int, str | None]:
        """The member that said *hello*, or why it gets no place."""
        if hello is None or "hello" not in hello:
            return 0, "it does not speak as a member does"
        member = hello.get("member")
        if hello.get("members") != self._members:
            return 0, f"it is one of {hello.get('members')} members, this flow has {self._members}"
        if hello.get("settings") != self._known:
            return 0, "its version or settings are not those of member 0; start all members alike"
        if not isinstance(member, int) or not 1 <= member < self._members:
            return 0, f"its number is {member!r}, members here are 1 to {self._members - 1}"
        with self._changed:
            if member in self._lines:
                return 0, f"member {member} is here already, from {self._lines[member].there}"
            self._lines[member] = line
        self._hear(member, line, hello)
        return member, None

    def _hear(self, member: int, line: Line, message: dict[str, Any]) -> None:
        with self._changed:  # so that a mark of this start never overtakes the word that it began
            if self._marks.hear(message):
                self._tell(message, but=member)
            elif "hello" in message:
                self._ready[member] = joined(line.there, int(message["port"]))
            elif "done" in message:
                self._working.discard(member)
            elif "unfit" in message:
                self.give_up(str(message["unfit"]))
            self._changed.notify_all()
        if "drain" in message:
            STOP.set()

    def _part(self, member: int, line: Line) -> None:
        with self._changed:
            self._lines.pop(member, None)
            self._ready.pop(member, None)
            lost = member in self._working
        line.close()
        if lost:
            LOG.error("member %d at %s is gone: beginning anew from the last commit", member, line.there)
            begin_anew()


def fingerprint(settings: FlowSettings) -> str:
    """What members must have in common, as one number."""
    shared = {name: masked(value) for name, value in asdict(settings).items() if name not in _OWN}
    text = json.dumps([kappawatt.__version__, STATE_VERSION, shared], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def place_of(meeting: str | None) -> tuple[str, int]:
    """Host and port of a meeting.

    >>> place_of("flow-0.flow:7077"), place_of("[::1]:7077")
    (('flow-0.flow', 7077), ('::1', 7077))

    Raises:
        SettingsError: It is not HOST:PORT.
    """
    host, _, port = (meeting or "").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise SettingsError(f"meeting={meeting!r} is not HOST:PORT of member 0; with members above 1 all need it")
    return host, int(port)


def _listen(settings: FlowSettings) -> socket.socket:
    """On all addresses, since the name that others know member 0 by may lead nowhere yet; a loopback one on it only."""
    host, port = place_of(settings.meeting)
    own = host if host in ("127.0.0.1", "::1") else "127.0.0.1" if host == "localhost" else ""
    try:
        return socket.create_server((own, port), family=socket.AF_INET6 if ":" in own else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"meeting={settings.meeting}: cannot listen on port {port}: {error.strerror or error}; another flow may be "
            "meeting there"
        ) from error

"""Child programs that end when we end: each in a process group of its own, its messages in a file."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from kappawatt.errors import KappawattError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Child:
    """One child program."""

    name: str
    process: "subprocess.Popen[str]"
    messages: Path
    """What it writes to stderr."""

    def check(self) -> None:
        """Raise KappawattError if it has ended, with its last words."""
        code = self.process.poll()
        if code is not None:
            raise KappawattError(f"{self.name} ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The last lines that it wrote to stderr."""
        lines = self.messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " / ".join(lines[-5:]) or f"it said nothing; see {self.messages}"


class Children:
    """A set of child programs, ended together: SIGTERM, and SIGKILL for what lives on after *grace_s*."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, grace_s: float = 10.0) -> None:
        self._folder, self._environ, self._grace_s = folder, dict(environ), grace_s
        self._children: list[Child] = []

    def __repr__(self) -> str:
        alive = [child.name for child in self._children if child.process.poll() is None]
        return f"<Children {', '.join(alive) or 'none'}>"

    def start(self, name: str, arguments: Sequence[str], *, stdout: IO[str] | int = subprocess.DEVNULL) -> Child:
        """Start this very Python with *arguments*."""
        messages = self._folder / f"{name}.log"
        # An exception out of a signal, once the process is there and before it is in the list, would leave it behind.
        with open(messages, "w", encoding="utf-8") as file, _signals_later():
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=file,
                text=True,
                process_group=0,
            )
            child = Child(name, process, messages)
            self._children.append(child)
        return child

    def end(self) -> None:
        """End them all, the last started first, with everything that they have started; signals wait until then."""
        with _signals_later():
            self._end()

    def _end(self) -> None:
        for child in reversed(self._children):
            _signal(child, signal.SIGTERM)
        until = time.monotonic() + self._grace_s
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):  # then it is killed, with its whole group
                child.process.wait(max(0.1, until - time.monotonic()))
            _signal(child, signal.SIGKILL)
            child.process.wait()
        self._children.clear()


def _signal(child: Child, number: int) -> None:
    # The group outlives its leader while one of its processes does, and its id is not given again as long.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


@contextmanager
def _signals_later() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP that come inside act at its end, the first of them."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


class Ended(BaseException):
    """SIGTERM or SIGHUP came; like KeyboardInterrupt no `except Exception` stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Ended`, so that every `finally` runs."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

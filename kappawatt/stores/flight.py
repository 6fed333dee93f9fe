"""Requests on their way to a server: bounded in number, and repeated until they are through. Knows no driver."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from kappawatt.errors import StoreError

_log = logging.getLogger(__name__)

Request = TypeVar("Request")
Done = Callable[[Exception | None], None]

_START = 128
_MOST = 512
_PAUSE_S = (0.05, 5.0)


class Flight(Generic[Request]):
    """Sends requests, at most so many at once; what fails in passing is sent again.

    The bound starts at 128, grows by one for each bound's worth of answers, and halves, once a second at most, when
    the server is too busy to answer. `send` and `drain` are for one thread; answers may come on any other.

    Args:
        name: Address of the server, for messages.
        start: Sends a request and sees to it that the function it is given is called once, with the error or None.
        passes: Whether an error may pass, so that the request is worth repeating.
        retry_s: How long without one answer before it gives up; None goes on for ever.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[Request, Done], None],
        passes: Callable[[Exception], bool],
        *,
        retry_s: float | None = None,
    ) -> None:
        self._name = name
        self._start = start
        self._passes = passes
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._limit = float(_START)
        self._flying = 0
        self._failed: deque[Request] = deque()
        self._fatal: Exception | None = None
        self._error: Exception | None = None
        self._down_since = 0.0
        self._shrunk_at = 0.0
        self._pause_s = _PAUSE_S[0]
        self._resume_at = 0.0
        self._warned = False

    def __repr__(self) -> str:
        flying = f"{self._flying} of {int(self._limit)} on their way"
        return f"<Flight to {self._name}: {flying}, {len(self._failed)} to repeat>"

    def send(self, request: Request) -> None:
        """Send *request* as soon as there is room.

        Raises:
            StoreError: An earlier one failed for good.
        """
        self._settle(lambda: self._flying < int(self._limit))
        self._launch(request)

    def drain(self) -> None:
        """Return when every request was answered.

        Raises:
            StoreError: One failed for good, now or earlier.
        """
        self._settle(lambda: self._flying == 0)

    def warn(self, error: Exception) -> None:
        """Say that the server does not answer, once until it does again."""
        if not self._warned:
            self._warned = True
            _log.warning("store %s does not take writes (%s); trying until it does", self._name, error)

    def _settle(self, enough: Callable[[], bool]) -> None:
        """Wait until nothing is left to repeat and *enough* says so."""
        while True:
            with self._changed:
                self._raise_if_over()
                self._say()
                if not self._failed and enough():
                    return
                wait_s = self._resume_at - time.monotonic() if self._failed else 1.0
                if wait_s > 0 or self._flying >= int(self._limit):
                    self._changed.wait(max(wait_s, 0.01))
                    continue
                request = self._failed.popleft()
            self._launch(request)

    def _launch(self, request: Request) -> None:
        with self._changed:
            self._flying += 1
        try:
            self._start(request, lambda error: self._landed(request, error))
        except Exception as error:  # what it cannot even send is judged like a failed answer
            self._landed(request, error)

    def _landed(self, request: Request, error: Exception | None) -> None:
        with self._changed:
            self._flying -= 1
            if error is None:
                self._error = None
                self._pause_s = _PAUSE_S[0]
                self._limit = min(_MOST, self._limit + 1 / self._limit)
            elif self._passes(error):
                self._failed.append(request)
                self._slow_down(error)
            else:
                self._fatal = self._fatal or error
            self._changed.notify()

    def _slow_down(self, error: Exception) -> None:
        now = time.monotonic()
        if self._error is None:
            self._down_since = now
        self._error = error
        if now >= self._resume_at:
            self._resume_at = now + self._pause_s
            self._pause_s = min(_PAUSE_S[1], self._pause_s * 2)
        if now >= self._shrunk_at + 1.0:
            self._shrunk_at = now
            self._limit = max(1.0, self._limit / 2)

    def _raise_if_over(self) -> None:
        down_s = time.monotonic() - self._down_since
        if self._error is not None and self._retry_s is not None and down_s > self._retry_s:
            self._fatal = self._fatal or self._error
        if self._fatal is not None:
            raise StoreError(
                f"store {self._name} refuses to write: {self._fatal}; nothing after this is written"
            ) from self._fatal

    def _say(self) -> None:
        """One warning when it stops answering, one line when it is back."""
        if self._error is not None:
            self.warn(self._error)
        elif self._error is None and self._warned and not self._failed:
            self._warned = False
            _log.info("store %s takes writes again", self._name)

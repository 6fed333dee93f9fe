"""Trying again: how long to wait, and how to speak of an outage once instead of at every try."""

import logging
from collections.abc import Callable

_REPEAT_S = 60.0
_BACK = "works again"


class Backoff:
    """Waiting times that double from *first_s* to *most_s*, and begin anew after `reset`.

    >>> wait = Backoff(1, 5)
    >>> wait.next_s(), wait.next_s(), wait.next_s(), wait.next_s()
    (1, 2, 4, 5)
    """

    def __init__(self, first_s: float, most_s: float) -> None:
        self.first_s = first_s
        self.most_s = most_s
        self._next = first_s

    def next_s(self) -> float:
        """How long to wait now, seconds."""
        wait, self._next = self._next, min(self._next * 2, self.most_s)
        return wait

    def reset(self) -> None:
        """It worked: the next failure waits the shortest time again."""
        self._next = self.first_s


class Voice:
    """Several outages of one thing, spoken of once: what one of them says, the others need not say as well."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def may_say(self, text: str, now_s: float) -> bool:
        """True unless *text* was said less than a minute before."""
        if now_s - self._said.get(text, -_REPEAT_S) < _REPEAT_S:
            return False
        self._said[text] = now_s
        return True

    def forget(self, text: str) -> None:
        """It may be said again at once."""
        self._said.pop(text, None)


class Outage:
    """Something that is not available at times: one warning when it goes, one line when it is back.

    While it is away, `due` says when the next try makes sense. Outages with one *voice* are one to who reads the log.
    """

    def __init__(
        self,
        logger: logging.Logger,
        what: str,
        *,
        now: Callable[[], float],
        first_s: float = 1.0,
        most_s: float = 30.0,
        voice: Voice | None = None,
    ) -> None:
        self.logger = logger
        self.what = what
        self.reason: str | None = None
        """Why it is away; None while it works."""
        self._now = now
        self._voice = voice or Voice()
        self._backoff = Backoff(first_s, most_s)
        self._since = 0.0
        self._retry_at = 0.0
        self._said_at = 0.0

    def due(self) -> bool:
        """True unless it failed a moment ago."""
        return self.reason is None or self._now() >= self._retry_at

    def wait_s(self) -> float:
        """Seconds until the next try makes sense; 0: now."""
        return 0.0 if self.reason is None else max(0.0, self._retry_at - self._now())

    def hurry(self) -> None:
        """Make the next try due now."""
        self._retry_at = self._now()

    def failed(self, reason: str) -> None:
        """A try failed; said at once, and while it lasts once a minute at most if the reason is another."""
        now = self._now()
        if self.reason is None:
            self._since = now
        said_lately = self.reason is not None and (self.reason == reason or now - self._said_at < _REPEAT_S)
        if not said_lately:
            self._said_at = now
            self._voice.forget(_BACK)
            if self._voice.may_say(reason, now):
                self.logger.warning("%s: %s", self.what, reason)
        self.reason = reason
        self._retry_at = now + self._backoff.next_s()

    def worked(self) -> None:
        """A try worked."""
        if self.reason is None:
            return
        now = self._now()
        self._voice.forget(self.reason)
        if self._voice.may_say(_BACK, now):
            self.logger.warning("%s: works again after %.0f s", self.what, now - self._since)
        self.reason = None
        self._backoff.reset()

"""Waiting for what is away: the process does not end, it says so once, and goes on when it is back."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from kappawatt.errors import LogAway
from kappawatt.retry import Outage

from .process import WATCHDOG

T = TypeVar("T")

_LOGGER = logging.getLogger("kappawatt.flow")
_MOST_S = 5.0


class Patience:
    """Asks again, for as long as it takes, what cannot be answered just now.

    Nothing is read meanwhile, so nothing piles up; other processes of the flow know that one waits. Only a signal ends
    it: the drain has its own limit, after which the process ends and the state is kept.
    """

    def __init__(self, what: str) -> None:
        self._outage = Outage(_LOGGER, what, now=time.monotonic, most_s=_MOST_S)

    def __repr__(self) -> str:
        return f"<Patience {self._outage.reason or 'not needed'}>"

    def ask(self, question: Callable[[], T]) -> T:
        """The answer.

        Raises:
            LogError: The question was refused; asking again would not help.
        """
        try:
            answer = question()
        except LogAway as error:
            with WATCHDOG.waiting():
                return self._again(question, error)
        self._outage.worked()
        return answer

    def _again(self, question: Callable[[], T], error: LogAway) -> T:
        while True:
            self._outage.failed(f"{error}; waiting until it answers")
            time.sleep(self._outage.wait_s())
            try:
                answer = question()
            except LogAway as again:
                error = again
                continue
            self._outage.worked()
            return answer

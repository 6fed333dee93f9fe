"""Requests on their way: bounded, repeated, and none forgotten."""

import logging
import threading
from collections import deque

import pytest

from kappawatt.errors import StoreError
from kappawatt.stores.flight import Done, Flight


class BusyError(Exception):
    """Passes."""


class BrokenError(Exception):
    """Does not."""


class Server:
    """Answers each request on a thread of its own, with the next error of the script or with success."""

    def __init__(self, *errors: Exception | None, hold: bool = False) -> None:
        self._errors = deque(errors)
        self._lock = threading.Lock()
        self._waiting = 0
        self.most_waiting = 0
        self.done: list[int] = []
        self.release = threading.Event()
        if not hold:
            self.release.set()

    def start(self, request: int, done: Done) -> None:
        with self._lock:
            self._waiting += 1
            self.most_waiting = max(self.most_waiting, self._waiting)
            error = self._errors.popleft() if self._errors else None
        threading.Thread(target=self._answer, args=(request, error, done)).start()

    def _answer(self, request: int, error: Exception | None, done: Done) -> None:
        self.release.wait(10)
        with self._lock:
            self._waiting -= 1
            if error is None:
                self.done.append(request)
        done(error)


def flight(server: Server, retry_s: float | None = None) -> Flight[int]:
    return Flight("db", server.start, lambda error: isinstance(error, BusyError), retry_s=retry_s)


def test_all_that_was_sent_is_done_after_drain():
    server = Server()
    sending = flight(server)
    for request in range(300):
        sending.send(request)

    sending.drain()

    assert sorted(server.done) == list(range(300))


def test_no_more_than_the_bound_are_on_their_way():
    server = Server(hold=True)
    sending = flight(server)
    sender = threading.Thread(target=lambda: [sending.send(request) for request in range(200)])
    sender.start()
    while server.most_waiting < 128:
        sender.join(0.01)

    assert server.most_waiting == 128
    server.release.set()
    sender.join(10)
    sending.drain()
    assert len(server.done) == 200


def test_what_fails_in_passing_is_sent_again():
    server = Server(BusyError(), BusyError(), None, BusyError())
    sending = flight(server)
    for request in range(5):
        sending.send(request)

    sending.drain()

    assert sorted(server.done) == [0, 1, 2, 3, 4]


def test_what_cannot_even_be_sent_is_sent_again():
    attempts: list[int] = []

    def start(request: int, done: Done) -> None:
        attempts.append(request)
        if len(attempts) == 1:
            raise BusyError
        done(None)

    sending: Flight[int] = Flight("db", start, lambda error: isinstance(error, BusyError))
    sending.send(7)
    sending.drain()

    assert attempts == [7, 7]


def test_what_fails_for_good_is_raised_and_stays_so():
    sending = flight(Server(BrokenError("no such column")))
    sending.send(1)

    for _ in range(2):
        with pytest.raises(StoreError, match="store db refuses to write: no such column"):
            sending.drain()


def test_outage_is_given_up_after_its_time():
    sending = flight(Server(*[BusyError("too busy")] * 1000), retry_s=0.1)
    sending.send(1)

    with pytest.raises(StoreError, match="too busy"):
        sending.drain()


def test_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    sending = flight(Server(BusyError("no quorum"), BusyError("no quorum"), BusyError("no quorum")))
    for request in range(3):
        sending.send(request)

    sending.drain()

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "store db does not take writes (no quorum); trying until it does"),
        ("INFO", "store db takes writes again"),
    ]


def test_state_shows():
    assert repr(flight(Server())) == "<Flight to db: 0 of 128 on their way, 0 to repeat>"

"""An outage is spoken of once, tried again less and less often, and its end is said."""

import logging

import pytest

from kappawatt.retry import Outage, Voice


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_an_outage_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outage = Outage(logging.getLogger("test"), "the broker", now=clock)
    for _ in range(100):
        outage.failed("no answer")
        clock.now_s += 1
    outage.worked()
    outage.worked()

    said = [record.getMessage() for record in caplog.records]
    assert said == ["the broker: no answer", "the broker: works again after 100 s"]


def test_another_reason_is_said_once_a_minute_at_most(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outage = Outage(logging.getLogger("test"), "the broker", now=clock)
    for second in range(120):
        outage.failed(f"reason {second}")
        clock.now_s += 1

    assert len(caplog.records) == 2


def test_outages_with_one_voice_are_said_once_in_all(caplog: pytest.LogCaptureFixture) -> None:
    clock, voice = Clock(), Voice()
    several = [Outage(logging.getLogger("test"), "the log", now=clock, voice=voice) for _ in range(3)]
    for _ in range(2):
        for outage in several:
            outage.failed("no answer")
        clock.now_s += 5
        for outage in several:
            outage.worked()
            clock.now_s += 1

    said = [record.getMessage() for record in caplog.records]
    assert said == ["the log: no answer", "the log: works again after 5 s"] * 2


def test_tries_become_rarer_up_to_the_longest_wait() -> None:
    clock = Clock()
    outage = Outage(logging.getLogger("test"), "the broker", now=clock, first_s=1, most_s=8)
    waits = []
    for _ in range(6):
        outage.failed("no answer")
        waits.append(outage.wait_s())
        assert not outage.due()
        clock.now_s += outage.wait_s()
        assert outage.due()

    assert waits == [1, 2, 4, 8, 8, 8]
